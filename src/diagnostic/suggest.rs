//! "Did you mean": the nearest of several names.

/// Returns the option nearest to `name`, if one is near enough and none is the name itself.
///
/// Near means fewer than three characters inserted, removed or replaced.
pub fn nearest<'a>(name: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut limit = 3;
    for option in options {
        match distance(name, option) {
            0 => return None,
            near if near < limit => {
                limit = near;
                best = Some(option);
            }
            _ => {}
        }
    }
    best
}

/// Returns how many characters must be inserted, removed or replaced to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let names = ["FROM", "RUN", "CMD", "ENTRYPOINT"];
        for (name, expected) in [
            ("FORM", Some("FROM")),
            ("FNTRYPOINT", Some("ENTRYPOINT")),
            ("RUNN", Some("RUN")),
            ("BOGUS", None),
            ("RUN", None),
        ] {
            assert_eq!(nearest(name, names), expected, "for {name}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("same", "same", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} to {b}");
        }
    }
}
