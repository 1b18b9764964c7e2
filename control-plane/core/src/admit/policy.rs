//! Network policies (`ValidateNetworkPolicy` of Kubernetes).

use weft_model::{NetworkPolicy, ObjectUid};

use super::{Problems, check_metadata};
use crate::{Error, State};

/// The whole policy that `wanted` makes of the stored one.
pub(crate) fn complete(state: &State, wanted: NetworkPolicy) -> Result<NetworkPolicy, Error> {
    let mut new = wanted;
    match state.policies().get(&new.name) {
        Some(old) => {
            (new.uid, new.generation, new.created) = (old.uid, old.generation, old.created);
            new.revision = old.revision;
        }
        None => (new.uid, new.generation) = (ObjectUid([0; 16]), 0),
    }
    let mut problems = Problems::new("networkpolicy", &new.name);
    check_metadata(&new.labels, &new.annotations, &mut problems);
    problems.all(new.spec.problems());
    problems.finish()?;
    Ok(new)
}
