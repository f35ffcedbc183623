//! A parsed file with the span of everything in it: one form for JSON and TOML.

use std::ops::Range;

use jsonc_parser::ast;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Span};

/// A value and where it is written.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What is written.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// A number or a truth value, as written.
    Scalar(String),
    Null,
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values in the file's order; of equal keys the last one counts.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Node {
    /// Parses JSON with comments and trailing commas, as wrangler does.
    pub(super) fn from_json(text: &str) -> Result<Self, Diagnostic> {
        let strict = jsonc_parser::ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        let bare = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let skipped = text.len() - bare.len();
        let parsed = jsonc_parser::parse_to_ast(bare, &jsonc_parser::CollectOptions::default(), &strict);
        let parsed = parsed.map_err(|error| {
            let span = Span::new(error.range().start + skipped, error.range().end + skipped);
            Diagnostic::error(
                span,
                format!("the file is not JSON: {}", lower_first(&error.kind().to_string())),
            )
            .with_help("comments and trailing commas are allowed, everything else as in JSON")
        })?;
        match parsed.value {
            Some(value) => Ok(Self::of_json(value, skipped)),
            None => Err(Diagnostic::error(Span::new(0, 0), "the file is empty")),
        }
    }

    fn of_json(value: ast::Value<'_>, skipped: usize) -> Self {
        let span_of =
            |range: jsonc_parser::common::Range| Span::new(range.start + skipped, range.end + skipped);
        let (range, value) = match value {
            ast::Value::StringLit(text) => (text.range, Value::Text(text.value.into_owned())),
            ast::Value::NumberLit(number) => (number.range, Value::Scalar(number.value.to_owned())),
            ast::Value::BooleanLit(flag) => (flag.range, Value::Scalar(flag.value.to_string())),
            ast::Value::NullKeyword(null) => (null.range, Value::Null),
            ast::Value::Array(list) => {
                let nodes = list.elements.into_iter().map(|element| Self::of_json(element, skipped));
                (list.range, Value::List(nodes.collect()))
            }
            ast::Value::Object(object) => {
                let entries = object.properties.into_iter().map(|property| Entry {
                    key_span: span_of(match &property.name {
                        ast::ObjectPropName::String(name) => name.range,
                        ast::ObjectPropName::Word(name) => name.range,
                    }),
                    key: property.name.into_string(),
                    node: Self::of_json(property.value, skipped),
                });
                (object.range, Value::Table(Table { entries: entries.collect() }))
            }
        };
        Self { span: span_of(range), value }
    }

    /// Parses TOML.
    pub(super) fn from_toml(text: &str) -> Result<Self, Diagnostic> {
        let span_of = |range: Range<usize>| Span::new(range.start, range.end);
        let table = DeTable::parse(text).map_err(|error| {
            let span = error.span().map(span_of).unwrap_or_default();
            let said = error.message().lines().next().unwrap_or_default();
            Diagnostic::error(span, format!("the file is not TOML: {}", lower_first(said)))
        })?;
        let span = span_of(table.span());
        Ok(Self { span, value: Value::Table(Table::of_toml(table.into_inner())) })
    }

    fn of_toml(value: Spanned<DeValue<'_>>) -> Self {
        let span = Span::new(value.span().start, value.span().end);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => Value::Scalar(number.to_string()),
            DeValue::Float(number) => Value::Scalar(number.to_string()),
            DeValue::Boolean(flag) => Value::Scalar(flag.to_string()),
            DeValue::Datetime(time) => Value::Scalar(time.to_string()),
            DeValue::Array(list) => Value::List(list.into_iter().map(Self::of_toml).collect()),
            DeValue::Table(table) => Value::Table(Table::of_toml(table)),
        };
        Self { span, value }
    }

    /// Returns the value as a table. `name` is what the file calls it.
    pub(super) fn table(&self, name: &str) -> Result<&Table, Diagnostic> {
        match &self.value {
            Value::Table(table) => Ok(table),
            _ => Err(self.must_be(name, "a table of keys and values")),
        }
    }

    /// Returns the value as a list.
    pub(super) fn list(&self, name: &str) -> Result<&[Self], Diagnostic> {
        match &self.value {
            Value::List(list) => Ok(list),
            _ => Err(self.must_be(name, "a list")),
        }
    }

    /// Returns the value as text.
    pub(super) fn text(&self, name: &str) -> Result<&str, Diagnostic> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.must_be(name, "a string").with_help("write it in double quotes")),
        }
    }

    fn must_be(&self, name: &str, what: &str) -> Diagnostic {
        Diagnostic::error(self.span, format!("`{name}` must be {what}"))
    }
}

impl Table {
    fn of_toml(table: DeTable<'_>) -> Self {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_span: Span::new(key.span().start, key.span().end),
                key: key.into_inner().into_owned(),
                node: Node::of_toml(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { entries }
    }

    /// Returns the entry of a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// Returns the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Returns the text of a key and where it stands.
    pub(super) fn text(&self, key: &str) -> Result<Option<(&str, Span)>, Diagnostic> {
        self.get(key).map(|node| Ok((node.text(key)?, node.span))).transpose()
    }
}

/// Parsers begin their sentences with capitals, ours do not.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
