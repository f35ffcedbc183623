//! `.dockerignore`: rules in order, the last that matches wins.
//!
//! A directory that matches stands for everything below it; a later `!` rule may take parts of it back.
//! [`Ignore::verdict`] answers for one path. A walker uses [`Ignore::root`] and [`Ignore::step`]: what the
//! rules said about a directory is carried to its entries, and each rule looks at each path once.

use crate::path::RelPath;

use super::Error;
use super::matcher::Pattern;

/// The rules of an ignore file, or a list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The 1-based line, or the number of the pattern in a list.
    pub line: usize,
    /// The pattern as written, without the blanks around it.
    pub text: String,
    /// Whether it begins with `!`: what it matches is kept.
    pub exception: bool,
    pattern: Pattern,
}

/// What the rules say about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whether the path is left out.
    pub excluded: bool,
    /// The rule that decided, as an index of [`Ignore::rules`]; `None` if none matched.
    pub rule: Option<usize>,
}

/// Which rules matched a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail(Box<[bool]>);

impl Ignore {
    /// Parses an ignore file.
    ///
    /// Comments begin with `#` in the first column. Blanks around a pattern, a leading slash and what
    /// cleaning a path removes do not count.
    ///
    /// # Errors
    /// When a line is a lone `!` or not a well-formed pattern.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let text = text.as_ref();
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let written = line.trim_ascii();
            if line.starts_with(b"#") || written.is_empty() {
                continue;
            }
            let (exception, pattern) = split_exception(written);
            let mut pattern = clean(pattern.trim_ascii());
            if pattern.len() > 1 && pattern.starts_with(b"/") {
                pattern.remove(0);
            }
            rules.push(Rule::new(index + 1, written, exception, &pattern)?);
        }
        Ok(Self { rules })
    }

    /// Takes patterns one by one, as `--exclude` and `--parents` do; nothing is a comment there, and a
    /// leading slash counts. For patterns that include, read [`Verdict::excluded`] as "matched".
    ///
    /// # Errors
    /// When one is a lone `!` or not a well-formed pattern.
    pub fn from_patterns<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            let written = pattern.as_ref().trim_ascii();
            if written.is_empty() {
                continue;
            }
            let cleaned = clean(written);
            let (exception, pattern) = split_exception(&cleaned);
            rules.push(Rule::new(index + 1, written, exception, pattern)?);
        }
        Ok(Self { rules })
    }

    /// Returns the rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Tells whether there is any `!` rule.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Returns what the rules say about `path`, whose parents are looked at as well.
    pub fn verdict(&self, path: &RelPath) -> Verdict {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let mut trail = self.root();
        let mut verdict = Verdict::default();
        for end in ends.chain((!bytes.is_empty()).then_some(bytes.len())) {
            (verdict, trail) = self.step_bytes(&trail, &bytes[..end]);
        }
        verdict
    }

    /// Returns where a walk begins: at the root, which no rule matches.
    pub fn root(&self) -> Trail {
        Trail(vec![false; self.rules.len()].into())
    }

    /// Returns what the rules say about `path`, an entry of the directory that `parent` belongs to, and the
    /// trail to carry below it.
    pub fn step(&self, parent: &Trail, path: &RelPath) -> (Verdict, Trail) {
        self.step_bytes(parent, path.as_bytes())
    }

    fn step_bytes(&self, parent: &Trail, path: &[u8]) -> (Verdict, Trail) {
        let mut trail = self.root();
        let mut verdict = Verdict::default();
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            // A rule that would change nothing is not asked. As in BuildKit, its silence is inherited too:
            // below, only a match of its own can bring it back.
            let matched = inherited || (rule.exception == verdict.excluded && rule.pattern.matches(path));
            if matched {
                verdict = Verdict { excluded: !rule.exception, rule: Some(index) };
            }
            trail.0[index] = matched;
        }
        (verdict, trail)
    }

    /// Tells whether anything below an excluded `directory` may be kept by a `!` rule. If not, a walker need
    /// not enter it.
    pub fn may_keep_below(&self, directory: &RelPath) -> bool {
        self.rules.iter().any(|rule| rule.exception && rule.pattern.reaches_below(directory.as_bytes()))
    }

    /// Tells whether anything below a `directory` that did not match may be matched by a rule that is no exception.
    pub fn may_match_below(&self, directory: &RelPath) -> bool {
        self.rules.iter().any(|rule| !rule.exception && rule.pattern.reaches_below(directory.as_bytes()))
    }
}

impl Rule {
    fn new(line: usize, written: &[u8], exception: bool, pattern: &[u8]) -> Result<Self, Error> {
        if exception && pattern.is_empty() {
            return Err(Error::LoneExclamationMark { line });
        }
        let text = String::from_utf8_lossy(written).into_owned();
        match Pattern::parse(pattern) {
            Some(pattern) => Ok(Self { line, text, exception, pattern }),
            None => Err(Error::Malformed { line, pattern: text }),
        }
    }
}

fn split_exception(pattern: &[u8]) -> (bool, &[u8]) {
    match pattern.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    }
}

/// Cleans a path as Go's `filepath.Clean` does: it may stay absolute, or begin with `..`. The empty path stays
/// empty.
fn clean(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return Vec::new();
    }
    let absolute = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if kept.last().is_some_and(|last| *last != b"..") => {
                kept.pop();
            }
            b".." if absolute => {}
            name => kept.push(name),
        }
    }
    let joined = kept.join(&b'/');
    match (absolute, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
