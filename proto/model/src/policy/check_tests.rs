//! Every rule of a policy's fields, with the path that is told.

use super::*;
use crate::{LabelRequirement, Protocol};

fn selector(key: &str, operator: LabelOperator, values: &[&str]) -> LabelSelector {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    LabelSelector {
        expressions: vec![LabelRequirement { key: key.to_owned(), operator, values }],
        ..LabelSelector::default()
    }
}

fn labels(key: &str, value: &str) -> LabelSelector {
    LabelSelector { labels: [(key.to_owned(), value.to_owned())].into(), ..LabelSelector::default() }
}

fn pods(pods: LabelSelector) -> PolicyPeer {
    PolicyPeer::Pods { namespaces: None, pods: Some(pods) }
}

fn block(range: &str, except: &[&str]) -> PolicyPeer {
    let except = except.iter().map(|text| text.parse().unwrap()).collect();
    PolicyPeer::Block { range: range.parse().unwrap(), except }
}

fn port(port: PortMatch) -> PolicyPort {
    PolicyPort { protocol: Protocol::Tcp, port }
}

/// A policy for ingress with one rule.
fn ingress(peers: Vec<PolicyPeer>, ports: Vec<PolicyPort>) -> PolicySpec {
    let ingress = vec![PolicyRule { peers, ports }];
    PolicySpec { isolates_ingress: true, ingress, ..PolicySpec::default() }
}

/// The one problem: `field: why`, by its beginning; empty: there is none.
fn check(spec: &PolicySpec, expected: &str) {
    let found: Vec<_> = spec.problems().iter().map(|p| format!("{}: {}", p.field, p.why)).collect();
    match (found.as_slice(), expected) {
        ([], "") => {}
        ([one], expected) if !expected.is_empty() && one.starts_with(expected) => {}
        _ => panic!("{found:?}\n wanted {expected:?}"),
    }
}

#[test]
fn selectors_are_as_kubernetes_has_them() {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let with = |pods: LabelSelector| PolicySpec { pods, ..ingress(vec![], vec![]) };
    check(&with(LabelSelector::default()), "");
    check(&with(labels("app", "web")), "");
    check(&with(labels("app.kubernetes.io/name", "")), "");
    for operator in [In, NotIn] {
        check(&with(selector("app", operator, &["web", ""])), "");
        check(&with(selector("app", operator, &[])), "spec.podSelector.matchExpressions[0].values: Required");
    }
    for operator in [Exists, DoesNotExist] {
        check(&with(selector("app", operator, &[])), "");
        let expected = "spec.podSelector.matchExpressions[0].values: Forbidden: may not be specified";
        check(&with(selector("app", operator, &["web"])), expected);
    }
    check(&with(labels("-app", "web")), "spec.podSelector.matchLabels[-app]: Invalid value: \"web\": label");
    check(&with(labels("app", "a b")), "spec.podSelector.matchLabels[app]: Invalid value: \"a b\": value");
    check(
        &with(selector("/a", Exists, &[])),
        "spec.podSelector.matchExpressions[0].key: Invalid value: \"/a\"",
    );
    check(
        &with(selector("a", In, &["b c"])),
        "spec.podSelector.matchExpressions[0].values: Invalid value: \"b c\"",
    );
}

#[test]
fn peers_are_pods_or_addresses_and_something() {
    check(&ingress(vec![], vec![]), "");
    check(&ingress(vec![pods(LabelSelector::default())], vec![]), "");
    let nobody = PolicyPeer::Pods { namespaces: None, pods: None };
    check(
        &ingress(vec![nobody.clone()], vec![]),
        "spec.ingress[0].from[0]: Required value: must specify a peer",
    );
    let egress = vec![PolicyRule { peers: vec![nobody], ports: vec![] }];
    let egress = PolicySpec { isolates_egress: true, egress, ..PolicySpec::default() };
    check(&egress, "spec.egress[0].to[0]: Required value: must specify a peer");
    let namespaces = PolicyPeer::Pods { namespaces: Some(labels("a", "?")), pods: None };
    check(
        &ingress(vec![namespaces], vec![]),
        "spec.ingress[0].from[0].namespaceSelector.matchLabels[a]: Invalid",
    );
    check(&ingress(vec![block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.1/32"])], vec![]), "");
    for (range, except) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.0.0/16", "10.0.0.0/8"),
        ("10.0.0.0/8", "11.0.0.0/16"),
        ("10.0.0.0/8", "fd00::/64"),
        ("::/0", "10.0.0.0/16"),
    ] {
        let spec = ingress(vec![block(range, &[except])], vec![]);
        let path = "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: ";
        check(&spec, &format!("{path}{except:?}: must be a strict subset of `cidr`, {range}"));
    }
}

#[test]
fn ports_are_numbers_upwards_or_names() {
    let with = |one: PortMatch| ingress(vec![], vec![port(one)]);
    check(&with(PortMatch::Any), "");
    check(&with(PortMatch::Numbers(1, 65535)), "");
    check(&with(PortMatch::Numbers(80, 80)), "");
    check(&with(PortMatch::Name("http-alt".to_owned())), "");
    check(
        &with(PortMatch::Numbers(0, 80)),
        "spec.ingress[0].ports[0].port: Invalid value: 0: must be between",
    );
    check(
        &with(PortMatch::Numbers(81, 80)),
        "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater",
    );
    for name in ["", "80", "-a", "a-", "a--b", "Http", "more-than-15-chars", "a_b"] {
        let expected = format!("spec.ingress[0].ports[0].port: Invalid value: {name:?}: must");
        check(&with(PortMatch::Name(name.to_owned())), &expected);
    }
}

#[test]
fn policies_have_an_end_and_a_direction() {
    check(&PolicySpec::default(), "spec.policyTypes: Required value");
    let rules = |count| PolicySpec { ingress: vec![PolicyRule::default(); count], ..ingress(vec![], vec![]) };
    check(&rules(256), "");
    check(&rules(257), "spec.ingress: Too many: 257: must have at most 256 items");
    let peers = |count| ingress(vec![pods(LabelSelector::default()); count], vec![]);
    check(&peers(256), "");
    check(&peers(257), "spec.ingress[0].from: Too many: 257: must have at most 256 items");
    let ports = |count| ingress(vec![], vec![port(PortMatch::Any); count]);
    check(&ports(100), "");
    check(&ports(101), "spec.ingress[0].ports: Too many: 101: must have at most 100 items");
    let values: Vec<String> = (0..257).map(|n| format!("v{n}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let many = PolicySpec { pods: selector("a", LabelOperator::In, &values), ..ingress(vec![], vec![]) };
    check(&many, "spec.podSelector.matchExpressions[0].values: Too many: 257");
}

#[test]
fn everything_is_told_at_once_also_of_a_direction_that_isnt_heeded() {
    let mut spec = ingress(vec![block("10.0.0.0/8", &["10.0.0.0/8"])], vec![port(PortMatch::Numbers(0, 0))]);
    spec.egress = vec![PolicyRule { peers: vec![], ports: vec![port(PortMatch::Name("80".to_owned()))] }];
    let fields: Vec<_> = spec.problems().into_iter().map(|problem| problem.field).collect();
    let expected = [
        "spec.ingress[0].from[0].ipBlock.except[0]",
        "spec.ingress[0].ports[0].port",
        "spec.egress[0].ports[0].port",
    ];
    assert_eq!(fields, expected);
}
