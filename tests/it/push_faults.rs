//! Pushes and pulls over a network that breaks: each ends whole, or with a clear error; a push leaves the name as it
//! was then.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use kiln::image::Blob;

use crate::pull::{Client, layer};
use crate::pull_faults::noise;
use crate::push::{assert_whole, push, stored};
use crate::support::bases;
use crate::support::fault::Fault::{
    self, Answer, CutAfter, CutRequestAfter, Early, Flip, Header, IgnoreRange, LoseAnswer, Redirect, Reset,
    Silence, Slow, SlowBody, Status,
};
use crate::support::fault::{FaultProxy, Rule};
use crate::support::registry::TestRegistry;
use crate::support::require;

/// Larger than half a shortest chunk can be, so that it can be sent in shorter requests.
const LARGE: usize = 3 << 20;

const MANY: usize = usize::MAX;

/// How a case ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The registry has the image.
    Whole,
    /// An error with this text; the name stands for what it stood for.
    Fails(&'static str),
    /// An error with this text, although the registry has the image.
    Suspects(&'static str),
}
use End::{Fails, Suspects, Whole};

struct Case {
    name: &'static str,
    rules: Vec<Rule>,
    end: End,
    /// The repository in which the layers have been seen; it has them.
    seen: bool,
}

/// The requests of a method whose path holds `part`: after `skip` of them `count` are struck.
fn rule(method: &'static str, part: &'static str, skip: usize, count: usize, fault: Fault) -> Rule {
    Rule { method, part, from_length: 0, skip, count, fault }
}

/// The same for the requests that carry much.
fn large(method: &'static str, skip: usize, count: usize, fault: Fault) -> Rule {
    Rule { method, part: "/blobs/uploads/", from_length: 100_000, skip, count, fault }
}

fn answer(status: u16, header: &str) -> Fault {
    Answer { status, header: header.to_owned(), body: String::new() }
}

fn header(name: &'static str, value: &str) -> Fault {
    Header(name, Some(value.to_owned()))
}

/// Makes the registry ask for chunks.
fn chunks() -> Rule {
    rule("POST", "/blobs/uploads/", 0, MANY, header("OCI-Chunk-Max-Length", "700000"))
}

const TAG: &str = "/manifests/1";
const BLOB: &str = "/blobs/sha256:";
const UPLOADS: &str = "/blobs/uploads/";

fn cases(elsewhere: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, end, rules| cases.push(Case { name, rules, end, seen: false });
    let forbidden = || Answer {
        status: 403,
        header: "X-Fault: 1".into(),
        body: r#"{"errors":[{"code":"DENIED","message":"quota is used up"}]}"#.into(),
    };
    // The question what the name stands for.
    case("HEAD tag: 500 once", Whole, vec![rule("HEAD", TAG, 0, 1, Status(500))]);
    case("HEAD tag: 503 always", Fails("503"), vec![rule("HEAD", TAG, 0, MANY, Status(503))]);
    case("HEAD tag: no answer once", Whole, vec![rule("HEAD", TAG, 0, 1, Reset)]);
    case("HEAD tag: no answer ever", Fails("broke"), vec![rule("HEAD", TAG, 0, MANY, Reset)]);
    case("HEAD tag: 401", Fails("kiln login"), vec![rule("HEAD", TAG, 0, MANY, Status(401))]);
    case("HEAD tag: 429, at once", Whole, vec![rule("HEAD", TAG, 0, 2, answer(429, "Retry-After: 0"))]);
    case(
        "HEAD tag: 429, in a day",
        Fails("429"),
        vec![rule("HEAD", TAG, 0, 1, answer(429, "Retry-After: 86400"))],
    );
    case(
        "HEAD tag: no digest",
        Whole,
        vec![rule("HEAD", TAG, 0, MANY, Header("Docker-Content-Digest", None))],
    );
    // The question for a blob.
    case("HEAD blob: 500 twice", Whole, vec![rule("HEAD", BLOB, 0, 2, Status(500))]);
    case("HEAD blob: 403", Fails("does not allow"), vec![rule("HEAD", BLOB, 0, MANY, Status(403))]);
    case("HEAD blob: slow", Whole, vec![rule("HEAD", BLOB, 0, 1, Slow(Duration::from_millis(200)))]);
    case(
        "HEAD blob: redirected",
        Whole,
        vec![rule("HEAD", BLOB, 0, MANY, Redirect { status: 307, to: elsewhere.into() })],
    );
    // The beginning of an upload.
    case("POST: 500 once", Whole, vec![rule("POST", UPLOADS, 0, 1, Status(500))]);
    case("POST: 429, at once", Whole, vec![rule("POST", UPLOADS, 0, 2, answer(429, "Retry-After: 0"))]);
    case("POST: 403", Fails("quota"), vec![rule("POST", UPLOADS, 0, MANY, forbidden())]);
    case("POST: 404", Fails("404"), vec![rule("POST", UPLOADS, 0, MANY, Status(404))]);
    case("POST: no answer once", Whole, vec![rule("POST", UPLOADS, 0, 1, Reset)]);
    case("POST: answer lost", Whole, vec![rule("POST", UPLOADS, 0, 1, LoseAnswer)]);
    case(
        "POST: no location",
        Fails("where to send"),
        vec![rule("POST", UPLOADS, 0, MANY, Header("Location", None))],
    );
    case(
        "POST: an impossible chunk",
        Whole,
        vec![rule("POST", UPLOADS, 0, MANY, header("OCI-Chunk-Max-Length", "0"))],
    );
    case("POST: chunks", Whole, vec![chunks()]);
    // The upload in one request.
    case("PUT: cut in the middle", Whole, vec![large("PUT", 0, 1, CutRequestAfter(1_000_000))]);
    case("PUT: cut at the beginning", Whole, vec![large("PUT", 0, 1, CutRequestAfter(0))]);
    case(
        "PUT: cut again and again",
        Whole,
        vec![
            large("PUT", 0, 1, CutRequestAfter(900_000)),
            large("PATCH", 0, 1, CutRequestAfter(900_000)),
            large("PATCH", 0, 1, CutRequestAfter(300_000)),
            large("PATCH", 0, 1, CutRequestAfter(300_000)),
            large("PATCH", 0, 1, CutRequestAfter(300_000)),
        ],
    );
    case("PUT: no answer ever, so chunks", Whole, vec![large("PUT", 0, MANY, Reset)]);
    case("PUT: no answer once", Whole, vec![large("PUT", 0, 1, Reset)]);
    case("PUT: 500 twice", Whole, vec![large("PUT", 0, 2, Status(500))]);
    case("PUT: 500 at once", Whole, vec![large("PUT", 0, 1, Early(500))]);
    case("PUT: 408", Whole, vec![large("PUT", 0, 1, Status(408))]);
    case("PUT: 429", Whole, vec![large("PUT", 0, 1, answer(429, "Retry-After: 0"))]);
    case("PUT: 400", Fails("400"), vec![large("PUT", 0, MANY, Status(400))]);
    case("PUT: answer lost", Whole, vec![large("PUT", 0, 1, LoseAnswer)]);
    case("PUT: 404, the session is gone", Whole, vec![large("PUT", 0, 1, Status(404))]);
    case("PUT: 404 always", Fails("404"), vec![large("PUT", 0, MANY, Status(404))]);
    case("PUT: 413", Whole, vec![large("PUT", 0, MANY, Status(413))]);
    case("PUT: 413 at once", Whole, vec![large("PUT", 0, MANY, Early(413))]);
    case("PUT and PATCH: 413", Fails("413"), vec![large("", 0, MANY, Status(413))]);
    case("PUT: redirected", Whole, vec![large("PUT", 0, 1, Redirect { status: 307, to: elsewhere.into() })]);
    case(
        "PUT: another digest",
        Fails("damaged"),
        vec![large("PUT", 0, 1, header("Docker-Content-Digest", "sha256:00"))],
    );
    case("PUT: slow", Whole, vec![large("PUT", 0, 1, Slow(Duration::from_millis(300)))]);
    // The question how far it came.
    for (name, count, fault) in [
        ("GET status: 500 once", 1, Status(500)),
        ("GET status: 404", 1, Status(404)),
        ("GET status: not known", MANY, Status(405)),
        ("GET status: less than it has", 1, header("Range", "0-499")),
        ("GET status: more than it has", 1, header("Range", "0-1999999")),
        ("GET status: more than there is", 1, header("Range", "0-99999999")),
        ("GET status: no number", 1, header("Range", "all of it")),
    ] {
        let cut = large("PUT", 0, 1, CutRequestAfter(1_000_000));
        case(name, Whole, vec![cut, rule("GET", UPLOADS, 0, count, fault)]);
    }
    // The upload in several requests.
    let mut in_chunks = |name, end, mut rules: Vec<Rule>| {
        rules.push(chunks());
        case(name, end, rules);
    };
    in_chunks("PATCH: cut", Whole, vec![large("PATCH", 1, 1, CutRequestAfter(300_000))]);
    in_chunks("PATCH: 500", Whole, vec![large("PATCH", 1, 1, Status(500))]);
    in_chunks("PATCH: answer lost", Whole, vec![large("PATCH", 1, 1, LoseAnswer)]);
    in_chunks("PATCH: 404, the session is gone", Whole, vec![large("PATCH", 2, 1, Status(404))]);
    in_chunks("PATCH: 416 once", Whole, vec![large("PATCH", 1, 1, Status(416))]);
    in_chunks("PATCH: 416 always", Fails("416"), vec![large("PATCH", 1, MANY, Status(416))]);
    in_chunks("PATCH: refused", Whole, vec![large("PATCH", 0, MANY, Status(405))]);
    in_chunks("PATCH: has less than it got", Whole, vec![large("PATCH", 0, 1, header("Range", "0-99"))]);
    in_chunks("PATCH: has more than it got", Whole, vec![large("PATCH", 0, 1, header("Range", "0-2999999"))]);
    in_chunks("PATCH: has nothing", Whole, vec![large("PATCH", 0, 1, header("Range", "0-0"))]);
    in_chunks("PATCH: does not say", Whole, vec![large("PATCH", 0, MANY, Header("Range", None))]);
    in_chunks("last PUT: 500", Whole, vec![rule("PUT", UPLOADS, 0, 1, Status(500))]);
    in_chunks("last PUT: answer lost", Whole, vec![rule("PUT", UPLOADS, 0, 3, LoseAnswer)]);
    // The documents.
    case("PUT manifest: 500 twice", Whole, vec![rule("PUT", TAG, 0, 2, Status(500))]);
    case("PUT manifest: 500 always", Fails("500"), vec![rule("PUT", TAG, 0, MANY, Status(500))]);
    case("PUT manifest: 403", Fails("quota"), vec![rule("PUT", TAG, 0, MANY, forbidden())]);
    case("PUT manifest: 400", Fails("400"), vec![rule("PUT", TAG, 0, MANY, Status(400))]);
    case("PUT manifest: cut", Whole, vec![rule("PUT", TAG, 0, 1, CutRequestAfter(20))]);
    case("PUT manifest: no answer once", Whole, vec![rule("PUT", TAG, 0, 1, Reset)]);
    case("PUT manifest: answer lost", Whole, vec![rule("PUT", TAG, 0, 1, LoseAnswer)]);
    case(
        "PUT manifest: another digest",
        Suspects("damaged"),
        vec![rule("PUT", TAG, 0, 1, header("Docker-Content-Digest", "sha256:00"))],
    );
    // The mount.
    let mut mounts = |name, rules| cases.push(Case { name, rules, end: Whole, seen: true });
    mounts("mount: 403", vec![rule("POST", "mount=", 0, MANY, Status(403))]);
    mounts("mount: 500 once", vec![rule("POST", "mount=", 0, 1, Status(500))]);
    mounts("mount: 500 always", vec![rule("POST", "mount=", 0, MANY, Status(500))]);
    mounts("mount: 404", vec![rule("POST", "mount=", 0, MANY, Status(404))]);
    mounts("mount: answer lost", vec![rule("POST", "mount=", 0, 1, LoseAnswer)]);
    cases
}

/// What the cases share.
struct Ground {
    server: TestRegistry,
    /// The layout of the image that is pushed.
    layout: PathBuf,
    /// Pushes what the name stood for before.
    builder: Client,
    old: Blob,
}

impl Ground {
    fn new() -> Self {
        let server = TestRegistry::start();
        let layout = server.folder().join("layout");
        let layers = vec![layer("noise", &noise(LARGE)), layer("small", b"x")];
        bases::write_layout(&layout, "1", &[bases::Image::new(layers)]);
        let builder = Client::new();
        let old = stored(&builder, vec![layer("old", b"old")]);
        let ground = Self { server, layout, builder, old };
        let seen = ground.image(&ground.builder);
        push(&ground.builder, &format!("{}/seen:1", ground.server.host()), &seen).unwrap();
        ground
    }

    fn image(&self, client: &Client) -> Blob {
        kiln::archive::open_layout(&client.store, &self.layout, None).unwrap()
    }

    /// Runs a case; returns what is wrong with its end.
    fn run(&self, number: usize, case: Case) -> Option<String> {
        let name = |host: String| format!("{host}/case{number}:1");
        let direct = name(self.server.host());
        push(&self.builder, &direct, &self.old).unwrap();
        let proxy = FaultProxy::with_rules(&self.server.host(), case.rules);
        let client = Client::new();
        let root = self.image(&client);
        if case.seen {
            note_seen(&client, &root, &format!("{}/seen", proxy.host()));
        }
        let result = push(&client, &name(proxy.host()), &root);
        let named = Client::new().resolve(&direct).unwrap().manifest;
        let expected = if matches!(case.end, Fails(_)) { self.old.digest } else { root.digest };
        let ends_well = match (&result, case.end) {
            (Ok(_), Whole) => true,
            (Err(error), Fails(text) | Suspects(text)) => chain(error).contains(text),
            _ => false,
        };
        if ends_well && named == expected {
            if named == root.digest {
                assert_whole(&direct, &root);
            }
            return None;
        }
        let told = result.as_ref().map_or_else(|error| chain(error), |_| "whole".to_owned());
        let requests = proxy.requests("");
        let requests = requests
            .iter()
            .map(|request| format!("  {} {:.60} {}\n", request.method, request.path, request.length));
        Some(format!("{}: {told}; named {named}\n{}", case.name, requests.collect::<String>()))
    }
}

#[test]
fn a_push_ends_whole_or_leaves_the_name_as_it_was() {
    require!("docker-registry");
    let ground = Ground::new();
    let elsewhere = FaultProxy::with_rules(&ground.server.host(), Vec::new());
    let cases: VecDeque<_> = cases(&elsewhere.host()).into_iter().enumerate().collect();
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((number, case)) = { cases.lock().unwrap().pop_front() } {
                    wrong.lock().unwrap().extend(ground.run(number, case));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn note_seen(client: &Client, root: &Blob, repository: &str) {
    let image = kiln::assemble::read(&client.store, root, &kiln::oci::Platform::host()).unwrap();
    for layer in &image.layers {
        client.store.note_seen(&layer.blob.digest, &repository.parse().unwrap()).unwrap();
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Faults of pulls: whether a fresh store has the image in the end.
fn pull_cases(elsewhere: &str) -> Vec<(&'static str, bool, Vec<Rule>)> {
    let redirect = |status| Redirect { status, to: elsewhere.to_owned() };
    let manifest = "/manifests/sha256:";
    vec![
        ("HEAD tag: 500 once", true, vec![rule("HEAD", TAG, 0, 1, Status(500))]),
        ("HEAD tag: no answer", true, vec![rule("HEAD", TAG, 0, 1, Reset)]),
        (
            "HEAD tag: no digest",
            true,
            vec![rule("HEAD", TAG, 0, MANY, Header("Docker-Content-Digest", None))],
        ),
        (
            "HEAD tag: another digest",
            false,
            vec![rule("HEAD", TAG, 0, 1, header("Docker-Content-Digest", "x"))],
        ),
        ("HEAD tag: 404", false, vec![rule("HEAD", TAG, 0, MANY, Status(404))]),
        ("HEAD tag: redirected", true, vec![rule("HEAD", TAG, 0, MANY, redirect(301))]),
        ("GET manifest: cut", true, vec![rule("GET", manifest, 0, 1, CutAfter(30))]),
        ("GET manifest: cut always", false, vec![rule("GET", manifest, 0, MANY, CutAfter(30))]),
        ("GET manifest: other bytes", false, vec![rule("GET", manifest, 0, MANY, Flip)]),
        ("GET manifest: 429", true, vec![rule("GET", manifest, 0, 2, answer(429, "Retry-After: 0"))]),
        (
            "GET manifest: 429, in a day",
            false,
            vec![rule("GET", manifest, 0, 1, answer(429, "Retry-After: 86400"))],
        ),
        ("GET manifest: redirected", true, vec![rule("GET", manifest, 0, MANY, redirect(308))]),
        ("GET blob: 500 twice", true, vec![rule("GET", BLOB, 0, 2, Status(500))]),
        ("GET blob: 500 always", false, vec![rule("GET", BLOB, 0, MANY, Status(500))]),
        ("GET blob: cut at its beginning", true, vec![rule("GET", BLOB, 0, 3, CutAfter(0))]),
        ("GET blob: cut in its middle", true, vec![rule("GET", BLOB, 1, 2, CutAfter(100_000))]),
        (
            "GET blob: cut, then all of it",
            true,
            vec![rule("GET", BLOB, 1, 2, CutAfter(100_000)), rule("GET", BLOB, 1, MANY, IgnoreRange)],
        ),
        ("GET blob: other bytes", false, vec![rule("GET", BLOB, 0, MANY, Flip)]),
        (
            "GET blob: longer than it is",
            true,
            vec![rule("GET", BLOB, 0, MANY, header("Content-Length", "99999999"))],
        ),
        (
            "GET blob: another part",
            false,
            vec![
                rule("GET", BLOB, 1, 2, CutAfter(100_000)),
                rule("GET", BLOB, 1, MANY, header("Content-Range", "bytes 5-9/10")),
            ],
        ),
        ("GET blob: 403", false, vec![rule("GET", BLOB, 0, MANY, Status(403))]),
        ("GET blob: 416", false, vec![rule("GET", BLOB, 0, MANY, Status(416))]),
        ("GET blob: redirected", true, vec![rule("GET", BLOB, 0, MANY, redirect(307))]),
        (
            "GET blob: redirected to itself",
            false,
            vec![rule("GET", BLOB, 0, MANY, answer(307, "Location: "))],
        ),
        ("GET blob: slow", true, vec![rule("GET", BLOB, 0, 1, Slow(Duration::from_millis(200)))]),
    ]
}

#[test]
fn a_pull_ends_whole_or_keeps_nothing_wrong() {
    require!("docker-registry");
    let ground = Ground::new();
    let elsewhere = FaultProxy::with_rules(&ground.server.host(), Vec::new());
    let mut wrong = Vec::new();
    for (name, whole, rules) in pull_cases(&elsewhere.host()) {
        let proxy = FaultProxy::with_rules(&ground.server.host(), rules);
        let client = Client::new();
        let image = client.resolve(&format!("{}/seen:1", proxy.host()));
        let result = image.and_then(|image| client.fetch(&image));
        let damaged = client.store.check().unwrap();
        if result.is_ok() != whole || !damaged.is_empty() {
            wrong.push(format!("{name}: {result:?}, damaged {damaged:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Not a fault, but what would be one if a time were set for whole requests.
#[test]
fn an_upload_may_take_long_as_long_as_it_moves() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let slow = large("PUT", 0, 1, SlowBody(Duration::from_millis(30)));
    let proxy = FaultProxy::with_rules(&server.host(), vec![slow]);
    // 160 pieces: nearly five seconds. The kernel buffers what it can, so it takes more than a few MB.
    let client = Client::with(|config| config.patience.silence = Duration::from_millis(1500));
    let root = stored(&client, vec![layer("noise", &noise(20 << 20))]);
    push(&client, &format!("{}/slow:1", proxy.host()), &root).unwrap();
    let uploads = proxy.requests(UPLOADS).into_iter().filter(|request| request.length > 1_000_000);
    assert_eq!(uploads.count(), 1, "it was sent in one request");
}

#[test]
fn nobody_waits_for_a_registry_that_is_silent() {
    require!("docker-registry");
    let ground = Ground::new();
    for (number, silent) in
        [rule("HEAD", TAG, 0, MANY, Silence), large("PUT", 0, MANY, Silence)].into_iter().enumerate()
    {
        let proxy = FaultProxy::with_rules(&ground.server.host(), vec![silent]);
        let client = Client::with(|config| {
            (config.patience.silence, config.patience.attempts) = (Duration::from_millis(500), 2);
        });
        let root = ground.image(&client);
        let failed = push(&client, &format!("{}/silent{number}:1", proxy.host()), &root).unwrap_err();
        assert!(failed.to_string().contains("did not answer in time"), "{failed}");
    }
}
