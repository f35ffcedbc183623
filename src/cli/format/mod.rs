//! `--format`: Go templates with docker's functions, and docker's tables.
//!
//! Two forms, as docker has them: [`Template`] shows one object (`inspect`, `info`, `version`), [`list`] many rows
//! (`images`, `history`, `context ls`, `system df`) with `table TEMPLATE`, `json` and column headers.
//!
//! What Go knows of a type, JSON does not say. A field that is not there is an error if its name begins with a
//! capital, as all fields of Go's structs do; else it is a key of a map, and shows `<no value>`.

mod blocks;
mod functions;
pub(crate) mod human;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, TemplateError};
use serde_json::Value;

use super::report::Failure;

pub(crate) use self::table::{Columns, list};

/// A template for one object.
pub(crate) struct Template {
    parsed: gotmpl::Template,
    text: String,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        Self::with(functions::all(), text)
    }

    fn with(functions: gotmpl::FuncMap, text: &str) -> Result<Self, Failure> {
        let wrong =
            |error: String| Failure::template(format!("--format {text}: template parsing error: {error}"));
        let parsed = gotmpl::Template::new("").funcs(functions).parse(text);
        let parsed = parsed.map_err(|error| wrong(error.to_string()))?;
        blocks::check(text).map_err(|error| wrong(format!("template: {error}")))?;
        Ok(Self { parsed: parsed.missing_key(MissingKey::Error), text: text.to_owned() })
    }

    /// Fills the template in.
    pub(crate) fn render(&self, value: &Value) -> Result<String, Failure> {
        let value = to_go(value);
        let rendered = match self.parsed.execute_to_string(&value) {
            Err(TemplateError::MissingKey { key })
                if !key.starts_with(|first: char| first.is_uppercase()) =>
            {
                self.parsed.clone().missing_key(MissingKey::Invalid).execute_to_string(&value)
            }
            rendered => rendered,
        };
        rendered.map_err(|error| {
            Failure::plain(format!("--format {}: template execution error: {error}", self.text))
        })
    }
}

/// Shows one object as `--format` asks for: `json`, or a template.
pub(crate) fn object(format: &str, value: &Value) -> Result<String, Failure> {
    if format == "json" {
        return Ok(value.to_string());
    }
    Template::parse(format)?.render(value)
}

fn to_go(value: &Value) -> gotmpl::Value {
    use gotmpl::Value as Go;
    match value {
        Value::Null => Go::Nil,
        Value::Bool(value) => Go::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Go::Int(number),
            (None, Some(number)) => Go::Uint(number),
            (None, None) => Go::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Go::String(text.as_str().into()),
        Value::Array(list) => Go::List(list.iter().map(to_go).collect()),
        Value::Object(map) => {
            let entries: BTreeMap<Arc<str>, Go> =
                map.iter().map(|(key, value)| (key.as_str().into(), to_go(value))).collect();
            Go::Map(Arc::new(entries))
        }
    }
}

fn from_go(value: &gotmpl::Value) -> Value {
    use gotmpl::Value as Go;
    match value {
        Go::Nil | Go::Function(_) => Value::Null,
        Go::Bool(value) => (*value).into(),
        Go::Int(number) => (*number).into(),
        Go::Uint(number) => (*number).into(),
        Go::Float(number) => (*number).into(),
        Go::String(text) => (&**text).into(),
        Go::List(list) => list.iter().map(from_go).collect(),
        Go::Map(map) => map.iter().map(|(key, value)| (key.to_string(), from_go(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> Value {
        json!({
            "Size": 2_136_576, "Os": "linux", "Architecture": "amd64",
            "RepoDigests": ["r.io/a@sha256:00"], "RepoTags": ["a:1", "b:2"], "Empty": null,
            "RootFS": {"Type": "layers", "Layers": ["x", "y", "z"]},
            "Config": {"Labels": {"org.a": "<1>", "b": "2"}, "Env": ["A=1"], "Cmd": [], "Tty": false},
        })
    }

    #[test]
    fn templates_as_docker_shows_them() {
        for (template, expected) in [
            ("{{ .Size }} {{ len .RootFS.Layers }}", "2136576 3"),
            ("{{ json .RepoDigests }}", r#"["r.io/a@sha256:00"]"#),
            ("{{.Os}}/{{.Architecture}}", "linux/amd64"),
            ("json", "json"),
            ("{{json .Config.Labels}}", r#"{"b":"2","org.a":"<1>"}"#),
            (
                "{{.RepoTags}} {{.Config}}",
                "[a:1 b:2] map[Cmd:[] Env:[A=1] Labels:map[b:2 org.a:<1>] Tty:false]",
            ),
            ("{{.Empty}}", "<no value>"),
            ("{{.Config.Labels.none}}", "<no value>"),
            (r#"{{index .Config.Labels "org.a"}}|{{index .Config.Labels "none"}}|"#, "<1>||"),
            (r#"{{index .RepoTags 1}} {{(index .RepoTags 0) | printf "%q"}}"#, "b:2 \"a:1\""),
            (
                r#"{{join .RepoTags ","}} {{upper .Os}} {{title .Os}} {{lower "AB"}}"#,
                "a:1,b:2 LINUX Linux ab",
            ),
            (r#"{{range $i, $t := .RepoTags}}{{if $i}}, {{end}}{{$t}}{{end}}"#, "a:1, b:2"),
            (r#"{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}"#, "b=2;org.a=<1>;"),
            (r#"{{range .Config.Cmd}}x{{else}}none{{end}}"#, "none"),
            (r#"{{with .Config}}{{.Tty}}{{end}}{{with .Empty}}x{{else}}-{{end}}"#, "false-"),
            (r#"{{if and (eq .Os "linux") (ne .Size 0) (not .Empty)}}yes{{end}}"#, "yes"),
            ("a {{- /* comment */ -}} b", "ab"),
            (r#"{{ range split "a:b:c" ":" }}{{println .}}{{end}}"#, "a\nb\nc\n"),
            (r#"{{truncate .Os 3}}|{{pad .Os 1 2}}|"#, "lin| linux  |"),
            (r#"{{$x := .Os}}{{$x}}{{println .Size .Os}}"#, "linux2136576 linux\n"),
            (r#"{{printf "%-6s|%05d" .Os 42}}"#, "linux |00042"),
        ] {
            let shown = Template::parse(template).and_then(|template| template.render(&image()));
            assert_eq!(shown.map_err(|failure| failure.to_string()), Ok(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn mistakes_in_templates_are_errors() {
        for (template, expected) in [
            ("{{.Size", ": template parsing error: template: 1:8: unclosed action"),
            ("{{nope .Size}}", ": template execution error: undefined function: nope"),
            ("{{.Nope}}", ": template execution error: map has no entry for key: Nope"),
            ("{{if .Os}}", ": template parsing error"),
            ("{{index .RepoTags 9}}", ": template execution error: index out of range: 9"),
            ("{{join .Size 1}}", ": template execution error"),
        ] {
            let failure =
                Template::parse(template).and_then(|template| template.render(&image())).unwrap_err();
            let text = failure.to_string();
            assert!(text.contains(expected) && text.contains(template), "{template}: {failure}");
        }
    }
}
