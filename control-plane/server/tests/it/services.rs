//! Services in a cluster: applied from Kubernetes' own text, shown, followed and deleted.

use weft_model::{Item, Object};
use weft_proto::v1;
use weft_rpc::{Channel, error_of, with_deadline};

use crate::world::{CALL, World, mutation};

/// The service stands before its namespace, as people write it.
const SHOP: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{port: 5432}]
endpoints: [{addresses: [192.0.2.7]}]
";

async fn apply(
    channel: &Channel,
    sequence: u64,
    text: &str,
    change: impl FnOnce(&mut v1::ApplyRequest),
) -> Result<v1::ApplyResponse, weft_errors::Error> {
    let mut request = v1::ApplyRequest {
        mutation: mutation(1, sequence),
        text: text.to_owned(),
        file: "shop.yaml".to_owned(),
        ..v1::ApplyRequest::default()
    };
    change(&mut request);
    let answer = channel.admin().apply(with_deadline(request, CALL)).await;
    answer.map(weft_rpc::Response::into_inner).map_err(|status| error_of(&status))
}

async fn list(channel: &Channel, kind: v1::Kind, selector: &str) -> Vec<Object> {
    let request = v1::ListRequest {
        kind: kind.into(),
        namespace: "shop".to_owned(),
        selector: selector.to_owned(),
        stale: false,
    };
    let answer = channel.admin().list(with_deadline(request, CALL)).await.unwrap().into_inner();
    answer.objects.into_iter().map(|wire| Object::try_from(wire).unwrap()).collect()
}

async fn items(channel: &Channel, name: &str) -> Vec<Item> {
    let request = v1::ItemsRequest {
        kind: v1::ItemKind::Service.into(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..v1::ItemsRequest::default()
    };
    let answer = channel.admin().items(with_deadline(request, CALL)).await.unwrap().into_inner();
    answer.snapshot.unwrap().items.into_iter().map(|wire| Item::try_from(wire).unwrap()).collect()
}

async fn delete(
    channel: &Channel,
    sequence: u64,
    kind: v1::Kind,
    name: &str,
) -> Result<v1::DeleteResponse, weft_errors::Error> {
    let request = v1::DeleteRequest {
        mutation: mutation(2, sequence),
        kind: kind.into(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        ..v1::DeleteRequest::default()
    };
    let answer = channel.admin().delete(with_deadline(request, CALL)).await;
    answer.map(weft_rpc::Response::into_inner).map_err(|status| error_of(&status))
}

fn changes(answer: &v1::ApplyResponse) -> Vec<v1::Change> {
    answer.objects.iter().map(v1::AppliedObject::change).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_is_applied_changed_and_deleted_with_its_namespace() {
    use v1::Change::{Changed, Created, Unchanged};
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let dry = apply(&admin, 1, SHOP, |request| request.dry_run = true).await.unwrap();
    assert_eq!(changes(&dry), [Created; 4]);
    assert!(list(&admin, v1::Kind::Service, "").await.is_empty(), "a dry run stores nothing");

    let stored = apply(&admin, 1, SHOP, |_| {}).await.unwrap();
    assert_eq!(changes(&stored), [Created; 4]);
    let services = list(&admin, v1::Kind::Service, "tier=front").await;
    let [Object::Service(web)] = services.as_slice() else { panic!("{services:?}") };
    assert!(web.spec.addresses.list().len() == 1 && web.spec.ports[0].node_port >= 30_000, "{web:?}");
    let found = items(&admin, "db").await;
    let [Item::Service(db)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(db.endpoints.iter().map(|e| e.address.to_string()).collect::<Vec<_>>(), ["192.0.2.7"]);

    // What is printed feeds back and changes nothing.
    let mut printed = list(&admin, v1::Kind::Service, "").await;
    printed.extend(list(&admin, v1::Kind::Slice, "").await);
    let printed = printed.iter().map(weft_yaml::object_value).collect();
    let printed = weft_yaml::to_yaml(&weft_yaml::list_value(printed, 1));
    assert_eq!(changes(&apply(&admin, 2, &printed, |_| {}).await.unwrap()), [Unchanged; 3], "{printed}");
    let other = SHOP.replace("targetPort: http", "targetPort: 8080");
    let changed = apply(&admin, 3, &other, |_| {}).await.unwrap();
    let differences: Vec<&String> = changed.objects.iter().flat_map(|object| &object.differences).collect();
    assert_eq!(differences, ["spec.ports[0].targetPort: \"http\" -> 8080"]);
    assert_eq!(changes(&changed).iter().filter(|change| **change == Changed).count(), 1);

    delete(&admin, 1, v1::Kind::Slice, "db-1").await.unwrap();
    delete(&admin, 2, v1::Kind::Namespace, "shop").await.unwrap();
    assert!(list(&admin, v1::Kind::Service, "").await.is_empty() && items(&admin, "").await.is_empty());
    assert_eq!(delete(&admin, 3, v1::Kind::Service, "web").await.unwrap_err().code, "W3101");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_is_refused_with_its_place_and_changes_nothing() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let alone = SHOP.split("---").next().unwrap();
    let error = apply(&admin, 1, alone, |_| {}).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.field.contains("shop.yaml:3:34")), ("W3101", true), "{error}");
    let deployment = format!("{SHOP}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\n");
    let error = apply(&admin, 2, &deployment, |_| {}).await.unwrap_err();
    assert_eq!(error.code, "W3003", "{error}");
    assert!(list(&admin, v1::Kind::Service, "").await.is_empty(), "all or nothing");
    let skipped = apply(&admin, 3, &deployment, |request| request.skip_unknown = true).await.unwrap();
    assert_eq!((skipped.objects.len(), skipped.warnings.len()), (4, 1));
    let error = apply(&admin, 4, alone, |request| request.create = true).await.unwrap_err();
    assert_eq!(error.code, "W3102", "{error}");
    let taken = SHOP
        .replace("name: web", "name: web2")
        .replace("targetPort: http}", &format!("nodePort: {}}}", node_port(&admin).await));
    let error = apply(&admin, 5, &taken, |_| {}).await.unwrap_err();
    assert!(error.field.starts_with("spec.ports[0].nodePort (shop.yaml:7:44)"), "{error}");
}

async fn node_port(channel: &Channel) -> u16 {
    let services = list(channel, v1::Kind::Service, "tier=front").await;
    let [Object::Service(web)] = services.as_slice() else { panic!("{services:?}") };
    web.spec.ports[0].node_port
}

const BALANCED: &str = "\
apiVersion: weft.io/v1
kind: LoadBalancerPool
metadata: {name: lan}
spec: {ranges: [192.168.66.240/28]}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: default}
spec: {type: LoadBalancer, selector: {app: front}, ports: [{port: 80}]}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_node_answers_for_the_address_of_a_load_balancer() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let (n1, _) = world.join_node("n1").await;
    let (pulses, sent) = tokio::sync::mpsc::channel(1);
    let stream =
        tokio::spawn(async move { n1.sync().pulse(tokio_stream::wrappers::ReceiverStream::new(sent)).await });
    pulses.send(v1::PulseRequest { lasts_ms: 20_000, away: false }).await.unwrap();
    apply(&admin, 1, BALANCED, |_| {}).await.unwrap();
    let deadline = tokio::time::Instant::now() + CALL;
    let owner = loop {
        let owners = list(&admin, v1::Kind::Owner, "").await;
        if let Some(Object::Owner(owner)) = owners.into_iter().next() {
            break owner;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody was made the owner");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((owner.node.as_str(), owner.address.to_string().as_str()), ("n1", "192.168.66.240"));
    drop(pulses);
    stream.await.unwrap().unwrap();
}
