//! `kiln why`: why steps of the last build were not cached.

use kiln::solve::journal::{self, Difference, Entry, Fate, Reason};

use super::Outcome;
use super::build::ChoiceArgs;
use super::environment::Environment;
use super::report::{Failure, print};

/// The arguments of `kiln why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// A step: a part of its name, such as `RUN make` or `2/4`. The default is every step that was not cached.
    #[arg(index = 2, value_name = "STEP")]
    step: Option<String>,
}

/// Explains the last build.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let known = |choice: &ChoiceArgs| Ok(journal::read(&store, &choice.name()?));
    let (mut choice, mut step) = (args.choice.clone(), args.step.clone());
    let mut found = known(&choice)?;
    if found.is_none() && step.is_none() && !choice.context().is_dir() {
        // The one word is a step then.
        step = Some(choice.context().to_string_lossy().into_owned());
        choice = choice.with_context(".");
        found = known(&choice)?;
    }
    let journal = found.ok_or_else(|| {
        let context = choice.context();
        let context = fs_err::canonicalize(context).unwrap_or_else(|_| context.to_owned());
        let message = "is known with this -f, --target and --platform; build it first";
        Failure::plain(format!("no build of `{}` {message}", context.display()))
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
