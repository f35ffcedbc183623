//! `kiln kaniko`: kaniko's executor flags, translated into those of `kiln build`.
//!
//! The translation is pure: flags in, an argument list out, which the parser of `kiln build` reads. So whatever holds
//! there holds here, and an error names the flag of either.

mod flags;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use kiln::digest::Digest;
use kiln::reference::Reference;

pub(crate) use self::flags::Args;
use super::environment::Environment;
use super::report::{Failure, tell};
use super::{Outcome, build};

/// Translates the flags and builds.
pub(crate) fn run(args: &Args, mut environment: Environment) -> Outcome {
    let translation = translate(args).map_err(Failure::usage)?;
    for note in &translation.notes {
        tell!("note: {note}");
    }
    if let Some(archive) = &translation.stdin {
        let file: File = fs_err::File::open(archive).map_err(Failure::from_error)?.into();
        rustix::stdio::dup2_stdin(&file).map_err(|error| Failure::from_error(std::io::Error::from(error)))?;
    }
    environment.registries_text = translation.registries;
    let words = [OsString::from("kiln build")].into_iter().chain(translation.build);
    let line = BuildLine::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?;
    let Some(done) = build::execute(&line.args, &environment)? else { return Ok(()) };
    let Some(image) = done.built.image else { return Ok(()) };
    for (path, form) in &translation.digests {
        fs_err::write(path, form.text(&image.manifest.digest, &done.tags)).map_err(Failure::from_error)?;
    }
    Ok(())
}

/// The translated flags, as `kiln build` reads them.
#[derive(clap::Parser)]
struct BuildLine {
    #[command(flatten)]
    args: build::Args,
}

/// What kaniko's flags mean here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    /// The arguments of `kiln build`.
    pub(super) build: Vec<OsString>,
    /// What standard input is to be, if the context is an archive.
    pub(super) stdin: Option<PathBuf>,
    /// Files that the image's digest is written to.
    pub(super) digests: Vec<(PathBuf, DigestForm)>,
    /// Text for registries.conf.
    pub(super) registries: String,
    /// What is said on standard error.
    pub(super) notes: Vec<String>,
}

/// What a file with a digest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DigestForm {
    /// The digest alone.
    Digest,
    /// `NAME@DIGEST`, a line per destination.
    Name,
    /// `NAME:TAG@DIGEST`, a line per destination.
    NameAndTag,
}

impl DigestForm {
    fn text(self, digest: &Digest, names: &[Reference]) -> String {
        let line = |name: String| format!("{name}@{digest}\n");
        match self {
            Self::Digest => digest.to_string(),
            Self::Name => names.iter().map(|name| line(name.familiar_name())).collect(),
            Self::NameAndTag => names.iter().map(|name| line(name.familiar())).collect(),
        }
    }
}

/// Translates the flags.
///
/// # Errors
/// If a flag means something that kiln does not do: names it and says what to do instead.
pub(super) fn translate(args: &Args) -> Result<Translation, String> {
    if let Some((flag, instead)) = args.refused.given().first() {
        return Err(format!("--{flag} of kaniko is not supported: {instead}"));
    }
    let mut translation = Translation::default();
    let verbosity =
        args.verbosity.as_ref().map(|_| ("verbosity", "progress is written as --log-format says"));
    for (flag, why) in args.needless.given().into_iter().chain(verbosity) {
        translation.notes.push(format!("--{flag} has no effect: {why}"));
    }
    let context = context(args, &mut translation)?;
    let build = &mut translation.build;
    let mut option = |name: &str, value: &str| build.extend([name.into(), value.into()]);
    for value in &args.build_arg {
        option("--build-arg", value);
    }
    for value in &args.label {
        option("--label", value);
    }
    for (name, value) in [("--target", &args.target), ("--platform", &args.custom_platform)] {
        if let Some(value) = value {
            option(name, value);
        }
    }
    for name in &args.destination {
        option("--tag", name);
    }
    if args.single_snapshot {
        build.push("--squash".into());
    }
    if args.reproducible {
        build.extend(["--build-arg".into(), "SOURCE_DATE_EPOCH=0".into()]);
    }
    match args.log_format.as_deref() {
        None | Some("text" | "color") => {}
        Some("json") => build.extend(["--progress".into(), "rawjson".into()]),
        Some(other) => return Err(format!("--log-format {other} is not one of text, color, json")),
    }
    for output in outputs(args)? {
        build.extend(["--output".into(), output.into()]);
    }
    cache(args, build)?;
    build.extend(context);
    translation.registries = registries(args)?;
    let files = [
        (&args.digest_file, DigestForm::Digest),
        (&args.image_name_with_digest_file, DigestForm::Name),
        (&args.image_name_tag_with_digest_file, DigestForm::NameAndTag),
    ];
    let given = files.into_iter().filter_map(|(file, form)| Some((file.clone()?, form)));
    translation.digests = given.collect();
    Ok(translation)
}

/// Finds out what is built from: returns the Dockerfile's option and the context.
fn context(args: &Args, translation: &mut Translation) -> Result<Vec<OsString>, String> {
    let sub_path = args.context_sub_path.as_deref().unwrap_or_default().trim_matches('/');
    let file = |context: &str| -> Vec<OsString> {
        vec!["--file".into(), args.dockerfile.clone().into(), context.into()]
    };
    let (scheme, rest) = args.context.split_once("://").unwrap_or(("dir", &args.context));
    match scheme {
        "dir" => {
            let directory =
                if sub_path.is_empty() { PathBuf::from(rest) } else { Path::new(rest).join(sub_path) };
            // kaniko looks for it where it stands first, then in the context.
            let beside = args.dockerfile.is_absolute() || args.dockerfile.exists();
            let dockerfile = if beside { args.dockerfile.clone() } else { directory.join(&args.dockerfile) };
            Ok(vec!["--file".into(), dockerfile.into(), directory.into()])
        }
        "git" => {
            let (repository, reference) = rest.split_once('#').unwrap_or((rest, ""));
            // `#refs/heads/branch#commit`: the commit says it all.
            let reference = reference.rsplit_once('#').map_or(reference, |(_, commit)| commit);
            let repository =
                if has_git_suffix(repository) { repository.to_owned() } else { format!("{repository}.git") };
            let fragment = match (reference, sub_path) {
                ("", "") => String::new(),
                (reference, "") => format!("#{reference}"),
                (reference, directory) => format!("#{reference}:{directory}"),
            };
            Ok(file(&format!("https://{repository}{fragment}")))
        }
        _ if !sub_path.is_empty() => {
            Err(format!("--context-sub-path goes with a directory or a repository, not with {scheme}://"))
        }
        "tar" => {
            if rest != "stdin" {
                translation.stdin = Some(PathBuf::from(rest));
            }
            Ok(file("-"))
        }
        "http" | "https" => Ok(file(&args.context)),
        "s3" | "gs" => Err(format!(
            "--context {scheme}:// is not supported: fetch the archive with the platform's own tool, then `--context tar://FILE`"
        )),
        other => Err(format!("--context {other}://: use dir://, git://, https:// or tar://")),
    }
}

fn has_git_suffix(repository: &str) -> bool {
    Path::new(repository).extension().is_some_and(|extension| extension == "git")
}

/// Decides where the image goes.
fn outputs(args: &Args) -> Result<Vec<String>, String> {
    let pushes = !args.no_push;
    if args.destination.is_empty() && (pushes || args.tar_path.is_some()) {
        return Err("--destination is missing: name the image, or give --no-push".to_owned());
    }
    let mut attributes = String::new();
    if let Some(codec) = &args.compression {
        attributes += &format!(",compression={codec}");
    }
    if let Some(level) = args.compression_level {
        let codec = if args.compression.is_none() { "compression=gzip," } else { "" };
        attributes += &format!(",{codec}compression-level={level}");
    }
    if args.reproducible {
        attributes += ",rewrite-timestamp=true";
    }
    let mut outputs = Vec::new();
    if pushes {
        outputs.push(format!("type=registry{attributes}"));
    }
    if let Some(path) = &args.tar_path {
        outputs.push(format!("type=docker,dest={}{attributes}", path.display()));
    }
    if let Some(path) = &args.oci_layout_path {
        outputs.push(format!("type=oci,tar=false,dest={}{attributes}", path.display()));
    }
    if outputs.is_empty() {
        outputs.push(format!("type=image{attributes}"));
    }
    Ok(outputs)
}

/// Decides where cached steps come from and go to.
fn cache(args: &Args, build: &mut Vec<OsString>) -> Result<(), String> {
    if !args.cache {
        return Ok(());
    }
    let repository = match (&args.cache_repo, args.destination.first()) {
        (Some(repository), _) => repository.clone(),
        (None, Some(destination)) => {
            let name: Reference = destination.parse().map_err(|error| format!("--destination: {error}"))?;
            format!("{}/cache", name.name())
        }
        (None, None) => return Err("--cache needs --cache-repo where there is no --destination".to_owned()),
    };
    let (from, to) = match repository.strip_prefix("oci:") {
        Some(directory) => {
            (format!("type=local,src={directory}"), format!("type=local,dest={directory},mode=max"))
        }
        None => {
            (format!("type=registry,ref={repository}"), format!("type=registry,ref={repository},mode=max"))
        }
    };
    build.extend(["--cache-from".into(), from.into()]);
    if !args.no_push_cache {
        build.extend(["--cache-to".into(), to.into()]);
    }
    Ok(())
}

/// Writes what the flags say of registries in the form of registries.conf.
fn registries(args: &Args) -> Result<String, String> {
    let mut insecure = args.insecure_registry.clone();
    if args.insecure {
        for destination in &args.destination {
            let name: Reference = destination.parse().map_err(|error| format!("--destination: {error}"))?;
            insecure.push(name.registry);
        }
    }
    insecure.sort();
    insecure.dedup();
    let mut text: String =
        insecure.iter().map(|host| format!("[[registry]]\nlocation = {host:?}\ninsecure = true\n")).collect();
    if !args.registry_mirror.is_empty() {
        text += "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n";
        for mirror in &args.registry_mirror {
            let insecure = insecure.contains(mirror);
            text += &format!("[[registry.mirror]]\nlocation = {mirror:?}\ninsecure = {insecure}\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
