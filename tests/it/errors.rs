//! What a user reads when something is wrong: the exact text.

use crate::support::kiln::Kiln;
use crate::support::skip;

/// Builds `context` of a Dockerfile that must not be built, and returns standard error.
fn stderr(kiln: &Kiln, line: &str) -> String {
    let ended = kiln.build(line);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stdout.is_empty());
    // The rung and the base differ between machines.
    let fixed = |line: &&str| !line.starts_with("kiln: ") && !line.contains("] FROM ");
    let lines: Vec<&str> = ended.stderr.lines().filter(fixed).collect();
    lines.join("\n")
}

#[test]
fn all_mistakes_of_a_file_at_once() {
    let kiln = Kiln::new();
    kiln.dockerfile(
        "FROM scratch AS base\nRUM make\nCOPY --form=base a b\nEXPOSE http\nFROM scratch\n\
         HEALTHCHECK --interval=often CMD true\nENV\n",
    );
    insta::assert_snapshot!(stderr(&kiln, "context"), @r#"
    error: unknown instruction `RUM`
     --> context/Dockerfile:2:1
      |
    2 | RUM make
      | ^^^
      = help: did you mean `RUN`?

    error: unknown flag --form
     --> context/Dockerfile:3:6
      |
    3 | COPY --form=base a b
      |      ^^^^^^
      = help: did you mean `--from`?

    error: invalid duration `often`
     --> context/Dockerfile:6:24
      |
    6 | HEALTHCHECK --interval=often CMD true
      |                        ^^^^^
      = help: use a number with a unit, for example `30s` or `1m30s`

    error: ENV needs at least one argument
     --> context/Dockerfile:7:1
      |
    7 | ENV
      | ^^^
      = help: write `ENV NAME=VALUE`

    error: context/Dockerfile: 4 errors; nothing was built
    "#);
}

#[test]
fn what_is_not_supported_is_refused_by_line() {
    let kiln = Kiln::new();
    kiln.dockerfile("# syntax=example.org/frontend:1\nFROM scratch\n");
    insta::assert_snapshot!(stderr(&kiln, "context"), @r#"
    error: `# syntax=example.org/frontend:1` asks for a frontend that is not built in
     --> context/Dockerfile:1:10
      |
    1 | # syntax=example.org/frontend:1
      |          ^^^^^^^^^^^^^^^^^^^^^^
      = help: only docker/dockerfile and docker/dockerfile-upstream are read, natively, whatever their tag

    error: context/Dockerfile: 1 error; nothing was built
    "#);
    kiln.dockerfile("FROM scratch\nRUN --device=example.org/gpu=1 [\"/x\"]\n");
    insta::assert_snapshot!(stderr(&kiln, "context"), @r#"
    error: RUN --device is not supported
     --> context/Dockerfile:2:14
      |
    2 | RUN --device=example.org/gpu=1 ["/x"]
      |              ^^^^^^^^^^^^^^^^^
      = help: build without the device; it can be given to the container when it runs

    error: context/Dockerfile: 1 error; nothing was built
    "#);
}

#[test]
fn a_source_that_is_not_there() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nCOPY config.jsn /etc/\n");
    kiln.write("context/config.json", "{}");
    insta::assert_snapshot!(stderr(&kiln, "context"), @r#"
    error: [1/1] COPY config.jsn /etc/: `config.jsn` does not exist in the build context
     --> context/Dockerfile:2:1
      |
    2 | COPY config.jsn /etc/
      | ^^^^^^^^^^^^^^^^^^^^^
      = help: did you mean `config.json`?
    "#);
    kiln.dockerfile("FROM scratch AS one\nCOPY config.json /\nFROM scratch\nCOPY --from=one /absent /\n");
    insta::assert_snapshot!(stderr(&kiln, "--progress quiet context"), @r#"
    error: [stage-1 1/1] COPY --from=one /absent /: `absent` does not exist in the stage or image
     --> context/Dockerfile:4:1
      |
    4 | COPY --from=one /absent /
      | ^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: its root holds `config.json`
    "#);
}

#[test]
fn a_source_that_the_ignore_file_excludes() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nCOPY Dockerfile app/main.js /\n");
    kiln.write("context/app/main.js", "");
    kiln.write("context/.dockerignore", "# no sources\n*.log\napp\n");
    insta::assert_snapshot!(stderr(&kiln, "context"), @r#"
    warning[CopyIgnoredFile]: Attempting to Copy file "app/main.js" that is excluded by .dockerignore
     --> context/Dockerfile:2:1
      |
    2 | COPY Dockerfile app/main.js /
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: line 3 of the ignore file excludes it: `app`

    error: [1/1] COPY Dockerfile app/main.js /: `app/main.js` is excluded by line 3 of context/.dockerignore: `app`
     --> context/Dockerfile:2:1
      |
    2 | COPY Dockerfile app/main.js /
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: remove line 3 of context/.dockerignore, or add an exception (`!`) below it
    "#);
}

#[test]
fn a_command_that_fails() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile("FROM busybox\nRUN echo one && \\\n    echo two && \\\n    exit 7\n");
    let text = stderr(&kiln, "--progress quiet context");
    insta::assert_snapshot!(text, @r#"
    the command wrote last:
      one
      two

    error: [2/2] RUN echo one &&     echo two &&     exit 7: process "/bin/sh -c echo one &&     echo two &&     exit 7" did not complete successfully: exit code: 7
     --> context/Dockerfile:2:1
      |
    2 | RUN echo one && \
      | ^^^^^^^^^^^^^^^^^
    3 |     echo two && \
      |     ^^^^^^^^^^^^^
    4 |     exit 7
      |     ^^^^^^
      = help: the lines that it wrote last say why
    "#);
    kiln.dockerfile("FROM busybox\nRUN [\"/absent\", \"argument\"]\n");
    insta::assert_snapshot!(stderr(&kiln, "--progress quiet context"), @r#"
    error: [2/2] RUN ["/absent", "argument"]: cannot execute `/absent`: No such file or directory (os error 2)
     --> context/Dockerfile:2:1
      |
    2 | RUN ["/absent", "argument"]
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    kiln.dockerfile("FROM busybox\nUSER nobody-here\nRUN true\n");
    insta::assert_snapshot!(stderr(&kiln, "--progress quiet context"), @r#"
    error: [2/2] RUN true: unable to find user nobody-here: no matching entries in passwd file
     --> context/Dockerfile:3:1
      |
    3 | RUN true
      | ^^^^^^^^
    "#);
    kiln.dockerfile("FROM busybox\nRUN kill -9 $$\n");
    insta::assert_snapshot!(stderr(&kiln, "--progress quiet context"), @r#"
    error: [2/2] RUN kill -9 $$: process "/bin/sh -c kill -9 $$" did not complete successfully: killed by signal 9 (SIGKILL; out of memory?)
     --> context/Dockerfile:2:1
      |
    2 | RUN kill -9 $$
      | ^^^^^^^^^^^^^^
      = help: something killed it; the kernel does so when memory is short
    "#);
}

#[test]
fn wrong_arguments() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nLABEL a=1\n");
    insta::assert_snapshot!(stderr(&kiln, "--taget=x context"), @r#"
    error: unexpected argument '--taget' found

      tip: a similar argument exists: '--target'

    Usage: kiln build --build-context <NAME=VALUE> --target <STAGE> [CONTEXT]

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(stderr(&kiln, "--target=bulid context"), @r#"
    error: target stage "bulid" could not be found
     --> context/Dockerfile:1:1
      |
    1 | FROM scratch
      | ^
      = help: `--target` takes the name that a FROM line gives with AS

    error: context/Dockerfile: 1 error; nothing was built
    "#);
    insta::assert_snapshot!(stderr(&kiln, "--output type=oci,destination=x context"), @r#"
    error: invalid value 'type=oci,destination=x' for '--output <KEY=VALUE,...>': `destination` is not an attribute of --output that kiln knows

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(stderr(&kiln, "--build-context name context"), @r#"error: --build-context name: must be NAME=VALUE"#);
    insta::assert_snapshot!(stderr(&kiln, "--tag UPPER context"), @r#"
    error: invalid value 'UPPER' for '--tag <NAME[:TAG]>': invalid image name `UPPER`: the repository must be lower-case

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(stderr(&kiln, "https://example.org/repository.git"), @r#"error: git ls-remote failed for https://example.org/repository.git: fatal: unable to access 'https://example.org/repository.git/': Could not resolve host: example.org"#);
    insta::assert_snapshot!(stderr(&kiln, "nowhere"), @r#"error: the context `nowhere` is not a directory"#);
}
