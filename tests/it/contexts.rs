//! Named contexts: what a `--build-context` can be, and that FROM, COPY --from and mounts take each of them.

use crate::support::kiln::Kiln;
use crate::support::web::{Answer, WebServer};
use crate::support::{require, run, skip};

/// Uses the context `c` in every way; the base brings a shell.
const READS: &str = "FROM busybox\nCOPY --from=c /file /copied\n\
                     RUN --mount=from=c,target=/m test \"$(cat /m/file)\" = content && touch /mounted\n";

/// Uses it as a base.
const STANDS: &str = "FROM c AS own\nCOPY new /\nFROM own\nLABEL a=b\n";

fn place() -> Option<Kiln> {
    let kiln = Kiln::with_busybox()?;
    kiln.write("context/new", "new");
    kiln.write("files/file", "content");
    kiln.write("files/skipped", "x");
    kiln.write("files/.dockerignore", "skipped\n");
    Some(kiln)
}

/// Makes a repository that the git program can read, and a server for its files.
fn repository(kiln: &Kiln) -> WebServer {
    let (work, bare) = (kiln.at("work").display().to_string(), kiln.at("bare.git"));
    let bare_text = bare.display().to_string();
    run("git", ["init", "-q", "-b", "main", &work]);
    kiln.write("work/sub/file", "content");
    run("git", ["-C", &work, "add", "."]);
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    run("git", ["-C", &work].into_iter().chain(identity).chain(["commit", "-qm", "one"]));
    run("git", ["clone", "-q", "--bare", &work, &bare_text]);
    run("git", ["-C", &bare_text, "update-server-info"]);
    WebServer::start(move |request, _| {
        let path = request.path.split('?').next().unwrap_or_default().trim_start_matches("/r.git/");
        std::fs::read(bare.join(path)).map_or_else(|_| Answer::status(404), Answer::file)
    })
}

#[test]
fn files_are_read_and_stood_on_wherever_they_are() {
    require!("git");
    let Some(kiln) = place() else { skip!("busybox-static is not installed") };
    let server = repository(&kiln);
    for (context, others) in [
        ("c=files".to_owned(), vec![".dockerignore"]),
        (format!("c={}#main:sub", server.url("/r.git")), vec![]),
    ] {
        kiln.dockerfile(READS);
        let (image, _) = kiln.image(&format!("--build-context {context} context"));
        let listing = image.members();
        assert!(listing.contains("copied") && listing.contains("mounted"), "{context}: {listing}");
        kiln.dockerfile(STANDS);
        let (image, _) = kiln.image(&format!("--build-context {context} context"));
        let listing = image.members();
        for name in ["file", "new"].iter().chain(&others) {
            assert!(listing.contains(name), "{context}: {listing}");
        }
        assert!(!listing.contains(" skipped "), "{context}: {listing}");
    }
}

#[test]
fn a_download_is_one_file_that_is_named_context() {
    let Some(kiln) = place() else { skip!("busybox-static is not installed") };
    let server = WebServer::start(|_, _| Answer::file("content"));
    let context = format!("--build-context c={}", server.url("/archive.tar"));
    kiln.dockerfile(&READS.replace("/file", "/context"));
    kiln.image(&format!("{context} context"));
    kiln.dockerfile(STANDS);
    let (image, _) = kiln.image(&format!("{context} context"));
    assert!(image.members().contains("context") && image.members().contains("new"), "{}", image.members());
}

#[test]
fn an_image_brings_its_config() {
    let Some(kiln) = place() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(
        "FROM busybox\nENV FROM_BASE=1\nWORKDIR /app\nONBUILD RUN echo triggered >/triggered\n\
         RUN echo content >/file && mv /file /file.new && printf content >/file\n",
    );
    kiln.build("-t kept:1 context").success();
    kiln.build("-o type=oci,dest=layout,tar=false -t layout:1 context").success();
    for context in ["c=docker-image://kept:1", "c=oci-layout://layout"] {
        kiln.dockerfile(READS);
        kiln.image(&format!("--build-context {context} context"));
        kiln.dockerfile("FROM c\nRUN test $FROM_BASE = 1 && test $PWD = /app && cat /triggered\n");
        let (image, _) = kiln.image(&format!("--build-context {context} context"));
        let config = &image.config["config"];
        assert_eq!(config["WorkingDir"], "/app", "{context}: {config}");
        assert!(config["Env"].to_string().contains("FROM_BASE=1"), "{context}: {config}");
        assert!(config["OnBuild"].is_null(), "{context}: {config}");
    }
}

#[test]
fn a_stage_of_the_same_file_is_a_context() {
    let Some(kiln) = place() else { skip!("busybox-static is not installed") };
    let stage = "FROM busybox AS Tools\nENV FROM_BASE=1\nRUN printf content >/file\n";
    let uses = READS.replacen("FROM busybox\n", "FROM c\nRUN test $FROM_BASE = 1\n", 1);
    kiln.dockerfile(&format!("{stage}{uses}"));
    let (image, ended) = kiln.image("--build-context c=target:tools context");
    assert!(image.members().contains("mounted"), "{}", ended.stderr);
    // A stage that is replaced is not built, also where it is the target.
    kiln.dockerfile(&format!("{stage}FROM busybox AS c\nRUN false\n"));
    let (image, _) = kiln.image("--build-context c=target:tools --target c context");
    assert!(image.config["config"]["Env"].to_string().contains("FROM_BASE=1"));
    let wrong = kiln.build("--build-context c=target:tool context");
    assert!(wrong.stderr.contains("did you mean stage `tools`?"), "{}", wrong.stderr);
    assert_eq!(wrong.code, Some(1), "{}", wrong.stderr);
}
