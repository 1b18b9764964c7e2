//! The forms of a result: table, wide, json, yaml, name.

use std::io::Write;

use serde_json::Value;

use crate::table::{Column, Style, render};

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
}

impl Printer {
    /// Whether stdout holds exactly one JSON document.
    pub(crate) fn json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints a list: a JSON or YAML document of the whole, or a table or names of its items.
    pub(crate) fn list(self, whole: &Value, columns: &[Column]) {
        let items: &[Value] = whole.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        match self.format {
            Format::Json => out(&pretty(whole)),
            Format::Yaml => out(&weft_yaml::to_yaml(whole)),
            Format::Name => items.iter().for_each(|item| out(&name(item))),
            Format::Table | Format::Wide => {
                let style = Style { wide: self.format == Format::Wide, no_headers: self.no_headers };
                if !items.is_empty() {
                    out(&render(columns, items, style));
                }
            }
        }
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

    /// A line about what goes on, on stderr.
    pub(crate) fn note(self, line: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
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

/// `pod/shop/web-0`, `node/n1`.
fn name(value: &Value) -> String {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let kind = text("/kind").to_lowercase();
    match text("/metadata/namespace") {
        "" => format!("{kind}/{}", text("/metadata/name")),
        namespace => format!("{kind}/{namespace}/{}", text("/metadata/name")),
    }
}
