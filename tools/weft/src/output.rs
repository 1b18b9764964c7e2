//! The forms of a result: table, wide, json, yaml, name.

use std::io::Write;

use serde_json::Value;

use crate::table::{Column, Style, Table, render};

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    #[default]
    Table,
    /// The table with all columns.
    Wide,
    /// One JSON document.
    Json,
    /// YAML; feeds back into `weft apply`.
    Yaml,
    /// `kind/namespace/name`, a line per object.
    Name,
}

/// Prints results.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    /// Which form.
    pub(crate) format: Format,
    /// Without the line of column names.
    pub(crate) no_headers: bool,
    /// No progress and hints on stderr.
    pub(crate) quiet: bool,
    /// Each request on stderr.
    pub(crate) verbose: bool,
}

impl Printer {
    /// Whether stdout holds exactly one JSON document.
    pub(crate) fn json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether all columns and rows are wanted.
    pub(crate) fn wide(self) -> bool {
        self.format == Format::Wide
    }

    /// How tables look.
    pub(crate) fn style(self) -> Style {
        Style { wide: self.wide(), no_headers: self.no_headers }
    }

    /// Prints a list: a JSON or YAML document of the whole, or a table or names of its items.
    pub(crate) fn list(self, whole: &Value, columns: &[Column]) {
        let items = items(whole);
        match self.format {
            Format::Json => out(&pretty(whole)),
            Format::Yaml => out(&weft_yaml::to_yaml(whole)),
            Format::Name => items.iter().for_each(|item| out(&name(item))),
            Format::Table | Format::Wide if items.is_empty() => {}
            Format::Table | Format::Wide => out(&render(columns, items, self.style())),
        }
    }

    /// Prints one object of a kind that has columns.
    pub(crate) fn object(self, value: &Value, columns: &[Column]) {
        self.value(value, &render(columns, std::slice::from_ref(value), self.style()));
    }

    /// Prints one value; `text` is its form for people.
    pub(crate) fn value(self, value: &Value, text: &str) {
        match self.format {
            Format::Json => out(&pretty(value)),
            Format::Yaml => out(&weft_yaml::to_yaml(value)),
            Format::Name => out(&name(value)),
            Format::Table | Format::Wide => out(text),
        }
    }

    /// Prints one change of a watched list: a JSON line, a YAML document, a name or a row.
    pub(crate) fn change(self, value: &Value, deleted: bool, table: &mut Table) {
        let mark = if deleted { "   deleted" } else { "" };
        match self.format {
            Format::Json => out(&value.to_string()),
            Format::Yaml => out(&format!("---\n{}", weft_yaml::to_yaml(value))),
            Format::Name => out(&format!("{}{mark}", name(value))),
            Format::Table | Format::Wide => {
                out(&format!("{}{mark}", table.next(std::slice::from_ref(value)).trim_end()));
            }
        }
    }

    /// A line about what goes on, on stderr.
    pub(crate) fn note(self, line: &str) {
        if !self.quiet {
            // A closed stderr is the reader's choice.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}

/// The items of a list value.
pub(crate) fn items(whole: &Value) -> &[Value] {
    whole.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Writes to stdout, ending the line; a closed pipe is the reader's choice.
pub(crate) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(stdout, "{text}{end}");
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string())
}

/// `pod/shop/web-0`, `node/n1`; a result without a name is its kind alone.
pub(crate) fn name(value: &Value) -> String {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let kind = text("/kind").to_lowercase();
    match (text("/metadata/namespace"), text("/metadata/name")) {
        (_, "") => kind,
        ("", name) => format!("{kind}/{name}"),
        (namespace, name) => format!("{kind}/{namespace}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_feed_other_commands() {
        for (value, text) in [
            (json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "web-0"}}), "pod/shop/web-0"),
            (json!({"kind": "Node", "metadata": {"name": "n1"}}), "node/n1"),
            (json!({"kind": "Status"}), "status"),
        ] {
            assert_eq!(name(&value), text);
        }
    }
}
