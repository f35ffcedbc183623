//! kaniko's flags, sorted by what becomes of each: translated, needless, refused.
//!
//! The names are those of the executor of 1.24. A flag that stands nowhere here is refused by the parser, by name.

use std::ffi::OsString;
use std::path::PathBuf;

/// The flags of kaniko's executor.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// The build context: a directory, dir://, git://, https://, tar:// (`tar://stdin` is standard input).
    #[arg(long, short, value_name = "CONTEXT", default_value = ".")]
    pub(super) context: String,
    /// The directory of the context that is built from.
    #[arg(long, value_name = "PATH")]
    pub(super) context_sub_path: Option<String>,
    /// The Dockerfile.
    #[arg(long, short = 'f', value_name = "FILE", default_value = "Dockerfile")]
    pub(super) dockerfile: PathBuf,
    /// Where the image is pushed to; can be given several times.
    #[arg(long, short, value_name = "NAME")]
    pub(super) destination: Vec<String>,
    /// Pushes nothing.
    #[arg(long)]
    pub(super) no_push: bool,
    /// Writes a docker archive.
    #[arg(long, alias = "tarPath", value_name = "FILE")]
    pub(super) tar_path: Option<PathBuf>,
    /// Writes an OCI layout.
    #[arg(long, value_name = "DIR")]
    pub(super) oci_layout_path: Option<PathBuf>,
    /// Writes the digest of the image's manifest to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) digest_file: Option<PathBuf>,
    /// Writes NAME@DIGEST of each destination to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) image_name_with_digest_file: Option<PathBuf>,
    /// Writes NAME:TAG@DIGEST of each destination to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) image_name_tag_with_digest_file: Option<PathBuf>,
    /// Sets an ARG.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) build_arg: Vec<String>,
    /// Adds a label.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label: Vec<String>,
    /// The stage to build.
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// The platform of the image.
    #[arg(long, aliases = ["customPlatform", "custom-platform"], value_name = "OS/ARCH")]
    pub(super) custom_platform: Option<String>,
    /// Takes and leaves steps in a registry.
    #[arg(long)]
    pub(super) cache: bool,
    /// Where the cache lies: a repository, or `oci:DIR`; by default `cache` below the first destination.
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) cache_repo: Option<String>,
    /// Leaves nothing in the cache.
    #[arg(long)]
    pub(super) no_push_cache: bool,
    /// How layers are compressed: gzip or zstd.
    #[arg(long, value_name = "CODEC")]
    pub(super) compression: Option<String>,
    /// How well.
    #[arg(long, value_name = "N")]
    pub(super) compression_level: Option<u8>,
    /// Everything that the build adds becomes one layer.
    #[arg(long)]
    pub(super) single_snapshot: bool,
    /// Nothing in the image depends on when it was built.
    #[arg(long)]
    pub(super) reproducible: bool,
    /// Pushes without verified TLS.
    #[arg(long, alias = "skip-tls-verify")]
    pub(super) insecure: bool,
    /// Registries that are spoken to without verified TLS.
    #[arg(long, alias = "skip-tls-verify-registry", value_name = "HOST")]
    pub(super) insecure_registry: Vec<String>,
    /// Mirrors of Docker Hub.
    #[arg(long, value_name = "HOST")]
    pub(super) registry_mirror: Vec<String>,
    /// How progress is written: text, color or json.
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
    /// How much is written: has no effect, see --log-format.
    #[arg(long, short, value_name = "LEVEL", hide = true)]
    pub(super) verbosity: Option<String>,
    #[command(flatten)]
    pub(super) needless: Needless,
    #[command(flatten)]
    pub(super) refused: Refused,
}

fn is_switch(kind: &str) -> bool {
    kind == "switch"
}

/// A switch may have `=true` or `=false` behind it; what takes a value has one.
fn arity(kind: &str) -> std::ops::RangeInclusive<usize> {
    if is_switch(kind) { 0..=1 } else { 1..=1 }
}

/// Defines flags whose values nobody reads, and a list of those that were given.
macro_rules! unread {
    ($(#[$about:meta])* $name:ident { $($kind:ident $field:ident: $flag:literal $(| $alias:literal)* => $why:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default, clap::Args)]
        pub(super) struct $name {
            $(
                #[arg(long = $flag, $(alias = $alias,)* hide = true, num_args = arity(stringify!($kind)), require_equals = is_switch(stringify!($kind)), value_name = "VALUE", default_missing_value = "true")]
                $field: Vec<OsString>,
            )*
        }

        impl $name {
            /// Returns the flags that were given, each with why it is here.
            pub(super) fn given(&self) -> Vec<(&'static str, &'static str)> {
                let mut given = Vec::new();
                $(if !self.$field.is_empty() { given.push(($flag, $why)); })*
                given
            }
        }
    };
}

unread! {
    /// What kaniko needs to be told and kiln does by itself.
    Needless {
        switch cache_copy_layers: "cache-copy-layers" => "every step is cached",
        switch cache_run_layers: "cache-run-layers" => "every step is cached",
        switch cleanup: "cleanup" => "nothing is unpacked over the container's own files",
        switch compressed_caching: "compressed-caching" => "memory does not grow with the layers",
        switch force: "force" => "kiln runs outside of containers too",
        switch ignore_var_run: "ignore-var-run" => "what is mounted in the container is not seen by the build",
        value image_download_retry: "image-download-retry" => "requests are repeated, downloads resumed",
        value image_fs_extract_retry: "image-fs-extract-retry" => "requests are repeated, downloads resumed",
        switch log_timestamp: "log-timestamp" => "steps show how long they took",
        switch pre_cleanup: "pre-cleanup" => "nothing is unpacked over the container's own files",
        value push_retry: "push-retry" => "uploads are repeated and resumed",
        switch skip_unused_stages: "skip-unused-stages" => "only stages that are needed are built",
        value snapshot_mode: "snapshot-mode" | "snapshotMode" => "changes are found by content",
        switch use_new_run: "use-new-run" => "changes are found by content",
    }
}

unread! {
    /// What kiln does not do.
    Refused {
        value cache_dir: "cache-dir" => "keep the store of --store between builds instead",
        value cache_ttl: "cache-ttl" => "a cached step is good as long as its inputs are the same; let the registry expire what is old",
        value credential_helpers: "credential-helpers" => "name the helpers in config.json (credHelpers)",
        switch force_build_metadata: "force-build-metadata" => "leave it out",
        value git: "git" => "name the branch in the address: git://host/repository#refs/heads/branch",
        value ignore_path: "ignore-path" => "use RUN --mount=type=tmpfs or type=cache for what no layer shall hold",
        switch insecure_pull: "insecure-pull" | "skip-tls-verify-pull" => "name the hosts with --insecure-registry",
        value kaniko_dir: "kaniko-dir" => "use `kiln --store DIR kaniko`",
        switch push_ignore_immutable: "push-ignore-immutable-tag-errors" => "push a tag that is new",
        value registry_certificate: "registry-certificate" => "put it into certs.d/HOST, see docs/kaniko.md",
        value registry_client_cert: "registry-client-cert" => "put it into certs.d/HOST, see docs/kaniko.md",
        value registry_map: "registry-map" => "use a mirror in registries.conf",
        switch skip_default_registry_fallback: "skip-default-registry-fallback" => "use `blocked = true` in registries.conf",
        switch skip_push_permission_check: "skip-push-permission-check" => "the check is one request; leave the flag out",
    }
}
