//! What a change changes, for people: a line per leaf of the text that they wrote.

use std::collections::BTreeSet;

use serde_json::Value;
use weft_model::Object;

use super::object_value;

/// What the control plane itself writes is no difference.
const OWN: &[&str] = &[
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.uid",
    "metadata.creationTimestamp",
    "status",
];

/// Lines such as `spec.ranges.pods: ["10.0.0.0/16"] -> ["10.0.0.0/15"]`; lists of as many objects are compared one by
/// one. Nothing for what only the control plane changed.
pub fn differences(before: &Object, now: &Object) -> Vec<String> {
    let mut lines = Vec::new();
    differ("", &object_value(before), &object_value(now), &mut lines);
    lines
}

fn differ(path: &str, before: &Value, now: &Value, lines: &mut Vec<String>) {
    use Value::{Array, Object};
    if before == now || OWN.contains(&path) {
        return;
    }
    match (before, now) {
        (Object(a), Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differ(&path, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), lines);
            }
        }
        (Array(a), Array(b)) if a.len() == b.len() && a.iter().chain(b).all(Value::is_object) => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{index}]"), a, b, lines);
            }
        }
        _ => lines.push(format!("{path}: {before} -> {now}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_leaves_that_people_wrote() {
        let before = json!({"metadata": {"resourceVersion": "1", "labels": {"a": "1"}}, "spec": {"pods": ["x"], "ports": [{"p": 1}]}, "status": {"s": 1}});
        let now = json!({"metadata": {"resourceVersion": "2", "labels": {"b": "2"}}, "spec": {"pods": ["x", "y"], "ports": [{"p": 2}]}, "status": {"s": 2}});
        let mut lines = Vec::new();
        differ("", &before, &now, &mut lines);
        assert_eq!(
            lines,
            [
                "metadata.labels.a: \"1\" -> null",
                "metadata.labels.b: null -> \"2\"",
                "spec.pods: [\"x\"] -> [\"x\",\"y\"]",
                "spec.ports[0].p: 1 -> 2"
            ]
        );
    }
}
