//! Packs a seeded tree and prints speed and peak memory.
//!
//! `cargo bench --bench pack`, with in the environment, if something else is wanted:
//! `PACK_FILES` (50000 small files of some 9 kB), `PACK_LARGE_MIB` (2048, one file), `PACK_JOBS` (all CPUs),
//! `PACK_CODECS` (`gzip6`; a list like `gzip4,gzip6,zstd3,none`), `PACK_TREE` (a directory to pack instead),
//! `PACK_OUT` (a file for the last layer).

#![expect(clippy::disallowed_methods, reason = "a benchmark is set by its environment")]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kiln::layer::{
    Compression, DEFAULT_MEMORY_BYTES, Discard, Hints, PackOptions, decompress, index, pack, read,
};
use kiln::path::RelPath;
use kiln::time::Timestamp;
use kiln::tree::{Bytes, Change, Changes, Entry, Kind, List, Meta, Origin, Tree, diff};

fn main() {
    let number = |name: &str, otherwise: u64| -> u64 {
        env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let jobs = number("PACK_JOBS", std::thread::available_parallelism().map_or(1, |jobs| jobs.get() as u64));
    let temporary = tempfile::tempdir().expect("a directory");
    let root = match env::var("PACK_TREE") {
        Ok(tree) => PathBuf::from(tree),
        Err(_) => {
            seed(temporary.path(), number("PACK_FILES", 50_000), number("PACK_LARGE_MIB", 2048));
            temporary.path().to_path_buf()
        }
    };
    let started = Instant::now();
    let changes = scan(&root);
    let files = changes.list.len();
    let size = changes.content_size();
    println!("{files} entries, {size} bytes; listed and hashed on one thread in {:.2?}", started.elapsed());

    let codecs = env::var("PACK_CODECS").unwrap_or_else(|_| "gzip6".to_owned());
    for codec in codecs.split(',') {
        reset_peak();
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let mut out = env::var("PACK_OUT").ok().map(|path| fs_err::File::create(path).expect("a file"));
        let sink: &mut dyn Write = match &mut out {
            Some(file) => file,
            None => &mut std::io::sink(),
        };
        let options = PackOptions {
            compression: compression(codec),
            jobs: jobs as usize,
            clamp_mtime: None,
            memory_bytes: DEFAULT_MEMORY_BYTES,
        };
        let packed = pack(&changes, &options, Hints::default(), sink).expect("the tree can be packed");
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{codec} with {jobs} jobs: {seconds:.2} s ({:.2} s of CPU), {:.0} MB/s, {:.0} files/s, {} bytes ({:.1} %), peak {} MB",
            cpu_seconds() - cpu,
            packed.uncompressed_size as f64 / seconds / 1e6,
            files as f64 / seconds,
            packed.size,
            packed.size as f64 * 100.0 / packed.uncompressed_size as f64,
            peak_kb() / 1000
        );
    }
    if let Ok(path) = env::var("PACK_OUT") {
        let started = Instant::now();
        let stream = decompress(fs_err::File::open(path).expect("a file")).expect("a layer");
        let (back, _) = read(stream, &mut Discard).expect("a layer");
        println!("read in {:.2?}", started.elapsed());
        assert!(back.list.len() == changes.list.len());
    }

    let started = Instant::now();
    let bytes = index::encode(&changes);
    let encoded = started.elapsed();
    let decoded = index::decode(&bytes).expect("a sound index").list.len();
    println!(
        "index: {} bytes, encoded in {encoded:.2?}, decoded in {:.2?}",
        bytes.len(),
        started.elapsed() - encoded
    );
    assert_eq!(decoded, files);

    let started = Instant::now();
    let tree = Tree::empty().apply(&changes);
    println!("tree: applied in {:.2?}", started.elapsed());
    let started = Instant::now();
    let digest = tree.digest(&RelPath::root()).expect("the root");
    println!("tree: {digest} in {:.2?}", started.elapsed());
    let mut edited = tree.clone();
    edited.remove(changes.list.iter().nth(files / 2).expect("a change in the middle").path());
    let started = Instant::now();
    let difference = diff(&tree, &edited).list.len();
    println!("tree: difference of {difference} in {:.2?}", started.elapsed());
    let rebuilt: Tree = tree.iter().map(|(path, entry)| (path, entry.clone())).collect();
    let started = Instant::now();
    assert!(diff(&tree, &rebuilt).list.is_empty());
    println!("tree: no difference between unshared trees in {:.2?}", started.elapsed());
}

fn compression(codec: &str) -> Compression {
    let (name, level) = codec.split_at(codec.find(|c: char| c.is_ascii_digit()).unwrap_or(codec.len()));
    match name {
        "gzip" => Compression::Gzip { level: level.parse().expect("a level") },
        "zstd" => Compression::Zstd { level: level.parse().expect("a level") },
        "none" => Compression::None,
        _ => panic!("`{codec}` is no codec"),
    }
}

/// A small linear congruential generator: the same tree on every machine.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Text of a few thousand different words, which compresses about as well as sources do.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            let word = self.next().min(self.next()) % 5000;
            let separator = [" ", " ", "(", ");\n", " = ", "."][(self.next() % 6) as usize];
            text.extend_from_slice(format!("{:x}{separator}", word * 7_919).as_bytes());
        }
        text.truncate(len);
        text
    }
}

fn seed(root: &Path, files: u64, large_mib: u64) {
    let mut seeded = Seeded(7);
    for number in 0..files {
        let directory = root.join(format!("package-{}/lib/{}", number / 100, number / 20));
        fs_err::create_dir_all(&directory).expect("a directory");
        // Many small, few large, as in node_modules: 9 kB on average.
        let len = (seeded.next() % 6000) + if number % 10 == 0 { seeded.next() % 120_000 } else { 0 };
        fs_err::write(directory.join(format!("module-{number}.js")), seeded.text(len as usize))
            .expect("a file");
    }
    let mut large = fs_err::File::create(root.join("large.bin")).expect("a file");
    for _ in 0..large_mib {
        large.write_all(&seeded.text(1 << 20)).expect("space for a large file");
    }
}

/// Lists a directory the simple way.
fn scan(root: &Path) -> Changes {
    let mut list = Vec::new();
    for found in walkdir::WalkDir::new(root).min_depth(1) {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::MetadataExt as _;
        let found = found.expect("a readable tree");
        let metadata = found.metadata().expect("a readable tree");
        let path = found.path().strip_prefix(root).expect("paths below the root").as_os_str().as_bytes();
        let kind = if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_file() {
            let mut hasher = kiln::digest::Hasher::new();
            let mut file = fs_err::File::open(found.path()).expect("a readable file");
            std::io::copy(&mut file, &mut hasher).expect("a readable file");
            Kind::File { size: metadata.len(), digest: hasher.finish(), link: None }
        } else if metadata.is_symlink() {
            let target = fs_err::read_link(found.path()).expect("a symlink");
            Kind::Symlink { target: target.as_os_str().as_bytes().into() }
        } else {
            continue;
        };
        let mode = (metadata.mode() & 0o7777) as u16;
        let meta = Meta { mode, uid: 0, gid: 0, mtime: Timestamp(metadata.mtime()), xattrs: None };
        list.push(Change::Upsert { path: RelPath::clean(path), entry: Entry { meta, kind }, origin: 0 });
    }
    let bytes = Bytes::Directory(Arc::new(root.to_path_buf()));
    Changes {
        list: List::sorted(list),
        origins: vec![Origin { bytes, at: RelPath::root(), to: RelPath::root() }],
    }
}

fn status_kb(field: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// What the process has used so far; on a busy machine the only time that can be compared.
fn cpu_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, in ticks of 10 ms (proc(5)); the name before them may hold anything.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_kb() -> u64 {
    status_kb("VmHWM")
}

/// Forgets the peak of what came before (proc(5), clear_refs).
fn reset_peak() {
    let _ = fs_err::write("/proc/self/clear_refs", "5");
}
