//! Wildcards in the sources of COPY and ADD: the rules of Go's `path/filepath.Match`, for one component.
//!
//! `*` and `?` match characters other than a slash, `[a-z]` and `[^a-z]` one character of a class, and a
//! backslash takes the meaning from the next character. A malformed pattern matches nothing.

/// Tells whether `component` holds an unescaped wildcard.
pub(super) fn has_wildcard(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Tells whether the whole `name` matches `pattern`; both are single components.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_at, mut name_at) = (0, 0);
    // Where to go on after a mismatch: behind the last star, with one more byte given to it.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, name_at));
            continue;
        }
        if pattern_at == pattern.len() && name_at == name.len() {
            return true;
        }
        if let Some((pattern_width, name_width)) = match_one(&pattern[pattern_at..], &name[name_at..]) {
            pattern_at += pattern_width;
            name_at += name_width;
            continue;
        }
        match &mut retry {
            Some((after_star, start)) if *start < name.len() => {
                *start += 1;
                (pattern_at, name_at) = (*after_star, *start);
            }
            _ => return false,
        }
    }
}

/// Matches one element of the pattern against one character; returns the widths of both.
fn match_one(pattern: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let (character, width) = decode(name)?;
    match pattern.first()? {
        b'?' => Some((1, width)),
        b'[' => match_class(&pattern[1..], character).map(|used| (1 + used, width)),
        b'\\' => (pattern.get(1)? == &name[0]).then_some((2, 1)),
        byte => (byte == &name[0]).then_some((1, 1)),
    }
}

/// Matches the class that begins behind a `[`; returns its length with the closing bracket.
fn match_class(class: &[u8], character: u32) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    let mut empty = true;
    loop {
        if class.get(at) == Some(&b']') && !empty {
            return (found != negated).then_some(at + 1);
        }
        let (low, width) = class_bound(&class[at..])?;
        at += width;
        let mut high = low;
        if class.get(at) == Some(&b'-') {
            let (bound, width) = class_bound(&class[at + 1..])?;
            high = bound;
            at += 1 + width;
        }
        found |= (low..=high).contains(&character);
        empty = false;
    }
}

/// Reads one bound of a range. A bare `-` or `]` is malformed there, and so is a class that does not end.
fn class_bound(class: &[u8]) -> Option<(u32, usize)> {
    match class.first()? {
        b'-' | b']' => None,
        b'\\' => decode(&class[1..]).map(|(character, width)| (character, width + 1)),
        _ => decode(class),
    }
}

/// Returns the first character and its width; a byte that is not UTF-8 counts as U+FFFD, as in Go.
fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let chunk = bytes[..bytes.len().min(4)].utf8_chunks().next()?;
    let replacement = u32::from(char::REPLACEMENT_CHARACTER);
    Some(chunk.valid().chars().next().map_or((replacement, 1), |first| (u32::from(first), first.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_as_go_does() {
        // The table of Go's match_test.go, as far as it speaks of one component.
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("[]a]", "]", false),
            ("[-]", "-", false),
            ("[x-]", "x", false),
            ("[-x]", "x", false),
            ("\\", "a", false),
            ("[a-b-c]", "a", false),
            ("[", "a", false),
            ("[^", "a", false),
            ("[^bc", "a", false),
            ("a[", "a", false),
            ("a[", "ab", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn knows_wildcards_from_text() {
        for (component, expected) in
            [("a", false), ("a*", true), ("a?", true), ("[a]", true), ("\\*", false), ("\\\\*", true), ("a\\", false)]
        {
            assert_eq!(has_wildcard(component.as_bytes()), expected, "{component}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_escaped_text_matches_itself(pattern in "[a*?\\[\\]^\\\\-]{0,8}", name in "[a-c☺*?-]{0,8}") {
            matches(pattern.as_bytes(), name.as_bytes());
            let escaped: String = name.chars().flat_map(|c| if c.is_ascii() { vec!['\\', c] } else { vec![c] }).collect();
            prop_assert!(matches(escaped.as_bytes(), name.as_bytes()));
        }
    }
}
