//! Apply: text → drafts → whole objects → one command; all or nothing. A dry run ends before the command.

use std::time::Instant;

use weft_core::Outcome;
use weft_errors::{ALREADY_EXISTS, CHANGED_SINCE, CONFLICT, Coded, Error, INTERNAL};
use weft_model::{Action, Answer, Command, Draft, Key, Kind, Object, Sequence, Written};
use weft_proto::{convert::change_to_wire, v1};
use weft_yaml::{Parsed, Seen};

use super::{
    changes,
    policy::{self, Sight},
    read::fresh,
    texts::{Spot, names_of, placed, read},
};
use crate::{
    context::{Context, random, stamp},
    limits::APPLY_CONFLICTS,
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
    Parsed { objects: parsed, warnings }: &Parsed,
    deadline: Instant,
) -> Result<v1::ApplyResponse, Error> {
    fresh(context, false, deadline).await?;
    let places: Vec<_> = parsed.iter().map(Spot::of).collect();
    let drafts: Vec<Draft> = parsed.iter().map(|drafted| drafted.draft.clone()).collect();
    let seen: Vec<(Key, Seen)> =
        parsed.iter().map(|drafted| (drafted.draft.key(), drafted.seen.clone())).collect();
    let silent = policy::silent_namespaces(&drafts);
    let create = wire.create;
    let admitted = context
        .handle
        .query(move |state| {
            let objects = weft_core::merge(state, drafts).map_err(|e| e.envelope())?;
            let before: Vec<Option<Object>> =
                objects.iter().map(|object| state.object(&object.key())).collect();
            for (key, seen) in &seen {
                still(key, seen, state.object(key).as_ref())?;
            }
            if create && let Some(there) = before.iter().flatten().next() {
                return Err(taken(&there.key()));
            }
            let action = weft_core::admit(state, Action::Write { objects }).map_err(|e| e.envelope())?;
            Ok::<_, Error>((action, before, state.meta().revision))
        })
        .await?;
    let (action, before, now) = admitted.map_err(|error| placed(error, &places))?;
    let (foreseen, sight) = foresee(context, &action, wire.dry_run, wire.tell_changes).await?;
    if let (Some(sight), Action::Write { objects }) = (&sight, &action) {
        policy::fit(sight, objects).await.map_err(|error| placed(error, &places))?;
    }
    let (answer, revision) = match foreseen.filter(|_| wire.dry_run) {
        Some(outcome) => (outcome.answer.map_err(|e| placed(e.envelope(), &places))?, now),
        None => {
            let applied = context.propose(wire.mutation.clone(), action, deadline).await?;
            (applied.answer.map_err(|e| placed(e, &places))?, applied.revision)
        }
    };
    let Answer::Written(written) = answer else {
        return Err(Error::new(&INTERNAL, format!("a write was answered by {answer:?}")));
    };
    let mut warnings = warnings.clone();
    warnings.extend(policy::kept(&silent, &written));
    let mut policy_change = None;
    if let Some(sight) = sight {
        warnings.extend(policy::warnings(&sight, &written).await);
        if wire.tell_changes {
            policy_change = changes::tell(context, sight, deadline).await;
        }
    }
    let objects = written
        .iter()
        .zip(before)
        .map(|((object, written), before)| row(object, *written, before, wire.dry_run));
    Ok(v1::ApplyResponse { objects: objects.collect(), revision: revision.0, warnings, policy_change })
}

/// What an action would do, and what policies are held against; only where somebody wants to know.
pub(super) async fn foresee(
    context: &Context,
    action: &Action,
    dry_run: bool,
    tell: bool,
) -> Result<(Option<Outcome>, Option<Sight>), Error> {
    // Who writes pods all day and wants to be told nothing doesn't have all pods looked at each time.
    let concerns = policy::concerns(action) && (dry_run || tell || policy::writes_policies(action));
    if !concerns && !dry_run {
        return Ok((None, None));
    }
    let client = weft_model::ClientId(random()?);
    let command = Command { client, sequence: Sequence(1), stamp: stamp()?, action: action.clone() };
    if concerns {
        let (outcome, sight) = policy::preview(context, command).await?;
        return Ok((Some(outcome), sight));
    }
    Ok((Some(context.handle.dry_run(command).await?), None))
}

/// Whether an object is still what its writer saw. One that isn't there is made anew, as when manifests move to another fabric; what
/// is printed of a pod is more than what people write of it, so its version says nothing.
fn still(key: &Key, seen: &Seen, now: Option<&Object>) -> Result<(), Error> {
    let Some(now) = now.filter(|_| *seen != Seen::default() && key.kind() != Kind::PodSpec) else {
        return Ok(());
    };
    let now = &weft_yaml::object_value(now)["metadata"];
    for (field, seen) in [("uid", &seen.uid), ("resourceVersion", &seen.version)] {
        if let (Some(seen), Some(now)) = (seen, now[field].as_str())
            && seen != now
        {
            let (namespace, name) = names_of(key);
            return Err(Error::new(&CHANGED_SINCE, format!("{key} is another by now"))
                .object(&key.kind().to_string(), &namespace, name)
                .field(format!("metadata.{field}"))
                .because(format!("the text was made from {field} {seen}, the object has {now}"))
                .try_this(
                    "make the change in the object as it is now",
                    format!("weft get {} -o yaml", key.to_string().replacen('/', " ", 1)),
                ));
        }
    }
    Ok(())
}

/// An object that should have been new.
fn taken(key: &Key) -> Error {
    let (namespace, name) = names_of(key);
    Error::new(&ALREADY_EXISTS, format!("{key} exists already"))
        .object(&key.kind().to_string(), &namespace, name)
        .field("metadata.name")
        .try_this("change it instead", "weft apply -f FILE")
}

fn row(object: &Object, written: Written, before: Option<Object>, dry_run: bool) -> v1::AppliedObject {
    let differences = match (written, &before) {
        (Written::Changed, Some(before)) => weft_yaml::differences(before, object),
        (Written::Created | Written::Changed | Written::Unchanged, _) => Vec::new(),
    };
    let before = before.filter(|_| dry_run);
    v1::AppliedObject {
        object: Some(object.into()),
        change: change_to_wire(written).into(),
        differences,
        before: before.as_ref().map(Into::into),
    }
}
