//! Questions about policies, of files alone.

use weft_model::Protocol;
use weft_yaml::Options;

use super::*;

const FILE: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop, labels: {app: web}}, spec: {}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: shop, labels: {app: db}}, spec: {}}
---
{apiVersion: v1, kind: Pod, metadata: {name: job, namespace: dev}, spec: {}}
";

fn known() -> Known {
    of_text(FILE)
}

fn of_text(text: &str) -> Known {
    let parsed = weft_yaml::parse(text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let drafts = parsed.objects.into_iter().map(|object| object.draft).collect();
    Known::of_drafts(drafts, "shop".to_owned())
}

fn to(text: &str, port: u16) -> Destination {
    Destination { to: text.to_owned(), port: Some(port), protocol: Protocol::Tcp }
}

#[test]
fn the_rule_that_decides_is_told() {
    let known = known();
    let (_, text, allowed) = why(&known, "web-0", &to("db-0", 5432)).ok().unwrap();
    assert!(allowed && text.contains("ingress allowed   networkpolicy shop/db rule 1"), "{text}");
    let (value, text, allowed) = why(&known, "dev/job", &to("pod/shop/db-0", 5432)).ok().unwrap();
    assert!(!allowed && text.contains("isolated by shop/db; no rule matches"), "{text}");
    assert_eq!(value["verdict"], json!("deny"));
    let closest = value["closest"].as_str().unwrap_or_default();
    assert!(closest.starts_with("closest: networkpolicy shop/db rule 1: "), "{closest}");
    assert!(why(&known, "web-9", &to("db-0", 5432)).is_err(), "nobody of that name");
    assert!(why(&known, "namespace/shop/x", &to("db-0", 5432)).is_err(), "no label");
}

#[test]
fn a_matrix_is_by_namespace_or_label() {
    let known = known();
    let (value, text) = matrix(&known, None, None).ok().unwrap();
    assert_eq!(value["names"], json!(["(outside)", "(resolver)", "dev", "shop"]));
    assert_eq!(value["rows"][2], json!(["A", "A", "", "p"]), "{text}");
    let port = Some(Transport::Port(Protocol::Tcp, 5432));
    let (value, text) = matrix(&known, port, Some("app")).ok().unwrap();
    let names: Vec<&str> = value["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
    assert_eq!(value["rows"][place("web")][place("db")], json!("A"), "{text}");
    assert_eq!(value["rows"][place("(other namespaces)")][place("db")], json!("-"), "{text}");
    assert!(text.starts_with("FROM \\ TO"), "{text}");
}

#[test]
fn cases_that_fail_are_told_with_their_place() {
    let known = known();
    let cases = weft_yaml::cases(
        "- {from: pod/shop/web-0, to: pod/shop/db-0, port: 5432/tcp, expect: allow}\n\
         - {from: namespace/dev, to: namespace/shop/app=db, port: 5432/tcp, expect: deny}\n\
         - {from: 192.0.2.1, to: pod/shop/db-0, port: 80, expect: allow}\n",
        "cases.yaml",
    );
    let (value, text) = test(&known, &cases.unwrap()).ok().unwrap();
    assert_eq!(value["failed"], json!(1), "{text}");
    assert!(text.contains("cases.yaml:3:3: is deny"), "{text}");
    let bad = weft_yaml::cases("- {from: a, to: b, port: tcp, expect: deny}", "cases.yaml").unwrap();
    let Err(Failure::Error(error)) = test(&known, &bad) else { panic!("tcp is no port") };
    assert!(error.field.contains("cases.yaml:1:3"), "{error}");
}

#[test]
fn policies_that_select_nobody_are_told() {
    let text = FILE.replace("app: db}}\n", "app: dbb}}\n");
    let (value, text) = lint(&of_text(&text));
    assert_eq!(value["warnings"][0]["code"], json!("W6101"), "{text}");
    assert!(text.contains("shop/db spec.podSelector: no pod of namespace shop is selected"), "{text}");
    assert_eq!(lint(&known()).0["warnings"], json!([]));
}

const SERVICES: &str = "\
---
{apiVersion: v1, kind: Service, metadata: {name: sql, namespace: shop}, spec: {selector: {app: db}, ports: [{port: 5000, targetPort: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: none, namespace: shop}, spec: {selector: {app: no}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: all, namespace: shop}, spec: {selector: {tier: a}, ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: log-0, namespace: shop, labels: {tier: a}}, spec: {}}
";

#[test]
fn a_service_is_judged_by_those_behind_it() {
    let known =
        of_text(&format!("{}{SERVICES}", FILE.replace("app: db}}, spec", "app: db, tier: a}}, spec")));
    let ask = |from: &str, service: &str, port| why(&known, from, &to(service, port)).ok();
    for name in ["svc/shop/sql", "svc/sql", "service/shop/sql", "sql.shop", "sql.shop.svc.cluster.local"] {
        let (value, text, allowed) = ask("web-0", name, 5000).unwrap();
        assert!(allowed && text.contains("-> pod/shop/db-0 5432/tcp   allowed  IPv4 and IPv6 ("), "{text}");
        assert_eq!((value["service"].as_str(), value["verdict"].as_str()), (Some("shop/sql"), Some("allow")));
    }
    let (value, text, allowed) = ask("dev/job", "all.shop", 5432).unwrap();
    assert!(
        !allowed && text.starts_with("dev/job -> svc/shop/all 5432/tcp   PARTLY: 1 of 2 backends;"),
        "{text}"
    );
    let all = value["results"].as_array().unwrap().iter();
    let verdicts: Vec<_> = all.filter_map(|one| one["verdict"].as_str()).collect();
    assert_eq!((verdicts, &value["to"]), (vec!["deny", "allow"], &json!("pod/shop/db-0 5432/tcp")));
    let refused = |from: &str, service: &str, port| match why(&known, from, &to(service, port)) {
        Err(Failure::Error(error)) => error.message,
        _ => panic!("{service}"),
    };
    assert_eq!(refused("web-0", "sql.shop", 5432), "service shop/sql has no port 5432/tcp: it has 5000/tcp");
    assert_eq!(refused("web-0", "none.shop", 80), "no backend of service shop/none is ready");
    assert_eq!(refused("web-0", "nobody.shop", 80), "there is no service shop/nobody");
    assert_eq!(refused("svc/sql", "db-0", 80), "\"svc/sql\" is a service, and begins nothing");
    let cases = weft_yaml::cases(
        "- {from: pod/shop/web-0, to: svc/shop/sql, port: 5000, expect: allow}\n\
         - {from: namespace/dev, to: all.shop, port: 5432/tcp, expect: allow}\n",
        "cases.yaml",
    );
    let (value, text) = test(&known, &cases.unwrap()).ok().unwrap();
    assert_eq!(value["failed"], json!(1), "{text}");
    assert!(text.contains("cases.yaml:2:3: pod/shop/db-0 5432/tcp: is deny"), "{text}");
}

#[test]
fn each_family_is_told_where_they_differ() {
    let block = FILE.replace(
        "podSelector: {matchLabels: {app: web}}}], ports",
        "ipBlock: {cidr: 10.128.0.0/16}}], ports",
    );
    let (value, text, allowed) = why(&of_text(&block), "web-0", &to("db-0", 5432)).ok().unwrap();
    assert!(
        !allowed && text.contains("   allowed  IPv4 (10.") && text.contains("   DENIED  IPv6 (fd"),
        "{text}"
    );
    assert_eq!(value["families"], json!(["IPv6"]), "what denies comes first");
    let (_, text, _) = why(&known(), "web-0", &to("db-0", 5432)).ok().unwrap();
    assert_eq!(text.matches("allowed  IPv4 and IPv6").count(), 1, "{text}");
}

/// The recipe for names of docs/policy.md.
const NAMES: &str = "\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: names-only, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
    ports: [{port: 53, protocol: UDP}]
";

#[test]
fn files_count_the_nodes_resolver_as_a_cluster_does() {
    assert_eq!(lint(&of_text(&format!("{FILE}{NAMES}"))).0["warnings"], json!([]), "a rule for names is one");
    let closed = format!("{FILE}{}", NAMES.replace("k8s-app: kube-dns", "k8s-app: other"));
    let (value, text) = lint(&of_text(&closed));
    let codes: Vec<_> = value["warnings"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["W6101", "W6105"], "{text}");
    assert!(
        text.contains("2 pods, for example shop/db-0, can't reach DNS; isolated by shop/names-only"),
        "{text}"
    );
    let space = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: dev, labels: {weft.io/default-policy: deny}}}\n";
    let (value, text) = lint(&of_text(&format!("{FILE}{space}")));
    assert!(
        text.starts_with("W6105  namespace dev: pod dev/job can't reach DNS; closed by default"),
        "{text}"
    );
    assert_eq!(value["warnings"][0]["about"], json!("namespace dev"));
    let off = "---\n{apiVersion: weft.io/v1, kind: Fabric, metadata: {name: main}, spec: {dns: {enabled: false}}}\n";
    assert_eq!(
        lint(&of_text(&format!("{FILE}{space}{off}"))).0["warnings"],
        json!([]),
        "nobody answers for names"
    );
}
