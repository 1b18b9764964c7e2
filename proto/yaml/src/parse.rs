//! Texts of one or more documents into drafts: all or nothing, with every problem at once.

use serde_saphyr::{DuplicateKeyPolicy, Options, budget::BudgetBreach};

use crate::{
    Draft, Error, FabricDraft, NodeDraft, Place,
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
/// Kinds that people write.
const WRITTEN: &[&str] = &["Fabric", "Node", "List"];
/// Kinds that are shown and never written.
const SHOWN: &[&str] = &["Pod", "Block", "Member", "Peer", "Route"];

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Objects in order of the text.
    pub objects: Vec<Draft>,
    /// What was accepted and has no effect.
    pub warnings: Vec<String>,
}

/// Reads a text; `file` is its name for messages.
///
/// # Errors
/// Every problem of the text, in order; nothing is returned beside them.
pub fn parse(text: &str, file: &str) -> Result<Parsed, Vec<Error>> {
    if text.len() > MOST_BYTES {
        return Err(vec![Error::TooLarge { file: file.to_owned(), bytes: text.len(), most: MOST_BYTES }]);
    }
    let documents: Vec<Placed> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| vec![malformed(&e, file)])?;
    let mut reader = Reader::new(file);
    let mut parsed = Parsed::default();
    for document in documents {
        object(&mut reader, document, &mut parsed);
    }
    let problems = reader.finish();
    if problems.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn options() -> Options {
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

fn object(reader: &mut Reader<'_>, document: Placed, parsed: &mut Parsed) {
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
    match (version.as_str(), kind.as_str()) {
        (WEFT | "v1", "List") => list(reader, fields, parsed),
        (WEFT, "Fabric") => fabric(reader, fields, parsed),
        (WEFT, "Node") => node(reader, fields, parsed),
        (WEFT | "v1", shown) if SHOWN.contains(&shown) => {
            let place = reader.place(at);
            reader.problem(Error::ReadOnlyKind { place, kind });
        }
        _ => {
            let place = reader.place(at);
            let suggestion = closest(&kind, WRITTEN);
            reader.problem(Error::UnknownKind { place, version, kind, suggestion });
        }
    }
}

fn list(reader: &mut Reader<'_>, mut fields: Fields, parsed: &mut Parsed) {
    let items = fields.take("items");
    fields.take("metadata");
    reader.done(fields);
    let Some(items) = items else { return };
    let what = items.value.what();
    if let Tree::List(list) = items.value {
        list.into_iter().for_each(|item| object(reader, item, parsed));
    } else {
        reader.invalid(items.referenced, "items", format!("must be a list, is {what}"));
    }
}

/// Name and labels; fields that the server writes are accepted and left alone, so that `get -o yaml` feeds back.
fn metadata(reader: &mut Reader<'_>, fields: &mut Fields) -> (Option<Placed>, Option<Placed>) {
    let Some(value) = fields.take("metadata") else {
        return (None, None);
    };
    let Some(mut meta) = reader.fields(value, "metadata") else {
        return (None, None);
    };
    let parts = (meta.take("name"), meta.take("labels"));
    for served in ["uid", "resourceVersion", "generation", "creationTimestamp", "annotations"] {
        meta.take(served);
    }
    reader.done(meta);
    parts
}

fn fabric(reader: &mut Reader<'_>, mut fields: Fields, parsed: &mut Parsed) {
    let mut draft = FabricDraft { place: fields.place().clone(), ..FabricDraft::default() };
    let (name, labels) = metadata(reader, &mut fields);
    if let Some(name) = name {
        let at = name.referenced;
        if reader.text(name, "metadata.name").is_some_and(|name| name != "main") {
            reader.invalid(at, "metadata.name", "there is one fabric, its name is main");
        }
    }
    if labels.is_some() {
        parsed.warnings.push(format!("{}: metadata.labels of a Fabric have no effect", draft.place));
    }
    fields.take("status");
    if let Some(spec) = fields.take("spec").and_then(|spec| reader.fields(spec, "spec")) {
        spec_of_fabric(reader, spec, &mut draft);
    }
    reader.done(fields);
    parsed.objects.push(Draft::Fabric(draft));
}

fn spec_of_fabric(reader: &mut Reader<'_>, mut spec: Fields, draft: &mut FabricDraft) {
    draft.families = spec.take("families").and_then(|v| reader.parsed(v, "spec.families"));
    draft.overlay = spec.take("overlay").and_then(|v| reader.parsed(v, "spec.overlay"));
    draft.domain = spec.take("domain").and_then(|v| reader.text(v, "spec.domain"));
    draft.block_prefix_v4 =
        spec.take("blockPrefixV4").and_then(|v| reader.number(&v, "spec.blockPrefixV4", 20, 28));
    draft.masquerade_exceptions =
        spec.take("masqueradeExceptions").and_then(|v| reader.ranges(v, "spec.masqueradeExceptions"));
    if let Some(mut ranges) = spec.take("ranges").and_then(|v| reader.fields(v, "spec.ranges")) {
        draft.pods = ranges.take("pods").and_then(|v| reader.ranges(v, "spec.ranges.pods"));
        draft.services = ranges.take("services").and_then(|v| reader.ranges(v, "spec.ranges.services"));
        draft.nodes = ranges.take("nodes").and_then(|v| reader.ranges(v, "spec.ranges.nodes"));
        draft.load_balancers =
            ranges.take("loadBalancers").and_then(|v| reader.ranges(v, "spec.ranges.loadBalancers"));
        reader.done(ranges);
    }
    reader.done(spec);
}

fn node(reader: &mut Reader<'_>, mut fields: Fields, parsed: &mut Parsed) {
    let place = fields.place().clone();
    let (name, labels) = metadata(reader, &mut fields);
    let labels = labels.map_or_else(|| Some(Default::default()), |v| reader.texts(v, "metadata.labels"));
    if fields.take("spec").is_some() {
        parsed.warnings.push(format!("{place}: spec of a Node has no effect; people write its labels"));
    }
    fields.take("status");
    reader.done(fields);
    match name {
        Some(name) => {
            if let (Some(name), Some(labels)) = (reader.parsed(name, "metadata.name"), labels) {
                parsed.objects.push(Draft::Node(NodeDraft { place, name, labels }));
            }
        }
        None => reader.problem(Error::Invalid {
            place,
            path: "metadata.name".to_owned(),
            what: "must be given".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
