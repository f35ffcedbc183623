//! Files of other machines: ADD of downloads and repositories, and contexts that are no directory.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::web::{Answer, WebServer};
use crate::support::{require, run};

const LAST_MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LAST_MODIFIED_SECONDS: u64 = 784_111_777;

/// A directory with a store, a context and results.
struct Place(tempfile::TempDir);

/// What a build printed, and whether it did well.
#[derive(Debug)]
struct Ended {
    stderr: String,
    success: bool,
}

impl Ended {
    #[track_caller]
    fn success(self) -> Self {
        assert!(self.success, "{}", self.stderr);
        self
    }

    #[track_caller]
    fn fails_with(self, parts: &[&str]) {
        assert!(!self.success, "the build did well");
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
    }
}

/// A file of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    content: String,
}

impl Place {
    fn new() -> Self {
        let place =
            Self(tempfile::Builder::new().prefix("remote-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        std::fs::create_dir(place.at("context")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        for variable in ["SOURCE_DATE_EPOCH", "BUILDKIT_PROGRESS", "KILN_ISOLATION", "BUILDKIT_SYNTAX"] {
            command.env_remove(variable);
        }
        command.env("KILN_STORE", self.at("store")).current_dir(self.0.path()).stdin(Stdio::null());
        command.args(["build", "--progress=plain"]).args(arguments);
        if !arguments.contains(&"--output") {
            command.args(["--output", "type=tar,dest=result.tar"]);
        }
        command
    }

    /// Builds an image; only its layers are found again when they are cached.
    fn image(&self, text: &str) -> (Ended, Vec<u8>) {
        self.write("context/Dockerfile", text);
        let ended = self.build(&["--output", "type=oci,dest=image.tar", "context"]).success();
        (ended, std::fs::read(self.at("image.tar")).unwrap())
    }

    fn build(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).output().unwrap())
    }

    fn build_from_stdin(&self, input: &[u8], arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who refuses at once does not read.
        let _ = stdin.write_all(input);
        drop(stdin);
        ended(child.wait_with_output().unwrap())
    }

    /// Builds a Dockerfile with the (nearly) empty context.
    fn dockerfile(&self, text: &str) -> Ended {
        self.write("context/Dockerfile", text);
        self.build(&["context"])
    }

    /// Returns the regular files of the result.
    fn result(&self) -> BTreeMap<String, Found> {
        let mut archive = tar::Archive::new(std::fs::File::open(self.at("result.tar")).unwrap());
        let mut files = BTreeMap::new();
        for member in archive.entries().unwrap() {
            let mut member = member.unwrap();
            if !member.header().entry_type().is_file() {
                continue;
            }
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            let header = member.header();
            let found = Found {
                mode: header.mode().unwrap() & 0o7777,
                owner: (header.uid().unwrap(), header.gid().unwrap()),
                mtime: header.mtime().unwrap(),
                content: String::from_utf8_lossy(&content).into_owned(),
            };
            files.insert(member.path().unwrap().display().to_string(), found);
        }
        files
    }

    fn names(&self) -> Vec<String> {
        self.result().into_keys().collect()
    }
}

fn ended(output: std::process::Output) -> Ended {
    Ended { stderr: String::from_utf8_lossy(&output.stderr).into_owned(), success: output.status.success() }
}

fn sha256(text: &str) -> String {
    kiln::digest::Digest::of(text).to_string()
}

/// A tar with one file, of the owner 7:8.
fn tar_of(name: &str, content: &str, others: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [(name, content)].iter().chain(others) {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_600_000_000);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn statement_142_a_download_has_mode_and_time_of_its_own() {
    let server = WebServer::start(|request, _| match &*request.path {
        "/a/file.txt?x" => Answer::file("text").with("Last-Modified", LAST_MODIFIED),
        "/" => Answer::file("root"),
        _ => Answer::status(404),
    });
    let place = Place::new();
    let (file, root) = (server.url("/a/file.txt?x"), server.url("/"));
    place
        .dockerfile(&format!(
            "FROM scratch\nADD {file} /one/\nADD --chmod=644 --chown=1:2 {file} /two\nADD {root} /three/\n"
        ))
        .success();
    let result = place.result();
    let content = || "text".to_owned();
    let found = |mode, owner| Found { mode, owner, mtime: LAST_MODIFIED_SECONDS, content: content() };
    assert_eq!(result["one/file.txt"], found(0o600, (0, 0)));
    assert_eq!(result["two"], found(0o644, (1, 2)));
    let unnamed = Found { mode: 0o600, owner: (0, 0), mtime: 0, content: "root".to_owned() };
    assert_eq!(result["three/__unnamed__"], unnamed);
}

#[test]
fn statement_215_unchanged_downloads_cost_no_body_and_new_times_no_step() {
    let server = WebServer::start(|request, earlier| {
        let answer =
            |time: &str| Answer::file("same").with("ETag", format!("\"{time}\"")).with("Last-Modified", time);
        match (earlier, request.headers.get("if-none-match")) {
            (0, None) => answer(LAST_MODIFIED),
            (1, Some(tag)) if *tag == format!("\"{LAST_MODIFIED}\"") => Answer::status(304),
            (2, Some(_)) => answer("Mon, 07 Nov 1994 08:49:37 GMT"),
            _ => Answer::status(500),
        }
    });
    let place = Place::new();
    let text = format!("FROM scratch\nADD {} /f\n", server.url("/f"));
    let (first, image) = place.image(&text);
    assert!(!first.stderr.contains("CACHED"), "{}", first.stderr);
    for _ in 0..2 {
        let (again, same) = place.image(&text);
        assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
        assert!(image == same, "another image");
    }
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_server_without_conditions_is_believed_its_tag() {
    let server = WebServer::start(|_, earlier| {
        let answer = Answer::file("x".repeat(1 << 20)).with("ETag", "W/\"t\"");
        // A client that reads the body the second time fails.
        if earlier == 0 { answer } else { answer.cut(10) }
    });
    let place = Place::new();
    for _ in 0..2 {
        place.dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/f"))).success();
    }
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_changed_download_is_seen() {
    let server = WebServer::start(|_, earlier| {
        Answer::file(format!("{earlier}")).with("ETag", format!("\"{earlier}\""))
    });
    let place = Place::new();
    for content in ["0", "1"] {
        place.dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/f"))).success();
        assert_eq!(place.result()["f"].content, content);
    }
}

#[test]
fn statement_145_checksums() {
    let server = WebServer::start(|_, _| Answer::file("text"));
    let place = Place::new();
    let url = server.url("/f");
    let (right, wrong) = (sha256("text"), sha256("other"));
    place.dockerfile(&format!("FROM scratch\nARG SUM={right}\nADD --checksum=$SUM {url} /f\n")).success();
    // What is known to be there is not asked for.
    place.dockerfile(&format!("FROM scratch\nADD --checksum={right} {url} /g\n")).success();
    assert_eq!(server.requests().len(), 1);
    for (instruction, parts) in [
        (format!("ADD --checksum={wrong} {url} /"), &["Dockerfile:2", "digest mismatch", &right][..]),
        (format!("ADD --checksum=sha256:12 {url} /"), &["Dockerfile:2", "invalid checksum digest format"]),
        (
            format!("ADD --checksum={right} {url} {url} /x/"),
            &["checksum can't be specified for multiple sources"],
        ),
        (format!("ADD --checksum={right} Dockerfile /"), &["checksum requires HTTP(S) or Git sources"]),
        (format!("COPY {url} /"), &["source can't be a URL for COPY"]),
        (format!("ADD {} /", server.url("/f").replace("http://", "ftp://")), &["Dockerfile:2"]),
    ] {
        place.dockerfile(&format!("FROM scratch\n{instruction}\n")).fails_with(parts);
    }
}

#[test]
fn a_status_names_the_line() {
    let server = WebServer::start(|_, _| Answer::status(404));
    let place = Place::new();
    let url = server.url("/gone");
    place.dockerfile(&format!("FROM scratch\n\nADD {url} /\n")).fails_with(&[
        "Dockerfile:3",
        &url,
        "invalid response status 404",
    ]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let body: String = (0..20_000).map(|number| format!("{number} ")).collect();
    let whole = body.clone();
    let server = WebServer::start(move |request, earlier| {
        let tag = |answer: Answer| answer.with("ETag", "\"strong\"");
        match (earlier, request.headers.get("range")) {
            (0, None) => tag(Answer::file(whole.as_bytes()).cut(5000)),
            (1, Some(range)) => {
                assert_eq!(request.headers["if-range"], "\"strong\"");
                let offset: usize =
                    range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
                assert!((1..=5000).contains(&offset), "{offset}");
                let range = format!("bytes {offset}-{}/{}", whole.len() - 1, whole.len());
                let rest = Answer { status: 206, ..Answer::file(&whole.as_bytes()[offset..]) };
                tag(rest.with("Content-Range", range))
            }
            _ => Answer::status(404),
        }
    });
    let place = Place::new();
    place.dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/f"))).success();
    assert_eq!(place.result()["f"].content, body);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_download_that_changed_while_it_broke_starts_again() {
    let server = WebServer::start(|_, earlier| match earlier {
        0 => Answer::file("old ".repeat(5000)).with("ETag", "\"1\"").cut(1000),
        1 => Answer::file("new").with("ETag", "\"2\""),
        _ => Answer::status(404),
    });
    let place = Place::new();
    place.dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/f"))).success();
    assert_eq!(place.result()["f"].content, "new");
}

#[test]
fn an_encoding_of_the_transfer_is_taken_off() {
    let server = WebServer::start(|request, _| {
        assert_eq!(request.headers["accept-encoding"], "gzip");
        Answer::file(gzip(b"text")).with("Content-Encoding", "gzip")
    });
    let place = Place::new();
    let sum = sha256("text");
    place.dockerfile(&format!("FROM scratch\nADD --checksum={sum} {} /f\n", server.url("/f"))).success();
    assert_eq!(place.result()["f"].content, "text");
}

#[test]
fn credentials_stay_with_their_host() {
    let other = WebServer::start(|_, _| Answer::file("text"));
    let target = other.url("/moved");
    let server = WebServer::start(move |_, _| Answer::status(302).with("Location", target.clone()));
    let place = Place::new();
    let url = server.url("/f").replace("http://", "http://user:secret@");
    let built = place.dockerfile(&format!("FROM scratch\nADD {url} /d/\n")).success();
    assert_eq!(server.requests()[0].headers["authorization"], "Basic dXNlcjpzZWNyZXQ=");
    let seen = &other.requests()[0].headers;
    assert!(!seen.contains_key("authorization") && !seen.contains_key("referer"), "{seen:?}");
    assert!(!built.stderr.lines().any(|line| line.contains("fetching") && line.contains("secret")));
    // The name is that of the address as written, not of where it leads.
    assert_eq!(place.names(), ["d/f"]);
}

#[test]
fn redirects_end() {
    let server =
        WebServer::start(|request, _| Answer::status(302).with("Location", format!("{}x", request.path)));
    let place = Place::new();
    place
        .dockerfile(&format!("FROM scratch\nADD {} /f\n", server.url("/f")))
        .fails_with(&["Dockerfile:2", "stopped after 10 redirects"]);
}

#[test]
fn archives_are_taken_apart_when_asked() {
    let server = WebServer::start(|_, _| Answer::file(gzip(&tar_of("in/it", "text", &[]))));
    let place = Place::new();
    let url = server.url("/a.tgz");
    place.write("context/local.tar", "");
    std::fs::write(place.at("context/local.tar"), tar_of("in/it", "text", &[])).unwrap();
    place
        .dockerfile(&format!(
            "FROM scratch\nADD {url} /plain/\nADD --unpack=true {url} /apart/\nADD --unpack=false local.tar /whole/\nADD local.tar /local/\n"
        ))
        .success();
    assert_eq!(place.names(), ["apart/in/it", "local/in/it", "plain/a.tgz", "whole/local.tar"]);
    assert_eq!(place.result()["apart/in/it"].owner, (7, 8));
}

/// A repository served by `git daemon`, and the commits in it.
struct Repository {
    daemon: std::process::Child,
    url: String,
    first: String,
    second: String,
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

const FIRST_COMMIT_SECONDS: u64 = 1_500_000_000;
const SECOND_COMMIT_SECONDS: u64 = 1_500_000_100;

impl Repository {
    /// Serves a repository with two commits, a tag `v1` of the first, a branch `other` of it, and a submodule.
    fn serve(place: &Place) -> Self {
        let base = place.at("repositories");
        let (app, module) = (base.join("app"), base.join("module"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("git://127.0.0.1:{port}");
        std::fs::create_dir_all(&base).unwrap();
        let git = |directory: &Path, time: u64, arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(directory).args(arguments);
            for (name, value) in [
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_AUTHOR_NAME", "a"),
                ("GIT_AUTHOR_EMAIL", "a@example.com"),
                ("GIT_COMMITTER_NAME", "a"),
                ("GIT_COMMITTER_EMAIL", "a@example.com"),
            ] {
                command.env(name, value);
            }
            command.env("GIT_AUTHOR_DATE", format!("@{time} +0000"));
            command.env("GIT_COMMITTER_DATE", format!("@{time} +0000"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        // Not through `git`, which would leave the daemon behind when it is killed.
        let programs = PathBuf::from(run("git", ["--exec-path"]).trim());
        let daemon = Command::new(programs.join("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let init = |directory: &Path| {
            git(&base, 0, &["init", "-q", "-b", "main", directory.to_str().unwrap()]);
        };
        init(&module);
        std::fs::write(module.join("inner"), "inner").unwrap();
        git(&module, FIRST_COMMIT_SECONDS, &["add", "."]);
        git(&module, FIRST_COMMIT_SECONDS, &["commit", "-qm", "module"]);
        init(&app);
        std::fs::create_dir_all(app.join("sub/dir")).unwrap();
        std::fs::write(app.join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
        std::fs::write(app.join(".dockerignore"), "sub\n").unwrap();
        std::fs::write(app.join("sub/dir/file"), "first").unwrap();
        std::fs::write(app.join("run"), "#!/bin/sh\n").unwrap();
        run("chmod", [std::ffi::OsStr::new("700"), app.join("run").as_os_str()]);
        git(&app, FIRST_COMMIT_SECONDS, &["add", "."]);
        git(&app, FIRST_COMMIT_SECONDS, &["commit", "-qm", "one"]);
        git(&app, FIRST_COMMIT_SECONDS, &["tag", "-a", "-m", "tag", "v1"]);
        git(&app, FIRST_COMMIT_SECONDS, &["branch", "other"]);
        let first = git(&app, 0, &["rev-parse", "HEAD"]);
        std::fs::write(app.join("sub/dir/file"), "second").unwrap();
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        git(
            &app,
            SECOND_COMMIT_SECONDS,
            &["submodule", "--quiet", "add", &format!("{url}/module/.git"), "module"],
        );
        git(&app, SECOND_COMMIT_SECONDS, &["add", "."]);
        git(&app, SECOND_COMMIT_SECONDS, &["commit", "-qm", "two"]);
        let second = git(&app, 0, &["rev-parse", "HEAD"]);
        Self { daemon, url: format!("{url}/app/.git"), first, second }
    }
}

#[test]
fn statement_146_files_of_repositories() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    let (url, first) = (&repository.url, &repository.first);
    place
        .dockerfile(&format!(
            "FROM scratch\nADD {url} /main/\nADD {url}#v1 /tag/\nADD {url}#other:sub/dir /sub/\nADD {url}#{first}:sub /commit/\n\
             ADD {url}?submodules=false&branch=main /flat/\nADD --checksum={first} {url}#v1:sub /checked/\n"
        ))
        .success();
    let result = place.result();
    let names: Vec<&str> = result.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "checked/dir/file",
            "commit/dir/file",
            "flat/.dockerignore",
            "flat/.gitmodules",
            "flat/Dockerfile",
            "flat/run",
            "flat/sub/dir/file",
            "main/.dockerignore",
            "main/.gitmodules",
            "main/Dockerfile",
            "main/module/inner",
            "main/run",
            "main/sub/dir/file",
            "sub/file",
            "tag/.dockerignore",
            "tag/Dockerfile",
            "tag/run",
            "tag/sub/dir/file",
        ]
    );
    assert_eq!(result["main/sub/dir/file"].content, "second");
    assert_eq!(result["tag/sub/dir/file"].content, "first");
    assert_eq!((result["main/run"].mode, result["main/Dockerfile"].mode), (0o755, 0o644));
    assert_eq!(result["main/run"].owner, (0, 0));
}

#[test]
fn repositories_are_keyed_by_commit_and_content() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    let text = format!("FROM scratch\nADD {}#other:sub /a/\n", repository.url);
    place.image(&text);
    let (again, _) = place.image(&text);
    assert!(again.stderr.contains("CACHED") && !again.stderr.contains("fetching"), "{}", again.stderr);
}

#[test]
fn a_git_directory_is_kept_when_asked() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    place
        .dockerfile(&format!("FROM scratch\nADD --keep-git-dir=true {}#other /r/\n", repository.url))
        .success();
    let names = place.names();
    assert!(names.contains(&"r/.git/HEAD".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("FETCH_HEAD") || name.contains("hooks/")), "{names:?}");
    assert_eq!(place.result()["r/.git/HEAD"].content.trim(), repository.first);
}

#[test]
fn wrong_repositories_name_the_line() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    let (url, second) = (&repository.url, &repository.second);
    for (instruction, parts) in [
        (format!("ADD {url}#nothing /"), &["Dockerfile:2", "does not contain ref nothing"][..]),
        (format!("ADD {url}#main:run /"), &["Dockerfile:2", "`run` is not a directory"]),
        (format!("ADD --checksum={second} {url}#v1 /"), &["Dockerfile:2", "expected checksum to match"]),
        (format!("ADD --checksum=xyz {url} /"), &["expected hex commit hash"]),
        (format!("ADD {url}?what=ever /"), &["Dockerfile:2", "unexpected query \"what\""]),
        (format!("ADD --keep-git-dir=true {url}?keep-git-dir=false /"), &["inconsistent keep-git-dir"]),
        (format!("COPY {url} /"), &["source can't be a git ref for COPY"]),
        (format!("ADD {}x /", url), &["Dockerfile:2", "git ls-remote failed"]),
    ] {
        place.dockerfile(&format!("FROM scratch\n{instruction}\n")).fails_with(parts);
    }
}

#[test]
fn a_repository_as_context() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    let url = &repository.url;
    place.build(&[&format!("{url}#v1")]).success();
    // Statement 242: its ignore file is a file like any other.
    assert_eq!(place.names(), [".dockerignore", "Dockerfile", "run", "sub/dir/file"]);
    place.build(&["--build-arg", "SOURCE_DATE_EPOCH=context", url]).success();
    assert_eq!(place.result()["run"].mtime, SECOND_COMMIT_SECONDS);
    place.build_from_stdin(b"FROM scratch\nCOPY run /only\n", &["-f", "-", url]).success();
    assert_eq!(place.names(), ["only"]);
    place
        .build_from_stdin(b"FROM scratch\nCOPY file /only\n", &["-f", "-", &format!("{url}#main:sub/dir")])
        .success();
    place.build(&["-f", "none", url]).fails_with(&["there is no `none` in the build context"]);
}

#[test]
fn named_contexts_on_other_machines() {
    require!("git");
    let place = Place::new();
    let repository = Repository::serve(&place);
    let server = WebServer::start(|_, _| Answer::file("text").with("Last-Modified", LAST_MODIFIED));
    place.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY --from=git sub/dir/file /a\nCOPY --from=web context /b\n",
    );
    let contexts = [format!("git={}#v1", repository.url), format!("web={}", server.url("/x"))];
    place.build(&["--build-context", &contexts[0], "--build-context", &contexts[1], "context"]).success();
    assert_eq!(place.names(), ["a", "b"]);
    assert_eq!(place.result()["b"].mtime, LAST_MODIFIED_SECONDS);
}

#[test]
fn standard_input_as_context() {
    let place = Place::new();
    let dockerfile = "FROM scratch\nCOPY . /\n";
    let plain = tar_of("Dockerfile", dockerfile, &[(".dockerignore", "x\n"), ("x", "text")]);
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for archive in [plain.clone(), gzip(&plain), zstd] {
        place.build_from_stdin(&archive, &["-"]).success();
        assert_eq!(place.names(), [".dockerignore", "Dockerfile", "x"]);
        // Owners of an archive stay.
        assert_eq!(place.result()["x"].owner, (7, 8));
        assert_eq!(place.result()["x"].mode, 0o640);
    }
    let other = tar_of("sub/dockerfile", dockerfile, &[]);
    place.build_from_stdin(&other, &["-f", "sub/Dockerfile", "-"]).success();
    place.build_from_stdin(b"FROM scratch\nCOPY <<x /\ntext\nx\n", &["-"]).success();
    assert_eq!(place.names(), ["x"]);
    place
        .build_from_stdin(b"FROM scratch\nCOPY x /\n", &["-"])
        .fails_with(&["`x` does not exist in the build context"]);
    place.build_from_stdin(b"FROM scratch\n", &["-f", "-", "-"]).fails_with(&["cannot be both"]);
    place.build_from_stdin(b"FROM scratch\n", &["-f", "x", "-"]).fails_with(&["two Dockerfiles"]);
    place.build_from_stdin(&plain[..530], &["-"]).fails_with(&["error"]);
}

#[test]
fn downloads_as_context() {
    let server = WebServer::start(|request, _| match &*request.path {
        "/a.tgz" => Answer::file(gzip(&tar_of("Dockerfile", "FROM scratch\nCOPY . /\n", &[("x", "text")]))),
        "/Dockerfile.web" => Answer::file("FROM scratch\nCOPY . /\n"),
        _ => Answer::status(404),
    });
    let place = Place::new();
    place.build(&[&server.url("/a.tgz")]).success();
    assert_eq!(place.names(), ["Dockerfile", "x"]);
    place.build(&[&server.url("/Dockerfile.web")]).success();
    assert_eq!(place.names(), ["context"]);
    place.build(&[&server.url("/gone")]).fails_with(&["invalid response status 404"]);
}

#[test]
fn statement_228_times_of_sources() {
    let server = WebServer::start(|_, _| Answer::file("text").with("Last-Modified", LAST_MODIFIED));
    let place = Place::new();
    let url = server.url("/f");
    place.write(
        "context/Dockerfile",
        &format!(
            "FROM scratch AS epoch\nADD {url} /\nFROM scratch AS two\nADD {url} /\nADD {url} /x\nFROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL epoch=$SOURCE_DATE_EPOCH\nCOPY Dockerfile /\n"
        ),
    );
    for (value, seconds) in [("epoch", "784111777"), ("EPOCH", "784111777"), ("context", ""), ("17", "17")] {
        let epoch = format!("SOURCE_DATE_EPOCH={value}");
        place.build(&["--build-arg", &epoch, "context"]).success();
        let plan = Command::new(env!("CARGO_BIN_EXE_kiln"))
            .env("KILN_STORE", place.at("store"))
            .current_dir(place.0.path())
            .args(["plan", "--format=json", "--build-arg", &epoch, "context"])
            .output()
            .unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        assert_eq!(plan["outputs"][0]["config"]["config"]["Labels"]["epoch"], seconds, "{value}");
    }
    for (value, message) in
        [("two", "exactly one remote ADD"), ("nothing", "invalid SOURCE_DATE_EPOCH: nothing")]
    {
        place
            .build(&["--build-arg", &format!("SOURCE_DATE_EPOCH={value}"), "context"])
            .fails_with(&[message]);
    }
}
