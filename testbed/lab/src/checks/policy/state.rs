//! Objects as they are to be, and the changes on the way there from what they are.

use std::collections::BTreeMap;

use weft_model::DEFAULT_POLICY_LABEL;

use crate::probe::Change;

/// Kind as the protocol names it, namespace, name.
pub(super) type Key = (String, String, String);

/// Objects by what they are, with their texts in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State(BTreeMap<Key, String>);

impl State {
    /// Puts an object.
    pub(super) fn put(&mut self, key: Key, text: String) {
        self.0.insert(key, text);
    }

    /// Becomes another state, by these changes. Namespaces and the fabric's settings stay.
    pub(super) fn become_(&mut self, next: Self) -> Vec<Change> {
        let gone: Vec<Key> = self.0.keys().filter(|key| !next.0.contains_key(*key)).cloned().collect();
        let gone: Vec<Key> = gone
            .into_iter()
            .filter(|(kind, ..)| !["KIND_NAMESPACE", "KIND_FABRIC"].contains(&kind.as_str()))
            .collect();
        let put: Vec<&str> = next
            .0
            .iter()
            .filter(|(key, text)| self.0.get(*key) != Some(text))
            .map(|(_, text)| text.as_str())
            .collect();
        // Who goes first makes room for names and addresses.
        let mut changes = Vec::new();
        if !gone.is_empty() {
            changes.push(Change::Remove(gone));
        }
        if !put.is_empty() {
            changes.push(Change::Apply(put.join("\n---\n")));
        }
        *self = next;
        changes
    }
}

/// Key of a namespaced kind.
pub(super) fn key(kind: &str, name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

/// A policy with its specification, as people write it.
pub(super) fn policy(name: &str, spec: &str) -> (Key, String) {
    let key = key("KIND_NETWORK_POLICY", name);
    let text = format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{namespace: {}, name: {}}}, spec: {spec}}}",
        key.1, key.2
    );
    (key, text)
}

/// A namespace with labels, `k: v, k: v`; without a default of its own unless they say one.
pub(super) fn namespace(name: &str, labels: &str) -> (Key, String) {
    let inherits = if labels.contains(DEFAULT_POLICY_LABEL) {
        String::new()
    } else {
        format!(", {DEFAULT_POLICY_LABEL}: \"\"")
    };
    let labels = format!("{labels}{inherits}");
    let text =
        format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{labels}}}}}}}");
    (("KIND_NAMESPACE".to_owned(), String::new(), name.to_owned()), text)
}

/// What is said of a pod: labels, `k: v, k: v`, and ports, `{name: …, containerPort: …, protocol: …}, …`.
pub(super) fn pod(name: &str, labels: &str, ports: &str) -> (Key, String) {
    let key = key("KIND_POD_SPEC", name);
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{namespace: {}, name: {}, labels: {{{labels}}}}}, spec: {{containers: [{{name: main, \
         image: main, ports: [{ports}]}}]}}}}",
        key.1, key.2
    );
    (key, text)
}

/// A service.
pub(super) fn service(name: &str, spec: &str) -> (Key, String) {
    let key = key("KIND_SERVICE", name);
    let text = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{namespace: {}, name: {}}}, spec: {spec}}}",
        key.1, key.2
    );
    (key, text)
}

/// The fabric's defaults of policy.
pub(super) fn settings(spec: &str) -> (Key, String) {
    let text = format!(
        "{{apiVersion: weft.io/v1, kind: Fabric, metadata: {{name: main}}, spec: {{policy: {spec}}}}}"
    );
    (("KIND_FABRIC".to_owned(), String::new(), "main".to_owned()), text)
}
