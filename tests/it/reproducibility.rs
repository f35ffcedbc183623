//! The result depends on the inputs alone.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use crate::support::kiln::{EPOCH, Kiln, ended};
use crate::support::listing::Image;
use crate::support::skip;

/// Enough files that several threads take part in every order.
fn fill(kiln: &Kiln, context: &str, reverse: bool) {
    let mut numbers: Vec<usize> = (0..300).collect();
    if reverse {
        numbers.reverse();
    }
    for number in numbers {
        let content = format!("{number}\n").repeat(number * 10);
        kiln.write(&format!("{context}/files/{}/{number}", number % 7), content);
    }
    kiln.write(&format!("{context}/Dockerfile"), DOCKERFILE);
}

const DOCKERFILE: &str = "\
FROM busybox AS one
COPY files /files
RUN cat /files/1/* > /one
FROM busybox AS two
RUN mkdir /d && for n in 9 3 7 1; do echo $n > /d/$n; done && ln /d/9 /d/0
FROM busybox
WORKDIR /app
COPY --from=one /one /files /app/
COPY --from=two /d /d
ENV A=1 B=2
LABEL b=1 a=2
RUN echo done > /done
";

#[test]
fn directories_threads_and_the_clock_do_not_count() {
    let Some(first) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let second = Kiln::with_busybox().unwrap();
    fill(&first, "context", false);
    fill(&second, "elsewhere", true);
    let (expected, _) = first.image("context");
    // Files are written a second later, too.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    fill(&first, "copied", true);
    for (kiln, line) in [
        (&second, "elsewhere"),
        (&first, "--no-cache --jobs 1 context"),
        (&first, "--no-cache --jobs 8 copied"),
        (&second, "--jobs 1 elsewhere"),
    ] {
        let (image, _) = kiln.image(line);
        assert_eq!(image.manifest, expected.manifest, "{line}");
        assert_eq!(image.digest, expected.digest, "{line}");
    }
}

/// A copy that is done for the first time is packed before its key is known; nothing of that shows, whatever
/// it stands on and whether or not it had to be packed again because a file has capabilities.
#[test]
fn packing_ahead_does_not_show() {
    let Some(first) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let second = Kiln::with_busybox().unwrap();
    let dockerfiles = [
        "FROM scratch\nCOPY . /\n",
        "FROM busybox\nCOPY files/1 files/2 /etc/\n",
        "FROM busybox\nWORKDIR /app\nCOPY --chown=daemon --chmod=640 files .\n",
        "FROM busybox\nWORKDIR /app\nCOPY --link --chown=7 files /app\nCOPY . /other\n",
        "FROM scratch\nCOPY --parents files/*/1? /\nCOPY --exclude=**/3 files /\n",
    ];
    for kiln in [&first, &second] {
        for (number, dockerfile) in dockerfiles.iter().enumerate() {
            fill(kiln, &format!("context{number}"), false);
            kiln.write(&format!("context{number}/Dockerfile"), *dockerfile);
        }
        // What is packed ahead does not have it.
        let value = [1_u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let path = kiln.at("context2/files/2/2");
        if let Err(errno) =
            rustix::fs::setxattr(&path, "security.capability", &value, rustix::fs::XattrFlags::empty())
        {
            eprintln!("cannot set capabilities here ({errno}): not tested with them");
        }
    }
    for (number, dockerfile) in dockerfiles.iter().enumerate() {
        // On the second store each copy was done before, of other files.
        let file = format!("context{number}/files/1/1");
        let content = std::fs::read(second.at(&file)).unwrap();
        second.write(&file, "other");
        second.image(&format!("context{number}"));
        second.write(&file, content);
        let lines = ["", "--jobs 8 "].map(|jobs| format!("--no-cache {jobs}context{number}"));
        let expected = second.image(&lines[0]).0;
        let ahead = first.image(&format!("context{number}")).0;
        assert_eq!(ahead.manifest, expected.manifest, "{dockerfile}");
        assert_eq!(first.image(&lines[1]).0.manifest, expected.manifest, "{dockerfile}");
    }
}

/// While a command runs, what it has written so far is compressed; nothing of that shows, whatever it does to it later.
#[test]
fn preparing_does_not_show() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile("FROM busybox\nRUN --mount=type=bind,target=/in sh -e /in/work.sh\n");
    // Some of it compresses.
    let noise: Vec<u8> =
        (0..200_000_u32).map(|n| if n % 3 == 0 { 0 } else { (n.wrapping_mul(n) >> 7) as u8 }).collect();
    kiln.write("context/noise", noise);
    kiln.write(
        "context/work.sh",
        "\
mkdir /d
for n in 1 2 3 4 5 6 7 8 9; do mkdir /d/$n; cp /in/noise /d/$n/a; ln /d/$n/a /d/$n/b; echo $n > /d/$n/c; done
for n in 1 2 3 4 5 6 7 8 9; do cat /d/*/a > /d/large; done
ln -s large /d/link
sleep $(cat /in/pause)
echo more >> /d/2/a
tr '\\0' '\\1' < /in/noise > /d/3/a
rm -r /d/4
mv /d/5 /d/0
rm /d/6/a; mkdir /d/6/a
ln -sf /in/noise /d/7/c
chmod 600 /d/8/a
cat /in/noise >> /d/large
rm /etc/group; cp /d/1/c /etc/passwd
",
    );
    let build = |pause: &str, isolation: &str| {
        kiln.write("context/pause", pause);
        kiln.image(&format!("--no-cache --isolation {isolation} context")).0
    };
    let expected = build("0", "auto");
    for isolation in ["auto", "chroot"] {
        let slow = build("1.5", isolation);
        assert_eq!(slow.manifest, expected.manifest, "{isolation}");
    }
}

/// An archive is written while its layers are made. Nothing of that shows: not in the archive, nor in the directory where it
/// will be, which is a context here, nor after a build that fails.
#[test]
fn an_archive_that_grows_does_not_show() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    fill(&kiln, "context", false);
    let steps = "FROM busybox\nWORKDIR /app\nCOPY files /files\nRUN echo 1 > /1\nCOPY --from=out . /out\nRUN echo 2 > /2\n";
    kiln.write("out/.dockerignore", "*.tar\n");
    let listed = || {
        let names = std::fs::read_dir(kiln.at("out")).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let build = |form: &str, isolation: &str| {
        let output = format!("type={form},dest=out/image.tar,rewrite-timestamp=true");
        let line = format!("--isolation {isolation} --build-context out=out --output {output} context");
        ended(kiln.build_command().env("SOURCE_DATE_EPOCH", EPOCH).args(line.split(' ')))
    };
    let forms = ["oci", "docker", "oci,compression=zstd", "oci,compression=uncompressed"];
    for (number, form) in forms.into_iter().enumerate() {
        for isolation in ["auto", "chroot"] {
            kiln.write("context/Dockerfile", steps);
            kiln.write("context/files/new", format!("{number} {isolation}"));
            let archive = || std::fs::read(kiln.at("out/image.tar")).unwrap();
            let [grown, written] = [(); 2].map(|()| {
                build(form, isolation).success();
                archive()
            });
            assert!(grown == written, "{form} {isolation}");
            kiln.write("context/Dockerfile", format!("{steps}RUN exit 3\n"));
            assert_eq!(build(form, isolation).code, Some(1), "{form} {isolation}");
            assert!(archive() == written, "{form} {isolation}");
            assert_eq!(listed(), [".dockerignore", "image.tar"].map(str::to_owned).into());
            if form != "docker" {
                let image = Image::read(&kiln.at("out/image.tar"));
                assert_eq!(image.layers.len(), 6, "{form} {isolation}");
            }
        }
    }
}

/// The files of a first copy are opened once. Later there may be a record, so the key comes before the layer: changed ones are
/// opened twice.
#[test]
fn a_first_copy_reads_its_files_once() {
    use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nCOPY file /\n");
    for (content, opened) in [("text", 1), ("other", 2)] {
        kiln.write("context/file", content);
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // Equal events in a row are told once, so what lies between two openings is told too.
        let flags = WatchFlags::OPEN | WatchFlags::CLOSE_NOWRITE;
        add_watch(&watch, kiln.at("context/file"), flags).unwrap();
        kiln.image("context");
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&watch, &mut buffer);
        let mut opens = 0;
        while let Ok(event) = events.next() {
            opens += usize::from(event.events().contains(ReadFlags::OPEN));
        }
        assert_eq!(opens, opened, "{content}");
    }
}

/// Without rewriting, the times of the inputs count, and those alone.
#[test]
fn with_equal_times_no_rewriting_is_needed() {
    let Some(first) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let second = Kiln::with_busybox().unwrap();
    let digests: Vec<String> = [&first, &second]
        .map(|kiln| {
            kiln.write("context/dir/file", "content");
            kiln.write("context/Dockerfile", "FROM busybox\nCOPY dir /dir\n");
            for name in ["context/dir/file", "context/dir"] {
                let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 987_654_321);
                std::fs::File::open(kiln.at(name)).unwrap().set_modified(time).unwrap();
            }
            let mut command = kiln.build_command();
            command.env("SOURCE_DATE_EPOCH", EPOCH).args([
                "-q",
                "--output",
                "type=oci,dest=image.tar",
                "context",
            ]);
            ended(&mut command).success();
            let image = crate::support::listing::Image::read(&kiln.at("image.tar"));
            assert_eq!(image.tree().0[&b"dir/file"[..]].mtime, 1_234_567_890);
            image.digest
        })
        .into();
    assert_eq!(digests[0], digests[1]);
}

/// Statements 123 and 229: a copied file keeps its time, cut to the second, and `SOURCE_DATE_EPOCH=context` sets nothing
/// where the context is a directory.
#[test]
fn a_directory_gives_files_their_times_and_the_image_none() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nCOPY file /\n");
    kiln.write("context/file", "x");
    let old = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_700);
    std::fs::File::open(kiln.at("context/file")).unwrap().set_modified(old).unwrap();
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    kiln.build("--build-arg SOURCE_DATE_EPOCH=context --output type=oci,dest=image.tar context").success();
    let image = Image::read(&kiln.at("image.tar"));
    let mut layer = tar::Archive::new(&*image.layers[0]);
    let times: Vec<u64> =
        layer.entries().unwrap().map(|entry| entry.unwrap().header().mtime().unwrap()).collect();
    assert_eq!(times, [1_000_000_000]);
    let created = kiln::time::Timestamp::parse(image.config["created"].as_str().unwrap()).unwrap();
    assert!(created.0 >= i64::try_from(began).unwrap(), "{created}");
}

/// What other builds on the store do to times does not show in builds that do not.
#[test]
fn rewritten_times_stay_where_they_were_asked_for() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.write("context/file", "text");
    kiln.dockerfile("FROM busybox\nCOPY file /made/file\nRUN echo a > /b\nWORKDIR /c\n");
    let build = |epoch: Option<&str>, output: &str| {
        let mut command = kiln.build_command();
        epoch.map(|epoch| command.env("SOURCE_DATE_EPOCH", epoch));
        ended(command.args(["--output", output, "context"])).success();
        Image::read(&kiln.at("image.tar"))
    };
    let (plain, rewriting) = ("type=oci,dest=image.tar", "type=oci,dest=image.tar,rewrite-timestamp=true");
    let first = build(None, plain);
    let rewritten = build(Some(EPOCH), rewriting);
    assert_eq!(build(None, plain).digest, first.digest);
    build(Some(EPOCH), plain);
    assert_eq!(build(None, plain).digest, first.digest);
    assert_eq!(build(Some(EPOCH), rewriting).digest, rewritten.digest);

    // The other way round: what was never packed with its own times is done again.
    kiln.dockerfile("FROM busybox\nRUN echo other > /b\n");
    build(Some(EPOCH), rewriting);
    let own = build(None, plain);
    let created = |image: &Image| image.config["created"].as_str().unwrap().to_owned();
    assert!(created(&own) > created(&rewritten), "{}", created(&own));
}
