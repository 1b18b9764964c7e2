//! Typed reading of a tree: every problem is kept, so that one run shows them all.

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, str::FromStr};

use serde_saphyr::{Location, Spanned};
use weft_model::AddressRange;

use crate::{
    Error, FieldPlaces, Place, Seen,
    tree::{Placed, Tree},
};

/// Collects problems of one text.
pub(crate) struct Reader<'a> {
    file: &'a str,
    kind: String,
    problems: Vec<Error>,
    ignored: Vec<String>,
    seen: Seen,
}

/// A map whose keys are taken one by one; what is left is unknown.
pub(crate) struct Fields {
    path: String,
    place: Place,
    entries: Vec<(Spanned<String>, Placed)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a key out; without a value it counts as absent, as in Kubernetes.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Placed> {
        self.known.push(key);
        let at = self.entries.iter().position(|(k, _)| k.value == key)?;
        Some(self.entries.remove(at).1).filter(|value| value.value != Tree::Null)
    }

    /// Takes a key out that isn't told of as known; whether it had a value.
    pub(crate) fn take_silently(&mut self, key: &str) -> bool {
        let Some(at) = self.entries.iter().position(|(k, _)| k.value == key) else { return false };
        self.entries.remove(at).1.value != Tree::Null
    }

    /// Path of a key below this map.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the map begins.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where everything in it stands that wasn't taken out yet.
    pub(crate) fn places(&self) -> FieldPlaces {
        let mut all = BTreeMap::new();
        for (key, value) in &self.entries {
            note(self.path(&key.value), value, &mut all);
        }
        FieldPlaces::new(all)
    }
}

fn note(path: String, value: &Placed, all: &mut BTreeMap<String, (u64, u64)>) {
    match &value.value {
        Tree::Map(entries) => {
            entries.iter().for_each(|(key, value)| note(format!("{path}.{}", key.value), value, all));
        }
        Tree::List(list) => {
            list.iter().enumerate().for_each(|(index, value)| note(format!("{path}[{index}]"), value, all));
        }
        Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Text(_) => {}
    }
    all.insert(path, (value.referenced.line(), value.referenced.column()));
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            kind: "the document".to_owned(),
            problems: Vec::new(),
            ignored: Vec::new(),
            seen: Seen::default(),
        }
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
        self.each(Some(value), path, |reader, member, path| reader.range(member, path))
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
    pub(crate) fn number<T: TryFrom<i128>>(
        &mut self,
        value: &Placed,
        path: &str,
        least: i128,
        most: i128,
    ) -> Option<T> {
        let number = match value.value {
            Tree::Integer(number) => Some(number).filter(|n| (least..=most).contains(n)),
            Tree::Null | Tree::Bool(_) | Tree::Float(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => {
                None
            }
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.invalid(value.referenced, path, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A port, 1 to 65535.
    pub(crate) fn port(&mut self, value: &Placed, path: &str) -> Option<u16> {
        self.number(value, path, 1, 65_535)
    }

    /// A port, or 0 for none.
    pub(crate) fn port_or_none(&mut self, value: &Placed, path: &str) -> Option<u16> {
        self.number(value, path, 0, 65_535)
    }

    /// A boolean.
    pub(crate) fn flag(&mut self, value: &Placed, path: &str) -> Option<bool> {
        if let Tree::Bool(flag) = value.value {
            return Some(flag);
        }
        self.invalid(value.referenced, path, format!("must be true or false, is {}", value.value.what()));
        None
    }

    /// A list; anything else is a problem.
    pub(crate) fn list(&mut self, value: Placed, path: &str) -> Option<Vec<Placed>> {
        let what = value.value.what();
        if let Tree::List(list) = value.value {
            return Some(list);
        }
        self.invalid(value.referenced, path, format!("must be a list, is {what}"));
        None
    }

    /// A list whose members are read one by one; every member is read before the first failure counts.
    pub(crate) fn each<T>(
        &mut self,
        value: Option<Placed>,
        path: &str,
        mut read: impl FnMut(&mut Self, Placed, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(value) = value else { return Some(Vec::new()) };
        let list = self.list(value, path)?;
        let read: Vec<Option<T>> = list
            .into_iter()
            .enumerate()
            .map(|(index, member)| read(self, member, &format!("{path}[{index}]")))
            .collect();
        read.into_iter().collect()
    }

    /// A list of addresses.
    pub(crate) fn addresses(&mut self, value: Option<Placed>, path: &str) -> Option<Vec<IpAddr>> {
        self.each(value, path, |reader, member, path| reader.address(member, path))
    }

    /// An address; IPv4-mapped IPv6 addresses are no form of their own.
    pub(crate) fn address(&mut self, value: Placed, path: &str) -> Option<IpAddr> {
        let at = value.referenced;
        let text = self.text(value, path)?;
        match text.parse() {
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
                self.invalid(at, path, format!("{text:?} is an IPv4-mapped address; write it as IPv4"));
                None
            }
            Ok(address) => Some(address),
            Err(_) => {
                self.invalid(
                    at,
                    path,
                    format!("{text:?} is not an address such as 10.0.0.1 or fd00::1, without leading zeros"),
                );
                None
            }
        }
    }

    /// Notes keys that Kubernetes knows and that mean nothing here.
    pub(crate) fn ignore(&mut self, fields: &mut Fields, keys: &[&'static str]) {
        for key in keys {
            if fields.take_silently(key) {
                self.note_ignored(&fields.path(key));
            }
        }
    }

    /// Notes a path that means nothing here.
    pub(crate) fn note_ignored(&mut self, path: &str) {
        let path = without_indexes(path);
        if !self.ignored.contains(&path) {
            self.ignored.push(path);
        }
    }

    /// Notes what the writer of this object saw.
    pub(crate) fn note_seen(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// What was noted since the last call.
    pub(crate) fn seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// The paths noted since the last call.
    pub(crate) fn ignored(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ignored)
    }

    /// How many problems there are.
    pub(crate) const fn problems(&self) -> usize {
        self.problems.len()
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

/// `spec.containers[0].image` → `spec.containers[].image`: what is ignored in one is ignored in all.
fn without_indexes(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => return !inside,
            }
            true
        })
        .collect()
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
