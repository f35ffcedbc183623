//! The second build: what is not done again, what is, and what is said about it.

use std::time::{Duration, SystemTime};

use crate::support::kiln::{Kiln, ended};
use crate::support::skip;

const STAGES: &str = "\
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox AS made
COPY main.c lib.h /src/
RUN --mount=type=bind,from=tools,source=/tool,target=/tool cat /src/* /tool > /program
FROM busybox
COPY --from=made /program /program
COPY config /etc/config
";

/// How many steps of [`STAGES`] the cache answers, not counting bases.
const STEPS: usize = 5;

fn project() -> Option<Kiln> {
    let kiln = Kiln::with_busybox()?;
    kiln.dockerfile(STAGES);
    kiln.write("context/main.c", "main\n");
    kiln.write("context/lib.h", "library\n");
    kiln.write("context/config", "config\n");
    Some(kiln)
}

/// Returns the names of the steps that were done, without their numbers.
fn done(stderr: &str) -> Vec<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    let name = |number: &str| {
        let of_task = |line: &&&str| line.starts_with(&format!("{number} [")) && !line.contains("] FROM ");
        lines.iter().find(of_task).map(|line| line.split_once("] ").unwrap().1.to_owned())
    };
    let numbers = lines.iter().filter_map(|line| line.split_once(" DONE ")).map(|(number, _)| number);
    numbers.filter_map(name).collect()
}

#[test]
fn an_unchanged_build_does_nothing() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    // The time of the build is in the image: only the cache can make the manifests equal.
    let build = || {
        kiln.build("--progress plain --output type=oci,dest=layout,tar=false --metadata-file meta context")
            .success()
    };
    let digest = || std::fs::read_to_string(kiln.at("meta")).unwrap();
    let first = build();
    assert_eq!((first.count("CACHED"), done(&first.stderr).len()), (0, STEPS), "{}", first.stderr);
    let built = digest();
    std::thread::sleep(Duration::from_millis(1100));
    for touched in [false, true] {
        if touched {
            for name in ["main.c", "lib.h", "config", "Dockerfile", "."] {
                let path = kiln.at("context").join(name);
                std::fs::File::open(path).unwrap().set_modified(SystemTime::now()).unwrap();
            }
        }
        let again = build();
        assert!(done(&again.stderr).is_empty(), "{}", again.stderr);
        // The stages behind a cached copy need not be looked at.
        assert!(again.count("CACHED") >= 2, "{}", again.stderr);
        assert_eq!(digest(), built);
    }
}

#[test]
fn a_changed_input_rebuilds_what_depends_on_it_and_is_named() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.build("context").success();
    let rebuilt = |file: &str, content: &str| {
        kiln.write(file, content);
        let stderr = kiln.build("context").success().stderr;
        (done(&stderr), stderr)
    };

    let (steps, stderr) = rebuilt("context/config", "another\n");
    assert_eq!(steps, ["COPY config /etc/config"], "{stderr}");
    assert!(stderr.contains("not cached: ") && stderr.contains("config"), "{stderr}");

    let (steps, stderr) = rebuilt("context/lib.h", "another library\n");
    assert!(stderr.contains("lib.h"), "{stderr}");
    assert!(steps.iter().any(|step| step.starts_with("COPY main.c")), "{stderr}");
    assert!(steps.iter().any(|step| step.starts_with("RUN --mount")), "{stderr}");
    assert!(!steps.iter().any(|step| step.starts_with("RUN echo tool")), "{stderr}");

    // What comes out the same stops the rebuild: the comment is in the Dockerfile alone.
    let (steps, stderr) = rebuilt("context/Dockerfile", &format!("# a comment\n{STAGES}"));
    assert!(steps.is_empty(), "{stderr}");
}

#[test]
fn a_step_that_gives_the_same_again_stops_the_rebuild() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(
        "FROM busybox AS made\nCOPY input /\nRUN wc -l < /input > /result\n\
         FROM busybox\nCOPY --from=made /result /\nRUN cat /result > /last\n",
    );
    kiln.write("context/input", "one\n");
    kiln.build("context").success();
    kiln.write("context/input", "uno\n");
    let stderr = kiln.build("context").success().stderr;
    let steps = done(&stderr);
    assert_eq!(steps.len(), 2, "{stderr}");
    assert!(steps[0].starts_with("COPY input") && steps[1].starts_with("RUN wc"), "{stderr}");
}

#[test]
fn the_cache_can_be_told_not_to_answer() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.build("context").success();
    let everything = kiln.build("--no-cache context").success();
    assert_eq!(
        (everything.count("CACHED"), done(&everything.stderr).len()),
        (0, STEPS),
        "{}",
        everything.stderr
    );
    let one_stage = kiln.build("--no-cache-filter made context").success();
    let steps = done(&one_stage.stderr);
    assert!(steps.iter().any(|step| step.starts_with("COPY main.c")), "{}", one_stage.stderr);
    assert!(steps.iter().any(|step| step.starts_with("RUN --mount")), "{}", one_stage.stderr);
    assert!(!steps.iter().any(|step| step.starts_with("COPY config")), "{}", one_stage.stderr);
    assert!(!steps.iter().any(|step| step.starts_with("RUN echo")), "{}", one_stage.stderr);
}

#[test]
fn what_is_damaged_in_the_store_is_made_again() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let (image, _) = kiln.image("context");
    let blobs = |image: &crate::support::listing::Image| -> Vec<String> {
        let layers = image.manifest["layers"].as_array().unwrap();
        let digests =
            layers.iter().chain([&image.manifest["config"]]).map(|blob| blob["digest"].as_str().unwrap());
        digests.map(|digest| digest.replace("sha256:", "store/v1/blobs/sha256/")).collect()
    };
    for blob in blobs(&image) {
        for damage in ["gone", "cut", "empty"] {
            let path = kiln.at(&blob);
            match damage {
                "gone" => std::fs::remove_file(&path).unwrap(),
                "cut" => {
                    let bytes = std::fs::read(&path).unwrap();
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                }
                _ => {
                    std::fs::remove_file(&path).unwrap();
                    std::fs::write(&path, "").unwrap();
                }
            }
            // `image` also validates every digest of the archive.
            let (again, _) = kiln.image("context");
            assert_eq!(again.digest, image.digest, "{blob} {damage}");
        }
    }
}

#[test]
fn two_builds_use_one_store_at_the_same_time() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let both: Vec<_> = std::thread::scope(|scope| {
        let build = |number: usize| {
            let mut command = kiln.build_command();
            command.env("SOURCE_DATE_EPOCH", crate::support::kiln::EPOCH);
            command.args([
                "--output",
                &format!("type=oci,dest={number}.tar,rewrite-timestamp=true"),
                "context",
            ]);
            scope.spawn(move || ended(&mut command))
        };
        let running: Vec<_> = (0..4).map(build).collect();
        running.into_iter().map(|build| build.join().unwrap().success()).collect()
    });
    assert!(both.windows(2).all(|pair| pair[0].stdout == pair[1].stdout), "{both:?}");
    for number in 0..4 {
        crate::support::validate::assert_sound(&kiln.at(&format!("{number}.tar")));
    }
}

/// A context of a few layer blocks, with files of every size.
fn large_context(kiln: &Kiln) {
    kiln.dockerfile("FROM busybox\nCOPY . /all/\n");
    for number in 0..400_u32 {
        let size = if number % 97 == 50 { 1_500_000 } else { (number as usize * 389) % 17_000 };
        let mut state = number + 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        };
        kiln.write(&format!("context/{}/{number}", number % 7), (0..size).map(next).collect::<Vec<u8>>());
    }
    let old =
        std::fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    for entry in walkdir::WalkDir::new(kiln.at("context")) {
        std::fs::File::open(entry.unwrap().path()).unwrap().set_times(old).unwrap();
    }
}

#[test]
fn what_the_store_knows_of_earlier_layers_does_not_show() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    large_context(&kiln);
    let layer = |store: &str, jobs: &str, compression: &str| {
        let output = format!("type=oci,dest=out.tar,compression={compression}");
        let mut command = kiln.build_command();
        command.env("KILN_STORE", kiln.at(store)).env("SOURCE_DATE_EPOCH", "1800000000");
        ended(command.args(["--jobs", jobs, "--output", &output, "context"])).success();
        let image = crate::support::listing::Image::read(&kiln.at("out.tar"));
        crate::support::validate::assert_sound(&kiln.at("out.tar"));
        image.manifest["layers"][1]["digest"].as_str().unwrap().to_owned()
    };
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let check = |what: &str| {
        for compression in ["gzip", "zstd"] {
            let found = layer(&format!("used-{compression}"), "8", compression);
            let fresh = format!("fresh-{compression}-{what}");
            assert_eq!(found, layer(&fresh, "1", compression), "{compression}, {what}");
            assert!(
                seen.borrow_mut().insert(found),
                "{compression}, {what}: the layer is another one each time"
            );
        }
    };
    check("cold");
    kiln.write("context/3/150", "changed in the middle");
    check("changed");
    kiln.write("context/0/0", "grown\n".repeat(1000));
    check("front");
    std::fs::remove_file(kiln.at("context/3/395")).unwrap();
    check("removed");
    std::fs::rename(kiln.at("context/2"), kiln.at("context/5/moved")).unwrap();
    check("moved");
    // The blob, its table and the stat cache: each is a hint.
    for (what, directory) in [("blob", "blobs/sha256"), ("table", "blocks"), ("stat", "stat")] {
        for compression in ["gzip", "zstd"] {
            let store = kiln.at(&format!("used-{compression}/v1"));
            // Of the blobs only kiln's own layers: a damaged base is an error of its own.
            let names = if directory == "stat" { directory } else { "blocks" };
            for entry in std::fs::read_dir(store.join(names)).unwrap() {
                let path = store.join(directory).join(entry.unwrap().file_name());
                let mut bytes = std::fs::read(&path).unwrap();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
        }
        kiln.write("context/3/150", format!("changed again: {what}"));
        check(&format!("damaged {what}").replace(' ', "-"));
    }
}

/// What is changed between two builds.
enum Change {
    /// A file of the context gets this content.
    Write(&'static str, &'static str),
    /// A file of the context gets another name.
    Rename(&'static str, &'static str),
    /// A file of the context gets the time of now.
    Touch(&'static str),
}

use Change::{Rename, Touch, Write};

/// Statements 164, 200, 201, 203, 204, 205, 206 and 210, one after the other.
#[test]
fn what_counts_for_the_key_of_a_step() {
    const COPY_ONE: &str = "FROM scratch AS a\nCOPY a b /\nFROM scratch\nCOPY --from=a /a /x/\n";
    const ONTO: &str = "FROM scratch AS a\nCOPY a /\nFROM a\nCOPY ";
    const OWNED: &str = "FROM scratch AS a\nCOPY a /etc/passwd\nFROM a\nCOPY --chown=app b /\n";
    const LINKED: &str = "FROM scratch AS a\nCOPY a /\nFROM a\nCOPY --link b /\n";
    const CACHE: &str = "FROM busybox\nRUN --mount=type=cache,target=/c cat /proc/uptime > /c/x\nCOPY a /\n\
        RUN --mount=type=cache,target=/c ls /c > /seen\n";
    const BOUND: &str = "FROM busybox\nRUN --mount=type=bind,source=a,target=/a cat /a > /seen\n";
    const REBUILT: &str = "FROM scratch AS s\nCOPY a b /\nFROM busybox\n\
        RUN --mount=type=bind,from=s,source=/a,target=/a cat /a > /seen\n";
    const ARG: &str = "FROM busybox\nARG V=1\nRUN echo $V\n";
    let onto = format!("{ONTO}b /\n");
    let cases: &[(u16, &str, Change, &str, &[&str])] = &[
        (164, CACHE, Write("unrelated", "x"), "", &[]),
        (200, &onto, Touch("a"), "", &[]),
        (200, &onto, Touch("b"), "", &[]),
        (201, COPY_ONE, Write("b", "changed"), "", &["COPY a b /"]),
        (203, "FROM scratch\nCOPY [ab]* /\n", Rename("a", "ab"), "", &["COPY [ab]* /"]),
        (204, &onto, Write("a", "changed"), "", &["COPY a /", "COPY b /"]),
        (204, LINKED, Write("a", "changed"), "", &["COPY a /"]),
        (205, OWNED, Write("a", "app:x:7:7::/:\n"), "", &["COPY a /etc/passwd", "COPY --chown=app b /"]),
        (206, ARG, Write("unrelated", "x"), "--build-arg V=2", &["RUN echo 2"]),
        (206, ARG, Write("unrelated", "x"), "--build-arg HTTP_PROXY=http://192.0.2.1", &[]),
        (206, ARG, Write("unrelated", "x"), "--network none", &["RUN echo 1"]),
        (210, BOUND, Write("a", "changed"), "", &["RUN --mount=type=bind,source=a,target=/a cat /a > /seen"]),
        (210, BOUND, Write("b", "changed"), "", &[]),
        (210, REBUILT, Write("b", "changed"), "", &["COPY a b /"]),
    ];
    for (number, text, change, option, expected) in cases {
        let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
        kiln.dockerfile(text);
        kiln.write("context/a", "app:x:5:5::/:\n");
        kiln.write("context/b", "b\n");
        kiln.write("context/.dockerignore", "Dockerfile\n.dockerignore\nunrelated\n");
        kiln.build("context").success();
        match change {
            Write(name, content) => kiln.write(&format!("context/{name}"), content),
            Rename(from, to) => {
                std::fs::rename(kiln.at("context").join(from), kiln.at("context").join(to)).unwrap()
            }
            Touch(name) => {
                let file = std::fs::File::open(kiln.at("context").join(name)).unwrap();
                file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
            }
        }
        let line = format!("--progress plain {option} context");
        let stderr = kiln.build(line.replace("  ", " ").trim()).success().stderr;
        assert_eq!(done(&stderr), *expected, "statement {number}, {text}\n{stderr}");
    }
}
