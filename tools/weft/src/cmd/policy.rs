//! Network policies for people: how many pods each selects, what it allows in words, and questions about all of them.

mod ask;
mod backends;
mod ends;
mod findings;
mod held;
mod world;

pub(crate) use ask::run;
pub(crate) use findings::findings;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weft_model::{
    Kind, LabelOperator, LabelRequirement, LabelSelector, NetworkPolicy, Object, Pod, PodPhase, PolicyPeer,
    PolicyPort, PolicyRule, PortMatch,
};

use super::{
    endpoints::protocol,
    get::{one_object, typed},
    kinds::split_name,
};
use crate::{client::Session, fail::Outcome, table::count};

/// Pods that a screen names of one policy.
const SHOWN: usize = 5;

/// Policies as values, each with the number of pods that it selects.
pub(crate) async fn list(session: &Session, namespace: &str, selector: &str) -> Outcome<Value> {
    let (policies, revision) = typed(session, Kind::NetworkPolicy, namespace, selector).await?;
    let pods = pods(session, namespace).await?;
    let values = policies.iter().map(|object| value(object, &pods)).collect();
    Ok(weft_yaml::list_value(values, revision))
}

/// One policy as a value, what it says in words, and the pods that it selects.
pub(crate) async fn one(session: &Session, word: &str) -> Outcome<(Value, String, BTreeSet<String>)> {
    let (namespace, _) = split_name(Kind::NetworkPolicy, word, session.namespace());
    let (object, _) = one_object(session, Kind::NetworkPolicy, word).await?;
    let pods = pods(session, namespace).await?;
    let Object::NetworkPolicy(policy) = &object else {
        return Ok((Value::Null, String::new(), BTreeSet::new()));
    };
    let names = selected(policy, &pods).map(|pod| pod.name.to_string()).collect();
    Ok((value(&object, &pods), screen(policy, &pods), names))
}

async fn pods(session: &Session, namespace: &str) -> Outcome<Vec<Pod>> {
    let (pods, _) = typed(session, Kind::Pod, namespace, "").await?;
    let pods =
        pods.into_iter().filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None });
    Ok(pods.filter(|pod| pod.phase == PodPhase::Active).collect())
}

fn selected<'a>(policy: &'a NetworkPolicy, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
    let own = |pod: &&Pod| pod.name.namespace == policy.name.namespace;
    pods.iter().filter(own).filter(|pod| policy.spec.pods.selects(&pod.labels))
}

/// The object, with what nobody wrote of it in its status.
fn value(object: &Object, pods: &[Pod]) -> Value {
    let mut value = weft_yaml::object_value(object);
    if let (Object::NetworkPolicy(policy), Value::Object(map)) = (object, &mut value) {
        let words = json!({
            "podSelector": words(&policy.spec.pods),
            "selectedPods": selected(policy, pods).count(),
        });
        map.insert("status".to_owned(), words);
    }
    value
}

/// A selector as kubectl prints it: `app=web,tier in (a,b),!old`; the empty one is `<none>`.
fn words(selector: &LabelSelector) -> String {
    let labels = selector.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let all: Vec<String> = labels.chain(selector.expressions.iter().map(requirement)).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn requirement(requirement: &LabelRequirement) -> String {
    let LabelRequirement { key, operator, values } = requirement;
    let values = || values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    match operator {
        LabelOperator::In => format!("{key} in ({})", values()),
        LabelOperator::NotIn => format!("{key} notin ({})", values()),
        LabelOperator::Exists => key.clone(),
        LabelOperator::DoesNotExist => format!("!{key}"),
    }
}

/// What a policy says.
fn screen(policy: &NetworkPolicy, pods: &[Pod]) -> String {
    let spec = &policy.spec;
    let names: Vec<&str> = selected(policy, pods).map(|pod| pod.name.name.as_str()).collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let which = if spec.pods.is_empty() { "every pod".to_owned() } else { words(&spec.pods) };
    let mut text = format!("{}\n", policy.name);
    text += &match names.len() {
        0 => format!("Selects     {which}: no pod now\n"),
        number => format!("Selects     {which}: {} ({shown}{more})\n", count(number, "pod")),
    };
    for (head, isolates, rules, from) in [
        ("Ingress", spec.isolates_ingress, &spec.ingress, "from"),
        ("Egress", spec.isolates_egress, &spec.egress, "to"),
    ] {
        text += &match (isolates, rules.len()) {
            (false, 0) => format!("{head:12}left as it is\n"),
            (false, n) => {
                format!("{head:12}left as it is: {} not heeded, it isn't in policyTypes\n", count(n, "rule"))
            }
            (true, 0) => format!("{head:12}closed\n"),
            (true, _) => format!("{head:12}closed but for\n"),
        };
        if isolates {
            rules.iter().for_each(|one| text += &rule(one, from));
        }
    }
    text
}

/// `  from pods app=web; to ports 80/TCP`, a line a peer.
fn rule(rule: &PolicyRule, from: &str) -> String {
    let ports = match rule.ports.as_slice() {
        [] => "every port and protocol".to_owned(),
        ports => ports.iter().map(port).collect::<Vec<_>>().join(", "),
    };
    let peers = match rule.peers.as_slice() {
        [] => vec!["anybody".to_owned()],
        peers => peers.iter().map(peer).collect(),
    };
    peers.iter().map(|peer| format!("  {from:5} {peer}: {ports}\n")).collect()
}

fn peer(peer: &PolicyPeer) -> String {
    let of = |selector: &LabelSelector| if selector.is_empty() { String::new() } else { words(selector) };
    match peer {
        PolicyPeer::Pods { namespaces, pods } => {
            let pods = pods.as_ref().map(of).unwrap_or_default();
            let pods = if pods.is_empty() { "every pod".to_owned() } else { format!("pods {pods}") };
            match namespaces.as_ref().map(of) {
                None => pods,
                Some(all) if all.is_empty() => format!("{pods} of every namespace"),
                Some(some) => format!("{pods} of namespaces {some}"),
            }
        }
        PolicyPeer::Block { range, except } if except.is_empty() => range.to_string(),
        PolicyPeer::Block { range, except } => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("{range} without {}", except.join(", "))
        }
    }
}

/// `80/TCP`, `8000-8100/UDP`, `http/TCP`, `every/SCTP`.
fn port(port: &PolicyPort) -> String {
    let protocol = protocol(port.protocol);
    match &port.port {
        PortMatch::Any => format!("every/{protocol}"),
        PortMatch::Name(name) => format!("{name}/{protocol}"),
        PortMatch::Numbers(first, last) if first == last => format!("{first}/{protocol}"),
        PortMatch::Numbers(first, last) => format!("{first}-{last}/{protocol}"),
    }
}

#[cfg(test)]
mod tests {
    use weft_model::Draft;
    use weft_yaml::{Drafted, Options};

    use super::*;

    fn policy(spec: &str) -> NetworkPolicy {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n"
        );
        let parsed = weft_yaml::parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        match parsed.objects.into_iter().next() {
            Some(Drafted { draft: Draft::Whole(Object::NetworkPolicy(policy)), .. }) => policy,
            other => panic!("{other:?}"),
        }
    }

    fn pod(name: &str, app: &str) -> Pod {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\nspec: {{}}\n"
        );
        let parsed = weft_yaml::parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        let Some(Draft::Whole(Object::PodSpec(spec))) = parsed.objects.into_iter().next().map(|d| d.draft)
        else {
            panic!("{text}")
        };
        Pod {
            uid: weft_model::PodUid([1; 16]),
            name: spec.name,
            labels: spec.labels,
            node: "n1".parse().unwrap(),
            attachment: weft_model::AttachmentId { container: "c".to_owned(), interface: "eth0".to_owned() },
            addresses: Vec::new(),
            ports: Vec::new(),
            phase: PodPhase::Active,
            ready: true,
            terminating: false,
            created: weft_model::WallTime(0),
            revision: weft_model::Revision(0),
        }
    }

    #[test]
    fn selectors_look_as_kubectl_shows_them() {
        let check = |selector: &str, expected: &str| {
            assert_eq!(words(&policy(&format!("{{podSelector: {selector}}}")).spec.pods), expected);
        };
        check("{}", "<none>");
        check("{matchLabels: {app: web, tier: a}}", "app=web,tier=a");
        check(
            "{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [b, a]}, \
             {key: old, operator: DoesNotExist}, {key: x, operator: Exists}, {key: y, operator: NotIn, values: [z]}]}",
            "app=web,tier in (a,b),!old,x,y notin (z)",
        );
    }

    #[test]
    fn a_policy_is_told_in_words() {
        let read = policy(
            "{podSelector: {matchLabels: {app: web}}, egress: [], policyTypes: [Ingress], ingress: [\
             {from: [{podSelector: {matchLabels: {app: db}}}, {namespaceSelector: {}}, \
             {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], \
             ports: [{port: 80}, {port: 8000, endPort: 8100, protocol: UDP}, {port: http}, {protocol: SCTP}]}, {}]}",
        );
        let pods: Vec<Pod> =
            (0..7).map(|n| pod(&format!("w{n}"), if n == 3 { "db" } else { "web" })).collect();
        let ports = "80/TCP, 8000-8100/UDP, http/TCP, every/SCTP";
        assert_eq!(
            screen(&read, &pods),
            format!(
                "shop/web\nSelects     app=web: 6 pods (w0, w1, w2, w4, w5 and 1 more)\nIngress     closed but for\n\
                 \u{20} from  pods app=db: {ports}\n  from  every pod of every namespace: {ports}\n\
                 \u{20} from  10.0.0.0/8 without 10.1.0.0/16: {ports}\n\
                 \u{20} from  anybody: every port and protocol\nEgress      left as it is\n"
            )
        );
        let shown = value(&Object::NetworkPolicy(read), &pods);
        assert_eq!(shown["status"], json!({"podSelector": "app=web", "selectedPods": 6}));
        let closed = policy("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}");
        assert_eq!(
            screen(&closed, &[]),
            "shop/web\nSelects     every pod: no pod now\n\
             Ingress     left as it is: 1 rule not heeded, it isn't in policyTypes\nEgress      closed\n"
        );
    }
}
