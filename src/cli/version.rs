//! `kiln version`: client and server are the same program.

use kiln::oci::Platform;
use serde_json::{Value, json};

use super::Outcome;
use super::format;
use super::image::print;

/// The arguments of `kiln version`.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    /// `json`, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The version of docker's API whose fields and names the verbs show. There is no API.
const API_VERSION: &str = "1.50";

impl VersionArgs {
    pub(crate) fn run(&self) -> Outcome {
        if let Some(format) = self.format.as_deref().filter(|format| !format.is_empty()) {
            return print(&(format::object(format, &to_json())? + "\n"));
        }
        let platform = Platform::host();
        let part = |name: &str| {
            format!(
                "{name}\n Version:      {}\n API version:  {API_VERSION}\n OS/Arch:      {platform}\n",
                env!("CARGO_PKG_VERSION")
            )
        };
        print(&format!(
            "{} Context:      default\n\n{}",
            part("Client: kiln"),
            part("Server: kiln, without a daemon")
        ))
    }
}

fn to_json() -> Value {
    let Platform { os, architecture, .. } = Platform::host();
    let common = json!({
        "Platform": { "Name": "kiln" },
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": API_VERSION,
        "APIVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": os,
        "Arch": architecture,
        "BuildTime": "",
    });
    let (mut client, mut server) = (common.clone(), common);
    client["DefaultAPIVersion"] = API_VERSION.into();
    client["Context"] = "default".into();
    server["MinAPIVersion"] = API_VERSION.into();
    server["KernelVersion"] = rustix::system::uname().release().to_string_lossy().into_owned().into();
    server["Experimental"] = false.into();
    server["Components"] = json!([]);
    json!({ "Client": client, "Server": server })
}
