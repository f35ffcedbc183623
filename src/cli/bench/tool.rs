//! The plain tools beside kiln: `tar` into something that hashes or compresses.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::report::Failure;

/// What stands behind `tar |`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    program: &'static str,
    arguments: Vec<String>,
    pub(super) jobs: usize,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tar | {}", self.program)?;
        // How many threads there are stands in a column of its own.
        self.arguments.first().map_or(Ok(()), |level| write!(f, " {level}"))
    }
}

/// Returns the tools that are installed.
pub(super) fn installed(numbers_of_jobs: &[usize]) -> Result<Vec<Tool>, Failure> {
    let is_there = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(program, &error)),
        }
    };
    if !is_there("tar")? {
        return Ok(Vec::new());
    }
    let mut tools = Vec::new();
    for tool in all(numbers_of_jobs) {
        if is_there(tool.program)? {
            tools.push(tool);
        }
    }
    Ok(tools)
}

fn all(numbers_of_jobs: &[usize]) -> Vec<Tool> {
    let tool = |program, arguments: &[String], jobs| Tool { program, arguments: arguments.to_vec(), jobs };
    let mut tools = vec![tool("sha256sum", &[], 1)];
    tools.extend([1, 6, 9].map(|level| tool("gzip", &[format!("-{level}")], 1)));
    for &jobs in numbers_of_jobs {
        tools.push(tool("pigz", &["-6".to_owned(), format!("-p{jobs}")], jobs));
        tools.extend([1, 3, 9].map(|level| tool("zstd", &[format!("-{level}"), format!("-T{jobs}")], jobs)));
    }
    tools
}

impl Tool {
    /// Runs it on a tar of `directory`; returns how many bytes came out.
    pub(super) fn run(&self, directory: &Path) -> Result<u64, Failure> {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(directory).args(["-cf", "-", "."]);
        let tar = tar.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut tar = tar.map_err(|error| failed("tar", &error))?;
        let stream = tar.stdout.take().expect("it was asked for");
        let mut reader = Command::new(self.program);
        let reader = reader.args(&self.arguments).stdin(stream).stdout(Stdio::piped()).spawn();
        let mut reader = reader.map_err(|error| failed(self.program, &error))?;
        let mut out = reader.stdout.take().expect("it was asked for");
        let written = io::copy(&mut out, &mut io::sink()).map_err(|error| failed(self.program, &error))?;
        for (name, process) in [("tar", &mut tar), (self.program, &mut reader)] {
            let status = process.wait().map_err(|error| failed(name, &error))?;
            if !status.success() {
                return Err(Failure::plain(format_args!("`{name}` of `{self}` failed: {status}")));
            }
        }
        Ok(written)
    }
}

fn failed(program: &str, error: &io::Error) -> Failure {
    Failure::plain(format_args!("cannot run `{program}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_called_what_it_does_and_its_threads_are_counted() {
        let shown: Vec<String> =
            all(&[1, 4]).iter().map(|tool| format!("{tool} ({}) {:?}", tool.jobs, tool.arguments)).collect();
        for expected in [
            r#"tar | sha256sum (1) []"#,
            r#"tar | gzip -6 (1) ["-6"]"#,
            r#"tar | pigz -6 (4) ["-6", "-p4"]"#,
            r#"tar | zstd -3 (4) ["-3", "-T4"]"#,
        ] {
            assert!(shown.iter().any(|shown| shown == expected), "{expected} is not among {shown:?}");
        }
    }
}
