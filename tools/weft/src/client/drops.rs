//! What nodes have dropped, as a value and as text.

use serde_json::{Map, Value, json};
use weft_proto::v1;

/// What a node says of its drops, as a value.
pub(super) fn drops_value(drops: &v1::DropsState) -> Value {
    let reasons: Map<String, Value> =
        drops.reasons.iter().map(|one| (one.reason.clone(), json!(one.packets))).collect();
    let pod = |one: &v1::PodDrops| json!({"pod": one.pod, "ingress": one.ingress, "egress": one.egress});
    json!({"reasons": reasons, "pods": drops.pods.iter().map(pod).collect::<Vec<_>>()})
}

/// The line of a node's drops; empty where it said nothing.
pub(crate) fn drops_text(drops: &Value) -> String {
    let Some(reasons) = drops["reasons"].as_object() else { return String::new() };
    if reasons.is_empty() {
        return "Dropped     nothing\n".to_owned();
    }
    let parts: Vec<String> = reasons.iter().map(|(reason, packets)| format!("{reason} {packets}")).collect();
    format!("Dropped     {}   (weft flows -w --verdict dropped)\n", parts.join(", "))
}

/// Packets that policies denied to pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Denied {
    /// Those that might not come in.
    pub(crate) ingress: u64,
    /// Those that might not go out.
    pub(crate) egress: u64,
}

impl Denied {
    /// Adds what a node says of pods that are meant.
    pub(crate) fn add(&mut self, drops: &v1::DropsState, mut is_meant: impl FnMut(&str) -> bool) {
        for pod in drops.pods.iter().filter(|pod| is_meant(&pod.pod)) {
            self.ingress += pod.ingress;
            self.egress += pod.egress;
        }
    }

    /// As a value.
    pub(crate) fn value(self) -> Value {
        json!({"ingress": self.ingress, "egress": self.egress})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_by_reason_and_added_for_the_pods_that_are_meant() {
        let pod = |pod: &str, ingress, egress| v1::PodDrops { pod: pod.to_owned(), ingress, egress };
        let drops = v1::DropsState {
            reasons: vec![v1::DropCount { reason: "policy-ingress".to_owned(), packets: 7 }],
            pods: vec![pod("shop/a", 4, 0), pod("shop/b", 3, 2)],
        };
        let value = drops_value(&drops);
        assert_eq!(drops_text(&value), "Dropped     policy-ingress 7   (weft flows -w --verdict dropped)\n");
        assert_eq!(value["pods"][1], json!({"pod": "shop/b", "ingress": 3, "egress": 2}));
        assert_eq!(drops_text(&drops_value(&v1::DropsState::default())), "Dropped     nothing\n");
        assert_eq!(drops_text(&Value::Null), "", "an agent that says nothing of it");
        let mut denied = Denied::default();
        denied.add(&drops, |pod| pod == "shop/b");
        denied.add(&drops, |_| true);
        assert_eq!(denied.value(), json!({"ingress": 10, "egress": 4}));
    }
}
