//! Tables for people, rendered from the same values that JSON shows.

use serde_json::Value;

/// One column.
pub(crate) struct Column {
    /// Heading, upper case.
    pub(crate) name: &'static str,
    /// Shown only with `-o wide`.
    pub(crate) wide: bool,
    /// The cell of a value.
    pub(crate) cell: fn(&Value) -> String,
}

/// A column of the default table.
pub(crate) const fn column(name: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { name, wide: false, cell }
}

/// A column of `-o wide`.
pub(crate) const fn wide(name: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { name, wide: true, cell }
}

/// How to print a table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// All columns.
    pub(crate) wide: bool,
    /// Without the line of names.
    pub(crate) no_headers: bool,
}

/// Renders rows; columns are as wide as their widest cell, nothing is cut.
pub(crate) fn render(columns: &[Column], rows: &[Value], style: Style) -> String {
    Table::new(columns, style).next(rows)
}

/// A table that grows: later rows keep the widths of earlier ones and widen them where they must.
pub(crate) struct Table<'a> {
    columns: Vec<&'a Column>,
    widths: Vec<usize>,
    headed: bool,
}

impl<'a> Table<'a> {
    /// An empty one.
    pub(crate) fn new(columns: &'a [Column], style: Style) -> Self {
        let columns: Vec<&Column> = columns.iter().filter(|c| style.wide || !c.wide).collect();
        Self { widths: vec![0; columns.len()], columns, headed: style.no_headers }
    }

    /// Further rows; the first ones come with the names of the columns.
    pub(crate) fn next(&mut self, rows: &[Value]) -> String {
        let mut lines: Vec<Vec<String>> = Vec::new();
        if !std::mem::replace(&mut self.headed, true) {
            lines.push(self.columns.iter().map(|c| c.name.to_owned()).collect());
        }
        lines.extend(rows.iter().map(|row| self.columns.iter().map(|c| cell(c, row)).collect()));
        for (i, width) in self.widths.iter_mut().enumerate() {
            let widest = lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
            *width = widest.max(*width);
        }
        let mut text = String::new();
        for line in &lines {
            let padded: Vec<String> = line
                .iter()
                .zip(&self.widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            text += padded.join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

/// An empty cell would shift the eye: it shows as `-`.
fn cell(column: &Column, row: &Value) -> String {
    let text = (column.cell)(row);
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Text at a JSON pointer; numbers and booleans as text, anything else empty.
pub(crate) fn at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => (if *flag { "yes" } else { "no" }).to_owned(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

/// Members of an array at a pointer, joined by `, `; objects show their first text.
pub(crate) fn joined(value: &Value, pointer: &str) -> String {
    let Some(Value::Array(list)) = value.pointer(pointer) else { return String::new() };
    let texts: Vec<String> = list
        .iter()
        .map(|item| match item {
            Value::Object(map) => map.values().find_map(Value::as_str).unwrap_or("").to_owned(),
            Value::String(text) => text.clone(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => other.to_string(),
        })
        .collect();
    texts.join(", ")
}

/// Labels as `a=b,c=d`.
pub(crate) fn labels(value: &Value) -> String {
    let Some(Value::Object(map)) = value.pointer("/metadata/labels") else { return String::new() };
    let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    pairs.join(",")
}

/// A span of time as people say it: `42s`, `3m`, `5h`, `3d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The span since a time (RFC 3339, as printed by weft-yaml) at a pointer; empty without one.
pub(crate) fn age(value: &Value, pointer: &str) -> String {
    let since = weft_yaml::parse_time(&at(value, pointer));
    since.map(|ms| span(crate::client::now_ms().saturating_sub(ms) / 1000)).unwrap_or_default()
}

/// Bytes as people say them: `512B`, `1.1GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let step = (63 - bytes.max(1).leading_zeros()) / 10;
    let unit = units.get(step as usize).copied().unwrap_or("EiB");
    if step == 0 {
        return format!("{bytes}{unit}");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * step);
    if tenths >= 1000 {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

/// `1 node`, `3 nodes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_align_and_empty_cells_are_dashes() {
        let columns = [
            column("NAME", |v| at(v, "/name")),
            column("X", |v| at(v, "/x")),
            wide("Y", |v| joined(v, "/y")),
        ];
        let rows = [json!({"name": "a", "x": 1, "y": ["p", "q"]}), json!({"name": "longer"})];
        assert_eq!(render(&columns, &rows, Style::default()), "NAME    X\na       1\nlonger  -\n");
        let all = Style { wide: true, no_headers: true };
        assert_eq!(render(&columns, &rows, all), "a       1  p, q\nlonger  -  -\n");
    }

    #[test]
    fn later_rows_keep_the_columns() {
        let columns = [column("NAME", |v| at(v, "/name")), column("X", |v| at(v, "/x"))];
        let mut table = Table::new(&columns, Style::default());
        assert_eq!(table.next(&[json!({"name": "longer", "x": 1})]), "NAME    X\nlonger  1\n");
        assert_eq!(table.next(&[json!({"name": "a", "x": 2})]), "a       2\n");
    }

    #[test]
    fn sizes_and_counts_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (222_298_112, "212MiB"),
            (1_181_116_006, "1.0GiB"),
            (u64::MAX, "15.9EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((count(1, "node"), count(0, "node")), ("1 node".to_owned(), "0 nodes".to_owned()));
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(span(seconds), text);
        }
    }
}
