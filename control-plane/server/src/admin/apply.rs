//! Apply: text → drafts → whole objects → one command; all or nothing. A dry run ends before the command.

use std::time::Instant;

use weft_errors::{ALREADY_EXISTS, CONFLICT, Coded, Error, INTERNAL};
use weft_model::{Action, Answer, Command, Draft, Key, Object, Sequence, Written};
use weft_proto::{convert::change_to_wire, v1};
use weft_yaml::Parsed;

use super::{
    policy,
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
    Parsed { objects: drafts, warnings }: &Parsed,
    deadline: Instant,
) -> Result<v1::ApplyResponse, Error> {
    fresh(context, false, deadline).await?;
    let places: Vec<_> = drafts.iter().map(Spot::of).collect();
    let drafts: Vec<Draft> = drafts.iter().map(|drafted| drafted.draft.clone()).collect();
    let create = wire.create;
    let admitted = context
        .handle
        .query(move |state| {
            let objects = weft_core::merge(state, drafts).map_err(|e| e.envelope())?;
            let before: Vec<Option<Object>> =
                objects.iter().map(|object| state.object(&object.key())).collect();
            if create && let Some(there) = before.iter().flatten().next() {
                return Err(taken(&there.key()));
            }
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
        (outcome.answer.map_err(|e| placed(e.envelope(), &places))?, outcome.revision)
    } else {
        let applied = context.propose(wire.mutation.clone(), action, deadline).await?;
        (applied.answer.map_err(|e| placed(e, &places))?, applied.revision)
    };
    let Answer::Written(written) = answer else {
        return Err(Error::new(&INTERNAL, format!("a write was answered by {answer:?}")));
    };
    let mut warnings = warnings.clone();
    // It is written, whether anything can be told of it or not.
    warnings.extend(policy::warnings(context, &written).await.unwrap_or_default());
    let objects =
        written.iter().zip(before).map(|((object, written), before)| row(object, *written, before.as_ref()));
    Ok(v1::ApplyResponse { objects: objects.collect(), revision: revision.0, warnings })
}

/// An object that should have been new.
fn taken(key: &Key) -> Error {
    let (namespace, name) = names_of(key);
    Error::new(&ALREADY_EXISTS, format!("{key} exists already"))
        .object(&key.kind().to_string(), &namespace, name)
        .field("metadata.name")
        .try_this("change it instead", "weft apply -f FILE")
}

fn row(object: &Object, written: Written, before: Option<&Object>) -> v1::AppliedObject {
    let differences = match (written, before) {
        (Written::Changed, Some(before)) => weft_yaml::differences(before, object),
        (Written::Created | Written::Changed | Written::Unchanged, _) => Vec::new(),
    };
    v1::AppliedObject { object: Some(object.into()), change: change_to_wire(written).into(), differences }
}
