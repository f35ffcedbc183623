//! Cloudflare's wrangler with kiln in the place of docker: against a registry with a password and a stand-in for the
//! API.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde_json::Value;

use crate::kill::{mark, mounts_below, sleeping, soon};
use crate::support::cloudflare::{self, ACCOUNT, Account, Cloudflare, VERSION};
use crate::support::kiln::{EPOCH, Ended, Kiln, ended};
use crate::support::pki::{Authority, tls_before};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::wrangler::Wrangler;
use crate::support::{bases, require, run, skip, validate};

/// A worker with containers, and everything around it.
struct Project {
    kiln: Kiln,
    registry: TestRegistry,
    cloudflare: Cloudflare,
    wrangler: Wrangler,
}

const ACCOUNT_OF_USER: Account = Account { credentials: (USER, PASSWORD), disk_mb: 2000 };

/// `Web` is built from `web/Dockerfile` with a build argument, `Job` from `job/Dockerfile` with a context of its own.
const CONFIGURATION: &str = r#"{
  // What `wrangler init` writes has comments, too.
  "name": "shop",
  "main": "worker.js",
  "compatibility_date": "2025-05-01",
  "containers": [
    { "class_name": "Web", "image": "./web/Dockerfile", "image_vars": { "GREETING": "hello" } },
    { "name": "job", "class_name": "Job", "image": "job/Dockerfile", "image_build_context": "shared" },
  ],
  "durable_objects": {
    "bindings": [{ "name": "A", "class_name": "Web" }, { "name": "B", "class_name": "Job" }],
  },
  "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Web", "Job"] }],
}
"#;

const WORKER: &str = "import { DurableObject } from 'cloudflare:workers';
export class Web extends DurableObject {}
export class Job extends DurableObject {}
export default { async fetch() { return new Response('ok'); } };
";

impl Project {
    fn start(account: Account) -> Result<Self, String> {
        let wrangler = Wrangler::install()?;
        let kiln = Kiln::new();
        kiln.write("app/wrangler.jsonc", CONFIGURATION);
        kiln.write("app/worker.js", WORKER);
        kiln.write(
            "app/web/Dockerfile",
            "FROM scratch\nARG GREETING\nCOPY page /page\nENV GREETING=$GREETING\n",
        );
        kiln.write("app/web/page", "a page\n");
        kiln.write("app/job/Dockerfile", "FROM scratch\nCOPY data /data\n");
        kiln.write("app/shared/data", "some data\n");
        // Remembers what it is called with, and hands it on: standard input too.
        let calls = kiln.at("calls");
        let docker = format!(
            "#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n",
            calls.display(),
            env!("CARGO_BIN_EXE_kiln")
        );
        kiln.write("docker", docker);
        std::fs::set_permissions(kiln.at("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let registry = TestRegistry::start_with(&Options { password: true, ..Options::default() });
        Ok(Self { kiln, registry, cloudflare: Cloudflare::start(account), wrangler })
    }

    /// Returns `wrangler` with words after it, in the worker's directory.
    fn command(&self, line: &str) -> Command {
        let mut command = self.wrangler.command();
        command.args(line.split(' ')).current_dir(self.kiln.at("app"));
        command.envs(self.cloudflare.environment(&self.registry.host()));
        command.env("WRANGLER_DOCKER_BIN", self.kiln.at("docker"));
        command.env("KILN_STORE", self.kiln.at("store")).env("HOME", self.kiln.at("home"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Ended {
        ended(&mut self.command(line))
    }

    /// Returns the first words of the calls since the last time, with what varies left out.
    fn calls(&self) -> Vec<String> {
        let path = self.kiln.at("calls");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let host = self.registry.host();
        text.lines().map(|line| line.replace(&host, "R").replace(ACCOUNT, "A")).collect()
    }

    /// Tells how often a verb was called.
    fn count(&self, verb: &str) -> usize {
        self.calls().iter().filter(|call| call.starts_with(verb)).count()
    }

    /// Returns the name of an image in the account's part of the registry.
    fn remote(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.registry.host())
    }

    /// Copies an image out of the registry by another tool; it must be sound.
    #[track_caller]
    fn assert_sound(&self, name: &str) {
        let layout = self.kiln.at("fetched");
        let _ = std::fs::remove_dir_all(&layout);
        let to = format!("oci:{}:1", layout.display());
        let credentials = format!("--src-creds={USER}:{PASSWORD}");
        let from = format!("docker://{}", self.remote(name));
        run("skopeo", ["copy", "--src-tls-verify=false", &credentials, &from, &to]);
        validate::assert_sound(&layout);
    }

    /// Returns the manifest or, with `--config`, the config of an image in the registry.
    fn inspect(&self, name: &str, what: &str) -> Value {
        let (credentials, name) =
            (format!("--creds={USER}:{PASSWORD}"), format!("docker://{}", self.remote(name)));
        let text = run("skopeo", ["inspect", "--tls-verify=false", &credentials, what, &name]);
        serde_json::from_str(&text).unwrap()
    }

    /// Returns the names of the local images.
    fn local(&self) -> Vec<String> {
        let listed = ended(self.kiln.command().args(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]));
        let mut names: Vec<_> = listed.success().text().lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Counts the blobs that the registry keeps.
    fn blobs(&self) -> usize {
        // The registry makes its directory with the first blob.
        let files = walkdir::WalkDir::new(self.registry.storage()).into_iter().filter_map(Result::ok);
        files.filter(|entry| entry.file_name() == "data").count()
    }
}

/// Starts a project or leaves the test.
macro_rules! project {
    ($account:expr) => {{
        require!("docker-registry", "skopeo");
        match Project::start($account) {
            Ok(project) => project,
            Err(reason) => skip!("{reason}"),
        }
    }};
}

const SKIPPED: &str = "Image already exists remotely, skipping push";

#[test]
fn containers_build_pushes_once() {
    let project = project!(ACCOUNT_OF_USER);
    let first = project.run("containers build -p -t shop:v1 web").success();
    assert!(first.text().contains("Image does not exist remotely, pushing"), "{first:?}");
    let calls = project.calls();
    let words: Vec<_> =
        calls.iter().map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        words,
        [
            "info",
            "build --load",
            "image inspect",
            "image inspect",
            "login --password-stdin",
            "tag shop:v1",
            "push R/A/shop:v1",
            "image inspect",
        ],
        "{calls:#?}"
    );
    project.assert_sound("shop:v1");
    let local = [project.remote("shop:v1"), "shop:v1".to_owned()];
    assert_eq!(project.local(), local);

    // Nothing changed: nothing is pushed, and the new local name is removed.
    let blobs = project.blobs();
    let again = project.run("containers build -p -t shop:v2 web").success();
    assert!(again.text().contains(SKIPPED), "{again:?}");
    assert_eq!((project.count("push"), project.blobs()), (0, blobs));
    assert_eq!(project.local(), local);

    project.kiln.write("app/web/page", "another page\n");
    let changed = project.run("containers build -p -t shop:v3 web").success();
    assert!(!changed.text().contains(SKIPPED), "{changed:?}");
    assert_eq!((project.count("push"), project.blobs()), (1, blobs + 3), "a layer, a config, a manifest");
    project.assert_sound("shop:v3");
}

/// A machine that starts empty has no note of earlier pushes: wrangler pushes, and no bytes travel.
#[test]
fn an_unchanged_image_of_another_store_sends_nothing() {
    let project = project!(ACCOUNT_OF_USER);
    let build = |store: &str| {
        let mut command = project.command("containers build -p -t shop:v1 web");
        command.env("KILN_STORE", project.kiln.at(store)).env("SOURCE_DATE_EPOCH", EPOCH);
        ended(&mut command).success()
    };
    build("store");
    let blobs = project.blobs();
    let again = build("empty");
    assert!(
        again.text().contains("digest: sha256:") || again.stderr.contains("digest: sha256:"),
        "{again:?}"
    );
    assert_eq!(project.blobs(), blobs, "{again:?}");
}

#[test]
fn what_was_built_before_can_be_pushed() {
    let project = project!(ACCOUNT_OF_USER);
    let build = ["build", "-q", "--platform", "linux/amd64", "-t", "shop:v1", "app/web"];
    ended(project.kiln.command().args(build)).success();
    let pushed = project.run("containers push shop:v1").success();
    assert!(pushed.text().contains("Pushed image"), "{pushed:?}");
    assert!(project.calls().iter().any(|call| call.ends_with("{{ .Os }}/{{ .Architecture }}")));
    project.assert_sound("shop:v1");
}

#[test]
fn deploy_builds_pushes_and_names_images_by_digest() {
    let project = project!(ACCOUNT_OF_USER);
    let first = project.run("deploy").success();
    let tag = &VERSION[..8];
    let config = project.inspect(&format!("shop-web:{tag}"), "--config");
    let variables = config["config"]["Env"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable == "GREETING=hello"), "{config}");
    let deployed = project.cloudflare.deployed();
    assert_eq!(deployed.len(), 2, "{first:?}");
    for (image, name) in deployed.iter().zip(["shop-web", "job"]) {
        project.assert_sound(&format!("{name}:{tag}"));
        let (repository, digest) = image.split_once('@').unwrap();
        assert_eq!(repository, project.remote(name));
        let manifest = project.registry.blob_path(digest);
        assert!(manifest.exists(), "{image}");
    }
    let local = project.local();
    assert!(local.iter().all(|name| !name.contains(":wrangler-")), "{local:?}");
    assert_eq!(project.count("push"), 2);

    let again = project.run("deploy").success();
    assert_eq!(again.text().matches(SKIPPED).count(), 2, "{again:?}");
    assert_eq!(project.count("push"), 0);
    assert_eq!(project.cloudflare.deployed()[2..], deployed);
    assert_eq!(project.local(), local);
}

/// `kiln build --deploy` makes the images that wrangler has made, and calls them so.
#[test]
fn kiln_reads_the_file_as_wrangler_does() {
    let project = project!(ACCOUNT_OF_USER);
    let objects = "bindings = [{ name = 'A', class_name = 'Web' }, { name = 'B', class_name = 'Job' }]";
    let toml = format!(
        "name = 'shop'
main = 'worker.js'
compatibility_date = '2025-05-01'
migrations = [{{ tag = 'v1', new_sqlite_classes = ['Web', 'Job'] }}]
durable_objects.{objects}
[[containers]]
class_name = 'Web'
image = 'web/Dockerfile'
image_vars = {{ GREETING = 'a=b c' }}
[env.Staging]
name = 'stage'
durable_objects.{objects}
[[env.Staging.containers]]
class_name = 'Web'
image = './job/../job/Dockerfile'
image_build_context = 'shared/'
[[env.Staging.containers]]
name = 'Second'
class_name = 'Job'
configuration = {{ image = 'web/Dockerfile' }}
[env.other]
durable_objects.{objects}
[[env.other.containers]]
class_name = 'Job'
image = 'web/Dockerfile'
"
    );
    for (file, text, environment) in [
        ("wrangler.jsonc", CONFIGURATION, None),
        ("wrangler.toml", &toml, None),
        ("wrangler.toml", &toml, Some("Staging")),
        ("wrangler.toml", &toml, Some("other")),
    ] {
        std::fs::remove_file(project.kiln.at("app/wrangler.jsonc")).ok();
        project.kiln.write(&format!("app/{file}"), text);
        let named = environment.map(|name| format!(" --env {name}")).unwrap_or_default();
        let dry = project.run(&format!("deploy --dry-run{named}")).success();
        let ids = |ended: &Ended| -> Vec<String> {
            ended.text().lines().filter(|line| line.starts_with("sha256:")).map(str::to_owned).collect()
        };
        let calls = project.calls();
        let builds =
            calls.iter().filter_map(|call| call.split_once("--load -t ")?.1.split_once(":wrangler-"));
        let mut names: Vec<_> = builds.map(|(name, _)| format!("{name}:latest")).collect();
        names.sort_unstable();

        let mut own = project.kiln.command();
        own.args(["build", "--deploy", "app"]).env_remove("CLOUDFLARE_ENV");
        own.args(environment.map(|name| ["--deploy-env", name]).into_iter().flatten());
        let own = ended(&mut own).success();
        assert!(!names.is_empty() && ids(&dry).len() == names.len(), "{dry:?}");
        assert_eq!(ids(&own), ids(&dry), "{file} {environment:?}");
        assert_eq!(project.local(), names, "{file} {environment:?}");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ended(project.kiln.command().args(["image", "rm"]).args(names)).success();
    }
}

#[test]
fn a_dry_run_builds_and_keeps_nothing() {
    let project = project!(ACCOUNT_OF_USER);
    project.run("deploy --dry-run").success();
    assert_eq!(project.local(), [""; 0]);
    assert_eq!(project.blobs(), 0);
}

#[test]
fn a_wrong_password_ends_the_push() {
    let project = project!(Account { credentials: (USER, "wrong"), ..ACCOUNT_OF_USER });
    let refused = project.run("containers build -p -t shop:v1 web");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("Login failed with code: 1"), "{refused:?}");
    assert!(!refused.stderr.contains("wrong\n") && !refused.text().contains("wrong\n"));
    assert_eq!((project.count("push"), project.blobs()), (0, 0));
    assert!(!project.kiln.at("home/.docker/config.json").exists(), "a wrong password is not kept");
}

#[test]
fn an_image_beyond_the_accounts_limit_is_not_pushed() {
    // One layer alone counts as 16 MiB.
    let project = project!(Account { disk_mb: 16, ..ACCOUNT_OF_USER });
    let refused = project.run("containers build -p -t shop:v1 web");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("Image too large: needs 17MB"), "{refused:?}");
    assert_eq!((project.count("login"), project.blobs()), (0, 0));
}

#[test]
fn a_failed_build_shows_its_line_and_ends_wrangler() {
    let project = project!(ACCOUNT_OF_USER);
    project.kiln.write("app/job/Dockerfile", "FROM scratch\nCOPY dada /data\n");
    let failed = project.run("deploy");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("-:2:"), "{failed:?}");
    assert!(failed.stderr.contains("Docker build exited with code: 1"), "{failed:?}");
    assert_eq!(project.local(), [""; 0], "what was built before is removed");
}

#[test]
fn layers_can_be_zstd_and_the_network_the_hosts() {
    let project = project!(ACCOUNT_OF_USER);
    let mut command = project.command("containers build -p -t shop:v1 web");
    command.envs([
        ("WRANGLER_CONTAINER_IMAGE_COMPRESSION", "zstd"),
        ("WRANGLER_CI_OVERRIDE_NETWORK_MODE_HOST", "1"),
    ]);
    ended(&mut command).success();
    let calls = project.calls();
    assert_eq!(calls[0], "info --format {{json .DriverStatus}}");
    let build = calls.iter().find(|call| call.starts_with("build ")).unwrap();
    assert!(build.contains("compression=zstd") && build.contains("--network host"), "{build}");
    let manifest = project.inspect("shop:v1", "--raw");
    assert_eq!(
        manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd",
        "{manifest}"
    );
    project.assert_sound("shop:v1");
}

/// wrangler starts a build in a process group of its own and ends it by SIGTERM to that group.
#[test]
fn a_build_that_is_ended_leaves_no_process_and_no_mount() {
    let project = project!(ACCOUNT_OF_USER);
    let Some(busybox) = bases::busybox_layer() else { skip!("busybox-static is not installed") };
    let seconds = mark(77);
    project.kiln.write("app/web/busybox.tar", busybox);
    project.kiln.write(
        "app/web/Dockerfile",
        format!("FROM scratch\nADD busybox.tar /\nRUN --mount=type=tmpfs,target=/t (sleep {seconds} &); sleep {seconds}\n"),
    );
    let mut command = project.command(&format!("containers build -t slow:v{seconds} web"));
    let wrangler = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(soon(|| sleeping(&seconds) == 2), "the step began");
    let build = process_with(&format!("slow:v{seconds}"), "build").unwrap();
    let group = rustix::process::getpgid(Some(build)).unwrap();
    assert_eq!(group, build, "wrangler's build has a group of its own");
    rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
    let ended = wrangler.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(soon(|| sleeping(&seconds) == 0), "{} processes are left", sleeping(&seconds));
    assert_eq!(mounts_below(&project.kiln.at("")), [""; 0]);
    assert_eq!(project.local(), [""; 0]);
}

/// Finds the process with these two words on its command line.
fn process_with(one: &str, other: &str) -> Option<Pid> {
    let has = |line: &[u8], word: &str| line.split(|byte| *byte == 0).any(|own| own == word.as_bytes());
    let mut processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.find_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        (has(&line, one) && has(&line, other) && !has(&line, "containers")).then_some(pid)
    })
}

/// wrangler lists and deletes without docker: over TLS, in a form that only Cloudflare's registry speaks (a catalog
/// with tags, deleting by tag). The stand-in translates that for docker-registry.
#[test]
fn what_was_pushed_can_be_listed_and_deleted() {
    let project = project!(ACCOUNT_OF_USER);
    require!("openssl", "curl");
    project.run("containers build -p -t shop:v1 web").success();
    let authority = Authority::new(&project.kiln.at(""));
    let pair = authority.issue("server", "IP:127.0.0.1,IP:0.0.0.0");
    let front = cloudflare::registry_front(&project.registry.host(), USER, PASSWORD);
    let host = format!("127.0.0.1:{}", tls_before(front.url("").trim_start_matches("http://"), &pair));
    let wrangler = |line: &str| {
        let mut command = project.command(line);
        command.env("CLOUDFLARE_CONTAINER_REGISTRY", &host);
        command.env("NODE_EXTRA_CA_CERTS", authority.certificate());
        ended(&mut command)
    };
    let listed = wrangler("containers images list").success();
    assert!(listed.text().lines().any(|line| line.contains("shop") && line.contains("v1")), "{listed:?}");
    wrangler("containers images delete shop:v1 -y").success();
    let empty = wrangler("containers images list").success();
    assert!(!empty.text().contains("shop"), "{empty:?}");
    // kiln does not take the note of its push for the truth.
    let again = project.run("containers build -p -t shop:v1 web").success();
    assert!(!again.text().contains(SKIPPED), "{again:?}");
    project.assert_sound("shop:v1");
}
