//! What `weft check` says: each finding well and wrong, in words.

use weft_model::Families;
use weft_nft::{Hook, TableFamily, TableRef};

use super::*;
use crate::{
    HostLink, HostRoute,
    world::{facts, node, view},
};

/// What is found on a node of the usual fabric under a name.
fn check(name: &str, facts: &Facts, around: &Surroundings, expected: &[&str]) {
    said(&findings(&view(Families::Dual, Overlay::Wireguard), facts, around), name, expected);
}

/// `name: detail` of those that are well, `name! code detail` of the others, of one name.
fn said(found: &[Finding], name: &str, expected: &[&str]) {
    let said: Vec<_> = found
        .iter()
        .filter(|finding| finding.name.starts_with(name))
        .map(|finding| {
            let code = finding.error.as_ref().map(|e| format!(" {}", e.code)).unwrap_or_default();
            let mark = if finding.ok { ':' } else { '!' };
            format!("{}{mark}{code} {}", finding.name, finding.detail)
        })
        .collect();
    assert_eq!(said, expected);
}

fn link() -> HostLink {
    HostLink {
        index: 1,
        name: "lo".to_owned(),
        mac: None,
        mtu: 1500,
        up: true,
        loopback: false,
        kind: String::new(),
        master: None,
        accept_ra: None,
    }
}

fn policy(family: TableFamily, chain: &str, hook: Hook, accepts: bool) -> DropPolicy {
    let table = TableRef { family, name: "filter".to_owned() };
    DropPolicy { table, chain: chain.to_owned(), hook, accepts }
}

#[test]
fn firewalls_of_others_are_named_with_a_remedy() {
    let around = |firewalls| Surroundings { firewalls, ..Surroundings::default() };
    let none = "firewalls: none of others drops packets of the fabric";
    check("firewall", &facts(), &around(Vec::new()), &[none]);
    let known = policy(TableFamily::Inet, "forward", Hook::Forward, true);
    check("firewall", &facts(), &around(vec![known.clone()]), &[none]);
    let around = around(vec![
        known,
        policy(TableFamily::Ip, "FORWARD", Hook::Forward, false),
        policy(TableFamily::Ip6, "INPUT", Hook::Input, false),
    ]);
    check(
        "firewall",
        &facts(),
        &around,
        &[
            "firewall ip filter FORWARD! W4302 chain FORWARD of table ip filter drops packets at hook forward",
            "firewall ip6 filter INPUT! W4302 chain INPUT of table ip6 filter drops packets at hook input",
        ],
    );
    let commands: Vec<_> = firewalls(&around.firewalls)
        .into_iter()
        .filter_map(|finding| Some(finding.error?.remedy.first()?.command.clone()))
        .collect();
    assert_eq!(
        commands,
        [
            "nft insert rule ip filter FORWARD iifname { weftbr0, weft0 } accept",
            "nft insert rule ip6 filter INPUT iifname { weftbr0, weft0 } accept",
        ]
    );
}

#[test]
fn what_else_stands_in_the_way() {
    let calm = Surroundings { mesh_in_kernel: Some(true), ..Surroundings::default() };
    let mut narrow = facts();
    narrow.probed_mtus = [(node(2), 1328), (node(3), 1280), (node(4), 1440)].into();
    check("path", &facts(), &calm, &[]);
    check(
        "path",
        &narrow,
        &calm,
        &[
            "path to n2: 1328 of the link's 1440 bytes pass",
            "path to n3! W4104 packets to node n3 above 1280 bytes are lost on the way",
        ],
    );
    check("mesh engine", &facts(), &calm, &["mesh engine: the kernel's WireGuard"]);
    let other = |name: &str| PortUse::Other(name.to_owned());
    let ports = |mesh_ports| Surroundings { mesh_ports, ..calm.clone() };
    let mesh_ports = [other("process 7 (wg-go)"), PortUse::Free];
    let userspace = Surroundings { mesh_in_kernel: Some(false), mesh_ports, ..calm.clone() };
    check("mesh engine", &facts(), &userspace, &["mesh engine: W4107 the built-in tunnel"]);
    check("UDP", &facts(), &calm, &[]);
    let taken = "UDP 51820! W4101 UDP port 51820 is held by process 7 (wg-go): weft0 can't listen on it";
    check("UDP", &facts(), &userspace, &[taken, "UDP 51821: free"]);
    let second =
        "UDP 51821: W4101 UDP port 51821 is held by x: the mesh's keys can't be rotated without a gap";
    let ours = ["UDP 51820: weft0 listens", second];
    check("UDP", &facts(), &ports([PortUse::Ours, other("x")]), &ours);
    let settings = |value: &str| Surroundings {
        bridge_netfilter: Setting::bridge_netfilter().map(|s| (s, value.to_owned())).collect(),
        ..Surroundings::default()
    };
    check("bridge", &facts(), &calm, &["bridge netfilter: not in this kernel"]);
    check("bridge", &facts(), &settings("0"), &["bridge netfilter: off"]);
    let on = "bridge netfilter! W4004 net.bridge.bridge-nf-call-iptables is 1: bridged packets meet the IP rules twice";
    check("bridge", &facts(), &settings("1"), &[on]);
}

#[test]
fn routes_of_the_host_that_overlap_are_named() {
    let calm = Surroundings::default();
    check("host routes", &facts(), &calm, &["host routes: 0 routes, none overlaps the fabric"]);
    let mut overlapping = facts();
    let route = |text: &str| HostRoute {
        destination: text.parse().unwrap(),
        link: Some(2),
        gateway: None,
        metric: 0,
    };
    overlapping.host.routes = vec![route("10.0.0.0/8")];
    let said =
        "host routes! W2203 range 10.1.0.0/16 of the fabric overlaps the route 10.0.0.0/8 of this host";
    check("host routes", &overlapping, &calm, &[said]);
    overlapping.host.routes = vec![route("10.1.2.0/24")];
    let said =
        "host routes! W2203 range 10.1.0.0/16 of the fabric overlaps the route 10.1.2.0/24 of this host";
    check("host routes", &overlapping, &calm, &[said]);
    // The same route is the kernel's own when it leads to a link of ours.
    overlapping.host.links = vec![HostLink { index: 2, name: "weftbr0".to_owned(), ..link() }];
    check("host routes", &overlapping, &calm, &["host routes: 0 routes, none overlaps the fabric"]);
    let mut bare = facts();
    bare.underlay = None;
    check("underlay", &bare, &calm, &["underlay! W4102 the node has no underlay"]);
    check("underlay", &facts(), &calm, &["underlay: eth0 192.168.1.11 fd99::11 mtu 1500"]);
}

#[test]
fn replicas_out_of_reach_are_named_with_why() {
    let address = |last: u8| SocketAddr::from(([192, 168, 1, last], 7443));
    let refused = Err("Connection refused (os error 111)".to_owned());
    let found = replica_findings([(address(1), Ok(Duration::from_micros(340))), (address(2), refused)]);
    let expected = [
        "replica 192.168.1.1:7443: answers in 0.3 ms",
        "replica 192.168.1.2:7443! W1001 this node doesn't reach the replica at 192.168.1.2:7443",
    ];
    said(&found, "replica", &expected);
    let error = found[1].error.as_ref().unwrap();
    assert_eq!(error.cause, ["Connection refused (os error 111)"]);
    assert_eq!(error.remedy[0].text, "start weftd there, and let TCP 7443 through to it");
}

#[test]
fn a_machine_is_looked_at_before_there_is_a_fabric() {
    let ranges: Vec<AddressRange> = vec!["10.1.0.0/16".parse().unwrap()];
    let intent = Intent { overlay: Overlay::Wireguard, families: Families::Dual, ranges: &ranges };
    let calm = Surroundings::default();
    let found = preflight(&facts(), &calm, intent);
    assert!(found.iter().all(|finding| finding.ok), "{found:?}");
    said(&found, "MTU", &["MTU: 1440 bytes for pods over eth0"]);
    let mut bad = facts();
    bad.underlay.as_mut().unwrap().mtu = 1300;
    bad.host.routes = vec![HostRoute {
        destination: "10.0.0.0/8".parse().unwrap(),
        link: Some(2),
        gateway: None,
        metric: 0,
    }];
    let found = preflight(&bad, &calm, intent);
    let wrong: Vec<_> = found.iter().filter(|finding| !finding.ok).map(|f| f.name.as_str()).collect();
    assert_eq!(wrong, ["MTU", "host routes"]);
}
