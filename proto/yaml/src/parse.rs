//! Texts of one or more documents into drafts: all or nothing, with every problem at once.

mod cases;
mod dns;
mod fabric;
mod meta;
mod namespace;
mod node;
mod pod;
mod policy;
mod pool;
mod probe;
mod service;
mod slice;

pub use cases::{PolicyCase, cases};
use serde_saphyr::{DuplicateKeyPolicy, Location, Options as YamlOptions, budget::BudgetBreach};
use weft_model::{Draft, Kind};

use crate::{
    Drafted, Error, Named, Place,
    read::{Fields, Reader, closest},
    tree::{Placed, Tree},
};

/// Most bytes of a request (reliability, section 6).
const MOST_BYTES: usize = 1_572_864;
/// Most objects of a request.
const MOST_OBJECTS: usize = 1_000;
/// Most values in a text: keys, lists and scalars.
const MOST_VALUES: usize = 250_000;
/// Deepest nesting: no kind needs 12, and an unoptimised parser takes some 30 KiB of stack a level.
const MOST_DEPTH: usize = 24;

/// Said of aliases that stand for more than may be written out.
const TOO_MANY_ALIASES: &str = "anchors and aliases (& and *) make too much of the text";

/// Version of our own kinds.
const WEFT: &str = "weft.io/v1";
/// Version of the kinds of Kubernetes' core.
const CORE: &str = "v1";
/// Version of EndpointSlice.
const DISCOVERY: &str = "discovery.k8s.io/v1";
/// Version of NetworkPolicy.
const NETWORKING: &str = "networking.k8s.io/v1";
/// Kinds that people write, with their versions.
const WRITTEN: &[(&str, &str)] = &[
    (WEFT, "Fabric"),
    (WEFT, "Node"),
    (WEFT, "LoadBalancerPool"),
    (CORE, "Namespace"),
    (CORE, "Service"),
    (CORE, "Pod"),
    (DISCOVERY, "EndpointSlice"),
    (NETWORKING, "NetworkPolicy"),
    (CORE, "List"),
];
/// Kinds that are shown and never written.
const SHOWN: &[&str] = &["Pod", "Block", "Member", "Peer", "Route", "AddressOwner", "Endpoints"];

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Objects in order of the text.
    pub objects: Vec<Drafted>,
    /// What was accepted and has no effect.
    pub warnings: Vec<String>,
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Namespace of objects that name none.
    pub namespace: &'a str,
    /// Leave objects out whose kind isn't served, with a warning each.
    pub skip_unknown: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { namespace: "default", skip_unknown: false }
    }
}

/// Reads a text; `file` is its name for messages.
///
/// # Errors
/// Every problem of the text, in order; nothing is returned beside them.
pub fn parse(text: &str, file: &str, options: &Options<'_>) -> Result<Parsed, Vec<Error>> {
    let mut parsed = Parsed::default();
    each(text, file, options, |reader, given| object(reader, given, options, &mut parsed))?;
    Ok(parsed)
}

/// Reads only which objects a text names: their fields are not looked at.
///
/// # Errors
/// Every problem of the text, in order.
pub fn names(text: &str, file: &str, options: &Options<'_>) -> Result<Vec<Named>, Vec<Error>> {
    let mut named = Vec::new();
    each(text, file, options, |reader, given| {
        let Some(kind) = written(reader, &given, options).unwrap_or_default() else { return };
        named.extend(meta::named(reader, given.fields, given.at, kind, options.namespace));
    })?;
    Ok(named)
}

/// One document or member of a list, with its version and kind.
struct Given {
    at: Location,
    version: String,
    kind: String,
    fields: Fields,
}

/// Hands every object of a text to `use_it`; lists are opened.
fn each(
    text: &str,
    file: &str,
    options: &Options<'_>,
    mut use_it: impl FnMut(&mut Reader<'_>, Given),
) -> Result<(), Vec<Error>> {
    let documents = documents(text, file)?;
    let mut reader = Reader::new(file);
    for document in documents {
        open(&mut reader, document, options, &mut use_it);
    }
    let problems = reader.finish();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The documents of a text.
fn documents(text: &str, file: &str) -> Result<Vec<Placed>, Vec<Error>> {
    if text.len() > MOST_BYTES {
        return Err(vec![Error::TooLarge { file: file.to_owned(), bytes: text.len(), most: MOST_BYTES }]);
    }
    serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|e| vec![malformed(&e, file)])
}

fn yaml_options() -> YamlOptions {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MOST_DEPTH, flow_nesting_limit: MOST_DEPTH, max_documents: MOST_OBJECTS, max_nodes: MOST_VALUES },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn malformed(error: &serde_saphyr::Error, file: &str) -> Error {
    if let serde_saphyr::Error::Budget { breach, location } = error {
        let place = Place { file: file.to_owned(), line: location.line(), column: location.column() };
        return Error::Malformed { place, what: too_much(breach) };
    }
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let said = error.render();
    let said = said.lines().next().unwrap_or("not well-formed");
    if said.starts_with("budget breached") {
        // The library wraps it, as a text, where an alias is what went beyond a limit.
        let what = TOO_MANY_ALIASES.to_owned();
        return Error::Malformed { place: Place { file: file.to_owned(), line, column }, what };
    }
    // The place is named by us, and nobody here can set the parser's options.
    let said = said.rsplit_once(" at line ").map_or(said, |(words, _)| words);
    let what = said.split_once(", set ").map_or(said, |(words, _)| words).to_owned();
    Error::Malformed { place: Place { file: file.to_owned(), line, column }, what }
}

/// What of a text is more than anybody writes by hand; the library shows it as a value of its own.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list of limits is open: all others are of the same kind"
)]
fn too_much(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => format!("values are nested more than {MOST_DEPTH} deep"),
        BudgetBreach::Documents { .. } => format!("there are more than {MOST_OBJECTS} documents"),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("there are too many values: at most {MOST_VALUES} are read")
        }
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::AliasAnchorRatio { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. } => TOO_MANY_ALIASES.to_owned(),
        _ => "the text takes more work to read than any set of objects needs".to_owned(),
    }
}

fn open(
    reader: &mut Reader<'_>,
    document: Placed,
    options: &Options<'_>,
    use_it: &mut dyn FnMut(&mut Reader<'_>, Given),
) {
    // Empty documents stand between `---` lines of generated texts.
    if document.value == Tree::Null {
        return;
    }
    reader.kind("the document");
    let at = document.referenced;
    let Some(mut fields) = reader.fields(document, "") else { return };
    let version = fields.take("apiVersion").and_then(|v| reader.text(v, "apiVersion"));
    let kind = fields.take("kind").and_then(|v| reader.text(v, "kind"));
    let (Some(version), Some(kind)) = (version, kind) else {
        reader.invalid(at, "apiVersion, kind", "both must be given, as in Kubernetes");
        return;
    };
    reader.kind(&kind);
    if kind == "List" && (version == WEFT || version == CORE) {
        list(reader, fields, options, use_it);
    } else {
        use_it(reader, Given { at, version, kind, fields });
    }
}

fn list(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    options: &Options<'_>,
    use_it: &mut dyn FnMut(&mut Reader<'_>, Given),
) {
    let items = fields.take("items");
    fields.take("metadata");
    reader.done(fields);
    let Some(items) = items else { return };
    for item in reader.list(items, "items").unwrap_or_default() {
        open(reader, item, options, use_it);
    }
}

/// The kind of an object that people write; `None` when it is refused, `Some(None)` when it is left out.
fn written(reader: &mut Reader<'_>, given: &Given, options: &Options<'_>) -> Option<Option<Kind>> {
    let kind = match (given.version.as_str(), given.kind.as_str()) {
        (WEFT, "Fabric") => Kind::Fabric,
        (WEFT, "Node") => Kind::Node,
        (WEFT, "LoadBalancerPool") => Kind::Pool,
        (CORE, "Namespace") => Kind::Namespace,
        (CORE, "Service") => Kind::Service,
        (CORE, "Pod") => Kind::PodSpec,
        (DISCOVERY, "EndpointSlice") => Kind::Slice,
        (NETWORKING, "NetworkPolicy") => Kind::NetworkPolicy,
        (WEFT, shown) if SHOWN.contains(&shown) => {
            let place = reader.place(given.at);
            reader.problem(Error::ReadOnlyKind { place, kind: given.kind.clone() });
            return None;
        }
        _ if options.skip_unknown => return Some(None),
        (version, kind) => {
            let place = reader.place(given.at);
            let names: Vec<&str> = WRITTEN.iter().map(|(_, kind)| *kind).collect();
            let suggestion = closest(kind, &names);
            let meant = WRITTEN.iter().find(|(_, known)| *known == kind).map(|(version, _)| *version);
            reader.problem(Error::UnknownKind {
                place,
                version: version.to_owned(),
                kind: kind.to_owned(),
                suggestion: suggestion.filter(|word| word != kind),
                meant,
            });
            return None;
        }
    };
    Some(Some(kind))
}

fn object(reader: &mut Reader<'_>, given: Given, options: &Options<'_>, parsed: &mut Parsed) {
    let Some(kind) = written(reader, &given, options) else { return };
    let place = reader.place(given.at);
    let Given { at, version, kind: word, fields } = given;
    let Some(kind) = kind else {
        let name = meta::name_of(fields);
        parsed
            .warnings
            .push(format!("{place}: {word} {name} is left out: kind {word} of {version} isn't served here"));
        return;
    };
    let before = reader.problems();
    let places = fields.places();
    let namespace = options.namespace;
    let draft = match kind {
        Kind::Fabric => Some(Draft::Fabric(fabric::read(reader, fields))),
        Kind::Node => node::read(reader, fields, at).map(Draft::Node),
        Kind::Namespace => namespace::read(reader, fields, at).map(Draft::Whole),
        Kind::Service => service::read(reader, fields, at, namespace).map(Draft::Whole),
        Kind::Slice => slice::read(reader, fields, at, namespace).map(Draft::Whole),
        Kind::PodSpec => pod::read(reader, fields, at, namespace).map(Draft::Whole),
        Kind::Pool => pool::read(reader, fields, at).map(Draft::Whole),
        Kind::NetworkPolicy => policy::read(reader, fields, at, namespace).map(Draft::Whole),
        Kind::Pod | Kind::Lease | Kind::Member | Kind::Owner => None,
    };
    let seen = reader.seen();
    // A problem anywhere in it makes the object unusable, whatever could be read.
    let draft = draft.filter(|_| reader.problems() == before);
    parsed.objects.extend(draft.map(|draft| Drafted { place, fields: places, seen, draft }));
    let ignored = reader.ignored();
    if !ignored.is_empty() {
        let place = reader.place(at);
        parsed
            .warnings
            .push(format!("{place}: of this {word} these fields mean nothing here: {}", ignored.join(", ")));
    }
}

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
