//! `RUN --mount`: content at a path while the command runs.

use crate::diagnostic::Diagnostic;
use crate::dockerfile::expand::{Mode, expand};
use crate::dockerfile::instruction::{self as written, Sharing, Word};
use crate::graph::{self, Input, Mount, MountKind};
use crate::path::RelPath;

use super::fold::Fold;
use super::place;

/// The `--build-arg` that sets cache mounts apart (statement 162).
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// A new cache directory's mode.
const CACHE_MODE: u32 = 0o755;

impl Fold<'_, '_> {
    /// Lowers one mount; `source` is what its `from` names.
    pub(super) fn mount(
        &mut self,
        mount: &written::Mount,
        source: Option<usize>,
    ) -> Result<Mount, Diagnostic> {
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
            written::MountKind::Secret => return Err(refused(mount, "secret")),
            written::MountKind::Ssh => return Err(refused(mount, "ssh")),
        };
        let target = RelPath::clean(place::workdir(
            &self.state.config.config.working_dir,
            text(mount.target.as_ref()),
        ));
        if target.is_root() {
            return Err(Diagnostic::error(mount.span, "invalid mount target \"/\"")
                .with_help("name a directory below the root with `target=`"));
        }
        Ok(Mount { target, kind })
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

fn refused(mount: &written::Mount, kind: &str) -> Diagnostic {
    Diagnostic::error(mount.span, format!("RUN --mount=type={kind} is not supported yet"))
        .with_help("build without the mount")
}
