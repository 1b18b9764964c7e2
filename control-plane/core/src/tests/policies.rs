//! Policies as objects, and the identities that follow from them.

use weft_errors as codes;
use weft_model::{
    Action, DEFAULT_POLICY_LABEL, DefaultPolicy, Fabric, Families, IdentityId, Item, ItemKey, Key,
    LabelOperator, LabelRequirement, LabelSelector, Labels, NAMESPACE_NAME_LABEL, NamedPort, Namespace,
    NetworkPolicy, NodeEgress, Object, ObjectUid, Pod, PolicyPeer, PolicyPort, PolicyRule, PolicySettings,
    PolicySpec, PortMatch, Protocol, Revision, WallTime, Written,
};
use weft_policy::Turned;

use super::{World, labels, pod, small_fabric, write};
use crate::{ItemChange, Outcome, admit};

/// A policy as people write it, which isolates for ingress: `policy("shop/web", |p| ..)`.
pub(super) fn policy(text: &str, change: impl FnOnce(&mut NetworkPolicy)) -> NetworkPolicy {
    let mut policy = NetworkPolicy {
        name: text.parse().unwrap(),
        uid: ObjectUid([0; 16]),
        labels: Labels::new(),
        annotations: Labels::new(),
        spec: PolicySpec { isolates_ingress: true, ..PolicySpec::default() },
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    };
    change(&mut policy);
    policy
}

/// `key=value` asks for a value, `key` for the label, both in words.
pub(super) fn selector(text: &str) -> LabelSelector {
    let expression = |key: &str| LabelRequirement {
        key: key.to_owned(),
        operator: LabelOperator::Exists,
        values: Default::default(),
    };
    let words = text.split_whitespace().filter(|word| !word.contains('='));
    LabelSelector { labels: labels(text), expressions: words.map(expression).collect() }
}

/// A rule for pods of the policy's namespace, or of all.
pub(super) fn rule(pods: &str, everywhere: bool, port: &str) -> PolicyRule {
    let namespaces = everywhere.then(LabelSelector::default);
    let port = PolicyPort { protocol: Protocol::Tcp, port: PortMatch::Name(port.to_owned()) };
    PolicyRule {
        peers: vec![PolicyPeer::Pods { namespaces, pods: Some(selector(pods)) }],
        ports: if port.port == PortMatch::Name(String::new()) { Vec::new() } else { vec![port] },
    }
}

fn namespace(text: &str, texts: &str) -> Object {
    Object::Namespace(Namespace {
        name: text.parse().unwrap(),
        labels: labels(texts),
        created: WallTime(0),
        revision: Revision(0),
    })
}

/// Keys of the items that changed.
fn keys(outcome: &Outcome) -> Vec<String> {
    let key = |change: &ItemChange| match change {
        ItemChange::Upsert(item) => item.key().to_string(),
        ItemChange::Delete(key) => format!("-{key}"),
    };
    outcome.items.iter().map(key).collect()
}

/// Names of the pods whose items changed.
fn pods(outcome: &Outcome) -> Vec<String> {
    keys(outcome).iter().filter_map(|key| key.strip_prefix("pod/").map(str::to_owned)).collect()
}

fn put(world: &mut World, policy: NetworkPolicy) -> Outcome {
    let outcome = world.run(write(Object::NetworkPolicy(policy)));
    assert!(outcome.answer.is_ok(), "{:?}", outcome.answer);
    outcome
}

fn delete(world: &mut World, text: &str) -> Outcome {
    let outcome = world.run(Action::Delete { keys: vec![Key::NetworkPolicy(text.parse().unwrap())] });
    assert!(outcome.answer.is_ok(), "{:?}", outcome.answer);
    outcome
}

fn living(uid: u8, text: &str, texts: &str) -> Pod {
    Pod { labels: labels(texts), ..pod(uid, "n1", text, &format!("10.0.0.{}", uid + 1), 1) }
}

/// Pods of two namespaces on one node.
fn world() -> World {
    let mut world = World::small(Families::V4);
    world.join("n1");
    let http = NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 8080 };
    world.publish(
        "n1",
        vec![
            living(1, "shop/web-0", "app=web hash=a"),
            living(2, "shop/web-1", "app=web hash=b"),
            Pod { ports: vec![http], ..living(3, "shop/db-0", "app=db tier=data") },
            living(4, "dev/web-0", "app=web tier=front"),
        ],
    );
    world
}

fn identity(world: &World, text: &str) -> IdentityId {
    match world.view.get(&ItemKey::Pod(text.parse().unwrap())) {
        Some(Item::Pod(pod)) => pod.identity,
        other => panic!("{text}: {other:?}"),
    }
}

/// The labels that an identity has kept.
fn kept(world: &World, text: &str) -> String {
    match world.view.get(&ItemKey::Identity(identity(world, text))) {
        Some(Item::Identity(item)) => {
            let labels = item.identity.labels.iter().map(|(key, value)| format!("{key}={value}"));
            let ports = item.identity.ports.iter().map(|port| format!("{}:{}", port.name, port.port));
            labels.chain(ports).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_policy_is_kept_with_its_life_and_goes_to_every_node() {
    let mut world = world();
    let outcome = put(&mut world, policy("shop/web", |p| p.spec.pods = selector("app=web")));
    assert!(keys(&outcome).contains(&"policy/shop/web".to_owned()));
    let name = "shop/web".parse().unwrap();
    let stored = world.state.policies()[&name].clone();
    assert!(stored.uid != ObjectUid([0; 16]) && stored.generation == 1 && stored.created != WallTime(0));
    let again = put(&mut world, policy("shop/web", |p| p.spec.pods = selector("app=web")));
    let Ok(weft_model::Answer::Written(written)) = again.answer else { panic!("not written") };
    assert_eq!((written[0].1, again.items.len()), (Written::Unchanged, 0));
    let changed = put(&mut world, policy("shop/web", |p| p.spec.ingress = vec![PolicyRule::default()]));
    assert!(keys(&changed).contains(&"policy/shop/web".to_owned()));
    let now = world.state.policies()[&name].clone();
    assert_eq!((now.uid, now.generation, now.created), (stored.uid, 2, stored.created));
    let stale = policy("shop/web", |p| p.revision = stored.revision);
    world.refused(write(Object::NetworkPolicy(stale)), &codes::CONFLICT);
    assert_eq!(keys(&delete(&mut world, "shop/web")), ["-policy/shop/web"]);
    let gone = Action::Delete { keys: vec![Key::NetworkPolicy(name)] };
    let shown = world.refused(gone, &codes::NOT_FOUND);
    assert!(shown.contains("weft get networkpolicies"), "{shown}");
}

#[test]
fn what_cant_be_is_refused_with_its_place_when_it_is_admitted_and_when_it_is_applied() {
    let mut world = world();
    let mut check = |change: &dyn Fn(&mut NetworkPolicy), expected: &str| {
        let action = write(Object::NetworkPolicy(policy("shop/web", change)));
        let shown = admit(&world.state, action.clone()).expect_err(expected).to_string();
        assert!(shown.contains(expected), "{shown} lacks {expected}");
        let shown = world.refused(action, &codes::OBJECT_INVALID);
        assert!(shown.contains(expected) && shown.contains("networkpolicy"), "{shown} lacks {expected}");
    };
    check(&|p| p.spec.isolates_ingress = false, "spec.policyTypes: Required value");
    check(
        &|p| p.spec.pods = selector("-a"),
        "spec.podSelector.matchExpressions[0].key: Invalid value: \"-a\"",
    );
    let nobody = || PolicyPeer::Pods { namespaces: None, pods: None };
    let peers = |peers| vec![PolicyRule { peers, ports: Vec::new() }];
    check(
        &|p| p.spec.ingress = peers(vec![nobody()]),
        "spec.ingress[0].from[0]: Required value: must specify a peer",
    );
    check(
        &|p| p.spec.egress = peers(vec![nobody()]),
        "spec.egress[0].to[0]: Required value: must specify a peer",
    );
    let block = |range: &str, inner: &str| PolicyPeer::Block {
        range: range.parse().unwrap(),
        except: vec![inner.parse().unwrap()],
    };
    check(
        &|p| p.spec.ingress = peers(vec![block("10.0.0.0/8", "10.0.0.0/8")]),
        "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset",
    );
    check(
        &|p| p.spec.ingress = vec![rule("", false, "80")],
        "spec.ingress[0].ports[0].port: Invalid value: \"80\"",
    );
    check(&|p| p.spec.ingress = vec![PolicyRule::default(); 257], "spec.ingress: Too many: 257");
    check(&|p| p.labels = labels("a=/"), "metadata.labels[a]: Invalid value");
    // All at once.
    check(
        &|p| (p.spec.pods, p.spec.ingress) = (selector("-a"), peers(vec![nobody()])),
        "must specify a peer]",
    );
    let homeless = write(Object::NetworkPolicy(policy("nowhere/web", |_| {})));
    let shown = world.refused(homeless, &codes::NOT_FOUND);
    assert!(shown.contains("weft create namespace nowhere"), "{shown}");
    world.put(namespace("nowhere", ""));
    put(&mut world, policy("nowhere/web", |_| {}));
}

#[test]
fn a_namespace_takes_its_policies_with_it() {
    let mut world = world();
    world.put(namespace("quiet", "team=a"));
    put(&mut world, policy("quiet/a", |_| {}));
    put(&mut world, policy("shop/a", |_| {}));
    let outcome = world.run(Action::Delete { keys: vec![Key::Namespace("quiet".parse().unwrap())] });
    assert_eq!(keys(&outcome), ["-policy/quiet/a", "-namespace/quiet"]);
    assert_eq!(world.state.policies().len(), 1);
}

#[test]
fn pods_that_no_policy_tells_apart_are_one() {
    let mut world = world();
    assert_eq!(kept(&world, "shop/web-0"), "", "nobody asks for a label");
    assert_eq!(identity(&world, "shop/web-0"), identity(&world, "shop/db-0"));
    assert_ne!(identity(&world, "shop/web-0"), identity(&world, "dev/web-0"), "another namespace");
    // A new key moves those that have it, in the policy's namespace.
    let outcome = put(&mut world, policy("shop/tiers", |p| p.spec.pods = selector("tier")));
    assert_eq!(pods(&outcome), ["shop/db-0"]);
    assert_eq!((kept(&world, "shop/db-0").as_str(), kept(&world, "dev/web-0").as_str()), ("tier=data", ""));
    let outcome = put(&mut world, policy("shop/apps", |p| p.spec.pods = selector("app=web")));
    assert_eq!(pods(&outcome), ["shop/db-0", "shop/web-0", "shop/web-1"]);
    assert_eq!(identity(&world, "shop/web-0"), identity(&world, "shop/web-1"), "hash isn't asked for");
    // A peer of other namespaces asks everywhere; those here have it already.
    let far = |p: &mut NetworkPolicy| p.spec.ingress = vec![rule("app=web", true, "")];
    assert_eq!(pods(&put(&mut world, policy("shop/far", far))), ["dev/web-0"]);
    // The last one that asks gives it back.
    assert_eq!(pods(&delete(&mut world, "shop/apps")), Vec::<String>::new());
    assert_eq!(pods(&delete(&mut world, "shop/far")), ["dev/web-0", "shop/db-0", "shop/web-0", "shop/web-1"]);
    assert_eq!((kept(&world, "shop/web-0").as_str(), kept(&world, "shop/db-0").as_str()), ("", "tier=data"));
}

#[test]
fn names_of_ports_count_on_the_pods_on_which_they_are_looked_up() {
    let mut world = world();
    let outward = |everywhere| {
        move |p: &mut NetworkPolicy| {
            p.spec.isolates_egress = true;
            p.spec.egress = vec![rule("", everywhere, "http")];
        }
    };
    assert_eq!(pods(&put(&mut world, policy("dev/own", outward(false)))), Vec::<String>::new());
    assert_eq!(pods(&put(&mut world, policy("dev/far", outward(true)))), ["shop/db-0"]);
    assert_eq!(kept(&world, "shop/db-0"), "http:8080");
    assert_eq!(pods(&delete(&mut world, "dev/far")), ["shop/db-0"]);
    let inward = |p: &mut NetworkPolicy| p.spec.ingress = vec![rule("", true, "http")];
    assert_eq!(pods(&put(&mut world, policy("shop/in", inward))), ["shop/db-0"]);
    // Rules of a direction that the policy doesn't isolate aren't heeded.
    let unheeded = |p: &mut NetworkPolicy| {
        inward(p);
        (p.spec.isolates_ingress, p.spec.isolates_egress) = (false, true);
    };
    assert_eq!(pods(&put(&mut world, policy("shop/in", unheeded))), ["shop/db-0"]);
    assert_eq!(kept(&world, "shop/db-0"), "");
}

#[test]
fn a_policy_without_a_new_word_looks_at_no_pod() {
    let mut world = world();
    let first = |p: &mut NetworkPolicy| {
        p.spec.pods = selector("app=web");
        p.spec.ingress = vec![rule("tier=data", false, "http")];
    };
    put(&mut world, policy("shop/first", first));
    let turned = |old: Option<&str>, new: Option<NetworkPolicy>| {
        let name = old.map_or_else(|| "shop/other".parse().unwrap(), |text| text.parse().unwrap());
        let old = old.and_then(|_| world.state.policies().get(&name)).map(|policy| &policy.spec);
        let mut index = world.state.index.policies.clone();
        index.replace(&name, old, new.as_ref().map(|policy| &policy.spec))
    };
    assert_eq!(turned(None, Some(policy("shop/other", first))), Turned::default(), "the same words");
    let value = policy("shop/first", |p| {
        first(p);
        p.spec.pods = selector("app=db");
    });
    assert_eq!(turned(Some("shop/first"), Some(value)), Turned::default(), "another value of the same key");
    let gone = turned(Some("shop/first"), None);
    assert_eq!(gone.within.keys.iter().map(String::as_str).collect::<Vec<_>>(), ["app", "tier"]);
    assert!(gone.everywhere.is_empty() && gone.within.names.contains("http"));
}

#[test]
fn an_identity_exists_while_some_pod_has_it() {
    let mut world = world();
    put(&mut world, policy("shop/apps", |p| p.spec.pods = selector("app")));
    let db = identity(&world, "shop/db-0");
    let publish = |world: &mut World, pods| {
        let report = world.report("n1", pods);
        keys(&world.run(Action::PublishPods(report)))
    };
    let another = publish(&mut world, vec![living(5, "shop/db-1", "app=db")]);
    assert_eq!(another, ["pod/shop/db-1"], "one identity for both");
    let moved = publish(&mut world, vec![living(3, "shop/db-0", "app=cache")]);
    let came = identity(&world, "shop/db-0");
    assert_eq!(moved, ["pod/shop/db-0".to_owned(), format!("identity/{came}")], "the other one has it still");
    let moved = publish(&mut world, vec![living(5, "shop/db-1", "app=cache")]);
    assert_eq!(moved, ["pod/shop/db-1".to_owned(), format!("-identity/{db}")], "nobody has it any more");
}

#[test]
fn namespaces_that_exist_are_items_with_their_names() {
    let mut world = World::small(Families::V4);
    world.join("n1");
    let shown = |world: &World| -> Vec<String> {
        let item = |item: &Item| {
            let Item::Namespace(one) = item else { return None };
            assert_eq!(one.labels.get(NAMESPACE_NAME_LABEL).map(String::as_str), Some(one.name.as_str()));
            Some(format!("{} {}", one.name, one.labels.len()))
        };
        world.view.values().filter_map(item).collect()
    };
    let fixed = ["default 1", "kube-system 1", "weft-system 1"];
    assert_eq!(shown(&world), fixed);
    world.publish("n1", vec![living(1, "shop/web", "")]);
    assert_eq!(shown(&world), ["default 1", "kube-system 1", "shop 1", "weft-system 1"]);
    world.put(namespace("shop", "team=a"));
    assert_eq!(shown(&world), ["default 1", "kube-system 1", "shop 2", "weft-system 1"]);
    let mut gone = world.report("n1", Vec::new());
    gone.complete = true;
    world.good(Action::PublishPods(gone));
    assert_eq!(shown(&world).len(), 4, "people wrote it");
    world.delete(Key::Namespace("shop".parse().unwrap()));
    assert_eq!(shown(&world), fixed);
}

#[test]
fn defaults_are_words_that_are_known() {
    let mut world = world();
    let labelled = |word: &str| namespace("shop", &format!("{DEFAULT_POLICY_LABEL}={word}"));
    for default in DefaultPolicy::ALL {
        world.put(labelled(&default.to_string()));
    }
    let shown = world.refused(write(labelled("denied")), &codes::OBJECT_INVALID);
    assert!(shown.contains("metadata.labels[weft.io/default-policy]: Invalid value: \"denied\""), "{shown}");
    let mut fabric = world.state.fabric().unwrap().clone();
    fabric.policy = PolicySettings { default: DefaultPolicy::Deny, node_egress: NodeEgress::Allow };
    let outcome = world.run(write(Object::Fabric(fabric.clone())));
    assert_eq!(keys(&outcome), ["fabric"]);
    let Some(Item::Fabric(item)) = world.view.get(&ItemKey::Fabric) else { panic!("no fabric") };
    assert_eq!(item.policy, fabric.policy);
}

#[test]
fn settings_at_their_default_leave_no_trace_in_the_hash() {
    let hash = |change: &dyn Fn(&mut Fabric)| {
        let mut fabric = small_fabric(Families::V4);
        change(&mut fabric);
        crate::hash::digest([weft_model::Record::Object(Object::Fabric(fabric))].into_iter())
    };
    let usual = hash(&|_| ());
    assert_eq!(hash(&|f| f.policy = PolicySettings::default()), usual);
    assert_ne!(hash(&|f| f.policy.default = DefaultPolicy::Deny), usual);
    assert_ne!(hash(&|f| f.policy.node_egress = NodeEgress::Allow), usual);
}

#[test]
fn the_hash_sees_every_field_of_a_policy() {
    let hash = |change: &dyn Fn(&mut NetworkPolicy)| {
        let policy = policy("shop/web", |p| {
            p.spec.ingress = vec![rule("app=web", false, "http")];
            change(p);
        });
        crate::hash::digest([weft_model::Record::Object(Object::NetworkPolicy(policy))].into_iter())
    };
    let usual = hash(&|_| ());
    let port = |port| PolicyPort { protocol: Protocol::Tcp, port };
    let changes: [&dyn Fn(&mut NetworkPolicy); 10] = [
        &|p| p.labels = labels("a=b"),
        &|p| p.annotations = labels("a=b"),
        &|p| p.spec.pods = selector("app=web"),
        &|p| p.spec.isolates_egress = true,
        &|p| p.spec.egress = vec![PolicyRule::default()],
        &|p| p.spec.ingress = vec![rule("app=web", true, "http")],
        &|p| p.spec.ingress[0].peers.clear(),
        &|p| p.spec.ingress[0].ports = vec![port(PortMatch::Any)],
        &|p| p.spec.ingress[0].ports = vec![port(PortMatch::Numbers(80, 81))],
        &|p| p.spec.ingress[0].ports = vec![port(PortMatch::Numbers(80, 82))],
    ];
    let mut seen = vec![usual];
    for change in changes {
        let hash = hash(change);
        assert!(!seen.contains(&hash), "a change that leaves no trace");
        seen.push(hash);
    }
}
