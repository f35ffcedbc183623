//! `--call`: questions to a Dockerfile, in the words and the JSON of docker's.

use std::str::FromStr;

use base64::Engine as _;
use kiln::builder::Request;
use kiln::checkup::{Examination, Outline, Required, Target, outline, targets};
use kiln::diagnostic::{Source, Span};
use kiln::dockerfile;
use serde_json::{Map, Value, json};

use super::super::Outcome;
use super::super::report::Failure;
use super::{lint, print, verdict};

/// A question, and the form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    question: Question,
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Build,
    Check,
    Outline,
    Targets,
}

impl Call {
    /// The question of `--check`.
    pub(crate) const CHECK: Self = Self { question: Question::Check, json: false };

    /// Tells whether this is no question but a build.
    pub(crate) fn builds(self) -> bool {
        self.question == Question::Build
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(',').unwrap_or((text, ""));
        let question = match name {
            "build" => Question::Build,
            // `lint` is the older word.
            "check" | "lint" => Question::Check,
            "outline" => Question::Outline,
            "targets" => Question::Targets,
            _ => return Err(format!("`{name}` is none of build, check, outline, targets")),
        };
        let json = match options {
            "" | "format=text" => false,
            "format=json" => true,
            other => return Err(format!("`{other}` is neither format=text nor format=json")),
        };
        Ok(Self { question, json })
    }
}

/// Answers on standard output.
pub(super) fn run(
    call: Call,
    request: &Request,
    examine: impl FnOnce() -> Result<Examination, Failure>,
) -> Outcome {
    if call.question == Question::Check {
        let examination = examine()?;
        let source = &request.dockerfile;
        print(&if call.json {
            format!("{:#}\n", lint::buildkit(source, &examination))
        } else {
            lint::text(source, &examination)
        })?;
        return verdict(&examination);
    }
    let parsed = dockerfile::parse(request.dockerfile.clone());
    let Some(file) = parsed.dockerfile else {
        return Err(Failure::findings(&request.dockerfile, &parsed.diagnostics));
    };
    if call.question == Question::Targets {
        let targets = targets(&file);
        return print(&if call.json { targets_json(&file.source, &targets) } else { targets_text(&targets) });
    }
    let given = |name: &str| request.build_args.get(name).cloned();
    let outline = outline(&file, request.target.as_deref(), &given).ok_or_else(|| {
        let target = request.target.as_deref().unwrap_or_default();
        Failure::plain(format!("target stage `{target}` could not be found"))
    })?;
    print(&if call.json { outline_json(&file.source, &outline) } else { outline_text(&outline) })
}

fn targets_text(targets: &[Target<'_>]) -> String {
    let row = |target: &Target<'_>| {
        let name = match (target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.to_owned(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        };
        vec![name, target.description.unwrap_or_default().to_owned()]
    };
    table(&["TARGET", "DESCRIPTION"], targets.iter().map(row).collect(), 1)
}

fn targets_json(source: &Source, targets: &[Target<'_>]) -> String {
    let target = |target: &Target<'_>| {
        object([
            ("name", target.name.map(Into::into)),
            ("default", target.default.then_some(true.into())),
            ("description", target.description.map(Into::into)),
            ("base", Some(target.base.into())),
            ("platform", target.platform.map(Into::into)),
            ("location", Some(location(source, target.span))),
        ])
    };
    let targets: Vec<Value> = targets.iter().map(target).collect();
    format!("{:#}\n", json!({ "targets": targets, "sources": [encoded(source)] }))
}

fn outline_text(outline: &Outline<'_>) -> String {
    let mut text = String::new();
    let Target { name, description, .. } = outline.target;
    if name.is_some() || description.is_some() {
        let mut rows = Vec::new();
        rows.extend(description.map(|text| vec!["DESCRIPTION:".to_owned(), text.to_owned()]));
        text += &table(&["TARGET:", name.unwrap_or("(default)")], rows, 1);
        text.push('\n');
    }
    let mut section = |heading: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            text += &table(heading, rows, 3);
            text.push('\n');
        }
    };
    let arguments = outline.arguments.iter().map(|argument| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        vec![argument.name.clone(), text(&argument.value), text(&argument.description)]
    });
    let required = |entry: &Required| {
        vec![entry.name.clone(), if entry.required { "true".to_owned() } else { String::new() }]
    };
    section(&["BUILD ARG", "VALUE", "DESCRIPTION"], arguments.collect());
    section(&["SECRET", "REQUIRED"], outline.secrets.iter().map(required).collect());
    section(&["SSH", "REQUIRED"], outline.ssh.iter().map(required).collect());
    section(&["CACHE"], outline.caches.iter().map(|cache| vec![cache.id.clone()]).collect());
    text
}

fn outline_json(source: &Source, outline: &Outline<'_>) -> String {
    let required = |entry: &Required| {
        object([
            ("name", Some(entry.name.as_str().into())),
            ("required", entry.required.then_some(true.into())),
            ("location", Some(location(source, entry.span))),
        ])
    };
    let arguments = outline.arguments.iter().map(|argument| {
        object([
            ("name", Some(argument.name.as_str().into())),
            ("description", argument.description.as_deref().map(Into::into)),
            ("value", argument.value.as_deref().map(Into::into)),
            ("location", Some(location(source, argument.span))),
        ])
    });
    let cache = outline.caches.iter().map(|cache| {
        object([("ID", Some(cache.id.as_str().into())), ("location", Some(location(source, cache.span)))])
    });
    let list = |entries: Vec<Value>| (!entries.is_empty()).then_some(Value::Array(entries));
    let answer = object([
        ("name", outline.target.name.map(Into::into)),
        ("description", outline.target.description.map(Into::into)),
        ("args", list(arguments.collect())),
        ("secrets", list(outline.secrets.iter().map(required).collect())),
        ("ssh", list(outline.ssh.iter().map(required).collect())),
        ("cache", list(cache.collect())),
        ("sources", Some(json!([encoded(source)]))),
    ]);
    format!("{answer:#}\n")
}

/// Makes an object of the fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn location(source: &Source, span: Span) -> Value {
    let (start, end) = (source.line(span.start), source.line(span.end.saturating_sub(1).max(span.start)));
    json!({ "ranges": [{ "start": { "line": start }, "end": { "line": end } }] })
}

fn encoded(source: &Source) -> String {
    base64::engine::general_purpose::STANDARD.encode(&*source.text)
}

/// Lays rows out in columns, `gap` blanks apart.
fn table(heading: &[&str], rows: Vec<Vec<String>>, gap: usize) -> String {
    let mut rows = rows;
    rows.insert(0, heading.iter().map(|cell| (*cell).to_owned()).collect());
    let columns = heading.len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:0$}", width + gap);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# VERSION of the base\nARG VERSION=1\n# one is built first\nFROM a:$VERSION AS one\n\
        # FLAGS for the compiler\nARG FLAGS=-O2\nRUN --mount=type=secret,id=token,required make\nFROM b\n";

    fn shown(text: &str, answer: impl Fn(&dockerfile::instruction::Dockerfile) -> String) -> String {
        answer(&dockerfile::parse(Source::new("Dockerfile", text)).dockerfile.unwrap())
    }

    #[test]
    fn questions() {
        assert_eq!("check".parse(), Ok(Call::CHECK));
        assert_eq!("lint,format=json".parse(), Ok(Call { question: Question::Check, json: true }));
        assert!("build".parse::<Call>().unwrap().builds());
        for wrong in ["", "chec", "check,format=xml", "check,json"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_as_a_table() {
        insta::assert_snapshot!(shown(FILE, |file| targets_text(&targets(file))), @"
        TARGET    DESCRIPTION
        one       is built first
        (default)
        ");
    }

    #[test]
    fn outline_as_tables_and_as_json() {
        let outline = |file: &dockerfile::instruction::Dockerfile| {
            let outline = outline(file, Some("one"), &|_| None).unwrap();
            outline_text(&outline) + &outline_json(&file.source, &outline)
        };
        insta::assert_snapshot!(shown(FILE, outline), @r#"
        TARGET:      one
        DESCRIPTION: is built first

        BUILD ARG   VALUE   DESCRIPTION
        VERSION     1       of the base
        FLAGS       -O2     for the compiler

        SECRET   REQUIRED
        token    true

        {
          "args": [
            {
              "description": "of the base",
              "location": {
                "ranges": [
                  {
                    "end": {
                      "line": 2
                    },
                    "start": {
                      "line": 2
                    }
                  }
                ]
              },
              "name": "VERSION",
              "value": "1"
            },
            {
              "description": "for the compiler",
              "location": {
                "ranges": [
                  {
                    "end": {
                      "line": 6
                    },
                    "start": {
                      "line": 6
                    }
                  }
                ]
              },
              "name": "FLAGS",
              "value": "-O2"
            }
          ],
          "description": "is built first",
          "name": "one",
          "secrets": [
            {
              "location": {
                "ranges": [
                  {
                    "end": {
                      "line": 7
                    },
                    "start": {
                      "line": 7
                    }
                  }
                ]
              },
              "name": "token",
              "required": true
            }
          ],
          "sources": [
            "IyBWRVJTSU9OIG9mIHRoZSBiYXNlCkFSRyBWRVJTSU9OPTEKIyBvbmUgaXMgYnVpbHQgZmlyc3QKRlJPTSBhOiRWRVJTSU9OIEFTIG9uZQojIEZMQUdTIGZvciB0aGUgY29tcGlsZXIKQVJHIEZMQUdTPS1PMgpSVU4gLS1tb3VudD10eXBlPXNlY3JldCxpZD10b2tlbixyZXF1aXJlZCBtYWtlCkZST00gYgo="
          ]
        }
        "#);
    }
}
