//! What `weft check` says of the cluster's policies: what no node can hold, and what probably isn't meant as it is written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weft_errors::{Coded, Error};
use weft_policy::World;

use super::{super::Run, world::known};
use crate::fail::Outcome;

/// Policies that are named; of more there is only a number.
const NAMED: usize = 20;
/// Places of one policy that are named.
const PLACES: usize = 3;

/// Findings about all policies, of the control plane's state now.
pub(crate) async fn findings(run: &Run) -> Outcome<Vec<Value>> {
    Ok(of(&known(&[], run).await?.world))
}

fn of(world: &World) -> Vec<Value> {
    let finding = |subject: &str, ok: bool, detail: String, error: Error| json!({"node": "", "check": subject, "ok": ok, "warning": ok, "detail": detail, "error": error});
    let mut found: Vec<Value> = Vec::new();
    for oversized in world.oversized() {
        let subject = match oversized.policies.first() {
            Some(first) => format!("policy {first}"),
            None => "policies".to_owned(),
        };
        found.push(finding(&subject, false, oversized.to_string(), oversized.envelope()));
    }
    // Of one policy all that bears the same code is one finding.
    let mut alike: BTreeMap<(String, String), (Vec<String>, Error)> = BTreeMap::new();
    for warning in world.lint() {
        let subject = match warning.policy() {
            Some(policy) => format!("policy {policy}"),
            None => warning.subject(),
        };
        let text = match warning.field() {
            "" => warning.to_string(),
            field => format!("{field}: {warning}"),
        };
        let key = (subject, warning.code().to_string());
        alike.entry(key).or_insert_with(|| (Vec::new(), warning.envelope())).0.push(text);
    }
    let more = alike.len().saturating_sub(NAMED);
    for ((subject, _), (places, error)) in alike.into_iter().take(NAMED) {
        let mut detail = places.get(..PLACES).unwrap_or(&places).join("; ");
        if places.len() > PLACES {
            detail += &format!("; and {} more", places.len() - PLACES);
        }
        found.push(finding(&subject, true, detail, error));
    }
    if more > 0 {
        let detail = format!("{more} more warnings: weft policy lint tells all of them");
        found.push(json!({"node": "", "check": "policies", "ok": true, "warning": true, "detail": detail}));
    }
    let policies = world.policies().count();
    if found.is_empty() && policies > 0 {
        let detail = format!("{policies} looked at");
        found.push(json!({"node": "", "check": "policies", "ok": true, "detail": detail}));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::world::Known, *};

    fn check(text: &str, expected: &[(&str, bool, &str, &str)]) {
        let parsed = weft_yaml::parse(text, "f", &weft_yaml::Options::default());
        let drafts =
            parsed.unwrap_or_else(|e| panic!("{e:?}")).objects.into_iter().map(|object| object.draft);
        let found = of(&Known::of_drafts(drafts.collect(), "shop".to_owned()).world);
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let shown: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    text(one, "/check"),
                    one["ok"] == json!(true),
                    text(one, "/error/code"),
                    text(one, "/detail"),
                )
            })
            .collect();
        let shown: Vec<_> =
            shown.iter().map(|(check, ok, code, detail)| (&**check, *ok, &**code, &**detail)).collect();
        assert_eq!(shown, expected);
    }

    const POD: &str =
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {}}";

    fn policy(spec: &str) -> String {
        format!(
            "{POD}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {spec}\n"
        )
    }

    #[test]
    fn policies_are_looked_at_and_what_isnt_meant_is_a_warning() {
        check(POD, &[]);
        check(&policy("{podSelector: {}, ingress: []}"), &[("policies", true, "", "1 looked at")]);
        check(
            &policy(
                "{podSelector: {matchLabels: {app: wbe}}, ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]}",
            ),
            &[(
                "policy shop/web",
                true,
                "W6101",
                "spec.podSelector: no pod of namespace shop is selected; spec.ingress[0].from[0]: no pod is selected",
            )],
        );
    }

    #[test]
    fn what_no_node_holds_is_not_well() {
        let peers: Vec<String> =
            (0..8200).map(|n| format!("{{ipBlock: {{cidr: 10.{}.{}.0/24}}}}", n / 256, n % 256)).collect();
        let rules: Vec<String> =
            peers.chunks(200).map(|peers| format!("{{from: [{}]}}", peers.join(", "))).collect();
        let spec = format!("{{podSelector: {{}}, ingress: [{}]}}", rules.join(", "));
        let detail = "shop/web: 8200 peers, exceptions and ports, more than the 8192 that a node holds";
        check(&policy(&spec), &[("policy shop/web", false, "W6001", detail)]);
    }
}
