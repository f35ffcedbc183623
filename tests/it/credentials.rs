//! Secrets that are a host's credentials: what they open, and where they never go.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::web::{Answer, WebRequest, WebServer};
use crate::support::{require, run};

const SECRET: &str = "hunter2-and-more";

/// A directory with a store and a context.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        std::fs::create_dir(place.at("context")).unwrap();
        std::fs::write(place.at("secret"), format!("{SECRET}\n")).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Builds, with `ids` for names of the secret; returns whether that went well, and what was said.
    fn build(&self, dockerfile: &str, ids: &[&str]) -> (bool, String) {
        std::fs::write(self.at("context/Dockerfile"), dockerfile).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.env("KILN_STORE", self.at("store")).env_remove("SOURCE_DATE_EPOCH").stdin(Stdio::null());
        command.args(["build", "--progress=plain", "--output=type=oci,dest=image.tar"]);
        command.args(ids.iter().map(|id| format!("--secret=id={id},src=secret"))).arg("context");
        let output = command.current_dir(self.0.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains(SECRET), "{said}");
        (output.status.success(), said)
    }

    /// Fails if the secret, or what is made of it for a header, is in the store or in an image.
    fn assert_without_secret(&self) {
        // `x-access-token:` and the secret.
        let encoded = "eC1hY2Nlc3MtdG9rZW46aHVudGVyMi1hbmQtbW9yZQ";
        for entry in walkdir::WalkDir::new(self.0.path()).into_iter().map(Result::unwrap) {
            if entry.file_type().is_file() && entry.path() != self.at("secret") {
                let bytes = std::fs::read(entry.path()).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(SECRET) && !text.contains(encoded), "{}", entry.path().display());
            }
        }
    }
}

fn authorization(request: &WebRequest) -> Option<&str> {
    request.headers.get("authorization").map(String::as_str)
}

/// A server under another name than the address of the first.
fn elsewhere(server: &WebServer, path: &str) -> String {
    server.url(path).replace("127.0.0.1", "localhost")
}

#[test]
fn downloads_are_asked_for_with_the_secret_of_their_host() {
    let other = WebServer::start(|_, _| Answer::file("theirs"));
    let there = elsewhere(&other, "/theirs");
    let server = WebServer::start(move |request, _| {
        let expected = ["Bearer ", "Own "].map(|kind| format!("{kind}{SECRET}"));
        match (request.path.as_str(), authorization(request)) {
            ("/moved", _) => Answer::status(302).with("Location", there.clone()),
            (_, Some(given)) if expected.iter().any(|expected| expected == given) => {
                Answer::file("private").with("ETag", "\"1\"")
            }
            _ => Answer::status(401),
        }
    });
    let place = Place::new();
    let text = format!("FROM scratch\nADD {} /\n", server.url("/file"));
    let token = "HTTP_AUTH_TOKEN_127.0.0.1";
    for ids in [&[][..], &["HTTP_AUTH_TOKEN_localhost"], &["HTTP_AUTH_TOKEN_"], &["GIT_AUTH_TOKEN"]] {
        let (success, said) = place.build(&text, ids);
        assert!(!success && said.contains("401"), "{ids:?}: {said}");
    }
    assert!(server.requests().iter().all(|request| authorization(request).is_none()));
    let (success, said) = place.build(&text, &[token]);
    assert!(success, "{said}");
    // The secret is no part of what the step is made of, and the answer is not believed without asking.
    let (success, said) = place.build(&text, &[token, "unrelated"]);
    assert!(success && said.contains("CACHED"), "{said}");
    let (success, _) = place.build(&text, &[]);
    assert!(!success, "the server was asked with a secret that was not given");
    std::fs::write(place.at("secret"), format!("Own {SECRET}")).unwrap();
    let (success, said) = place.build(&text, &["HTTP_AUTH_HEADER_127.0.0.1"]);
    assert!(success, "{said}");
    let (success, said) = place.build(&format!("FROM scratch\nADD {} /\n", server.url("/moved")), &[token]);
    assert!(success, "{said}");
    assert!(!other.requests().is_empty());
    assert!(
        other.requests().iter().all(|request| authorization(request).is_none()),
        "{:?}",
        other.requests()
    );
    std::fs::write(place.at("secret"), format!("two\n{SECRET}")).unwrap();
    let (success, said) = place.build(&text, &[token]);
    assert!(!success && said.contains("the secret for this host"), "{said}");
    place.assert_without_secret();
}

/// Makes a bare repository that can be read as plain files over HTTP.
fn bare_repository(place: &Place) -> PathBuf {
    let (work, bare) = (place.at("work"), place.at("bare.git"));
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("file"), "private\n").unwrap();
    let (work, bare_text) = (work.display().to_string(), bare.display().to_string());
    run("git", ["init", "-q", "-b", "main", &work]);
    run("git", ["-C", &work, "add", "."]);
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    run("git", ["-C", &work].into_iter().chain(identity).chain(["commit", "-qm", "one"]));
    run("git", ["clone", "-q", "--bare", &work, &bare_text]);
    run("git", ["-C", &bare_text, "update-server-info"]);
    bare
}

fn file_below(directory: &Path, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or_default().trim_start_matches("/r.git/");
    std::fs::read(directory.join(path)).map_or_else(|_| Answer::status(404), Answer::file)
}

#[test]
fn repositories_are_asked_for_with_the_secret_of_their_host() {
    require!("git");
    let place = Place::new();
    let bare = bare_repository(&place);
    let files = bare.clone();
    let other = WebServer::start(move |request, _| file_below(&files, &request.path));
    let there = elsewhere(&other, "");
    let server = WebServer::start(move |request, _| {
        if let Some(rest) = request.path.strip_prefix("/moved.git") {
            return Answer::status(302).with("Location", format!("{there}/r.git{rest}"));
        }
        match authorization(request) {
            Some("basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMi1hbmQtbW9yZQ==") => file_below(&bare, &request.path),
            _ => Answer::status(401).with("WWW-Authenticate", "Basic"),
        }
    });
    let url = server.url("/r.git");
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    let text = format!("FROM scratch\nADD {url} /\n");
    for ids in [&[][..], &["GIT_AUTH_TOKEN.127.0.0.1"], &["HTTP_AUTH_TOKEN_127.0.0.1"]] {
        let (success, said) = place.build(&text, ids);
        assert!(!success && said.contains("Dockerfile:2"), "{ids:?}: {said}");
    }
    assert!(server.requests().iter().all(|request| authorization(request).is_none()));
    for id in ["GIT_AUTH_TOKEN".to_owned(), format!("GIT_AUTH_TOKEN.{host}")] {
        let (success, said) = place.build(&text, &[&id]);
        assert!(success, "{said}");
    }
    let (success, said) =
        place.build(&format!("FROM scratch\nADD --keep-git-dir=true {url} /\n"), &["GIT_AUTH_TOKEN"]);
    assert!(success, "{said}");
    // Git would take the header along to the new host, so with one it goes nowhere else.
    let moved = format!("FROM scratch\nADD {} /\n", server.url("/moved.git"));
    let (success, said) = place.build(&moved, &["GIT_AUTH_TOKEN"]);
    assert!(!success && said.contains("redirect"), "{said}");
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    let (success, said) = place.build(&moved, &[]);
    assert!(success, "{said}");
    place.assert_without_secret();
}
