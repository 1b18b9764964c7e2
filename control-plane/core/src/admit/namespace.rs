//! Namespaces: their labels, and whether objects may stand in them.

use weft_model::{
    DEFAULT_POLICY_LABEL, DefaultPolicy, NAMESPACE_NAME_LABEL, Namespace, NamespaceName, ObjectName,
};

use super::{Problems, check_metadata};
use crate::{Error, ServiceError, State};

/// The whole namespace that `wanted` makes of the stored one.
pub(crate) fn complete(state: &State, wanted: Namespace) -> Result<Namespace, Error> {
    let mut new = wanted;
    let mut problems = Problems::new("namespace", &new.name);
    if let Some(old) = state.namespaces().get(&new.name) {
        (new.created, new.revision) = (old.created, old.revision);
    }
    // An empty word takes the namespace's own default away: the fabric's holds.
    if new.labels.get(DEFAULT_POLICY_LABEL).is_some_and(String::is_empty) {
        new.labels.remove(DEFAULT_POLICY_LABEL);
    }
    new.labels.insert(NAMESPACE_NAME_LABEL.to_owned(), new.name.to_string());
    check_metadata(&new.labels, &Default::default(), &mut problems);
    if let Some(word) = new.labels.get(DEFAULT_POLICY_LABEL)
        && let Err(why) = word.parse::<DefaultPolicy>()
    {
        problems.invalid(format!("metadata.labels[{DEFAULT_POLICY_LABEL}]"), word, &why);
    }
    problems.finish()?;
    Ok(new)
}

/// Refuses an object in a namespace that doesn't exist.
pub(crate) fn check(state: &State, kind: &'static str, name: &ObjectName) -> Result<(), Error> {
    if state.has_namespace(&name.namespace) {
        return Ok(());
    }
    Err(ServiceError::NamespaceMissing { kind, name: name.clone() }.into())
}

/// Refuses to delete a namespace that always exists, in which pods live, or of which nothing is known.
pub(crate) fn check_delete(state: &State, name: &NamespaceName, has_objects: bool) -> Result<(), Error> {
    let in_use =
        |holder: String| Err(ServiceError::NamespaceInUse { namespace: name.clone(), holder }.into());
    if crate::limits::FIXED_NAMESPACES.contains(&name.as_str()) {
        return in_use("the cluster itself".to_owned());
    }
    if let Some(pod) = state.pod_in(name) {
        return in_use(format!("pod {pod}"));
    }
    if !has_objects && !state.namespaces().contains_key(name) {
        return Err(Error::NotFound { kind: "namespace", name: name.to_string() });
    }
    Ok(())
}
