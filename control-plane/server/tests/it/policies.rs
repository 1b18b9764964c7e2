//! Network policies in a cluster: applied from Kubernetes' own text, shown, followed and deleted.

use weft_model::{Item, Object};
use weft_proto::v1;
use weft_rpc::{Channel, error_of, with_deadline};

use crate::world::{CALL, World, mutation};

/// The policy stands before its namespace.
const SHOP: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop, labels: {tier: data}}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    - ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.7/32]}
    ports: [{port: 5432}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a, weft.io/default-policy: deny-ingress}}
";

async fn apply(
    channel: &Channel,
    sequence: u64,
    text: &str,
) -> Result<v1::ApplyResponse, weft_errors::Error> {
    let request = v1::ApplyRequest {
        mutation: mutation(1, sequence),
        text: text.to_owned(),
        file: "shop.yaml".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let answer = channel.admin().apply(with_deadline(request, CALL)).await;
    answer.map(weft_rpc::Response::into_inner).map_err(|status| error_of(&status))
}

async fn policies(channel: &Channel) -> Vec<Object> {
    let request = v1::ListRequest {
        kind: v1::Kind::NetworkPolicy.into(),
        namespace: "shop".to_owned(),
        selector: "tier=data".to_owned(),
        stale: false,
    };
    let answer = channel.admin().list(with_deadline(request, CALL)).await.unwrap().into_inner();
    answer.objects.into_iter().map(|wire| Object::try_from(wire).unwrap()).collect()
}

async fn items(channel: &Channel, kind: v1::ItemKind) -> Vec<Item> {
    let request = v1::ItemsRequest { kind: kind.into(), ..v1::ItemsRequest::default() };
    let answer = channel.admin().items(with_deadline(request, CALL)).await.unwrap().into_inner();
    answer.snapshot.unwrap().items.into_iter().map(|wire| Item::try_from(wire).unwrap()).collect()
}

async fn delete(channel: &Channel, sequence: u64) -> Result<(), weft_errors::Error> {
    let request = v1::DeleteRequest {
        mutation: mutation(2, sequence),
        kind: v1::Kind::NetworkPolicy.into(),
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        ..v1::DeleteRequest::default()
    };
    let answer = channel.admin().delete(with_deadline(request, CALL)).await;
    answer.map(drop).map_err(|status| error_of(&status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_applied_printed_and_deleted_and_nodes_get_it() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let stored = apply(&admin, 1, SHOP).await.unwrap();
    let nobody = "networkpolicy shop/db: spec.podSelector: no pod of namespace shop is selected (W6101)";
    assert!(stored.warnings.iter().any(|warning| warning == nobody), "{:?}", stored.warnings);
    let found = policies(&admin).await;
    let [Object::NetworkPolicy(policy)] = found.as_slice() else { panic!("{found:?}") };
    assert!(policy.spec.isolates_ingress && !policy.spec.isolates_egress);
    let sent = items(&admin, v1::ItemKind::Policy).await;
    let [Item::Policy(item)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((&item.name, &item.spec), (&policy.name, &policy.spec));
    let spaces = items(&admin, v1::ItemKind::Namespace).await;
    let labels = |item: &Item| {
        let Item::Namespace(one) = item else { return None };
        (one.name.as_str() == "shop").then_some(one.labels.len())
    };
    let shop = spaces.iter().find_map(labels);
    assert_eq!((spaces.len(), shop), (4, Some(3)), "the fixed ones, and its labels with its name");

    // What is printed feeds back and changes nothing.
    let printed = weft_yaml::to_yaml(&weft_yaml::object_value(&found[0]));
    let again = apply(&admin, 2, &printed).await.unwrap();
    assert_eq!(again.objects[0].change(), v1::Change::Unchanged, "{printed}");
    assert!(again.warnings.is_empty(), "what isn't changed is told once");
    let changed = apply(&admin, 3, &SHOP.replace("5432", "5433")).await.unwrap();
    let differences: Vec<&String> = changed.objects.iter().flat_map(|object| &object.differences).collect();
    assert_eq!(differences, ["spec.ingress[0].ports[0].port: 5432 -> 5433"]);

    delete(&admin, 1).await.unwrap();
    assert!(items(&admin, v1::ItemKind::Policy).await.is_empty());
    assert_eq!(delete(&admin, 2).await.unwrap_err().code, "W3101");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misspelt_policy_changes_nothing_and_every_mistake_is_told() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let bad =
        SHOP.replace("podSelector: {matchLabels: {app: web}}", "podSelecter: {}").replace("5432", "'5432'");
    let error = apply(&admin, 1, &bad).await.unwrap_err();
    assert_eq!(error.field, "spec.ingress[0].from[0].podSelecter (shop.yaml:8:7)", "{error}");
    let told = error.to_string();
    for words in ["must specify a peer", "spec.ingress[0].ports[0].port: Invalid value: \"5432\""] {
        assert!(told.contains(words), "{told} lacks {words}");
    }
    assert!(policies(&admin).await.is_empty(), "all or nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_isnt_opened_by_a_text_that_doesnt_say_so() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    apply(&admin, 1, SHOP).await.unwrap();
    let space = |labels: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{{labels}}}}}\n")
    };
    let labels = |applied: &v1::ApplyResponse| {
        let wire = applied.objects[0].object.clone().unwrap();
        let Object::Namespace(space) = Object::try_from(wire).unwrap() else { panic!("{applied:?}") };
        let get = |key: &str| space.labels.get(key).cloned().unwrap_or_default();
        (get("team"), get("weft.io/default-policy"))
    };
    let kept = apply(&admin, 2, &space("team: b")).await.unwrap();
    assert_eq!(labels(&kept), ("b".to_owned(), "deny-ingress".to_owned()));
    let [warning] = kept.warnings.as_slice() else { panic!("{:?}", kept.warnings) };
    assert!(warning.contains("it keeps deny-ingress") && warning.ends_with("(W6107)"), "{warning}");
    let named = apply(&admin, 3, &space("weft.io/default-policy: deny-egress")).await.unwrap();
    assert_eq!(labels(&named), (String::new(), "deny-egress".to_owned()));
    assert!(named.warnings.is_empty(), "{:?}", named.warnings);
    let gone = apply(&admin, 4, &space("weft.io/default-policy: ''")).await.unwrap();
    assert_eq!(labels(&gone), (String::new(), String::new()));
    let silent = apply(&admin, 5, &space("")).await.unwrap();
    assert!(silent.warnings.is_empty() && silent.objects[0].change() == v1::Change::Unchanged, "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_tells_what_is_there_and_stores_nothing() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let stored = apply(&admin, 1, SHOP).await.unwrap();
    let request = v1::ApplyRequest {
        mutation: mutation(1, 2),
        text: SHOP.replace("5432", "5433"),
        dry_run: true,
        tell_changes: true,
        ..v1::ApplyRequest::default()
    };
    let dry = admin.admin().apply(with_deadline(request, CALL)).await.unwrap().into_inner();
    assert_eq!(dry.revision, stored.revision, "the present state's");
    let port = |wire: Option<&v1::Object>| {
        let Object::NetworkPolicy(policy) = Object::try_from(wire.unwrap().clone()).unwrap() else {
            panic!("{wire:?}")
        };
        policy.spec.ingress[0].ports[0].port.clone()
    };
    let row = dry.objects.iter().find(|row| row.change() == v1::Change::Changed).unwrap();
    let ports = (port(row.before.as_ref()), port(row.object.as_ref()));
    let number = |number| weft_model::PortMatch::Numbers(number, number);
    assert_eq!(ports, (number(5432), number(5433)));
    assert_eq!(dry.policy_change, None, "without pods nothing opens or closes");
    let request = v1::DeleteRequest {
        mutation: mutation(2, 1),
        kind: v1::Kind::NetworkPolicy.into(),
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        dry_run: true,
        ..v1::DeleteRequest::default()
    };
    let gone = admin.admin().delete(with_deadline(request, CALL)).await.unwrap().into_inner();
    assert_eq!((gone.removed.len(), gone.revision), (1, stored.revision));
    assert_eq!(port(Some(&(&policies(&admin).await[0]).into())), number(5432));
}
