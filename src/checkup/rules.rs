//! The build checks by name: what each looks for, and where it is explained.

/// A build check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which is BuildKit's.
    pub name: &'static str,
    /// What it looks for, in one sentence.
    pub description: &'static str,
    /// One thing to try.
    pub help: &'static str,
}

impl Rule {
    /// Returns the page that explains the check.
    pub fn url(&self) -> String {
        let mut page = String::new();
        let mut before = 'A';
        for (index, char) in self.name.char_indices() {
            // A run of capitals is one word, up to the one that begins the next (`JSONArgs`: `json-args`).
            let next_is_lower = self.name[index..].chars().nth(1).is_some_and(char::is_lowercase);
            if index > 0 && char.is_uppercase() && (before.is_lowercase() || next_is_lower) {
                page.push('-');
            }
            page.push(char.to_ascii_lowercase());
            before = char;
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{page}/")
    }
}

/// Every check, sorted by name.
const RULES: [Rule; 22] = [
    describe(
        "ConsistentInstructionCasing",
        "all instructions of a file are in the same case",
        "write all instructions in upper case; `kiln check --fix` does",
    ),
    describe(
        "CopyIgnoredFile",
        "COPY and ADD do not name files that the ignore file excludes",
        "remove the rule from the ignore file, or the source from the instruction",
    ),
    describe("DuplicateStageName", "each stage has a name of its own", "choose another name"),
    describe(
        "ExposeInvalidFormat",
        "EXPOSE names ports, no addresses or ports of the host",
        "name only the container's port; the host's is chosen when it runs",
    ),
    describe(
        "ExposeProtoCasing",
        "protocols in EXPOSE are in lower case",
        "write it in lower case; `kiln check --fix` does",
    ),
    describe(
        "FromAsCasing",
        "FROM and AS are in the same case",
        "write both in the same case; `kiln check --fix` does",
    ),
    describe(
        "FromPlatformFlagConstDisallowed",
        "--platform of FROM is no constant",
        "remove the flag and build with --platform, or use $BUILDPLATFORM",
    ),
    describe(
        "InvalidBaseImagePlatform",
        "base images are of the platform that is built for",
        "use an image for the platform, or say which one is meant with FROM --platform",
    ),
    describe(
        "InvalidDefaultArgInFrom",
        "FROM names an image with the defaults of its arguments",
        "give the ARG a default with which the name is complete",
    ),
    describe(
        "InvalidDefinitionDescription",
        "a comment above ARG or FROM begins with the name it describes",
        "write `# NAME description`, or put an empty line between",
    ),
    describe(
        "JSONArgsRecommended",
        "CMD and ENTRYPOINT use the exec form, so that signals arrive",
        "write it as an array: `[\"program\", \"argument\"]`",
    ),
    describe(
        "LegacyKeyValueFormat",
        "ENV and LABEL are written with `=`",
        "write NAME=VALUE; `kiln check --fix` does",
    ),
    describe(
        "MaintainerDeprecated",
        "LABEL org.opencontainers.image.authors is used instead of MAINTAINER",
        "use LABEL org.opencontainers.image.authors=…; `kiln check --fix` does",
    ),
    describe(
        "MultipleInstructionsDisallowed",
        "an instruction that replaces an earlier one stands once a stage",
        "remove it, or use another stage",
    ),
    describe(
        "NoEmptyContinuation",
        "no empty line stands inside a continued instruction",
        "remove the empty line, or put a `#` on it",
    ),
    describe("RedundantTargetPlatform", "--platform of FROM does not repeat the default", "remove the flag"),
    describe("ReservedStageName", "no stage is called `scratch` or `context`", "choose another name"),
    describe(
        "SecretsUsedInArgOrEnv",
        "ARG and ENV hold no secrets: they stay in the image",
        "use `RUN --mount=type=secret`, which leaves nothing in the image",
    ),
    describe(
        "StageNameCasing",
        "stage names are in lower case",
        "write it in lower case; `kiln check --fix` does",
    ),
    describe(
        "UndefinedArgInFrom",
        "variables in FROM are declared by an ARG above",
        "declare it with ARG before the first FROM",
    ),
    describe(
        "UndefinedVar",
        "variables are defined before they are used",
        "declare it with ARG or ENV before, or escape the dollar sign",
    ),
    describe(
        "WorkdirRelativePath",
        "a relative WORKDIR follows an absolute one",
        "begin with an absolute WORKDIR",
    ),
];

const fn describe(name: &'static str, description: &'static str, help: &'static str) -> Rule {
    Rule { name, description, help }
}

/// Finds a check by its name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.binary_search_by_key(&name, |rule| rule.name).ok().map(|index| &RULES[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_its_name() {
        assert!(RULES.is_sorted_by_key(|rule| rule.name));
        for known in &RULES {
            assert_eq!(rule(known.name), Some(known));
        }
        assert_eq!(rule("NoSuchRule"), None);
    }

    #[test]
    fn pages_are_named_in_lower_case_with_hyphens() {
        for (name, page) in [
            ("JSONArgsRecommended", "json-args-recommended"),
            ("FromAsCasing", "from-as-casing"),
            ("NoEmptyContinuation", "no-empty-continuation"),
        ] {
            let url = rule(name).map(Rule::url);
            assert_eq!(url, Some(format!("https://docs.docker.com/go/dockerfile/rule/{page}/")));
        }
    }
}
