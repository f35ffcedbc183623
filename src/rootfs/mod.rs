//! The rootfs room.
