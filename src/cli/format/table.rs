//! Rows: one line for each, or a table with headers.

use serde_json::{Map, Value};

use super::super::report::Failure;
use super::{Template, functions};

/// What a listing has to show.
pub(crate) struct Columns {
    /// The table that is shown unless something else is asked for: fields parted by tabs.
    pub(crate) table: &'static str,
    /// What is shown with `--quiet`.
    pub(crate) quiet: &'static str,
    /// Fields and their headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

/// Columns are at least so wide (docker's tabwriter).
const MINIMAL_WIDTH: usize = 10;
/// Blanks between columns.
const PADDING: usize = 3;

/// Shows rows as `--format` and `--quiet` ask for: `table`, `table TEMPLATE`, `json`, or a template for each row. A wrong
/// template has no exit code of its own here: docker's listings do not have it either.
pub(crate) fn list(
    format: Option<&str>,
    quiet: bool,
    columns: &Columns,
    rows: &[Value],
) -> Result<String, Failure> {
    show(format, quiet, columns, rows).map_err(Failure::into_failed)
}

fn show(format: Option<&str>, quiet: bool, columns: &Columns, rows: &[Value]) -> Result<String, Failure> {
    let format = format.map(str::trim).filter(|format| !format.is_empty()).unwrap_or("table");
    if format == "json" {
        return Ok(rows.iter().map(|row| format!("{row}\n")).collect());
    }
    let is_table = format == "table" || format.starts_with("table ");
    let template = match format.strip_prefix("table") {
        Some("") if quiet => return lines(columns.quiet, rows),
        Some("") => columns.table,
        Some(template) if is_table => template.trim(),
        _ => format,
    };
    let template = template.replace("\\t", "\t").replace("\\n", "\n");
    if !is_table {
        return lines(&template, rows);
    }
    let headers: Map<String, Value> =
        columns.headers.iter().map(|(field, header)| ((*field).to_owned(), (*header).into())).collect();
    let header = Template::with(functions::of_headers(), &template)?.render(&headers.into())?;
    Ok(aligned(&format!("{header}\n{}", lines(&template, rows)?)))
}

fn lines(template: &str, rows: &[Value]) -> Result<String, Failure> {
    let template = Template::parse(template)?;
    rows.iter().map(|row| Ok(template.render(row)? + "\n")).collect()
}

/// Makes columns of what is parted by tabs; the last cell of a line is as wide as it is.
fn aligned(text: &str) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        for (column, cell) in cells[..cells.len() - 1].iter().enumerate() {
            let width = MINIMAL_WIDTH.max(cell.chars().count() + PADDING);
            match widths.get_mut(column) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let line = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let (last, padded) = cells.split_last().expect("splitting gives at least one cell");
        let padded = padded.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}{last}\n", padded.collect::<String>())
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: Columns = Columns {
        table: "{{.Name}}\t{{.Size}}",
        quiet: "{{.Name}}",
        headers: &[("Name", "NAME"), ("Size", "SIZE")],
    };

    #[test]
    fn forms_of_listings() {
        let rows = [json!({"Name": "a", "Size": "1B"}), json!({"Name": "a-long-name", "Size": "2kB"})];
        let table = "NAME          SIZE\na             1B\na-long-name   2kB\n";
        for (format, quiet, expected) in [
            (None, false, table),
            (Some("table"), false, table),
            (None, true, "a\na-long-name\n"),
            (
                Some(r"table {{.Size}}\t{{upper .Name}}"),
                false,
                "SIZE      NAME\n1B        A\n2kB       A-LONG-NAME\n",
            ),
            (Some("{{.Name}}:{{.Size}}"), true, "a:1B\na-long-name:2kB\n"),
            (
                Some("json"),
                false,
                "{\"Name\":\"a\",\"Size\":\"1B\"}\n{\"Name\":\"a-long-name\",\"Size\":\"2kB\"}\n",
            ),
            (
                Some("{{json .}}"),
                false,
                "{\"Name\":\"a\",\"Size\":\"1B\"}\n{\"Name\":\"a-long-name\",\"Size\":\"2kB\"}\n",
            ),
        ] {
            let shown = list(format, quiet, &COLUMNS, &rows).map_err(|failure| failure.to_string());
            assert_eq!(shown, Ok(expected.to_owned()), "{format:?}");
        }
        assert!(list(Some("{{.Nope}}"), false, &COLUMNS, &rows).is_err());
        assert_eq!(
            list(Some("{{.Nope}}"), false, &COLUMNS, &[]).map_err(|failure| failure.to_string()),
            Ok(String::new())
        );
    }
}
