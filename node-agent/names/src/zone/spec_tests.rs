//! A walk of the specification (specs/dns.md): every record, every denial.

use weft_model::{Families, Item};

use crate::fixture::{World, endpoint, external, fabric, peer, pod, service};

const SOA: &str = "cluster.local. SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5";

fn world(families: Families) -> World {
    let keep = |text: &str| {
        let has = |word: &&str| {
            let family = if word.contains(':') { weft_model::Family::V6 } else { weft_model::Family::V4 };
            families.has(family)
        };
        text.split_whitespace().filter(has).collect::<Vec<_>>().join(" ")
    };
    let headless = |name: &str, ports: &str, endpoints: &[(&str, Option<bool>)]| {
        let mut item = service(name, "", ports);
        let fits = |(text, _): &&(&str, Option<bool>)| !keep(text.split(' ').next().unwrap()).is_empty();
        item.endpoints = endpoints.iter().filter(fits).map(|(text, ready)| endpoint(text, *ready)).collect();
        item
    };
    let v4 = families.has(weft_model::Family::V4);
    let v6 = families.has(weft_model::Family::V6);
    World::new([
        Item::Fabric(fabric(families)),
        Item::Service(service("shop/web", &keep("10.96.0.20 fd12::20"), "http/tcp:80 dns/udp:53 /tcp:99")),
        Item::Service(service("shop/empty", &keep("10.96.0.21 fd12::21"), "")),
        Item::Service(headless(
            "shop/db",
            "sql/tcp:0 gone/tcp:0",
            &[
                ("10.128.0.2 db-0 db-0 5432 0", Some(true)),
                ("10.128.0.3 - db-x1 5433 0", None),
                ("10.128.0.4 db-2 db-2 5432 0", Some(false)),
                ("fd00::2 db-0 db-0 5432 0", Some(true)),
                ("fd00::3:0 - db-x1 5433 0", None),
            ],
        )),
        Item::Service(headless("shop/idle", "sql/tcp:0", &[("10.128.0.4 db-2 db-2 5432", Some(false))])),
        Item::Service(external("shop/out", "www.example.com")),
        Item::Service(external("shop/in", "web.shop.svc.cluster.local.")),
        Item::Service(external("shop/literal", "192.0.2.7")),
        Item::Service(external("shop/loop", "loop.shop.svc.cluster.local")),
        Item::Pod(pod("dev/tool", &keep("10.128.0.7 fd00::7"))),
        Item::Peer(peer("n1", v4.then_some("10.200.0.1"), v6.then_some("fd11::1"))),
        Item::Peer(peer("n2.rack1", v4.then_some("10.200.0.2"), v6.then_some("fd11::2"))),
    ])
}

fn check(world: &mut World, question: &str, expected: &str) {
    let expected = expected.replace("SOA!", SOA);
    assert_eq!(world.ask(question), expected, "{question}");
}

#[test]
fn services_are_there_in_both_families() {
    for families in Families::ALL {
        let w = &mut world(families);
        let v4 = families.has(weft_model::Family::V4);
        let v6 = families.has(weft_model::Family::V6);
        let either = |has: bool, answer: &str| {
            if has { format!("NoError aa: {answer}") } else { "NoError aa / SOA!".to_owned() }
        };
        check(w, "A web.shop.svc.cluster.local", &either(v4, "A 10.96.0.20"));
        check(w, "AAAA web.shop.svc.cluster.local", &either(v6, "AAAA fd12::20"));
        // Owners point into the question, so all are in its case.
        assert_eq!(
            w.ask("A WEB.Shop.svc.CLUSTER.local").to_ascii_lowercase(),
            either(v4, "A 10.96.0.20").replace("SOA!", SOA).to_ascii_lowercase()
        );
        check(w, "A empty.shop.svc.cluster.local", &either(v4, "A 10.96.0.21"));
        check(w, "A db-0.db.shop.svc.cluster.local", &either(v4, "A 10.128.0.2"));
        check(w, "AAAA db-0.db.shop.svc.cluster.local", &either(v6, "AAAA fd00::2"));
        check(w, "A n1.node.cluster.local", &either(v4, "A 10.200.0.1"));
        check(w, "AAAA n2.rack1.node.cluster.local", &either(v6, "AAAA fd11::2"));
        check(w, "A ns.dns.cluster.local", &either(v4, "A 10.96.0.10"));
        check(w, "AAAA ns.dns.cluster.local", &either(v6, "AAAA fd12::a"));
        check(w, "TXT web.shop.svc.cluster.local", "NoError aa / SOA!");
        check(w, "TXT dns-version.cluster.local", "NoError aa: TXT 1.1.0");
        check(w, "A dns-version.cluster.local", "NoError aa / SOA!");
        check(w, "MX nothing.shop.svc.cluster.local", "NXDomain aa / SOA!");
        let pod = |has: bool, answer: &str| {
            if has { format!("NoError aa: {answer}") } else { "NXDomain aa / SOA!".into() }
        };
        check(w, "A 10-128-0-7.dev.pod.cluster.local", &pod(v4, "A 10.128.0.7"));
        check(w, "AAAA fd00--7.dev.pod.cluster.local", &pod(v6, "AAAA fd00::7"));
    }
}

#[test]
fn headless_services_stand_for_their_ready_endpoints() {
    let w = &mut world(Families::Dual);
    let both = ["NoError aa: A 10.128.0.2, A 10.128.0.3", "NoError aa: A 10.128.0.3, A 10.128.0.2"];
    let first = w.ask("A db.shop.svc.cluster.local");
    let second = w.ask("A db.shop.svc.cluster.local");
    assert!(
        both.contains(&first.as_str()) && both.contains(&second.as_str()) && first != second,
        "{first} {second}"
    );
    check(w, "A db-2.db.shop.svc.cluster.local", "NXDomain aa / SOA!");
    check(w, "A 10-128-0-3.db.shop.svc.cluster.local", "NoError aa: A 10.128.0.3");
    check(w, "AAAA 10-128-0-3.db.shop.svc.cluster.local", "NoError aa / SOA!");
    check(w, "AAAA fd00--3-0.db.shop.svc.cluster.local", "NoError aa: AAAA fd00::3:0");
    check(w, "A db-x1.db.shop.svc.cluster.local", "NoError aa: A 10.128.0.3");
    check(w, "A 10-128-0-2.db.shop.svc.cluster.local", "NoError aa: A 10.128.0.2");
    check(w, "A x.db-0.db.shop.svc.cluster.local", "NXDomain aa / SOA!");
    check(w, "A idle.shop.svc.cluster.local", "NXDomain aa / SOA!");
    check(w, "A db-2.idle.shop.svc.cluster.local", "NXDomain aa / SOA!");
    check(w, "SRV _sql._tcp.idle.shop.svc.cluster.local", "NXDomain aa / SOA!");
}

#[test]
fn ports_with_names_have_srv_records_with_addresses_beside() {
    let w = &mut world(Families::Dual);
    check(
        w,
        "SRV _http._tcp.web.shop.svc.cluster.local",
        "NoError aa: SRV 0 100 80 web.shop.svc.cluster.local. + web.shop.svc.cluster.local. A 10.96.0.20, \
         web.shop.svc.cluster.local. AAAA fd12::20",
    );
    check(
        w,
        "SRV _sql._tcp.db.shop.svc.cluster.local",
        "NoError aa: SRV 0 33 5433 10-128-0-3.db.shop.svc.cluster.local., SRV 0 33 5432 \
         db-0.db.shop.svc.cluster.local., SRV 0 33 5433 fd00--3-0.db.shop.svc.cluster.local. + \
         10-128-0-3.db.shop.svc.cluster.local. A 10.128.0.3, db-0.db.shop.svc.cluster.local. A 10.128.0.2, \
         db-0.db.shop.svc.cluster.local. AAAA fd00::2, fd00--3-0.db.shop.svc.cluster.local. AAAA fd00::3:0",
    );
    check(w, "SRV _dns._udp.web.shop.svc.cluster.local", &{
        "NoError aa: SRV 0 100 53 web.shop.svc.cluster.local. + web.shop.svc.cluster.local. A 10.96.0.20, \
         web.shop.svc.cluster.local. AAAA fd12::20"
            .to_owned()
    });
    for (question, exists) in [
        ("_dns._tcp.web.shop", false),
        ("_http._udp.web.shop", false),
        ("_tcp.web.shop", true),
        ("_udp.web.shop", true),
        ("_sctp.web.shop", false),
        ("_tcp.db.shop", true),
        ("_udp.db.shop", false),
        ("_tcp.empty.shop", false),
        ("_gone._tcp.db.shop", false),
        ("_._tcp.web.shop", false),
        ("http._tcp.web.shop", false),
        ("x._http._tcp.web.shop", false),
        ("_http._tcp.out.shop", false),
    ] {
        let expected = if exists { "NoError aa / SOA!" } else { "NXDomain aa / SOA!" };
        check(w, &format!("SRV {question}.svc.cluster.local"), expected);
    }
    check(w, "A _http._tcp.web.shop.svc.cluster.local", "NoError aa / SOA!");
    let control = "NoError aa: SRV 0 100 7443 control-plane.cluster.local. + control-plane.cluster.local. A 192.0.2.1, \
                   control-plane.cluster.local. A 192.0.2.2";
    check(w, "SRV _weft._tcp.control-plane.cluster.local", control);
    check(w, "A _tcp.control-plane.cluster.local", "NoError aa / SOA!");
}

#[test]
fn aliases_are_followed_inside_and_asked_for_outside() {
    let w = &mut world(Families::V4);
    check(
        w,
        "A in.shop.svc.cluster.local",
        "NoError aa: CNAME web.shop.svc.cluster.local., web.shop.svc.cluster.local. A 10.96.0.20",
    );
    check(w, "AAAA in.shop.svc.cluster.local", "NoError aa: CNAME web.shop.svc.cluster.local. / SOA!");
    check(w, "CNAME in.shop.svc.cluster.local", "NoError aa: CNAME web.shop.svc.cluster.local.");
    check(w, "CNAME out.shop.svc.cluster.local", "NoError aa: CNAME www.example.com.");
    assert!(w.ask("A out.shop.svc.cluster.local").starts_with("ask Alias"));
    check(w, "A x.out.shop.svc.cluster.local", "NXDomain aa / SOA!");
    check(w, "A literal.shop.svc.cluster.local", "NXDomain aa / SOA!");
    assert!(w.ask("A loop.shop.svc.cluster.local").starts_with("ServFail aa: CNAME loop."));
}

#[test]
fn what_exists_without_records_is_told_apart_from_what_doesnt() {
    let w = &mut world(Families::Dual);
    for exists in [
        "svc.cluster.local",
        "shop.svc.cluster.local",
        "pod.cluster.local",
        "dev.pod.cluster.local",
        "node.cluster.local",
        "rack1.node.cluster.local",
        "dns.cluster.local",
    ] {
        check(w, &format!("TXT {exists}"), "NoError aa / SOA!");
    }
    for missing in [
        "x.cluster.local",
        "dev.svc.cluster.local",
        "shop.pod.cluster.local",
        "10-128-0-7.shop.pod.cluster.local",
        "10-128-0-8.dev.pod.cluster.local",
        "x.10-128-0-7.dev.pod.cluster.local",
        "nonsense.dev.pod.cluster.local",
        "n3.node.cluster.local",
        "x.n1.node.cluster.local",
        "rack2.node.cluster.local",
        "x.dns.cluster.local",
        "x.dns-version.cluster.local",
        "a.b.c.web.shop.svc.cluster.local",
        "x.web.shop.svc.cluster.local",
    ] {
        check(w, &format!("TXT {missing}"), "NXDomain aa / SOA!");
    }
    let soa = SOA.strip_prefix("cluster.local. ").unwrap();
    check(w, "TXT cluster.local", &format!("NoError aa / {soa}"));
    check(w, "SOA cluster.local", &format!("NoError aa: {soa}"));
    check(
        w,
        "NS cluster.local",
        "NoError aa: NS ns.dns.cluster.local. + ns.dns.cluster.local. A 10.96.0.10, ns.dns.cluster.local. AAAA fd12::a",
    );
    check(w, "SOA web.shop.svc.cluster.local", "NoError aa / SOA!");
    check(w, "ANY web.shop.svc.cluster.local", "NoError aa: HINFO RFC8482 ");
    check(w, "ANY nothing.shop.svc.cluster.local", "NXDomain aa / SOA!");
}

#[test]
fn addresses_have_names_and_unassigned_ones_stay_here() {
    let w = &mut world(Families::Dual);
    let soa = |zone: &str| {
        format!(" / {zone} SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5")
    };
    let check =
        |w: &mut World, question: &str, expected: &str| assert_eq!(w.ask(question), expected, "{question}");
    check(w, "PTR 20.0.96.10.in-addr.arpa", "NoError aa: PTR web.shop.svc.cluster.local.");
    check(w, "PTR 2.0.128.10.in-addr.arpa", "NoError aa: PTR db-0.db.shop.svc.cluster.local.");
    check(w, "PTR 3.0.128.10.in-addr.arpa", "NoError aa: PTR 10-128-0-3.db.shop.svc.cluster.local.");
    check(w, "PTR 7.0.128.10.in-addr.arpa", "NoError aa: PTR 10-128-0-7.dev.pod.cluster.local.");
    check(w, "PTR 1.0.200.10.in-addr.arpa", "NoError aa: PTR n1.node.cluster.local.");
    let nibbles =
        |head: &str, zeros: usize, tail: &str| format!("{head}.{}{tail}.ip6.arpa", "0.".repeat(zeros));
    let web = nibbles("0.2", 26, "2.1.d.f");
    check(w, &format!("PTR {web}"), "NoError aa: PTR web.shop.svc.cluster.local.");
    check(
        w,
        &format!("PTR {}", nibbles("7", 27, "0.0.d.f")),
        "NoError aa: PTR fd00--7.dev.pod.cluster.local.",
    );
    check(w, "A 20.0.96.10.in-addr.arpa", &format!("NoError aa{}", soa("96.10.in-addr.arpa.")));
    check(w, "PTR 99.0.97.10.in-addr.arpa", &format!("NXDomain aa{}", soa("97.10.in-addr.arpa.")));
    check(w, "PTR 4.0.128.10.in-addr.arpa", &format!("NXDomain aa{}", soa("128.10.in-addr.arpa.")));
    check(w, "PTR x.20.0.96.10.in-addr.arpa", &format!("NXDomain aa{}", soa("96.10.in-addr.arpa.")));
    check(w, "PTR 0.96.10.in-addr.arpa", &format!("NoError aa{}", soa("96.10.in-addr.arpa.")));
    check(w, "PTR 9.0.200.10.in-addr.arpa", &format!("NXDomain aa{}", soa("0.200.10.in-addr.arpa.")));
    check(
        w,
        "SOA 96.10.in-addr.arpa",
        "NoError aa: SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5",
    );
    for outside in ["10.in-addr.arpa", "1.0.0.127.in-addr.arpa", "1.2.0.192.in-addr.arpa", "d.f.ip6.arpa"] {
        assert!(w.ask(&format!("PTR {outside}")).starts_with("ask Name"), "{outside}");
    }
}

#[test]
fn a_view_that_isnt_there_yet_is_our_trouble() {
    let w = &mut World::new([]);
    assert_eq!(w.ask("A web.shop.svc.cluster.local"), "ServFail");
    w.change([Item::Fabric(fabric(Families::V4))], []);
    let denied = format!("NXDomain aa / {}", SOA.replace(" 1 7200", " 2 7200"));
    check(w, "A web.shop.svc.cluster.local", &denied);
}
