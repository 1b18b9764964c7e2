//! Apply: text → drafts → whole objects → one command; all or nothing. A dry run ends before the command.

use std::{collections::BTreeMap, time::Instant};

use weft_core::State;
use weft_errors::{CONFLICT, Coded, Error, INTERNAL, NOT_FOUND, OBJECT_INVALID, TOO_LARGE};
use weft_model::{Action, Answer, Command, Fabric, Kind, Object, Sequence, Written};
use weft_proto::{convert::change_to_wire, v1};
use weft_yaml::{Draft, FabricDraft, NodeDraft, Parsed};

use super::read::fresh;
use crate::{
    context::{Context, random, stamp},
    limits::{APPLY_BYTES, APPLY_CONFLICTS},
};

/// Creates or changes objects.
///
/// Who changes an object while another does so begins again with what the other left: nobody's change is lost. The
/// sequence of the mutation stays the same, a conflict spends none.
pub(crate) async fn apply(
    context: &Context,
    wire: v1::ApplyRequest,
    deadline: Instant,
) -> Result<v1::ApplyResponse, Error> {
    let parsed = read(&wire)?;
    let mut conflicts = 0;
    loop {
        match once(context, &wire, &parsed, deadline).await {
            Err(error) if error.registered() == &CONFLICT && conflicts < APPLY_CONFLICTS => conflicts += 1,
            done => return done,
        }
    }
}

/// One try, from the state as it is now.
async fn once(
    context: &Context,
    wire: &v1::ApplyRequest,
    Parsed { objects: drafts, warnings }: &Parsed,
    deadline: Instant,
) -> Result<v1::ApplyResponse, Error> {
    fresh(context, false, deadline).await?;
    let places: Vec<_> = drafts.iter().map(place_of).collect();
    let drafts = drafts.clone();
    let admitted = context
        .handle
        .query(move |state| {
            let objects =
                drafts.into_iter().map(|draft| whole(state, draft)).collect::<Result<Vec<_>, _>>()?;
            let before: Vec<Option<Object>> =
                objects.iter().map(|object| state.object(&object.key())).collect();
            let action = weft_core::admit(state, Action::Write { objects }).map_err(|e| e.envelope())?;
            Ok::<_, Error>((action, before))
        })
        .await?;
    let (action, before) = admitted.map_err(|error| placed(error, &places))?;
    let (answer, revision) = if wire.dry_run {
        let command = Command {
            client: weft_model::ClientId(random()?),
            sequence: Sequence(1),
            stamp: stamp()?,
            action,
        };
        let outcome = context.handle.dry_run(command).await?;
        (outcome.answer.map_err(|e| e.envelope())?, outcome.revision)
    } else {
        let applied = context.propose(wire.mutation.clone(), action, deadline).await?;
        (applied.answer?, applied.revision)
    };
    let Answer::Written(written) = answer else {
        return Err(Error::new(&INTERNAL, format!("a write was answered by {answer:?}")));
    };
    let objects =
        written.iter().zip(before).map(|((object, written), before)| row(object, *written, before.as_ref()));
    Ok(v1::ApplyResponse { objects: objects.collect(), revision: revision.0, warnings: warnings.clone() })
}

/// The texts of all files together, each with its own problems.
fn read(wire: &v1::ApplyRequest) -> Result<Parsed, Error> {
    let files: Vec<(&str, &str)> = std::iter::once((wire.text.as_str(), wire.file.as_str()))
        .chain(wire.more.iter().map(|more| (more.text.as_str(), more.file.as_str())))
        .map(|(text, file)| (text, if file.is_empty() { "-" } else { file }))
        .collect();
    let bytes: usize = files.iter().map(|(text, _)| text.len()).sum();
    if bytes > APPLY_BYTES {
        return Err(Error::new(
            &TOO_LARGE,
            format!("the files have {bytes} bytes together; at most {APPLY_BYTES} are taken in one change"),
        )
        .try_this("apply them in several steps", "weft apply -f FILE"));
    }
    let (mut all, mut problems) = (Parsed::default(), Vec::new());
    for (text, file) in &files {
        match weft_yaml::parse(text, file) {
            Ok(parsed) => {
                all.objects.extend(parsed.objects);
                all.warnings.extend(parsed.warnings);
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(first_of(&problems));
    }
    if all.objects.is_empty() {
        let names: Vec<&str> = files.iter().map(|(_, file)| *file).collect();
        let names = names.join(", ");
        return Err(Error::new(&OBJECT_INVALID, format!("{names}: no object")).object("file", "", names));
    }
    once_each(&all.objects)?;
    Ok(all)
}

/// Refuses an object that is given twice: which one should hold?
fn once_each(drafts: &[Draft]) -> Result<(), Error> {
    let mut seen: BTreeMap<(Kind, String), String> = BTreeMap::new();
    for draft in drafts {
        let (kind, name, place) = place_of(draft);
        if let Some(first) = seen.insert((kind, name.clone()), place.clone()) {
            return Err(Error::new(&OBJECT_INVALID, format!("{kind} {name} is given twice"))
                .object(&kind.to_string(), "", name)
                .field(place)
                .because(format!("it stands at {first} already"))
                .try_this("keep one of the two", ""));
        }
    }
    Ok(())
}

/// The first problem, with the others as its causes: one refusal tells them all.
fn first_of(problems: &[weft_yaml::Error]) -> Error {
    let Some((first, others)) = problems.split_first() else {
        return Error::new(&INTERNAL, "a text was refused without a reason");
    };
    others.iter().fold(first.envelope(), |error, other| error.because(format!("also: {other}")))
}

/// Kind, name and place of an object in its text.
fn place_of(draft: &Draft) -> (Kind, String, String) {
    match draft {
        Draft::Fabric(FabricDraft { place, .. }) => (Kind::Fabric, "main".to_owned(), place.to_string()),
        Draft::Node(NodeDraft { place, name, .. }) => (Kind::Node, name.to_string(), place.to_string()),
    }
}

/// A refusal that only the state could give names object and field; where the object stands in the texts is added.
fn placed(mut error: Error, places: &[(Kind, String, String)]) -> Error {
    let meant = error.object.as_ref();
    let is_meant = |kind: Kind, name: &str| {
        meant.is_some_and(|object| object.kind == kind.to_string() && object.name == name)
    };
    let place = match places {
        [(_, _, only)] => Some(only),
        several => several.iter().find(|(kind, name, _)| is_meant(*kind, name)).map(|(_, _, place)| place),
    };
    match place {
        Some(place) if error.field.is_empty() => place.clone_into(&mut error.field),
        Some(place) if !error.field.contains(place) => error.field += &format!(" ({place})"),
        Some(_) | None => {}
    }
    error
}

/// A draft on top of what is there: absent fields keep their value.
fn whole(state: &State, draft: Draft) -> Result<Object, Error> {
    match draft {
        Draft::Fabric(draft) => {
            let now = state.fabric().ok_or_else(|| Error::new(&NOT_FOUND, "the fabric isn't there yet"))?;
            Ok(Object::Fabric(fabric(now.clone(), draft)))
        }
        Draft::Node(NodeDraft { name, labels, place }) => match state.nodes().get(&name) {
            Some(node) => Ok(Object::Node(weft_model::Node { labels, ..node.clone() })),
            None => Err(Error::new(
                &NOT_FOUND,
                format!("node {name} doesn't exist; nodes join, they aren't written"),
            )
            .object("node", "", &name)
            .field(place.to_string())
            .try_this("make a join token", "weft token create")),
        },
    }
}

fn fabric(now: Fabric, draft: FabricDraft) -> Fabric {
    let mut ranges = now.ranges;
    ranges.pods = draft.pods.unwrap_or(ranges.pods);
    ranges.services = draft.services.unwrap_or(ranges.services);
    ranges.nodes = draft.nodes.unwrap_or(ranges.nodes);
    ranges.load_balancers = draft.load_balancers.unwrap_or(ranges.load_balancers);
    Fabric {
        families: draft.families.unwrap_or(now.families),
        overlay: draft.overlay.unwrap_or(now.overlay),
        domain: draft.domain.unwrap_or(now.domain),
        block_prefix_v4: draft.block_prefix_v4.unwrap_or(now.block_prefix_v4),
        masquerade_exceptions: draft.masquerade_exceptions.unwrap_or(now.masquerade_exceptions),
        ranges,
        generation: now.generation,
        revision: now.revision,
    }
}

fn row(object: &Object, written: Written, before: Option<&Object>) -> v1::AppliedObject {
    let differences = match (written, before) {
        (Written::Changed, Some(before)) => {
            let mut lines = Vec::new();
            differ("", &weft_yaml::object_value(before), &weft_yaml::object_value(object), &mut lines);
            lines
        }
        (Written::Created | Written::Changed | Written::Unchanged, _) => Vec::new(),
    };
    v1::AppliedObject { object: Some(object.into()), change: change_to_wire(written).into(), differences }
}

/// `spec.ranges.pods: ["10.0.0.0/16"] -> ["10.0.0.0/15"]`, a line per leaf; the server's own fields are left out.
fn differ(path: &str, before: &serde_json::Value, now: &serde_json::Value, lines: &mut Vec<String>) {
    use serde_json::Value::Object;
    if before == now || matches!(path, "metadata.resourceVersion" | "metadata.generation" | "status") {
        return;
    }
    if let (Object(a), Object(b)) = (before, now) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let null = serde_json::Value::Null;
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differ(&path, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), lines);
        }
        return;
    }
    lines.push(format!("{path}: {before} -> {now}"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_leaves_that_people_wrote() {
        let before = json!({"metadata": {"resourceVersion": "1", "labels": {"a": "1"}}, "spec": {"pods": ["x"]}, "status": {"s": 1}});
        let now = json!({"metadata": {"resourceVersion": "2", "labels": {"b": "2"}}, "spec": {"pods": ["x", "y"]}, "status": {"s": 2}});
        let mut lines = Vec::new();
        differ("", &before, &now, &mut lines);
        assert_eq!(
            lines,
            [
                "metadata.labels.a: \"1\" -> null",
                "metadata.labels.b: null -> \"2\"",
                "spec.pods: [\"x\"] -> [\"x\",\"y\"]"
            ]
        );
    }
}
