//! The functions that docker adds to Go's templates.

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value};

use super::from_go;

type Result = gotmpl::Result<Value>;

/// Returns docker's functions.
pub(super) fn all() -> FuncMap {
    map(&[
        ("json", json),
        ("split", split),
        ("join", join),
        ("title", title),
        ("lower", lower),
        ("upper", upper),
        ("pad", pad),
        ("truncate", truncate),
        ("index", index),
    ])
}

/// Returns functions of the same names for a row of column headers: they leave the header as it is.
pub(super) fn of_headers() -> FuncMap {
    const NAMES: [&str; 8] = ["json", "split", "join", "title", "lower", "upper", "pad", "truncate"];
    map(&NAMES.map(|name| (name, first as Function)))
}

type Function = fn(&[Value]) -> Result;

fn map(functions: &[(&str, Function)]) -> FuncMap {
    let entry = |(name, function): &(&str, Function)| ((*name).to_owned(), Arc::new(*function) as _);
    functions.iter().map(entry).collect()
}

fn first(arguments: &[Value]) -> Result {
    arguments.first().cloned().ok_or_else(|| wrong("a function needs an argument"))
}

fn json(arguments: &[Value]) -> Result {
    let [value] = arguments else { return Err(wrong("json takes one argument")) };
    Ok(from_go(value).to_string().into())
}

fn split(arguments: &[Value]) -> Result {
    let [Value::String(text), Value::String(separator)] = arguments else {
        return Err(wrong("split takes a text and a separator"));
    };
    Ok(Value::List(text.split(&**separator).map(Value::from).collect()))
}

fn join(arguments: &[Value]) -> Result {
    let [list, Value::String(separator)] = arguments else {
        return Err(wrong("join takes a list and a separator"));
    };
    let texts: Vec<String> = match list {
        Value::Nil => Vec::new(),
        Value::List(list) => list.iter().map(ToString::to_string).collect(),
        _ => return Err(wrong("join takes a list and a separator")),
    };
    Ok(texts.join(separator).into())
}

fn title(arguments: &[Value]) -> Result {
    let mut at_start = true;
    let letter = |letter: char| {
        let was_at_start = std::mem::replace(&mut at_start, letter.is_whitespace());
        if was_at_start { letter.to_uppercase().to_string() } else { letter.to_string() }
    };
    Ok(text("title", arguments)?.chars().map(letter).collect::<String>().into())
}

fn lower(arguments: &[Value]) -> Result {
    Ok(text("lower", arguments)?.to_lowercase().into())
}

fn upper(arguments: &[Value]) -> Result {
    Ok(text("upper", arguments)?.to_uppercase().into())
}

/// Puts blanks around a text, unless it is empty.
fn pad(arguments: &[Value]) -> Result {
    let [Value::String(text), before, after] = arguments else {
        return Err(wrong("pad takes a text and two numbers"));
    };
    if text.is_empty() {
        return Ok(Value::from(""));
    }
    Ok(format!("{}{text}{}", " ".repeat(count(before)?), " ".repeat(count(after)?)).into())
}

fn truncate(arguments: &[Value]) -> Result {
    let [Value::String(text), length] = arguments else {
        return Err(wrong("truncate takes a text and a length"));
    };
    Ok(text.chars().take(count(length)?).collect::<String>().into())
}

/// Go's `index`, but what a map of texts does not have is the empty text, as it is in a Go map of that type.
fn index(arguments: &[Value]) -> Result {
    let [base, keys @ ..] = arguments else { return Err(wrong("index takes a value and keys")) };
    keys.iter().try_fold(base.clone(), |value, key| match &value {
        Value::Map(map) if map.values().all(|value| matches!(value, Value::String(_))) => {
            value.index(key).map(|found| if matches!(found, Value::Nil) { "".into() } else { found })
        }
        Value::Nil if matches!(key, Value::String(_)) => Ok("".into()),
        value => value.index(key),
    })
}

fn text<'a>(name: &str, arguments: &'a [Value]) -> gotmpl::Result<&'a str> {
    match arguments {
        [Value::String(text)] => Ok(text),
        _ => Err(wrong(&format!("{name} takes one text"))),
    }
}

fn count(value: &Value) -> gotmpl::Result<usize> {
    let number = value.as_int().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number <= 1 << 16).ok_or_else(|| wrong("not a usable number"))
}

fn wrong(message: &str) -> TemplateError {
    TemplateError::Exec(message.to_owned())
}
