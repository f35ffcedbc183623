use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tree::Kind;
use crate::tree::testing::{
    arbitrary_entry, arbitrary_path, dir, file, linked, opaque, path, symlink, upsert, whiteout,
};

/// Changes as a layer has them, in order: mostly entries, each file with an origin.
fn arbitrary_changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (arbitrary_path(), arbitrary_entry(), 0..10_u8, 0..3_u16);
    // Long names fill chunks quickly.
    let long = (0..40_usize, any::<bool>());
    proptest::collection::vec((change, long), 0..200).prop_map(|made| {
        let mut list = BTreeMap::new();
        for ((at, entry, form, origin), (number, long)) in made {
            let at = if long { at.child(format!("{number:0200}")) } else { at.child(number.to_string()) };
            let origin = if matches!(entry.kind, Kind::File { .. }) { origin } else { 0 };
            let changes = match form {
                0 => vec![Change::Whiteout { path: at.clone() }],
                1 => vec![Change::Opaque { path: at.clone() }],
                2 => vec![
                    Change::Upsert { path: at.clone(), entry: dir(0o755), origin: 0 },
                    Change::Opaque { path: at.clone() },
                ],
                _ => vec![Change::Upsert { path: at.clone(), entry, origin }],
            };
            list.insert(at, changes);
        }
        list.into_values().flatten().collect()
    })
}

fn linear<'a>(changes: &'a [Change], at: &RelPath) -> Option<(usize, &'a Entry, u16)> {
    changes.iter().enumerate().find_map(|(index, change)| match change {
        Change::Upsert { path, entry, origin } if path == at => Some((index, entry, *origin)),
        Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => None,
    })
}

fn without_origins(list: &List) -> List {
    list.iter()
        .map(|change| match change {
            Change::Upsert { path, entry, .. } => Change::Upsert { path, entry, origin: 0 },
            Change::Whiteout { .. } | Change::Opaque { .. } => change,
        })
        .collect()
}

proptest! {
    #[test]
    fn digests_of_files_can_be_said_later(changes in arbitrary_changes(), seed in any::<u8>()) {
        let is_file = |change: &&Change| {
            matches!(change, Change::Upsert { entry: Entry { kind: Kind::File { .. }, .. }, .. })
        };
        let digests: Vec<_> = (0..changes.iter().filter(is_file).count())
            .map(|number| Digest::of([seed, number as u8]))
            .collect();
        let mut left = digests.iter().copied();
        let with_digest = |mut change: Change| {
            if let Change::Upsert { entry: Entry { kind: Kind::File { digest, .. }, .. }, .. } = &mut change {
                *digest = left.next().expect("one for each file");
            }
            change
        };
        let list: List = changes.iter().cloned().collect();
        let expected: List = changes.into_iter().map(with_digest).collect();
        prop_assert_eq!(list.clone().with_digests(digests.iter().copied()), Some(expected));
        let more = digests.iter().copied().chain([Digest::of("more")]);
        prop_assert_eq!(list.clone().with_digests(more), None);
        if let Some((_, fewer)) = digests.split_last() {
            prop_assert_eq!(list.with_digests(fewer.iter().copied()), None);
        }
    }

    #[test]
    fn a_list_gives_back_what_was_pushed(changes in arbitrary_changes()) {
        let list: List = changes.iter().cloned().collect();
        prop_assert_eq!(list.len(), changes.len());
        prop_assert_eq!(list.iter().len(), changes.len());
        prop_assert_eq!(list.first_path(), changes.first().map(|change| change.path().as_bytes()));
        prop_assert_eq!(list.last_path(), changes.last().map(|change| change.path().as_bytes()));
        prop_assert_eq!(&list.iter().collect::<Vec<_>>(), &changes);
        prop_assert_eq!(&list.clone().into_iter().collect::<Vec<_>>(), &changes);
        for from in changes.iter().map(Change::path).chain([&RelPath::root(), &path("b"), &path("zz")]) {
            let expected: Vec<_> = changes.iter().filter(|change| change.path() >= from).cloned().collect();
            prop_assert_eq!(list.iter_from(from).collect::<Vec<_>>(), expected, "from {}", from);
        }
    }

    #[test]
    fn lists_are_appended_as_if_their_changes_were_pushed(
        changes in arbitrary_changes(),
        at in any::<prop::sample::Index>(),
        behind in arbitrary_entry(),
    ) {
        let (before, after) = changes.split_at(at.index(changes.len() + 1));
        let mut list: List = before.iter().cloned().collect();
        list.append(after.iter().cloned().collect());
        let origin = if matches!(behind.kind, Kind::File { .. }) { 2 } else { 0 };
        let last = Change::Upsert { path: path("z/z"), entry: behind, origin };
        list.push(&last);
        let expected: Vec<_> = changes.iter().chain([&last]).cloned().collect();
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), expected.clone());
        for (index, change) in expected.iter().enumerate() {
            let Change::Upsert { path, entry, origin } = change else { continue };
            let found = list.find(path).map(|found| (found.index(), found.entry(), found.origin()));
            prop_assert_eq!(found, Some((index, entry.clone(), *origin)));
        }
    }

    #[test]
    fn a_search_finds_what_a_look_through_all_finds(
        changes in arbitrary_changes(),
        others in proptest::collection::vec(arbitrary_path(), 0..8),
        order in any::<u64>(),
    ) {
        let list: List = changes.iter().cloned().collect();
        let mut asked: Vec<_> = changes.iter().map(|change| change.path().clone()).chain(others).collect();
        asked.push(RelPath::root());
        let mut turned = asked.clone();
        turned.rotate_left(order as usize % asked.len());
        asked.sort();
        // In order, twice, backwards, and in no order.
        let backwards = asked.iter().rev().cloned().collect();
        let twice = asked.iter().flat_map(|path| [path.clone(), path.clone()]).collect();
        for asked in [asked, twice, backwards, turned] {
            let mut finder = list.finder();
            for at in asked {
                let expected = linear(&changes, &at);
                for found in [list.find(&at), finder.find(&at)] {
                    let seen = found.map(|found| (found.index(), found.entry(), found.origin()));
                    let seen = seen.as_ref().map(|(index, entry, origin)| (*index, entry, *origin));
                    prop_assert_eq!(seen, expected, "{}", at);
                    let Some((found, (_, entry, _))) = found.zip(expected) else { continue };
                    prop_assert_eq!(found.is_directory(), entry.is_directory());
                    prop_assert_eq!(found.is_file(), matches!(entry.kind, Kind::File { .. }));
                    let target = match &entry.kind { Kind::Symlink { target } => Some(&**target), _ => None };
                    prop_assert_eq!(found.symlink_target(), target);
                }
            }
        }
    }

    #[test]
    fn bytes_are_a_list_again_and_equal_lists_have_equal_bytes(changes in arbitrary_changes()) {
        let list: List = changes.iter().cloned().collect();
        let again = List::decode(&encoded(&list)).expect("what was encoded");
        prop_assert_eq!(&again, &without_origins(&list));
        prop_assert_eq!(encoded(&again), encoded(&list));
    }
}

#[test]
fn a_list_can_be_long() {
    let at = |number: usize| path(&format!("directory {:05}/file {number:07}", number / 100));
    let count = 20_000;
    let list: List = (0..count)
        .map(|number| Change::Upsert { path: at(number), entry: file("x"), origin: (number / 7000) as u16 })
        .collect();
    assert!(list.encoded().count() > 10);
    let size: usize = list.encoded().map(|piece| piece.len()).sum();
    assert!(size < 60 * count, "{size} bytes");
    for number in (0..count).step_by(37) {
        let found = list.find(&at(number)).expect("a file of the list");
        assert_eq!((found.entry(), found.origin()), (file("x"), (number / 7000) as u16), "{number}");
        let next = list.iter_from(&at(number)).next();
        assert_eq!(next.as_ref().map(Change::path), Some(&at(number)));
    }
    assert!(list.find(&path("directory 00001/none")).is_none());
}

#[test]
fn a_list_is_sorted_or_refuses() {
    let list = List::sorted(vec![
        whiteout("z"),
        upsert("a", dir(0o755)),
        upsert("a-b", linked("1", Some(3))),
        opaque("a"),
        upsert("a/b", symlink("x")),
    ]);
    let shown: Vec<_> = list.iter().map(|change| change.path().to_string()).collect();
    assert_eq!(shown, ["a", "a", "a/b", "a-b", "z"]);
    assert!(matches!(list.iter().nth(1), Some(Change::Opaque { .. })), "in their order");
    let refused = std::panic::catch_unwind(|| {
        ["b", "a"].map(|name| upsert(name, file(name))).into_iter().collect::<List>()
    });
    assert!(refused.is_err());
}

#[test]
fn made_up_bytes_are_no_list() {
    let list: List = [upsert("a", file("1")), upsert("a/b", file("1"))].into_iter().collect();
    let sound = encoded(&list);
    assert_eq!((sound[0], List::decode(&sound)), (2, Ok(list)));
    for count in [1, 3, 0x80] {
        let counted = [&[count], &sound[1..]].concat();
        assert!(List::decode(&counted).is_err(), "{count} of 2");
    }
    // A whiteout each: out of order, not clean, and with more shared than there is.
    for bytes in
        [&b"\x02\0\x01b\x06\0\x01a\x06"[..], b"\x02\0\x02a/\x06\0\x01b\x06", b"\x02\0\x01a\x06\x02\x01b\x06"]
    {
        assert!(List::decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(List::decode(b"\x02\0\x01a\x06\x01\x01b\x06").is_ok());
}

fn encoded(list: &List) -> Vec<u8> {
    list.encoded().collect::<Vec<_>>().concat()
}
