//! Typed reading of a tree: every problem is kept, so that one run shows them all.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde_saphyr::{Location, Spanned};
use weft_model::AddressRange;

use crate::{
    Error, Place,
    tree::{Placed, Tree},
};

/// Collects problems of one text.
pub(crate) struct Reader<'a> {
    file: &'a str,
    kind: String,
    problems: Vec<Error>,
}

/// A map whose keys are taken one by one; what is left is unknown.
pub(crate) struct Fields {
    path: String,
    place: Place,
    entries: Vec<(Spanned<String>, Placed)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a key out.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Placed> {
        self.known.push(key);
        let at = self.entries.iter().position(|(k, _)| k.value == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Path of a key below this map.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the map begins.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self { file, kind: "the document".to_owned(), problems: Vec::new() }
    }

    /// Names the kind for messages.
    pub(crate) fn kind(&mut self, kind: &str) {
        kind.clone_into(&mut self.kind);
    }

    /// All problems found.
    pub(crate) fn finish(self) -> Vec<Error> {
        self.problems
    }

    pub(crate) fn place(&self, at: Location) -> Place {
        Place { file: self.file.to_owned(), line: at.line(), column: at.column() }
    }

    pub(crate) fn problem(&mut self, error: Error) {
        self.problems.push(error);
    }

    pub(crate) fn invalid(&mut self, at: Location, path: &str, what: impl Into<String>) {
        let place = self.place(at);
        self.problem(Error::Invalid { place, path: path.to_owned(), what: what.into() });
    }

    /// A map; anything else is a problem.
    pub(crate) fn fields(&mut self, value: Placed, path: &str) -> Option<Fields> {
        let place = self.place(value.referenced);
        let what = value.value.what();
        if let Tree::Map(entries) = value.value {
            return Some(Fields { path: path.to_owned(), place, entries, known: Vec::new() });
        }
        self.invalid(value.referenced, path, format!("must be a map, is {what}"));
        None
    }

    /// What was not taken is unknown.
    pub(crate) fn done(&mut self, fields: Fields) {
        for (key, _) in &fields.entries {
            let place = self.place(key.referenced);
            let suggestion = closest(&key.value, &fields.known);
            let error = Error::UnknownField {
                place,
                kind: self.kind.clone(),
                path: fields.path(&key.value),
                suggestion,
                known: fields.known.clone(),
            };
            self.problem(error);
        }
    }

    /// Text; a bare number or boolean gets a hint how to quote it.
    pub(crate) fn text(&mut self, value: Placed, path: &str) -> Option<String> {
        let quoted = match value.value {
            Tree::Text(text) => return Some(text),
            Tree::Integer(number) => Some(number.to_string()),
            Tree::Float(number) => Some(number.to_string()),
            Tree::Bool(flag) => Some(flag.to_string()),
            Tree::Null | Tree::List(_) | Tree::Map(_) => None,
        };
        let what = match quoted {
            Some(q) => format!("must be text; write it with quotes: \"{q}\""),
            None => "must be text".to_owned(),
        };
        self.invalid(value.referenced, path, what);
        None
    }

    /// Text that parses into a type.
    pub(crate) fn parsed<T: FromStr>(&mut self, value: Placed, path: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let at = value.referenced;
        let text = self.text(value, path)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.invalid(at, path, why.to_string());
                None
            }
        }
    }

    /// A list of ranges.
    pub(crate) fn ranges(&mut self, value: Placed, path: &str) -> Option<Vec<AddressRange>> {
        let what = value.value.what();
        let Tree::List(list) = value.value else {
            self.invalid(value.referenced, path, format!("must be a list, is {what}"));
            return None;
        };
        // All items are read before the first failure counts: every problem shows.
        let parsed: Vec<Option<AddressRange>> =
            list.into_iter().enumerate().map(|(i, item)| self.range(item, &format!("{path}[{i}]"))).collect();
        parsed.into_iter().collect()
    }

    fn range(&mut self, value: Placed, path: &str) -> Option<AddressRange> {
        let at = value.referenced;
        match self.text(value, path)?.parse() {
            Ok(range) => Some(range),
            Err(source) => {
                let place = self.place(at);
                self.problem(Error::Range { place, path: path.to_owned(), source });
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, value: &Placed, path: &str, least: u8, most: u8) -> Option<u8> {
        let number = match value.value {
            Tree::Integer(number) => u8::try_from(number).ok().filter(|n| (least..=most).contains(n)),
            Tree::Null | Tree::Bool(_) | Tree::Float(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => {
                None
            }
        };
        if number.is_none() {
            self.invalid(value.referenced, path, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A map of texts.
    pub(crate) fn texts(&mut self, value: Placed, path: &str) -> Option<BTreeMap<String, String>> {
        let fields = self.fields(value, path)?;
        let mut map = BTreeMap::new();
        for (key, value) in fields.entries {
            let path = format!("{path}.{}", key.value);
            map.insert(key.value, self.text(value, &path)?);
        }
        Some(map)
    }
}

/// The known word within two edits of an unknown one.
pub(crate) fn closest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
