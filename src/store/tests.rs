//! The store's promises, kept by real files, threads and processes.

use std::io::{Read as _, Write as _};
use std::process::Command;

use super::*;
use crate::graph::Sharing;
use crate::reference::Reference;
use crate::time::Timestamp;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn blob(bytes: &[u8]) -> Blob {
    Blob { media_type: "text/plain".into(), digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Everything is older than this.
const LATER: Timestamp = Timestamp(i64::MAX);
const NEVER: Timestamp = Timestamp(0);

#[test]
fn what_was_put_is_there() {
    let (_directory, store) = store();
    assert!(!store.contains(&blob(b"hello")));
    assert_eq!(store.put(b"hello").unwrap(), Digest::of(b"hello"));
    assert_eq!(store.put(b"hello").unwrap(), Digest::of(b"hello"));
    assert!(store.contains(&blob(b"hello")));
    assert_eq!(store.read_blob(&blob(b"hello")).unwrap(), b"hello");
    assert_eq!(fs::read(store.blob_path(&Digest::of(b"hello"))).unwrap(), b"hello");

    let mut writer = store.writer().unwrap();
    writer.write_all(b"hel").unwrap();
    writer.write_all(b"lo!").unwrap();
    assert_eq!(writer.commit().unwrap(), (Digest::of(b"hello!"), 6));
    assert!(store.contains(&blob(b"hello!")));
}

#[test]
fn a_writer_keeps_its_promise_or_leaves_nothing() {
    let (_directory, store) = store();
    let promised = blob(b"promised");
    for written in [&b"promise"[..], b"promised and more", b"PROMISED"] {
        let mut writer = store.writer().unwrap();
        writer.write_all(written).unwrap();
        let error = writer.commit_as(&promised).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    }
    let mut writer = store.writer().unwrap();
    writer.write_all(b"abandoned").unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(store.path("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(store.0.scratch.path()).unwrap().count(), 0);

    let mut writer = store.writer().unwrap();
    writer.write_all(b"promised").unwrap();
    writer.commit_as(&promised).unwrap();
    assert!(store.contains(&promised));
}

#[test]
fn a_blob_of_the_wrong_size_is_a_miss_and_is_replaced() {
    let (_directory, store) = store();
    store.put(b"whole").unwrap();
    fs::write(store.blob_path(&Digest::of(b"whole")), b"who").unwrap();
    assert!(!store.contains(&blob(b"whole")));
    assert!(matches!(store.open_blob(&blob(b"whole")), Err(Error::Missing { .. })));
    store.put(b"whole").unwrap();
    assert_eq!(store.read_blob(&blob(b"whole")).unwrap(), b"whole");
}

#[test]
fn damage_is_found_when_read_and_when_checked() {
    let (_directory, store) = store();
    store.put(b"good").unwrap();
    store.put(b"whole").unwrap();
    let path = store.blob_path(&Digest::of(b"whole"));
    fs::write(&path, b"whale").unwrap();
    assert!(matches!(store.read_blob(&blob(b"whole")), Err(Error::Mismatch { .. })));
    assert_eq!(store.check().unwrap(), [path]);
}

#[test]
fn damage_of_what_was_just_written_is_left_to_those_who_find_it_themselves() {
    for (written_here, once, found) in
        [(true, true, false), (true, false, true), (false, true, true), (false, false, true)]
    {
        let place = tempfile::tempdir().unwrap();
        let open = || Store::open(&place.path().join("store")).unwrap();
        let wrote = open();
        let mut writer = wrote.writer().unwrap();
        writer.write_all(b"whole").unwrap();
        writer.commit().unwrap();
        fs::write(wrote.blob_path(&Digest::of(b"whole")), b"whale").unwrap();
        let store = if written_here { wrote } else { open() };
        let reader = store.open_blob(&blob(b"whole")).unwrap();
        let mut reader = if once { reader.hashed_once() } else { reader };
        let read = reader.read_to_end(&mut Vec::new());
        assert_eq!(read.is_err(), found, "written here: {written_here}, hashed once: {once}");
    }
}

#[test]
fn verifying_reads_no_further_than_promised() {
    let promised = blob(b"abc");
    let mut source = &b"abcdef"[..];
    let mut read = Vec::new();
    Verifying::new(&mut source, &promised).read_to_end(&mut read).unwrap();
    assert_eq!((read.as_slice(), source), (&b"abc"[..], &b"def"[..]));
    for wrong in [&b"ab"[..], b"abd", b""] {
        let mut read = Vec::new();
        let error = Verifying::new(wrong, &promised).read_to_end(&mut read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{wrong:?}");
        assert!(read.len() < 3, "the last bytes of {wrong:?} were handed out unverified");
    }
    assert_eq!(Verifying::new(&b""[..], &blob(b"")).read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn a_document_has_a_limit() {
    let (_directory, store) = store();
    let large = Blob { size: DOCUMENT_LIMIT_BYTES + 1, ..blob(b"x") };
    assert!(matches!(store.read_blob(&large), Err(Error::TooLarge { .. })));
}

#[test]
fn records_and_entries_are_kept_as_they_are() {
    let (_directory, store) = store();
    let key = Digest::of("key");
    assert_eq!(store.record(&key).unwrap(), None);
    store.put_record(&key, b"one").unwrap();
    store.put_record(&key, b"two").unwrap();
    assert_eq!(store.record(&key).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.entries(DiffId(key)).unwrap(), None);
    store.put_entries(DiffId(key), |out| out.write_all(b"entries")).unwrap();
    assert_eq!(store.entries(DiffId(key)).unwrap().as_deref(), Some(&b"entries"[..]));
}

#[test]
fn names_lead_to_manifests_and_show_in_the_index() {
    let (directory, store) = store();
    let manifest = Blob { media_type: "application/vnd.oci.image.manifest.v1+json".into(), ..blob(b"{}") };
    let name = reference("app:1");
    assert!(matches!(store.tag(&name, &manifest), Err(Error::Missing { .. })));
    store.put(b"{}").unwrap();
    store.tag(&name, &manifest).unwrap();
    store.tag(&reference("ghcr.io/o/r:2"), &manifest).unwrap();
    let other = Store::open(directory.path()).unwrap();
    assert_eq!(other.resolve_name(&name).unwrap(), Some(manifest.clone()));
    assert_eq!(other.resolve_name(&reference("app:2")).unwrap(), None);
    let names: Vec<_> = other.names().unwrap().iter().map(|named| named.reference.familiar()).collect();
    assert_eq!(names, ["app:1", "ghcr.io/o/r:2"]);
    insta::assert_snapshot!(
        fs::read_to_string(store.path("index.json")).unwrap(),
        @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"org.opencontainers.image.ref.name":"app:1"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"org.opencontainers.image.ref.name":"ghcr.io/o/r:2"}}]}"#
    );
    assert!(store.untag(&name).unwrap());
    assert!(!store.untag(&name).unwrap());
    assert_eq!(store.names().unwrap().len(), 1);
}

#[test]
fn an_image_stays_until_its_last_name_goes_or_it_is_forgotten() {
    let (_directory, store) = store();
    let images = [blob(b"{\"a\":1}"), blob(b"{\"b\":2}")];
    assert!(matches!(store.add_image(&images[0]), Err(Error::Missing { .. })));
    store.put(b"{\"a\":1}").unwrap();
    store.put(b"{\"b\":2}").unwrap();
    let known = || {
        store.gc(LATER).unwrap();
        let known: Vec<Digest> = store.images().unwrap().into_iter().map(|root| root.digest).collect();
        images.each_ref().map(|image| {
            assert_eq!(
                known.contains(&image.digest),
                store.contains(image),
                "what is known is kept, and nothing else"
            );
            store.contains(image)
        })
    };
    store.tag(&reference("app"), &images[0]).unwrap();
    store.tag(&reference("app"), &images[1]).unwrap();
    assert_eq!(known(), [true, true], "the first has lost its name to the second");
    assert!(store.forget_image(&images[0].digest).unwrap());
    assert!(!store.forget_image(&images[0].digest).unwrap());
    assert_eq!(known(), [false, true]);
    store.tag(&reference("app:2"), &images[1]).unwrap();
    store.untag(&reference("app")).unwrap();
    assert_eq!(known(), [false, true]);
    store.untag(&reference("app:2")).unwrap();
    assert_eq!(known(), [false, false]);
}

#[test]
fn repositories_are_known_as_long_as_the_image() {
    let (_directory, store) = store();
    let image = blob(b"{}");
    store.put(b"{}").unwrap();
    store.add_image(&image).unwrap();
    for name in ["r.io/b:1", "a", "r.io/b:2"] {
        store.note_seen(&image.digest, &reference(name)).unwrap();
    }
    let names =
        || -> Vec<String> { store.seen(&image.digest).iter().map(Reference::familiar_name).collect() };
    let expected = ["r.io/b", "a"];
    store.gc(LATER).unwrap();
    assert_eq!(names(), expected);
    store.forget_image(&image.digest).unwrap();
    assert_eq!(names(), expected, "until the blobs are collected");
    store.gc(LATER).unwrap();
    assert_eq!(names(), Vec::<String>::new());
}

#[test]
fn a_damaged_name_is_told_and_can_be_given_again() {
    let (_directory, store) = store();
    let (name, manifest) = (reference("app:1"), blob(b"{}"));
    store.put(b"{}").unwrap();
    store.tag(&name, &manifest).unwrap();
    let file = fs::read_dir(store.path("names")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, b"").unwrap();
    assert!(matches!(store.resolve_name(&name), Err(Error::Damaged { path, .. }) if path == file));
    assert_eq!(store.names().unwrap(), []);
    store.tag(&name, &manifest).unwrap();
    assert_eq!(store.resolve_name(&name).unwrap(), Some(manifest));
}

#[test]
fn many_threads_put_the_same_blobs() {
    let (directory, _store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(directory.path()).unwrap();
                for number in 0..50_u32 {
                    let bytes = number.to_le_bytes().repeat(1000);
                    let mut writer = store.writer().unwrap();
                    writer.write_all(&bytes).unwrap();
                    writer.commit_as(&blob(&bytes)).unwrap();
                    assert_eq!(store.read_blob(&blob(&bytes)).unwrap(), bytes);
                    store.put(&number.to_be_bytes()).unwrap();
                    if number % 10 == 0 {
                        store.put(b"{}").unwrap();
                        store.tag(&reference(&format!("t:{number}")), &blob(b"{}")).unwrap();
                    }
                }
            });
        }
    });
    let store = Store::open(directory.path()).unwrap();
    // Number 0 has the same bytes in both orders, but not at both lengths; `{}` is one more.
    assert_eq!(fs::read_dir(store.path("blobs/sha256")).unwrap().count(), 101);
    assert_eq!(store.names().unwrap().len(), 5);
    assert_eq!(store.check().unwrap(), Vec::<PathBuf>::new());
    assert_eq!(
        fs::read_dir(store.path("scratch")).unwrap().count(),
        2,
        "only those of the two open stores are left"
    );
}

#[test]
#[ignore = "no test of its own: the body of the process that the next test kills"]
fn child_that_is_killed() {
    let Some(root) = std::env::var_os("KILN_TEST_STORE") else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let scratch = store.scratch().unwrap();
    fs::create_dir_all(scratch.path().join("closed/inner")).unwrap();
    fs::set_permissions(scratch.path().join("closed"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"half a blob").unwrap();
    let TreeSlot::Vacant(tree) = store.tree_directory("host", "tree").unwrap() else { panic!("a tree") };
    fs::write(tree.path().join("file"), b"half a tree").unwrap();
    let _lease = store.lease().unwrap();
    fs::write(Path::new(&root).join("ready"), b"").unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_process_leaves_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store::tests::child_that_is_killed"])
        .env("KILN_TEST_STORE", directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !directory.path().join("ready").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "the child ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let store = Store::open(directory.path()).unwrap();
    let scratches = || fs::read_dir(store.path("scratch")).unwrap().count();
    assert_eq!(scratches(), 4, "a living process keeps its three");
    assert!(matches!(store.gc(NEVER), Err(Error::InUse { .. })), "a living process holds a lease");
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(fs::read_dir(store.path("blobs/sha256")).unwrap().count(), 0);
    assert!(matches!(store.tree_directory("host", "tree").unwrap(), TreeSlot::Vacant(_)));
    store.gc(NEVER).unwrap();
    assert_eq!(scratches(), 2, "only those of the two open stores are left");
}

#[test]
fn a_tree_is_made_once() {
    let (_directory, store) = store();
    let made = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let path = match store.tree_directory("0:100000/x", "sha256:ab").unwrap() {
                    TreeSlot::Found(path) => path,
                    TreeSlot::Vacant(tree) => {
                        made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        fs::write(tree.path().join("file"), b"content").unwrap();
                        fs::set_permissions(tree.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
                        tree.commit().unwrap()
                    }
                };
                assert_eq!(fs::read(path.join("file")).unwrap(), b"content");
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
    store.remove_tree_directory("0:100000/x", "sha256:ab").unwrap();
    let TreeSlot::Vacant(abandoned) = store.tree_directory("0:100000/x", "sha256:ab").unwrap() else {
        panic!("the tree was removed")
    };
    drop(abandoned);
    assert!(matches!(store.tree_directory("0:100000/x", "sha256:ab").unwrap(), TreeSlot::Vacant(_)));
}

#[test]
fn tree_names_stay_in_their_directory() {
    let (_directory, store) = store();
    for (mapping, name) in [("..", ".."), ("a/b", "/c"), ("a", "b/../../c")] {
        let TreeSlot::Vacant(tree) = store.tree_directory(mapping, name).unwrap() else {
            panic!("{mapping} {name} is new")
        };
        let path = tree.commit().unwrap();
        assert_eq!(path.parent().unwrap().parent().unwrap().parent(), Some(&*store.path("trees")));
    }
}

#[test]
fn cache_mounts_are_shared_by_their_rule() {
    let (directory, store) = store();
    let prepared = std::cell::Cell::new(0);
    let mount = |store: &Store, sharing| {
        let prepare = |path: &Path| -> Result<()> {
            prepared.set(prepared.get() + 1);
            Ok(fs::write(path.join("initial"), b"")?)
        };
        store.cache_mount("/root/.cache", sharing, prepare).unwrap()
    };
    let first = mount(&store, Sharing::Shared);
    let second = mount(&store, Sharing::Shared);
    assert_eq!((&first.path, prepared.get()), (&second.path, 1));
    assert!(first.path.join("initial").exists());
    let private = mount(&store, Sharing::Private);
    assert_ne!(private.path, first.path);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Store::open(directory.path()).unwrap();
            let locked = other
                .cache_mount("/root/.cache", Sharing::Locked, |_| -> Result<()> { panic!("it is not new") })
                .unwrap();
            send.send(locked.path).unwrap();
        });
        let wait = std::time::Duration::from_millis(50);
        assert!(receive.recv_timeout(wait).is_err(), "it waits for both");
        let path = first.path.clone();
        drop((first, second));
        assert_eq!(receive.recv().unwrap(), path);
    });
    drop(private);
    mount(&store, Sharing::Private);
    assert_eq!(prepared.get(), 2, "a free directory is used again");
    let failed = store.cache_mount("new", Sharing::Shared, |_| Err(Error::InUse { path: "x".into() }));
    assert!(matches!(failed, Err(Error::InUse { .. })));
    let again = store.cache_mount("new", Sharing::Locked, |_| -> Result<()> { Ok(()) }).unwrap();
    assert_eq!(fs::read_dir(&again.path).unwrap().count(), 0);
}

#[test]
fn gc_keeps_what_a_name_or_a_young_record_reaches() {
    let (_directory, store) = store();
    let layer = store.put(b"layer").unwrap();
    let config = store.put(format!(r#"{{"diff":"{}"}}"#, Digest::of("diff")).as_bytes()).unwrap();
    let text = format!(r#"{{"config":"{config}","layers":["{layer}"]}}"#);
    store.put(text.as_bytes()).unwrap();
    store.tag(&reference("app"), &blob(text.as_bytes())).unwrap();
    store.put_entries(DiffId(Digest::of("diff")), |out| out.write_all(b"entries")).unwrap();
    store.put_entries(DiffId(Digest::of("other")), |out| out.write_all(b"entries")).unwrap();
    let recorded = store.put(b"recorded").unwrap();
    store.put_record(&Digest::of("key"), format!("layer {recorded}").as_bytes()).unwrap();
    store.put(b"garbage").unwrap();
    let TreeSlot::Vacant(tree) = store.tree_directory("host", "tree").unwrap() else { panic!("new") };
    fs::write(tree.path().join("file"), b"123").unwrap();
    let tree = tree.commit().unwrap();
    let cache = store.cache_mount("id", Sharing::Shared, |_| -> Result<()> { Ok(()) }).unwrap();
    let cache_path = cache.path.clone();
    drop(cache);

    let lease = store.lease().unwrap();
    assert!(matches!(store.gc(NEVER), Err(Error::InUse { .. })));
    drop(lease);
    assert_eq!(store.gc(NEVER).unwrap(), Freed { count: 2, size: 14 });
    assert!(store.contains(&blob(b"layer")) && store.contains(&blob(b"recorded")));
    assert!(store.entries(DiffId(Digest::of("diff"))).unwrap().is_some());
    assert!(store.entries(DiffId(Digest::of("other"))).unwrap().is_none());
    assert!(!store.contains(&blob(b"garbage")));
    assert!(tree.exists() && cache_path.exists());

    store.gc(LATER).unwrap();
    assert!(store.contains(&blob(b"layer")) && !store.contains(&blob(b"recorded")));
    assert_eq!(store.record(&Digest::of("key")).unwrap(), None);
    assert!(!tree.exists() && !cache_path.exists());
    store.untag(&reference("app")).unwrap();
    store.gc(LATER).unwrap();
    assert_eq!(fs::read_dir(store.path("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_can_be_replaced() {
    let (_directory, store) = store();
    store.put(b"whole").unwrap();
    fs::write(store.blob_path(&Digest::of(b"whole")), b"whale").unwrap();
    store.remove_blob(&Digest::of(b"whole")).unwrap();
    store.remove_blob(&Digest::of(b"whole")).unwrap();
    assert!(!store.contains(&blob(b"whole")));
    store.put(b"whole").unwrap();
    assert_eq!(store.read_blob(&blob(b"whole")).unwrap(), b"whole");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 32, ..Default::default() })]
    #[test]
    fn any_pieces_make_the_same_blob(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        written in 1..200_usize,
        read in 1..200_usize,
    ) {
        let (_directory, store) = store();
        let mut writer = store.writer().unwrap();
        for piece in bytes.chunks(written) {
            writer.write_all(piece).unwrap();
        }
        assert_eq!(writer.commit().unwrap(), (Digest::of(&bytes), bytes.len() as u64));
        let mut reader = store.open_blob(&blob(&bytes)).unwrap();
        let mut found = Vec::new();
        let mut buffer = vec![0; read];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => found.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(found, bytes);
    }
}
