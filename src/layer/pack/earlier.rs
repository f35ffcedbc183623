//! An earlier version of a layer, whose blocks can be taken over.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::buffers::{Buffer, Buffers};
use super::table::{Row, Table};
use super::{Compression, Error};
use crate::digest::Digest;

/// An earlier version of a layer: its blob, and where the blocks lie in it.
///
/// It is a hint. Each block is verified before it is taken, and a damaged one is [`Error::Earlier`].
#[derive(Debug)]
pub struct Earlier {
    table: Table,
    blob: File,
}

impl Earlier {
    /// Returns the layer that is in `blob` and whose [`Packed::blocks`](super::Packed::blocks) are `blocks`; `None` if
    /// these are damaged, or of layers that are compressed in another way than `compression` or by another version of
    /// kiln: such blocks are of no use.
    pub fn new(blocks: &[u8], compression: Compression, blob: File) -> Option<Self> {
        Some(Self { table: Table::decode(blocks, compression)?, blob })
    }

    /// Returns the number of a block of this key: that at the same place, if it is one.
    pub(super) fn find(&self, place: u64, key: &Digest) -> Option<usize> {
        let there = usize::try_from(place).ok();
        let same = |place: &usize| self.table.row(*place).is_some_and(|row| row.key == *key);
        there.filter(same).or_else(|| self.table.find(key))
    }

    /// Reads the compressed bytes of a block, not yet verified.
    pub(super) fn read(&self, number: usize, buffers: &Buffers) -> Result<(&Row, Buffer), Error> {
        let row = self.table.row(number).expect("numbers of blocks come from the table");
        let mut bytes = buffers.take(row.compressed_len as usize);
        self.blob.read_exact_at(&mut bytes, self.table.offset(number)).map_err(Error::Earlier)?;
        Ok((row, bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::layer::pack::{DEFAULT_MEMORY_BYTES, Hints, PackOptions, Packed, pack};
    use crate::path::RelPath;
    use crate::time::Timestamp;
    use crate::tree::{Bytes, Change, Changes, Entry, Kind, Meta, Origin};

    const FORMS: [Compression; 2] = [Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }];

    /// A layer: its bytes and what is said of them.
    type Layer = (Packed, Vec<u8>);

    fn packed(changes: &Changes, compression: Compression, jobs: usize, earlier: Option<&Layer>) -> Layer {
        let earlier = earlier.map(|(packed, bytes)| {
            let mut blob = tempfile::tempfile().expect("a file");
            std::io::Write::write_all(&mut blob, bytes).expect("a file");
            let blocks = packed.blocks.as_deref().expect("compressed layers have blocks");
            Earlier::new(blocks, compression, blob).expect("a sound table")
        });
        let mut bytes = Vec::new();
        let options =
            PackOptions { compression, jobs, clamp_mtime: None, memory_bytes: DEFAULT_MEMORY_BYTES };
        let packed =
            pack(changes, &options, Hints { earlier: earlier.as_ref(), ..Hints::default() }, &mut bytes)
                .expect("the changes can be packed");
        assert_eq!(packed.digest, Digest::of(&bytes));
        (packed, bytes)
    }

    /// A file of a version of the layer: its content follows from seed and size.
    #[derive(Debug, Clone)]
    struct File {
        seed: u64,
        size: usize,
        mtime: i64,
    }

    impl File {
        fn content(&self) -> Vec<u8> {
            let mut state = self.seed;
            let mut content = Vec::with_capacity(self.size + 8);
            while content.len() < self.size {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                content.extend_from_slice(&(state >> 48).to_le_bytes());
            }
            content.truncate(self.size);
            content
        }
    }

    fn layer_of(files: &[(String, File)], root: &Path) -> Changes {
        let mut list = Vec::new();
        for (name, file) in files {
            let content = file.content();
            // Content has a place of its own, so that versions of a file stand beside one another.
            let digest = Digest::of(&content);
            fs_err::write(root.join(name), content).expect("a file");
            let meta = Meta::root_owned(0o644, Timestamp(file.mtime));
            let kind = Kind::File { size: file.size as u64, digest, link: None };
            list.push(Change::Upsert { path: RelPath::clean(name), entry: Entry { meta, kind }, origin: 0 });
        }
        list.sort_by(|a, b| a.path().cmp(b.path()));
        let bytes = Bytes::Directory(Arc::new(root.to_path_buf()));
        let list = list.into_iter().collect();
        Changes { list, origins: vec![Origin { bytes, at: RelPath::root(), to: RelPath::root() }] }
    }

    #[derive(Debug, Clone)]
    enum Edit {
        Write { at: prop::sample::Index, seed: u64, size: usize },
        Touch { at: prop::sample::Index },
        Remove { at: prop::sample::Index },
        Add { name: u32, seed: u64, size: usize },
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let size = || prop_oneof![3 => 0..60_000_usize, 1 => 900_000..3_500_000_usize];
        prop_oneof![
            (any::<prop::sample::Index>(), any::<u64>(), size()).prop_map(|(at, seed, size)| Edit::Write {
                at,
                seed,
                size
            }),
            any::<prop::sample::Index>().prop_map(|at| Edit::Touch { at }),
            any::<prop::sample::Index>().prop_map(|at| Edit::Remove { at }),
            (0..1000_u32, any::<u64>(), size()).prop_map(|(name, seed, size)| Edit::Add { name, seed, size }),
        ]
    }

    fn apply(files: &mut Vec<(String, File)>, edit: &Edit) {
        if let Edit::Add { name, seed, size } = edit {
            let name = format!("{name:04}");
            files.retain(|(other, _)| *other != name);
            files.push((name, File { seed: *seed, size: *size, mtime: 7 }));
            return files.sort_by(|a, b| a.0.cmp(&b.0));
        }
        if files.is_empty() {
            return;
        }
        match edit {
            Edit::Write { at, seed, size } => {
                let file = &mut at.get_mut(files).1;
                (file.seed, file.size) = (*seed, *size);
            }
            Edit::Touch { at } => at.get_mut(files).1.mtime += 1,
            Edit::Remove { at } => _ = files.remove(at.index(files.len())),
            Edit::Add { .. } => unreachable!("done above"),
        }
    }

    /// Files that lie in blocks in every way: many to a block, and one over several.
    fn files() -> Vec<(String, File)> {
        let sizes = (0..160).map(|number| number * 977 % 30_000).chain([3_300_000, 12, 1_048_576, 2_500_000]);
        let file = |(number, size): (usize, usize)| {
            (format!("{:04}", number * 6), File { seed: number as u64, size, mtime: 7 })
        };
        let mut files: Vec<_> = sizes.enumerate().map(file).collect();
        // The large ones not all at the end.
        files.rotate_left(80);
        for (number, (name, _)) in files.iter_mut().enumerate() {
            *name = format!("{:04}", number * 6);
        }
        files
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn the_earlier_version_does_not_show(
            versions in prop::collection::vec(prop::collection::vec(edit(), 0..4), 1..4),
        ) {
            let directory = tempfile::tempdir().expect("a directory");
            let mut files = files();
            let first = layer_of(&files, directory.path());
            let mut earlier = FORMS.map(|form| packed(&first, form, 2, None));
            for edits in versions {
                edits.iter().for_each(|edit| apply(&mut files, edit));
                let changes = layer_of(&files, directory.path());
                for (form, earlier) in FORMS.into_iter().zip(&mut earlier) {
                    let alone = packed(&changes, form, 1, None);
                    for jobs in [1, 8] {
                        let found = packed(&changes, form, jobs, Some(earlier));
                        prop_assert!(found == alone, "{form:?} with {jobs} jobs");
                    }
                    // A layer that was made of an earlier one is the earlier one of the next.
                    *earlier = packed(&changes, form, 2, Some(earlier));
                }
            }
        }
    }

    #[test]
    fn files_of_unchanged_blocks_are_not_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut files = files();
        let earlier = packed(&layer_of(&files, directory.path()), FORMS[0], 2, None);
        files[82].1.mtime += 1;
        let changes = layer_of(&files, directory.path());
        let expected = packed(&changes, FORMS[0], 2, None);
        for (name, _) in files[..20].iter().chain(&files[files.len() - 10..]) {
            fs_err::remove_file(directory.path().join(name)).expect("a file");
        }
        assert!(packed(&changes, FORMS[0], 2, Some(&earlier)) == expected);
    }

    #[test]
    fn any_damage_of_the_blob_is_an_error_and_never_a_wrong_layer() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut files = files();
        let (earlier, bytes) = packed(&layer_of(&files, directory.path()), FORMS[0], 2, None);
        files[82].1.mtime += 1;
        let changes = layer_of(&files, directory.path());
        let table = earlier.blocks.as_deref().expect("compressed layers have blocks");
        let options = PackOptions {
            compression: FORMS[0],
            jobs: 2,
            clamp_mtime: None,
            memory_bytes: DEFAULT_MEMORY_BYTES,
        };
        type Damage = fn(&mut Vec<u8>);
        let damages: [(&str, Damage); 4] = [
            ("in front", |bytes| bytes[100] ^= 1),
            ("behind", |bytes| *bytes.last_mut().expect("bytes") ^= 1),
            ("cut", |bytes| bytes.truncate(bytes.len() - 1)),
            ("empty", Vec::clear),
        ];
        for (what, damage) in damages {
            let mut bytes = bytes.clone();
            damage(&mut bytes);
            let mut blob = tempfile::tempfile().expect("a file");
            std::io::Write::write_all(&mut blob, &bytes).expect("a file");
            let earlier = Earlier::new(table, FORMS[0], blob).expect("a sound table");
            let result = pack(
                &changes,
                &options,
                Hints { earlier: Some(&earlier), ..Hints::default() },
                std::io::sink(),
            );
            assert!(matches!(result, Err(Error::Earlier(_))), "{what}: {result:?}");
        }
    }

    #[test]
    fn a_damaged_table_and_one_of_another_form_are_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let (packed, _) = packed(&layer_of(&files()[..9], directory.path()), FORMS[0], 2, None);
        let table = packed.blocks.expect("compressed layers have blocks");
        let is_some =
            |table: &[u8], form| Earlier::new(table, form, tempfile::tempfile().expect("a file")).is_some();
        assert!(is_some(&table, FORMS[0]));
        for other in [Compression::None, Compression::Gzip { level: 2 }, FORMS[1]] {
            assert!(!is_some(&table, other), "{other:?}");
        }
        for at in 0..table.len() {
            let mut damaged = table.clone();
            damaged[at] ^= 1;
            assert!(!is_some(&damaged, FORMS[0]), "byte {at}");
            assert!(!is_some(&table[..at], FORMS[0]), "cut to {at}");
        }
    }
}
