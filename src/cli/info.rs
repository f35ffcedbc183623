//! `kiln info`: how kiln works on this machine.

use std::io::Write as _;
use std::path::Path;

use kiln::oci::Platform;

use super::Outcome;
use super::environment::{self, AUTH_CONFIG, Environment, Registries};
use super::report::Failure;

/// Prints what was found out.
pub(crate) fn run(environment: &Environment) -> Outcome {
    let mut text = format!(
        "Version:    {}\nStore:      {}\nIsolation:  {}\nNetwork:    the host's (RUN --network=none: loopback only)\n\
         Platform:   {}\nProcessors: {}\n",
        env!("CARGO_PKG_VERSION"),
        environment.store_root.display(),
        environment.isolation,
        Platform::host(),
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
    );
    text += "Registries\n";
    for (name, lines) in registries(&Registries::find()) {
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_else(|| "none".to_owned());
        text += &format!("  {:16}{first}\n", format!("{name}:"));
        text.extend(lines.map(|line| format!("  {:16}{line}\n", "")));
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::from_error)
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
