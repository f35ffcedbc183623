//! The archive is written while steps are done and layers packed.
//!
//! A thread of its own writes what is known of it by then to a file that nobody sees. Whatever goes wrong, or not as expected,
//! costs no more than what was written: the archive is written from the store in the end then, and errors are told there.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use super::output_file::{may_be_replaced, nameless};
use super::{Destination, ExportKind, Request};
use crate::archive::{self, Growing};
use crate::graph::Graph;
use crate::image::Blob;
use crate::solve::Packing;
use crate::store::Store;

/// An archive that is being written, until this is dropped.
pub(super) struct GrowingArchive<'a> {
    messages: Sender<Message>,
    ended: &'a AtomicBool,
}

impl Drop for GrowingArchive<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

enum Message {
    Layer(Packing),
    /// It will be of these blobs; the answer is its file and how many are in it.
    Finish(Vec<Blob>, Sender<(File, usize)>),
}

impl GrowingArchive<'_> {
    /// Has `build` do its work while the archive that the request asks for grows, if it asks for one.
    pub(super) fn while_building<T>(
        request: &Request,
        graph: &Graph,
        store: &Store,
        build: impl FnOnce(Option<&GrowingArchive<'_>>) -> T,
    ) -> T {
        match archive_of(request, graph) {
            Some(path) => Self::at(path, store, |archive| build(Some(archive))),
            None => build(None),
        }
    }

    fn at<T>(path: &Path, store: &Store, build: impl FnOnce(&GrowingArchive<'_>) -> T) -> T {
        let ended = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, messages) = mpsc::channel();
            scope.spawn(move || grow(&messages, path, store, &|| !ended.load(Ordering::Relaxed)));
            build(&GrowingArchive { messages: sender, ended })
        })
    }

    /// Takes what is known of a layer.
    pub(super) fn hear(&self, packing: Packing) {
        // Whoever does not listen has given up.
        let _ = self.messages.send(Message::Layer(packing));
    }

    /// Returns the file of the archive of these blobs, ready for the rest of them, and how many it holds; `None` if there is
    /// none.
    pub(super) fn finish(&self, blobs: &[Blob]) -> Option<(File, usize)> {
        let (answer, answered) = mpsc::channel();
        self.messages.send(Message::Finish(blobs.to_vec(), answer)).ok()?;
        answered.recv().ok()
    }
}

/// Returns where the archive will be, if there is one and its layers are those that steps make.
fn archive_of<'a>(request: &'a Request, graph: &Graph) -> Option<&'a Path> {
    let [export] = request.exports.as_slice() else { return None };
    let is_archive = matches!(export.kind, ExportKind::Oci | ExportKind::Docker);
    match &export.destination {
        Some(Destination::Path(path))
            if is_archive
                && graph.outputs.len() == 1
                && !request.squash
                && !export.force_compression
                && may_be_replaced(path) =>
        {
            Some(path)
        }
        Some(_) | None => None,
    }
}

/// Writes until nobody waits for it any more, or it cannot go on.
fn grow(messages: &Receiver<Message>, path: &Path, store: &Store, go_on: &dyn Fn() -> bool) {
    let mut archive = None;
    for message in messages {
        let went_well = match message {
            Message::Layer(packing) => go_on() && hear(&mut archive, packing, path, store, go_on).is_ok(),
            Message::Finish(blobs, answer) => {
                if let Some(Ok(begun)) = archive.take().map(|archive: Growing| archive.finish(&blobs)) {
                    let _ = answer.send(begun);
                }
                true
            }
        };
        if !went_well {
            return;
        }
    }
}

fn hear(
    archive: &mut Option<Growing>,
    packing: Packing,
    path: &Path,
    store: &Store,
    go_on: &dyn Fn() -> bool,
) -> Result<(), archive::Error> {
    let archive = match archive {
        Some(archive) => archive,
        None => archive.insert(Growing::new(nameless(path)?)?),
    };
    match packing {
        Packing::Known(layers) => archive.hold(store, &layers, go_on)?,
        Packing::Begun { below, file } => {
            archive.hold(store, &below, go_on)?;
            archive.begin(&below, file);
        }
        Packing::Written(len) => archive.grow(len)?,
        Packing::Ended(blob) => archive.end(&blob)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(path: &Path, store: &Store, said: Vec<Packing>, blobs: &[Blob]) -> Option<(File, usize)> {
        GrowingArchive::at(path, store, |archive| {
            said.into_iter().for_each(|packing| archive.hear(packing));
            archive.finish(blobs)
        })
    }

    #[test]
    fn what_is_known_is_written_and_nobody_sees_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let blob = |bytes: &[u8]| {
            let digest = store.put(bytes).unwrap();
            Blob { media_type: String::new(), digest, size: bytes.len() as u64 }
        };
        let blobs = [blob(&[1; 3000]), blob(&[2; 2000])];
        let place = directory.path().join("place");
        fs_err::create_dir(&place).unwrap();
        let said = || {
            let file = fs_err::File::open(store.blob_path(&blobs[1].digest)).unwrap().into_parts().0;
            let begun = Packing::Begun { below: blobs[..1].to_vec(), file };
            vec![begun, Packing::Written(700), Packing::Ended(blobs[1].clone())]
        };
        let (file, held) = grown(&place.join("archive.tar"), &store, said(), &blobs).expect("an archive");
        assert_eq!((held, file.metadata().unwrap().len()), (2, 2 * 512 + 512 + 3072 + 512 + 2048));
        assert_eq!(fs_err::read_dir(&place).unwrap().count(), 0);
        assert!(grown(&place.join("archive.tar"), &store, Vec::new(), &blobs).is_none(), "nothing was said");
        assert!(grown(&place.join("no/archive.tar"), &store, said(), &blobs).is_none(), "no such directory");
        let too_short = vec![
            Packing::Known(blobs[..1].to_vec()),
            Packing::Begun { below: blobs[..1].to_vec(), file },
            Packing::Written(1 << 20),
        ];
        assert!(grown(&place.join("archive.tar"), &store, too_short, &blobs).is_none(), "it has given up");
    }
}
