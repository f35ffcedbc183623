//! `kiln build --deploy`: what platforms' own files ask for; and Fly.io's way to its registry.

use serde_json::Value;

use crate::support::fault::{Fault, FaultProxy, Request};
use crate::support::kiln::{Ended, Kiln, ended};
use crate::support::registry::{FLY_TOKEN, FLY_USER, Options, TestRegistry};
use crate::support::require;

/// A directory with a worker of two containers and one that exists.
fn worker() -> Kiln {
    let kiln = Kiln::new();
    kiln.write(
        "app/wrangler.jsonc",
        r#"{
  "name": "shop", // the worker
  "containers": [
    { "class_name": "Web", "image": "./web/Dockerfile", "image_vars": { "A": "file", "B": "file" } },
    { "name": "job", "image": "job.dockerfile", "image_build_context": "shared" },
    { "name": "ready", "image": "docker.io/library/nginx:1" },
  ],
  "env": { "staging": { "containers": [{ "class_name": "Web", "image": "web/Dockerfile" }] } },
}
"#,
    );
    kiln.write("app/web/Dockerfile", "FROM scratch\nARG A\nARG B\nCOPY page /\nENV A=$A B=$B\n");
    kiln.write("app/web/page", "a page\n");
    kiln.write("app/job.dockerfile", "FROM scratch AS first\nCOPY data /\nFROM first\nLABEL last=yes\n");
    kiln.write("app/shared/data", "some data\n");
    kiln
}

fn run(kiln: &Kiln, directory: &str, words: &[&str]) -> Ended {
    ended(kiln.command().current_dir(kiln.at(directory)).env("CLOUDFLARE_ENV", "").args(words))
}

fn inspect(kiln: &Kiln, name: &str) -> Value {
    let shown = kiln.run(&format!("image inspect {name}")).success();
    serde_json::from_str::<Value>(shown.text()).unwrap()[0].clone()
}

/// Returns the environment of an image but for PATH.
fn variables(kiln: &Kiln, name: &str) -> Vec<String> {
    let mut variables: Vec<String> =
        serde_json::from_value(inspect(kiln, name)["Config"]["Env"].take()).unwrap();
    variables.retain(|variable| !variable.starts_with("PATH="));
    variables
}

fn names(kiln: &Kiln) -> Vec<String> {
    let listed = kiln.run("image ls --format {{.Repository}}:{{.Tag}}").success();
    let mut names: Vec<String> = listed.text().lines().map(str::to_owned).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_container_of_a_worker_is_built() {
    for (directory, words) in [
        ("app", &["build", "--deploy"][..]),
        ("", &["build", "--deploy", "app"]),
        ("", &["build", "--deploy-config", "app/wrangler.jsonc"]),
    ] {
        let kiln = worker();
        let built = run(&kiln, directory, words).success();
        assert_eq!(built.text().lines().count(), 2, "{words:?}: an id for each image: {built:?}");
        assert!(built.stderr.contains("note: `ready` uses the image docker.io/library/nginx:1"), "{built:?}");
        assert_eq!(names(&kiln), ["job:latest", "shop-web:latest"], "{words:?}");
        assert_eq!(variables(&kiln, "shop-web"), ["A=file", "B=file"]);
        assert_eq!(inspect(&kiln, "shop-web")["Architecture"], "amd64");
        assert_eq!(inspect(&kiln, "job")["Config"]["Labels"]["last"], "yes");
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let kiln = worker();
    kiln.write("other/data", "other data\n");
    kiln.write("other/Dockerfile", "FROM scratch\nCOPY data /\nLABEL from=other\n");
    let config = ["build", "--deploy-config", "app/wrangler.jsonc"];
    let build = |more: &[&str]| run(&kiln, "", &[&config[..], more].concat());
    build(&["--deploy-container", "shop-web", "-t", "mine:1", "--build-arg", "B=line"]).success();
    assert_eq!(names(&kiln), ["mine:1"]);
    assert_eq!(variables(&kiln, "mine:1"), ["A=file", "B=line"]);
    build(&["--deploy-container", "job", "--target", "first", "-t", "job:first", "other"]).success();
    assert_eq!(inspect(&kiln, "job:first")["Config"]["Labels"]["last"], Value::Null);
    build(&["--deploy-container", "JOB", "-f", "other/Dockerfile", "--platform", "linux/arm64"]).success();
    let job = inspect(&kiln, "job");
    assert_eq!((&job["Config"]["Labels"]["from"], &job["Architecture"]), (&"other".into(), &"arm64".into()));
}

#[test]
fn an_environment_is_chosen_as_wrangler_chooses_it() {
    let kiln = worker();
    run(&kiln, "app", &["build", "--deploy", "--deploy-env", "staging"]).success();
    assert_eq!(names(&kiln), ["shop-web-staging:latest"]);
    let kiln = worker();
    ended(kiln.command().args(["build", "--deploy", "app"]).env("CLOUDFLARE_ENV", "staging")).success();
    assert_eq!(names(&kiln), ["shop-web-staging:latest"]);
}

#[test]
fn what_is_unclear_is_refused_with_a_way_out() {
    let kiln = worker();
    kiln.write("both/wrangler.toml", "");
    kiln.write("both/fly.toml", "");
    kiln.write("bare/Dockerfile", "FROM scratch\n");
    kiln.write("ready/fly.toml", "app = 'a'\n[build]\nimage = 'nginx:1'\n");
    kiln.write("other.toml", "");
    for (words, code, expected) in [
        (&["--deploy", "both"][..], 125, "there are wrangler.toml and fly.toml in `both`"),
        (&["--deploy", "bare"], 125, "no wrangler.toml, no fly.toml in `bare`"),
        (&["--deploy", "ready"], 1, "there is nothing to build"),
        (&["--deploy-config", "other.toml"], 125, "not the name of a deploy platform's file"),
        (&["--deploy-config", "ready/fly.toml", "--deploy-env", "x"], 125, "has no environments"),
        (&["--deploy", "app", "-t", "x"], 125, "choose one with --deploy-container (shop-web, job)"),
        (&["--deploy", "app", "-o", "type=oci,dest=x"], 125, "--output with dest is about one image"),
        (&["--deploy", "app", "--deploy-container", "jop"], 125, "did you mean `job`?"),
        (&["--deploy", "app", "--deploy-env", "stagin"], 1, "did you mean `staging`?"),
        (&["--deploy", "app", "--push"], 125, "what is pushed needs a name"),
        (&["--deploy-container", "job", "app"], 125, "--deploy"),
        (&["--deploy", "--deploy-config", "x", "app"], 125, "cannot be used with"),
        (&[], 125, "no build context"),
    ] {
        let refused = run(&kiln, "", &[&["build"][..], words].concat());
        assert_eq!(refused.code, Some(code), "{words:?}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{words:?}: {}", refused.stderr);
    }
    assert_eq!(names(&kiln), [""; 0]);
}

/// An app for Fly.io whose registry is at `host`.
fn app(kiln: &Kiln, host: &str) {
    kiln.write(
        "app/fly.toml",
        "app = 'shop'\n\n[build]\ndockerfile = 'deploy/Dockerfile'\nignorefile = 'fly.ignore'\nbuild-target = 'prod'\n\n[build.args]\nV = '1'\n",
    );
    kiln.write("app/deploy/Dockerfile", "FROM scratch AS prod\nARG V\nCOPY . /\nENV V=$V\nFROM scratch\n");
    kiln.write("app/fly.ignore", "secret\n");
    kiln.write("app/secret", "ignored\n");
    kiln.write("app/page", "a page\n");
    let name = format!("{host}/shop:1");
    run(kiln, "app", &["build", "--deploy", "-t", &name]).success();
}

#[test]
fn a_fly_toml_says_what_is_built() {
    let kiln = Kiln::new();
    app(&kiln, "registry.example");
    run(&kiln, "", &["build", "--deploy", "app"]).success();
    assert_eq!(names(&kiln), ["registry.example/shop:1", "registry.fly.io/shop:latest"]);
    assert_eq!(variables(&kiln, "registry.fly.io/shop"), ["V=1"]);
    run(&kiln, "", &["build", "--deploy-config", "app/fly.toml", "-o", "files"]).success();
    assert!(kiln.at("files/page").exists() && !kiln.at("files/secret").exists(), "fly.ignore counts");
}

/// `fly auth docker` in both of its forms, a push, the question whether an image is there, and a second app.
#[test]
fn layers_of_two_apps_of_fly_travel_once() {
    require!("docker-registry");
    let server = TestRegistry::start_with(&Options { password: true, ..Options::default() });
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let host = proxy.host();
    for way in ["login", "config.json"] {
        let kiln = Kiln::new();
        if way == "login" {
            let mut login = kiln.command();
            login.args(["login", &format!("--username={FLY_USER}"), "--password-stdin", &host]);
            let mut child = login
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), FLY_TOKEN.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        } else {
            // flyctl writes base64 for URLs.
            let auth = "eDp-Zmx5P34-dG9rZW4=";
            kiln.write(
                "home/.docker/config.json",
                format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#),
            );
        }
        app(&kiln, &host);
        let (one, two) = (format!("{host}/shop-{way}:1"), format!("{host}/other-{way}:1"));
        kiln.run(&format!("tag {host}/shop:1 {one}")).success();
        kiln.run(&format!("tag {host}/shop:1 {two}")).success();
        assert_eq!(kiln.run(&format!("manifest inspect {one}")).code, Some(1), "not there yet");
        let before = proxy.requests("").len();
        kiln.run(&format!("push {one}")).success();
        let first = proxy.requests("").split_off(before);
        // The first way's app is a repository of another store: nothing is known of it here.
        assert_eq!(uploads(&first).len(), 2, "{way}: a layer and a config: {first:#?}");
        kiln.run(&format!("manifest inspect {one}")).success();

        let before = proxy.requests("").len();
        kiln.run(&format!("push {two}")).success();
        let second = proxy.requests("").split_off(before);
        assert_eq!(uploads(&second), [] as [&Request; 0], "{way}");
        let mounted = second.iter().filter(|request| request.path.contains("mount=sha256"));
        assert_eq!(mounted.count(), 2, "{way}: {second:#?}");
        kiln.run(&format!("manifest inspect {two}")).success();
    }
}

/// Returns the requests that end an upload of bytes.
fn uploads(requests: &[Request]) -> Vec<&Request> {
    let is_upload = |request: &&Request| request.method == "PUT" && request.path.contains("/blobs/uploads/");
    requests.iter().filter(is_upload).collect()
}
