//! Policies, and what nodes need besides to know whom they select: namespaces, identities.

use weft_model::{
    IdentityId, IdentityItem, Labels, NAMESPACE_NAME_LABEL, NamespaceItem, NamespaceName, PolicyItem,
    PolicyName,
};

use crate::State;

/// A policy as people wrote it.
pub(crate) fn derive(state: &State, name: &PolicyName) -> Option<PolicyItem> {
    let policy = state.policies().get(name)?;
    Some(PolicyItem { name: name.clone(), spec: policy.spec.clone() })
}

/// A namespace that exists. One that nobody wrote has its own name as its only label.
pub(crate) fn namespace(state: &State, name: &NamespaceName) -> Option<NamespaceItem> {
    if state.fabric().is_none() || !state.has_namespace(name) {
        return None;
    }
    let mut labels = state.namespaces().get(name).map_or_else(Labels::new, |known| known.labels.clone());
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_string());
    Some(NamespaceItem { name: name.clone(), labels })
}

/// An identity that some living pod has.
pub(crate) fn identity(state: &State, id: IdentityId) -> Option<IdentityItem> {
    state.identity(id).map(|identity| IdentityItem { id, identity: identity.clone() })
}
