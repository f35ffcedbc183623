//! What the user reads while a step is done: `[build 2/4] RUN make`.

/// Names the steps of one stage.
#[derive(Debug, Clone)]
pub(super) struct Label {
    stage: String,
    total: usize,
    done: usize,
}

impl Label {
    /// Names `total` steps of `stage`; an empty name is left out.
    pub(super) const fn new(stage: String, total: usize) -> Self {
        Self { stage, total, done: 0 }
    }

    /// Names the next step. Numbers are padded so that they stand below each other.
    pub(super) fn next(&mut self, text: &str) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.done += 1;
        let space = if self.stage.is_empty() { "" } else { " " };
        let width = self.total.to_string().len();
        format!("[{}{space}{:width$}/{}] {text}", self.stage, self.done, self.total)
    }
}

/// Returns `text` with its first word in capitals.
pub(super) fn with_capital_instruction(text: &str) -> String {
    let (name, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
    name.to_uppercase() + rest
}

/// Returns the first line of a script, and dots if there is more.
pub(super) fn summary(script: &str) -> String {
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first}...") } else { first.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps() {
        let mut label = Label::new("build".into(), 12);
        assert_eq!(label.next("FROM x"), "[build  1/12] FROM x");
        assert_eq!(label.next("RUN y"), "[build  2/12] RUN y");
        assert_eq!(Label::new(String::new(), 2).next("RUN y"), "[1/2] RUN y");
        assert_eq!(Label::new(String::new(), 0).next("FROM x"), "FROM x");
        assert_eq!(with_capital_instruction("copy a b"), "COPY a b");
        assert_eq!(summary("\nmake\nmake install\n"), "make...");
        assert_eq!(summary("make\n"), "make");
    }
}
