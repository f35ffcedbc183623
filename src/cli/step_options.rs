//! The options of `kiln build` for its RUN steps: secrets, ssh agents, rights, network, limits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kiln::dockerfile::parse_size;
use kiln::graph::Network;
use kiln::remote::{Agent, Remotes};
use kiln::secret::Secrets;
use kiln::store::Store;
use kiln::ulimit::Ulimit;

use super::environment::Environment;
use super::report::Failure;
use super::secret::SecretArg;
use super::ssh::{self, SshArg};

/// What is said about RUN steps.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StepArgs {
    /// Gives a secret to RUN --mount=type=secret: id=ID[,src=FILE|,env=VARIABLE][,type=file|env]; it is never kept.
    #[arg(long, value_name = "id=ID[,src=FILE]")]
    secret: Vec<SecretArg>,
    /// Gives an ssh agent to RUN --mount=type=ssh, and, named `default`, to git repositories over ssh: a socket, keys
    /// in files, or else the agent of SSH_AUTH_SOCK.
    #[arg(long, value_name = "default|ID[=SOCKET|=KEY,...]")]
    ssh: Vec<SshArg>,
    /// Allows what RUN may ask for: security.insecure, or network.host, which needs no allowance here.
    #[arg(long, value_name = "RIGHT", value_delimiter = ',')]
    allow: Vec<Right>,
    /// The network of RUN steps that do not choose; the default is the host's.
    #[arg(long, value_name = "MODE", default_value = "default", hide_default_value = true)]
    network: NetworkArg,
    /// Adds a line to the /etc/hosts that RUN steps see.
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    add_host: Vec<(String, IpAddr)>,
    /// The size of /dev/shm in RUN steps, for example 256m; the default is 64m.
    #[arg(long, value_name = "SIZE", value_parser = parse_shm_size)]
    shm_size: Option<u64>,
    /// Limits a resource of RUN steps, for example nofile=1024:4096.
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
}

/// What RUN may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Right {
    #[value(name = "security.insecure")]
    Insecure,
    #[value(name = "network.host")]
    HostNetwork,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetworkArg {
    Default,
    None,
    Host,
}

/// What is meant by the arguments.
pub(crate) struct StepOptions {
    pub(crate) secrets: Secrets,
    pub(crate) ssh_agents: BTreeMap<String, Agent>,
    pub(crate) allow_insecure: bool,
    pub(crate) network: Option<Network>,
    pub(crate) extra_hosts: Vec<(String, IpAddr)>,
    pub(crate) shm_size_bytes: Option<u64>,
    pub(crate) ulimits: Vec<Ulimit>,
}

impl StepArgs {
    /// Reads the secrets, and finds the agents.
    pub(crate) fn options(&self) -> Result<StepOptions, Failure> {
        let mut secrets = Secrets::default();
        for secret in &self.secret {
            secrets.insert(&secret.id, secret.read()?);
        }
        let mut ssh_agents = BTreeMap::new();
        for ssh in &self.ssh {
            if ssh_agents.insert(ssh.id.clone(), ssh.agent()?).is_some() {
                return Err(Failure::usage(format!("--ssh: the agent `{}` is given twice", ssh.id)));
            }
        }
        Ok(StepOptions {
            secrets,
            ssh_agents,
            allow_insecure: self.allow.contains(&Right::Insecure),
            network: match self.network {
                NetworkArg::Default => None,
                NetworkArg::Host => Some(Network::Host),
                NetworkArg::None => Some(Network::None),
            },
            extra_hosts: self.add_host.clone(),
            shm_size_bytes: self.shm_size,
            ulimits: last_of_each(&self.ulimit),
        })
    }
}

impl StepOptions {
    /// Adds the agent of the environment: for an address over ssh that the user named it is as good as given, as with
    /// docker.
    pub(crate) fn add_agent_of_environment(&mut self) -> Result<(), Failure> {
        if !self.ssh_agents.contains_key(ssh::DEFAULT) {
            self.ssh_agents.insert(ssh::DEFAULT.to_owned(), SshArg::of_environment().agent()?);
        }
        Ok(())
    }

    /// Sets up the client for downloads and repositories.
    pub(crate) fn remotes(&self, environment: &Environment, store: &Store) -> Remotes {
        environment.remotes(store, &self.secrets, self.ssh_agents.get(ssh::DEFAULT).cloned())
    }
}

/// Of two limits of one resource the later one holds.
fn last_of_each(ulimits: &[Ulimit]) -> Vec<Ulimit> {
    let is_last = |(index, limit): &(usize, &Ulimit)| {
        !ulimits[index + 1..].iter().any(|later| later.resource == limit.resource)
    };
    ulimits.iter().enumerate().filter(is_last).map(|(_, limit)| *limit).collect()
}

/// Reads `NAME:IP` or `NAME=IP`; an IPv6 address may stand in brackets.
fn parse_host(text: &str) -> Result<(String, IpAddr), String> {
    let pair = text.split_once([':', '=']).filter(|(name, address)| !name.is_empty() && !address.is_empty());
    let (name, address) = pair.ok_or("must be NAME:IP")?;
    if address == "host-gateway" {
        return Err(
            "host-gateway is not supported: RUN steps share the host's network, where `localhost` is the \
                    host itself"
                .to_owned(),
        );
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| format!("`{address}` is no IP address"))?;
    Ok((name.to_owned(), address))
}

fn parse_shm_size(text: &str) -> Result<u64, String> {
    parse_size(text).filter(|size| *size > 0).ok_or_else(|| "must be a size such as 256m or 1g".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_hosts() {
        for (text, name, address) in [
            ("db:192.0.2.1", "db", "192.0.2.1"),
            ("db=192.0.2.1", "db", "192.0.2.1"),
            ("db:2001:db8::1", "db", "2001:db8::1"),
            ("db=[2001:db8::1]", "db", "2001:db8::1"),
        ] {
            assert_eq!(parse_host(text), Ok((name.to_owned(), address.parse().unwrap())), "{text}");
        }
        for wrong in ["db", "db:", ":192.0.2.1", "db:host-gateway", "db:example.com", "db:1.2.3"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_limit_of_a_resource_holds() {
        let limits: Vec<Ulimit> =
            ["nofile=1", "core=2", "nofile=3"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(last_of_each(&limits), limits[1..]);
    }

    #[test]
    fn sizes_of_shared_memory() {
        assert_eq!(parse_shm_size("64m"), Ok(64 << 20));
        assert!(parse_shm_size("0").is_err());
        assert!(parse_shm_size("much").is_err());
    }
}
