//! Tests of what the library and the program do together, on real files, processes and kernels.

mod rootfs;
mod sandbox;
