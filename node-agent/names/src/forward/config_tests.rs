//! Who is asked, and what settings are left out.

use weft_model::{Families, StubDomain};

use super::*;
use crate::fixture::fabric;

fn settings(upstreams: &str, stubs: &[(&str, &str)]) -> FabricItem {
    let list = |text: &str| text.split_whitespace().map(|text| text.parse().unwrap()).collect();
    let mut item = fabric(Families::Dual);
    item.dns.upstreams = list(upstreams);
    item.dns.stub_domains = stubs
        .iter()
        .map(|(domain, servers)| StubDomain { domain: (*domain).to_owned(), servers: list(servers) })
        .collect();
    item
}

#[test]
fn settings_that_cant_be_right_are_left_out_and_said() {
    let check = |upstreams: &str, stubs: &[(&str, &str)], host: &str, expected: &[&str]| {
        let host: Vec<_> = host.split_whitespace().map(|text| text.parse().unwrap()).collect();
        let (config, problems) = ForwardConfig::new(&settings(upstreams, stubs), &host);
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        assert!(said.iter().zip(expected).all(|(said, part)| said.contains(part)), "{said:?}");
        assert_eq!(config.routes().last().map(|route| route.domain.to_string()), Some(".".to_owned()));
    };
    check("192.0.2.53:53", &[], "", &[]);
    check("", &[], "192.0.2.53:53", &[]);
    check("", &[], "", &["nobody answers for foreign names: no upstream is named"]);
    check("10.96.0.10:53 192.0.2.53:53", &[], "", &["10.96.0.10:53 is this fabric's own"]);
    let alone = "nobody answers for foreign names: only the fabric's own DNS is named: 169.254.1.53, fd12::a";
    check("169.254.1.53:53 [fd12::a]:53", &[], "", &[alone]);
    check("", &[], "169.254.1.53:53 [fd12::a]:53", &[alone]);
    check("192.0.2.53:53", &[("a..b", "192.0.2.9:53")], "", &["\"a..b\" is no domain name"]);
    check("192.0.2.53:53", &[("cluster.local", "192.0.2.9:53")], "", &["belongs to the cluster's own"]);
    check("192.0.2.53:53", &[("svc.Cluster.local.", "192.0.2.9:53")], "", &["belongs to the cluster's own"]);
    check("192.0.2.53:53", &[("local", "192.0.2.9:53")], "", &[]);
    check(
        "192.0.2.53:53",
        &[("corp.example", "10.96.0.10:53")],
        "",
        &["nobody answers for names of corp.example.: only the fabric's own DNS is named: 10.96.0.10"],
    );
}

#[test]
fn the_longest_domain_counts() {
    let stubs = [("corp.example", "192.0.2.1:53"), ("eu.corp.example", "192.0.2.2:53 192.0.2.2:53")];
    let (config, _) = ForwardConfig::new(&settings("192.0.2.53:53", &stubs), &[]);
    let server = |name: &str| config.route(&name.parse().unwrap()).unwrap().servers.clone();
    assert_eq!(server("a.EU.corp.example"), ["192.0.2.2:53".parse().unwrap()], "each once");
    assert_eq!(server("us.corp.example"), ["192.0.2.1:53".parse().unwrap()]);
    assert_eq!(server("example"), ["192.0.2.53:53".parse().unwrap()]);
}
