//! `kiln info`: how kiln works on this machine, in docker's fields as far as they mean something here.

use kiln::oci::Platform;
use serde_json::{Value, json};

use super::Outcome;
use super::environment::Environment;
use super::format;
use super::image::{Catalog, print};
use super::report::Failure;

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
        print(&text(environment))
    }
}

fn text(environment: &Environment) -> String {
    format!(
        "Version:    {}\nStore:      {}\nIsolation:  {}\nNetwork:    the host's (RUN --network=none: loopback only)\n\
         Platform:   {}\nProcessors: {}\n",
        env!("CARGO_PKG_VERSION"),
        environment.store_root.display(),
        environment.isolation,
        Platform::host(),
        processors(),
    )
}

/// Returns docker's fields. There is no daemon, so what is about one is empty; `DriverStatus` says that images are kept
/// with their compressed layers and manifests, as docker's containerd store keeps them.
fn to_json(environment: &Environment) -> Result<Value, Failure> {
    let store = environment.store()?;
    let images = Catalog::read(&store)?.images.len();
    let system = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let rung = environment.isolation.rung;
    let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
    if rung.in_user_namespace() {
        security.push("name=rootless".to_owned());
    }
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
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"], ["isolation", environment.isolation.to_string()]],
        "DockerRootDir": environment.store_root,
        "SecurityOptions": security,
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

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the kernel's word is not as long on every processor")]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}
