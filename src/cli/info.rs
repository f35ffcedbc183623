//! `kiln info`: how kiln works on this machine, in docker's fields as far as they mean something here.

use std::path::Path;

use kiln::oci::Platform;
use serde_json::{Value, json};

use super::Outcome;
use super::environment::{self, AUTH_CONFIG, Environment, Registries};
use super::format;
use super::image::Catalog;
use super::report::{Failure, print};

/// The arguments of `kiln info`.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// `json`, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl InfoArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        if let Some(format) = self.format.as_deref().filter(|format| !format.is_empty()) {
            return print(&(format::object(format, &to_json(environment)?)? + "\n"));
        }
        print(&text(environment)?)
    }
}

fn text(environment: &Environment) -> Result<String, Failure> {
    let info = to_json(environment)?;
    let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
    let options = environment.security_options();
    let mut registry_lines = String::new();
    for (name, lines) in registries(&environment.registries()) {
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_else(|| "none".to_owned());
        registry_lines += &format!("  {:16}{first}\n", format!("{name}:"));
        registry_lines.extend(lines.map(|line| format!("  {:16}{line}\n", "")));
    }
    Ok(format!(
        "Client:\n Version:    {version}\n Context:    default\n\nServer:\n Images: {images}\n \
         Server Version: {version}\n Storage Driver: kiln\n  driver-type: {DRIVER_TYPE}\n Store: {store}\n \
         Isolation: {isolation}\n Network: the host's (RUN --network=none: loopback only)\n \
         Security Options: {options}\n Kernel Version: {kernel}\n OSType: linux\n Platform: {platform}\n \
         Architecture: {architecture}\n CPUs: {processors}\n Registries:\n{registry_lines}",
        version = env!("CARGO_PKG_VERSION"),
        images = info["Images"],
        store = environment.store_root.display(),
        isolation = environment.isolation,
        options = options.join(" "),
        kernel = text("KernelVersion"),
        platform = Platform::host(),
        architecture = text("Architecture"),
        processors = processors(),
    ))
}

/// What wrangler and others look for to know whether zstd and OCI media types can be kept.
const DRIVER_TYPE: &str = "io.containerd.snapshotter.v1";

impl Environment {
    fn security_options(&self) -> Vec<&'static str> {
        let rung = self.isolation.rung;
        let seccomp = rung.has_namespaces().then_some("name=seccomp,profile=builtin");
        let rootless = rung.in_user_namespace().then_some("name=rootless");
        seccomp.into_iter().chain(rootless).collect()
    }
}

/// Returns docker's fields. There is no daemon, so what is about one is empty; `DriverStatus` says that images are kept
/// with their compressed layers and manifests, as docker's containerd store keeps them.
fn to_json(environment: &Environment) -> Result<Value, Failure> {
    let store = environment.store()?;
    let images = Catalog::read(&store)?.images.len();
    let system = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Ok(json!({
        "ID": "",
        "Name": word(system.nodename()),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Containers": 0,
        "ContainersRunning": 0,
        "ContainersPaused": 0,
        "ContainersStopped": 0,
        "Images": images,
        "Driver": "kiln",
        "DriverStatus": [["driver-type", DRIVER_TYPE], ["isolation", environment.isolation.to_string()]],
        "DockerRootDir": environment.store_root,
        "SecurityOptions": environment.security_options(),
        "OSType": "linux",
        "OperatingSystem": word(system.sysname()),
        "KernelVersion": word(system.release()),
        "Architecture": word(system.machine()),
        "NCPU": processors(),
        "MemTotal": memory(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": [],
        "Warnings": [],
        "ServerErrors": [],
        "ExperimentalBuild": false,
        "LiveRestoreEnabled": false,
        "CgroupDriver": "none",
        "Swarm": { "LocalNodeState": "inactive" },
        "ClientInfo": {
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": "linux",
            "Arch": Platform::host().architecture,
            "Context": "default",
            "Debug": false,
            "Plugins": [],
            "Warnings": [],
        },
    }))
}

/// Returns how many threads this machine runs at once.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the kernel's word is not as long on every processor")]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

/// What was resolved about registries, by headline. No secret is among it, and a file that cannot be read says why.
fn registries(found: &Registries) -> [(&'static str, Vec<String>); 6] {
    let shown = |path: &Path| path.display().to_string();
    let hosts = match found.hosts() {
        Ok(hosts) => hosts.describe(),
        Err(failure) => vec![failure.text().to_owned()],
    };
    let in_environment = found.has_auth_config().then(|| format!("{AUTH_CONFIG} (environment)"));
    let files = found.places.files();
    let files = files.iter().filter(|path| path.exists()).map(|path| shown(path));
    let proxies = environment::proxies().into_iter().map(|(name, value)| format!("{name}={value}"));
    [
        ("Short names", vec!["as docker completes them: `busybox` is `docker.io/library/busybox` (unqualified-search-registries and aliases do not count)".to_owned()]),
        ("Configuration", found.hosts.iter().map(|path| shown(path)).collect()),
        ("Mirrors", hosts),
        ("Credentials", in_environment.into_iter().chain(files).collect()),
        ("Certificates", found.certificates.all_folders().iter().map(|path| shown(path)).collect()),
        ("Proxies", proxies.collect()),
    ]
}
