//! The built program, with a store of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bases;
use super::listing::Image;
use super::validate;

/// The time that builds are given as `SOURCE_DATE_EPOCH`: that of the bases' files.
pub(crate) const EPOCH: &str = "1700000000";

/// What the surroundings of a test must not decide.
const VARIABLES: [&str; 13] = [
    "BUILDX_BUILDER",
    "BUILDKIT_PROGRESS",
    "BUILDKIT_SYNTAX",
    "CONTAINERS_REGISTRIES_CONF",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "DOCKER_DEFAULT_PLATFORM",
    "KILN_ISOLATION",
    "KILN_STORE",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "SSL_CERT_FILE",
    "XDG_RUNTIME_DIR",
];

/// A directory for one test: a store, contexts, results.
pub(crate) struct Kiln {
    directory: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error.
    pub(crate) stderr: String,
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
}

impl Ended {
    /// Returns the same, if the command did well.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        self
    }

    /// Returns standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Counts the lines of progress that end in `word`, for example `CACHED`.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.stderr.lines().filter(|line| line.starts_with('#') && line.ends_with(word)).count()
    }
}

impl Kiln {
    /// Makes the directory: under `target/`, which lies on a real file system.
    pub(crate) fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("kiln-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { directory }
    }

    /// Makes the directory with the bases `busybox` and `layered` beside it; `None` if there is no busybox.
    pub(crate) fn with_busybox() -> Option<Self> {
        Self::new().with_bases()
    }

    /// The same in a place where every user can read it, with what root puts there.
    pub(crate) fn for_everybody() -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("kiln-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }.with_bases()
    }

    fn with_bases(self) -> Option<Self> {
        let busybox = bases::busybox_layer()?;
        let [first, second] = bases::whiteout_layers();
        let layered = bases::Image::new(vec![busybox.clone(), first, second]);
        bases::write_layout(&self.at("bases"), "busybox", &[bases::Image::new(vec![busybox])]);
        bases::write_layout(&self.at("bases"), "layered", &[layered]);
        Some(self)
    }

    /// Returns a path in the test's directory.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes files, with the directories above them.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Makes a context with a Dockerfile whose `FROM busybox` means the base.
    pub(crate) fn dockerfile(&self, text: &str) {
        self.write("context/Dockerfile", text);
    }

    /// Returns the program with this test's store.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.env("KILN_STORE", self.at("store")).env("HOME", self.at("home"));
        command.current_dir(self.directory.path()).stdin(std::process::Stdio::null());
        command
    }

    /// Returns `kiln build` with the base of [`Self::with_busybox`], without a context.
    pub(crate) fn build_command(&self) -> Command {
        let mut command = self.command();
        command.arg("build");
        for base in ["busybox", "layered"] {
            command.args(["--build-context", &format!("{base}=oci-layout://bases:{base}")]);
        }
        command
    }

    /// Runs a command line, its words parted by spaces.
    pub(crate) fn run(&self, line: &str) -> Ended {
        ended(self.command().args(line.split(' ')))
    }

    /// Runs `kiln build` with further words.
    pub(crate) fn build(&self, line: &str) -> Ended {
        ended(self.build_command().args(line.split(' ')))
    }

    /// Builds `context` with a fixed time into an archive, which must be sound.
    #[track_caller]
    pub(crate) fn image(&self, line: &str) -> (Image, Ended) {
        let output = format!("--output type=oci,dest=image.tar,rewrite-timestamp=true {line}");
        let ended = ended(self.build_command().env("SOURCE_DATE_EPOCH", EPOCH).args(output.split(' ')));
        let ended = ended.success();
        validate::assert_sound(&self.at("image.tar"));
        (Image::read(&self.at("image.tar")), ended)
    }
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ended { stdout: output.stdout, stderr, code: output.status.code() }
}

/// Copies a directory of files; modes become those of a checkout with the usual umask.
pub(crate) fn copy_checkout(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        let kind = entry.file_type();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), &target).unwrap();
            continue;
        }
        let mut mode = 0o755;
        if kind.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
            mode = if entry.metadata().unwrap().permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        }
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}
