//! `spec.dns` of a Fabric, `dnsPolicy`, `dnsConfig` and `enableServiceLinks` of a Pod, and where their mistakes stand.

use weft_model::{DnsOption, Draft, Object, PodSpec};

use super::*;
use crate::{Options, parse};

fn fabric(dns: &str) -> DnsDraft {
    let text =
        format!("apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {{name: main}}\nspec:\n  dns: {dns}\n");
    let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let Some(Draft::Fabric(draft)) = parsed.objects.into_iter().next().map(|d| d.draft) else {
        panic!("{text}")
    };
    draft.dns
}

fn pod(spec: &str) -> PodSpec {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  {spec}\n");
    let parsed = parse(&text, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let Some(Draft::Whole(Object::PodSpec(spec))) = parsed.objects.into_iter().next().map(|d| d.draft) else {
        panic!("{text}")
    };
    spec
}

fn refused(text: &str, expected: &str) {
    let errors = parse(text, "f", &Options::default()).expect_err(text);
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(
        shown.iter().any(|error| error.contains(expected)),
        "{text}\n gave {shown:?}\n wanted {expected}"
    );
}

#[test]
fn what_is_absent_stays_absent_and_servers_have_the_usual_port() {
    assert_eq!(fabric("{}"), DnsDraft::default());
    let draft = fabric(
        "{ttl: 0, enabled: false, searchPath: false, rebindProtection: true, podRecords: false, \
         upstreams: [192.0.2.53, '192.0.2.53:5353', '2001:db8::53', '[2001:db8::53]:5353'], \
         stubDomains: [{domain: corp.example., servers: [192.0.2.1]}]}",
    );
    let shown: Vec<_> = draft.upstreams.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["192.0.2.53:53", "192.0.2.53:5353", "[2001:db8::53]:53", "[2001:db8::53]:5353"]);
    assert_eq!((draft.ttl, draft.enabled, draft.search_path), (Some(0), Some(false), Some(false)));
    assert_eq!((draft.rebind_protection, draft.pod_records), (Some(true), Some(false)));
    let stub =
        StubDomain { domain: "corp.example".to_owned(), servers: vec!["192.0.2.1:53".parse().unwrap()] };
    assert_eq!(draft.stub_domains, Some(vec![stub]));
}

#[test]
fn mistakes_of_settings_have_their_place() {
    let check = |dns: &str, expected: &str| {
        refused(
            &format!("apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {{name: main}}\nspec:\n  dns: {dns}\n"),
            expected,
        );
    };
    check("{ttl: 3601}", "spec.dns.ttl");
    check("{ttl: -1}", "must be a whole number from 0 to 3600");
    check(
        "{upstreams: [dns.example]}",
        "spec.dns.upstreams[0]: \"dns.example\" is not a server such as 192.0.2.53",
    );
    check("{upstreams: ['2001:db8::53:x']}", "is not a server");
    check("{upstreams: 192.0.2.1}", "must be a list");
    check("{searchPath: yes please}", "must be true or false");
    check("{upstream: []}", "upstreams");
    check("{stubDomains: [{domain: a.b, server: []}]}", "servers");
    check("[]", "must be a map");
}

#[test]
fn pods_ask_as_kubernetes_says() {
    let usual = pod("hostname: web");
    assert_eq!((usual.dns, usual.service_links), (PodDns::default(), true));
    let spec = pod(
        "{dnsPolicy: None, enableServiceLinks: false, dnsConfig: {nameservers: [192.0.2.1, '2001:db8::1'], \
         searches: [corp.example, .], options: [{name: ndots, value: '2'}, {name: edns0}, {name: timeout, value: ''}]}}",
    );
    assert_eq!((spec.dns.policy, spec.service_links), (DnsPolicy::None, false));
    let shown: Vec<_> = spec.dns.config.options.iter().map(ToString::to_string).collect();
    assert_eq!(
        (shown, spec.dns.config.searches),
        (
            vec!["ndots:2".to_owned(), "edns0".to_owned(), "timeout:".to_owned()],
            vec!["corp.example".to_owned(), ".".to_owned()]
        )
    );
    assert_eq!(spec.dns.config.nameservers.len(), 2);
    assert_eq!(spec.dns.config.options[1], DnsOption { name: "edns0".to_owned(), value: None });
}

#[test]
fn mistakes_of_pods_have_their_place() {
    let check = |spec: &str, expected: &str| {
        refused(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {spec}\n"), expected);
    };
    check(
        "{dnsPolicy: Clusterfirst}",
        "spec.dnsPolicy: unknown DNS policy \"Clusterfirst\": use ClusterFirst",
    );
    check("{dnsConfig: {nameservers: [dns.example]}}", "spec.dnsConfig.nameservers[0]");
    check("{dnsConfig: {options: [{nam: x}]}}", "name");
    check("{enableServiceLinks: 'true'}", "spec.enableServiceLinks: must be true or false");
}
