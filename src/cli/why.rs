//! `kiln why`: why steps of the last build were not cached.

use std::path::PathBuf;

use kiln::solve::journal::{self, Difference, Entry, Fate, Reason};

use super::Outcome;
use super::environment::Environment;
use super::report::{Failure, print};

/// The arguments of `kiln why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The build context of the build to explain, or a step of one in the current directory.
    #[arg(value_name = "CONTEXT")]
    context: Option<PathBuf>,
    /// A step: a part of its name, such as `RUN make` or `2/4`. The default is every step that was not cached.
    #[arg(value_name = "STEP")]
    step: Option<String>,
}

/// Explains the last build.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let (context, step) = match (&args.context, &args.step) {
        (Some(word), None) if !word.is_dir() => {
            (PathBuf::from("."), Some(word.to_string_lossy().into_owned()))
        }
        (context, step) => (context.clone().unwrap_or_else(|| ".".into()), step.clone()),
    };
    let context = fs_err::canonicalize(context).map_err(Failure::from_error)?;
    let store = environment.store()?;
    let journal = journal::read(&store, &context.to_string_lossy()).ok_or_else(|| {
        Failure::plain(format!("no build of `{}` is known; build it first", context.display()))
    })?;
    let asked = |entry: &&Entry| match &step {
        Some(step) => entry.name.to_lowercase().contains(&step.to_lowercase()),
        None => entry.reason.is_some(),
    };
    let steps: Vec<&Entry> = journal.steps.iter().filter(asked).collect();
    if let (true, Some(step)) = (steps.is_empty(), &step) {
        let names: String = journal.steps.iter().map(|entry| format!("\n  {}", entry.name)).collect();
        return Err(Failure::plain(format!("no step is called `{step}`; the steps are{names}")));
    }
    let mut text: String = steps.into_iter().map(explain).collect();
    if text.is_empty() {
        text = "every step was cached\n".to_owned();
    }
    print(&text)
}

fn explain(entry: &Entry) -> String {
    let mut text = format!("{}\n", entry.name);
    match (&entry.reason, entry.fate) {
        (None, Fate::NotReached) => text += "  was not reached\n",
        (None, Fate::Cached) => text += "  was cached\n",
        (None, Fate::Done | Fate::Failed) => text += "  is not cached\n",
        (Some(Reason::Asked), _) => {
            text += "  the cache was not to answer: --no-cache or --no-cache-filter\n"
        }
        (Some(Reason::New), _) => text += "  no earlier build had such a step\n",
        (Some(Reason::Gone), _) => {
            text += "  nothing changed, but no result was in the store: it failed before, or was removed\n";
        }
        (Some(Reason::Changed { nearest, differences }), _) => {
            if *nearest != entry.name {
                text += &format!("  compared with {nearest}\n");
            }
            text.extend(differences.iter().map(difference));
        }
    }
    text
}

fn difference(Difference { name, count, files }: &Difference) -> String {
    let mut text = format!("  {name} changed");
    if *count > 0 {
        text += &format!(": {count} file{}", if *count == 1 { "" } else { "s" });
    }
    text.push('\n');
    for file in files {
        let (mark, path) = file.split_at(1);
        text += &format!("    {mark} {path}\n");
    }
    if *count > files.len() && !files.is_empty() {
        text += &format!("    and {} more\n", count - files.len());
    }
    text
}
