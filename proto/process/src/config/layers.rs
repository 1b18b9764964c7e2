//! The layers of a configuration, merged key by key.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{Loaded, Problem, Source, Sources, schema::Shape};
use crate::{Error, read_limited};

/// Longest configuration file.
const FILE_LIMIT: u64 = 1 << 20;

/// A suggestion differs by at most so many letters.
const SUGGESTION_DISTANCE: usize = 2;

pub(super) struct Layers {
    keys: BTreeMap<String, Shape>,
    values: BTreeMap<String, (Value, Source)>,
    problems: Vec<Problem>,
}

impl Layers {
    pub(super) fn new(keys: BTreeMap<String, Shape>) -> Self {
        Self { keys, values: BTreeMap::new(), problems: Vec::new() }
    }

    pub(super) fn add_files(&mut self, main: &Path, required: bool) {
        if required || main.exists() {
            self.add_file(main);
        }
        match parts_of(main) {
            Ok(parts) => parts.iter().for_each(|part| self.add_file(part)),
            Err(error) => self.report_file(main, &error),
        }
    }

    pub(super) fn add_environment(&mut self, prefix: &str, environment: &[(String, String)]) {
        let keys: Vec<_> = self.keys.iter().map(|(path, shape)| (path.clone(), *shape)).collect();
        for (path, shape) in keys {
            let name = format!("{prefix}_{}", path.replace(['.', '-'], "_").to_ascii_uppercase());
            if let Some((_, text)) = environment.iter().find(|(have, _)| *have == name) {
                self.add_text(path, shape, text, Source::Environment(name));
            }
        }
    }

    pub(super) fn add_flags(&mut self, flags: &[(String, String)]) {
        for (path, text) in flags {
            match self.keys.get(path) {
                Some(shape) => self.add_text(path.clone(), *shape, text, Source::Flag(path.clone())),
                None => self.report_unknown(path, Source::Flag(path.clone())),
            }
        }
    }

    /// Builds the value; a key whose value doesn't fit is reported and left out, so that the others are checked too.
    pub(super) fn finish<T: DeserializeOwned>(mut self) -> Result<Loaded<T>, Error> {
        loop {
            match serde_path_to_error::deserialize(Value::Table(self.table())) {
                Ok(value) if self.problems.is_empty() => {
                    let sources = self.values.into_iter().map(|(path, (_, source))| (path, source)).collect();
                    return Ok(Loaded { value, sources: Sources(sources) });
                }
                Ok::<T, _>(_) => return Err(Error::Config { problems: self.problems }),
                Err(error) => {
                    let place = error.path().to_string();
                    let message = error.into_inner().message().to_owned();
                    let key = self.values.keys().find(|key| is_at(&place, key)).cloned();
                    let removed = key.and_then(|key| self.values.remove(&key));
                    let last = removed.is_none();
                    let source = removed.map_or(Source::Default, |(_, source)| source);
                    self.problems.push(Problem { source, path: place, message });
                    if last {
                        return Err(Error::Config { problems: self.problems });
                    }
                }
            }
        }
    }

    fn table(&self) -> Table {
        let mut root = Table::new();
        for (path, (value, _)) in &self.values {
            let mut sections: Vec<&str> = path.split('.').collect();
            let Some(leaf) = sections.pop() else { continue };
            let mut table = Some(&mut root);
            for section in sections {
                table = table.and_then(|table| {
                    table.entry(section).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
                });
            }
            if let Some(table) = table {
                table.insert(leaf.to_owned(), value.clone());
            }
        }
        root
    }

    fn add_file(&mut self, path: &Path) {
        let text = match read_limited(path, FILE_LIMIT) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => return self.report_file(path, &error),
        };
        match (DeTable::parse(&text), text.parse::<Table>()) {
            (Ok(spans), Ok(values)) => {
                let file = OpenFile { path, text: &text };
                self.add_table("", spans.get_ref(), &values, &file);
            }
            (Err(error), _) | (_, Err(error)) => {
                let line = error.span().map_or(0, |span| line_of(&text, &span));
                let source = Source::File { path: path.to_owned(), line };
                self.problems.push(Problem {
                    source,
                    path: String::new(),
                    message: error.message().to_owned(),
                });
            }
        }
    }

    /// Takes every key of a table; `spans` and `values` are two readings of the same text.
    fn add_table(&mut self, prefix: &str, spans: &DeTable<'_>, values: &Table, file: &OpenFile<'_>) {
        for (key, inner) in spans.iter() {
            let name: &str = key.get_ref();
            let Some(value) = values.get(name) else { continue };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let source = Source::File { path: file.path.to_owned(), line: line_of(file.text, &key.span()) };
            if self.keys.contains_key(&path) {
                self.values.insert(path, (value.clone(), source));
                continue;
            }
            let section = format!("{path}.");
            match (inner.get_ref(), value) {
                (DeValue::Table(spans), Value::Table(values))
                    if self.keys.keys().any(|key| key.starts_with(&section)) =>
                {
                    self.add_table(&path, spans, values, file);
                }
                _ => self.report_unknown(&path, source),
            }
        }
    }

    fn add_text(&mut self, path: String, shape: Shape, text: &str, source: Source) {
        match value_of(shape, text) {
            Ok(value) => {
                self.values.insert(path, (value, source));
            }
            Err(message) => self.problems.push(Problem { source, path, message }),
        }
    }

    fn report_file(&mut self, path: &Path, error: &Error) {
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let source = Source::File { path: path.to_owned(), line: 0 };
        self.problems.push(Problem { source, path: String::new(), message });
    }

    fn report_unknown(&mut self, path: &str, source: Source) {
        let mut message = format!("unknown key {path}");
        if let Some(close) = self.suggestion(path) {
            message.push_str(&format!("; did you mean {close}?"));
        }
        self.problems.push(Problem { source, path: String::new(), message });
    }

    /// The nearest key or section name.
    fn suggestion(&self, path: &str) -> Option<String> {
        let sections = self.keys.keys().flat_map(|key| {
            key.match_indices('.')
                .map(|(at, _)| key[..at].to_owned())
                .chain([key.clone()])
                .collect::<Vec<_>>()
        });
        sections
            .map(|known| (strsim::damerau_levenshtein(path, &known), known))
            .filter(|(distance, _)| *distance <= SUGGESTION_DISTANCE)
            .min()
            .map(|(_, known)| known)
    }
}

struct OpenFile<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Whether an error's place (`a.b`, `a.b[0]`, `a.b.c`) lies at a key.
fn is_at(place: &str, key: &str) -> bool {
    place.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn value_of(shape: Shape, text: &str) -> Result<Value, String> {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok(match shape {
        Shape::Bool => {
            Value::Boolean(text.parse().map_err(|_| format!("{text:?} is neither true nor false"))?)
        }
        Shape::Number => match (text.parse(), text.parse()) {
            (Ok(whole), _) => Value::Integer(whole),
            (Err(_), Ok(fraction)) => Value::Float(fraction),
            (Err(_), Err(_)) => return Err(format!("{text:?} is not a number")),
        },
        Shape::Text => Value::String(text.to_owned()),
        Shape::List => Value::Array(items().map(|item| Value::String(item.to_owned())).collect()),
        Shape::Map => {
            let mut table = Table::new();
            for item in items() {
                let (key, value) =
                    item.split_once('=').ok_or_else(|| format!("{item:?} is not KEY=VALUE"))?;
                table.insert(key.to_owned(), Value::String(value.to_owned()));
            }
            Value::Table(table)
        }
    })
}

/// The files of `NAME.d/*.toml` beside `NAME.toml`, in name order; hidden ones don't count.
fn parts_of(main: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = main.with_extension("d");
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |source| Error::file("read", &directory, source);
    let mut parts = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

/// Line of a span, from 1.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
