//! `RUN --mount`: content at a path while the command runs.

use crate::diagnostic::Diagnostic;
use crate::dockerfile::expand::{Mode, expand};
use crate::dockerfile::instruction::{self as written, Sharing, Word};
use crate::graph::{self, Input, Mount, MountKind, SecretEnv};
use crate::path::RelPath;

use super::fold::Fold;
use super::place;

/// The `--build-arg` that sets cache mounts apart (statement 162).
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// A new cache directory's mode.
const CACHE_MODE: u32 = 0o755;

/// Where a secret is seen that names no target.
const SECRETS: &str = "/run/secrets";

/// A secret's mode, unless another one is asked for.
const SECRET_MODE: u32 = 0o400;

/// Where the sockets of ssh agents are seen that name no target; their number follows.
const SSH_SOCKET: &str = "/run/buildkit/ssh_agent.";

/// A socket's mode, unless another one is asked for.
const SSH_MODE: u32 = 0o600;

/// What the mounts of one RUN come to.
#[derive(Default)]
pub(super) struct Mounts {
    /// Files and directories, in the order written.
    files: Vec<Mount>,
    secrets: Vec<Mount>,
    ssh: Vec<Mount>,
    /// Secrets that are variables.
    pub secret_env: Vec<SecretEnv>,
    /// What SSH_AUTH_SOCK names: the first socket, as its target was written.
    pub ssh_auth_sock: Option<String>,
}

impl Mounts {
    /// Begins with mounts that nobody wrote.
    pub(super) fn starting_with(files: Vec<Mount>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Returns the mounts in the order in which they are made: as in BuildKit secrets come behind all others, for they
    /// may lie inside of them, and sockets last.
    pub(super) fn in_order(self) -> Vec<Mount> {
        self.files.into_iter().chain(self.secrets).chain(self.ssh).collect()
    }
}

impl Fold<'_, '_> {
    /// Lowers one mount into `mounts`; `source` is what its `from` names.
    pub(super) fn mount(
        &mut self,
        mounts: &mut Mounts,
        mount: &written::Mount,
        source: Option<usize>,
    ) -> Result<(), Diagnostic> {
        let mount = &self.expanded(mount)?;
        let kind = match mount.kind {
            written::MountKind::Bind => MountKind::Bind {
                input: match (&mount.from, source) {
                    (Some(from), Some(source)) => self.input(source, "mount from", from.span)?,
                    _ => Input::Context(None),
                },
                source: RelPath::clean(text(mount.source.as_ref())),
                readonly: mount.readonly.unwrap_or(true),
            },
            written::MountKind::Cache => self.cache(mount, source)?,
            written::MountKind::Tmpfs => MountKind::Tmpfs { size_bytes: mount.size.filter(|size| *size > 0) },
            written::MountKind::Secret => return secret(mounts, mount),
            written::MountKind::Ssh => return ssh(mounts, mount),
        };
        let target = RelPath::clean(place::workdir(
            &self.state.config.config.working_dir,
            text(mount.target.as_ref()),
        ));
        if target.is_root() {
            return Err(invalid_target(mount));
        }
        mounts.files.push(Mount { target, kind });
        Ok(())
    }

    fn expanded(&mut self, mount: &written::Mount) -> Result<written::Mount, Diagnostic> {
        let mut unset = Vec::new();
        let scope = &self.state.scope;
        let escape = self.build.escape;
        let expanded = mount.expanded(&mut |value| {
            let lookup = |name: &str| scope.get(name).map(str::to_owned);
            let expansion = expand(value, escape, &lookup, Mode::Word)?;
            unset.extend(expansion.unset);
            Ok(expansion.text)
        })?;
        self.warn_of_unset(&unset, mount.span);
        Ok(expanded)
    }

    /// A cache begins as a copy of `from`, or empty with the owner and mode asked for (statement 163).
    fn cache(&mut self, mount: &written::Mount, source: Option<usize>) -> Result<MountKind, Diagnostic> {
        let path = RelPath::clean(text(mount.source.as_ref()));
        let owned = mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some();
        let initial = match (&mount.from, source) {
            // As in BuildKit: with an owner and no path it is a new directory, not the content of `from`.
            (Some(_), Some(_)) if path.is_root() && owned => None,
            (Some(from), Some(source)) => match self.input(source, "mount from", from.span)? {
                Input::Empty => None,
                input => Some((input, path)),
            },
            _ => None,
        };
        let fresh = initial.is_none();
        let target = text(mount.target.as_ref());
        let id = match text(mount.id.as_ref()) {
            "" if target.starts_with('/') => place::clean(target),
            "" => place::clean(target).split_off(1),
            id => id.to_owned(),
        };
        let id = match self.build.options.build_args.get(CACHE_NAMESPACE) {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{id}"),
            _ => id,
        };
        Ok(MountKind::Cache {
            id,
            sharing: match mount.sharing {
                None | Some(Sharing::Shared) => graph::Sharing::Shared,
                Some(Sharing::Private) => graph::Sharing::Private,
                Some(Sharing::Locked) => graph::Sharing::Locked,
            },
            initial,
            mode: mount.mode.filter(|_| fresh).unwrap_or(CACHE_MODE),
            uid: mount.uid.filter(|_| fresh).unwrap_or_default(),
            gid: mount.gid.filter(|_| fresh).unwrap_or_default(),
            readonly: mount.readonly.unwrap_or(false),
        })
    }
}

fn text(word: Option<&Word>) -> &str {
    word.map_or("", |word| &word.raw)
}

/// A secret is a file, a variable, or both (statement 166).
fn secret(mounts: &mut Mounts, mount: &written::Mount) -> Result<(), Diagnostic> {
    let target = text(mount.target.as_ref());
    let given = [mount.source.as_ref(), mount.id.as_ref()].map(text).into_iter().find(|id| !id.is_empty());
    let id = given.unwrap_or_else(|| base_name(target)).to_owned();
    let required = mount.required;
    let file = match (&mount.env, target) {
        (Some(_), "") => None,
        (None, "") => Some(format!("{SECRETS}/{}", base_name(&id))),
        (_, target) => Some(target.to_owned()),
    };
    if let Some(name) = &mount.env {
        let name = if name.raw.is_empty() { id.clone() } else { name.raw.clone() };
        mounts.secret_env.push(SecretEnv { name, id: id.clone(), required });
    }
    if let Some(target) = file {
        let (mode, uid, gid) = permissions(mount, SECRET_MODE);
        let kind = MountKind::Secret { id, required, mode, uid, gid };
        mounts.secrets.push(Mount { target: from_root(mount, &target)?, kind });
    }
    Ok(())
}

/// The socket of an agent (statement 168).
fn ssh(mounts: &mut Mounts, mount: &written::Mount) -> Result<(), Diagnostic> {
    if let Some(source) = &mount.source {
        return Err(Diagnostic::error(source.span, "an ssh mount takes no `source`")
            .with_help("name the agent with `id=`, as in `--ssh id=…`"));
    }
    let target = match text(mount.target.as_ref()) {
        "" => format!("{SSH_SOCKET}{}", mounts.ssh.len()),
        target => target.to_owned(),
    };
    let id = match text(mount.id.as_ref()) {
        "" => "default",
        id => id,
    };
    let (mode, uid, gid) = permissions(mount, SSH_MODE);
    let kind = MountKind::Ssh { id: id.to_owned(), required: mount.required, mode, uid, gid };
    mounts.ssh.push(Mount { target: from_root(mount, &target)?, kind });
    mounts.ssh_auth_sock.get_or_insert(target);
    Ok(())
}

fn permissions(mount: &written::Mount, mode: u32) -> (u32, u32, u32) {
    (mount.mode.unwrap_or(mode) & 0o777, mount.uid.unwrap_or_default(), mount.gid.unwrap_or_default())
}

/// As in BuildKit, a relative target of a secret or a socket begins at the root and not at WORKDIR.
fn from_root(mount: &written::Mount, target: &str) -> Result<RelPath, Diagnostic> {
    let target = RelPath::clean(target);
    if target.is_root() { Err(invalid_target(mount)) } else { Ok(target) }
}

fn invalid_target(mount: &written::Mount) -> Diagnostic {
    Diagnostic::error(mount.span, "invalid mount target \"/\"")
        .with_help("name a directory below the root with `target=`")
}

/// Returns the last component of a path.
fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}
