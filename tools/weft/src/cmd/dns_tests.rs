//! The screen, and names behind addresses.

use super::*;

fn one(
    name: &str,
    kind: &str,
    rcode: &str,
    source: &str,
    answers: &[(&str, u32, &str, &str)],
) -> v1::LookupTry {
    let record = |(name, ttl, kind, data): &(&str, u32, &str, &str)| v1::LookupRecord {
        name: (*name).to_owned(),
        ttl: *ttl,
        r#type: (*kind).to_owned(),
        data: (*data).to_owned(),
    };
    v1::LookupTry {
        name: name.to_owned(),
        r#type: kind.to_owned(),
        rcode: rcode.to_owned(),
        answers: answers.iter().map(record).collect(),
        source: source.to_owned(),
        revision: 812,
        took_us: 42,
        ..v1::LookupTry::default()
    }
}

fn shown(name: &str, tries: Vec<v1::LookupTry>) -> String {
    let answer = v1::LookupResult { tries, resolv_conf: String::new() };
    screen(&value(name, "pod shop/web-0 on node n1", &answer))
}

#[test]
fn a_screen_tells_each_question_its_source_and_what_was_found() {
    let hit = ("cart.shop.svc.cluster.local.", 5, "A", "10.112.4.20");
    let text = shown(
        "cart",
        vec![
            one("cart.shop.svc.cluster.local.", "A", "NOERROR", "zone", &[hit]),
            one("cart.shop.svc.cluster.local.", "AAAA", "NOERROR", "zone", &[]),
        ],
    );
    assert_eq!(
        text,
        "\
pod shop/web-0 on node n1 asks for cart
cart.shop.svc.cluster.local.  A     NOERROR     zone, revision 812   0.04 ms
  cart.shop.svc.cluster.local.  5  A  10.112.4.20
cart.shop.svc.cluster.local.  AAAA  NODATA      zone, revision 812   0.04 ms
FOUND by search domain shop.svc.cluster.local
"
    );
}

#[test]
fn answers_of_the_outside_tell_their_upstream_and_their_age() {
    let server: std::net::SocketAddr = "192.0.2.53:53".parse().unwrap();
    let hit = ("example.com.", 60, "A", "192.0.2.7");
    let fresh = v1::LookupTry {
        upstream: Some((&server).into()),
        ..one("example.com.", "A", "NOERROR", "upstream", &[hit])
    };
    let kept = v1::LookupTry { source: "cache".to_owned(), age_s: Some(12), ..fresh.clone() };
    let text = shown("example.com.", vec![fresh, kept]);
    assert!(text.contains("NOERROR     upstream 192.0.2.53:53   0.04 ms\n"), "{text}");
    assert!(text.contains("NOERROR     cache 192.0.2.53:53, 12 s old   0.04 ms\n"), "{text}");
}

#[test]
fn a_short_cut_of_the_search_path_is_told_from_a_hit_in_it() {
    let name = "example.com.shop.svc.cluster.local.";
    let alias = (name, 5, "CNAME", "example.com.");
    let found = shown(
        "example.com",
        vec![one(name, "A", "NOERROR", "upstream", &[alias, ("example.com.", 60, "A", "192.0.2.7")])],
    );
    assert!(found.ends_with("FOUND as it is: the search domains were left out\n"), "{found}");
    let failed = shown("example.com", vec![one(name, "A", "SERVFAIL", "upstream", &[alias])]);
    assert!(failed.ends_with("NOT ANSWERED: a program sees a temporary failure\n"), "{failed}");
}

#[test]
fn what_wasnt_found_is_told_from_what_wasnt_answered() {
    let nowhere = shown("nope", vec![one("nope.", "A", "NXDOMAIN", "cache", &[])]);
    assert!(nowhere.ends_with("nope.  A  NXDOMAIN    cache   0.04 ms\nNOT FOUND\n"), "{nowhere}");
    let dead = v1::LookupTry {
        note: "No Reachable Authority".to_owned(),
        ..one("example.com.", "A", "SERVFAIL", "upstream", &[])
    };
    let failed = shown("example.com", vec![dead]);
    assert!(failed.contains("SERVFAIL    upstream   0.04 ms   No Reachable Authority\n"), "{failed}");
    assert!(failed.ends_with("NOT ANSWERED: a program sees a temporary failure\n"), "{failed}");
    let silent = shown("example.com.", vec![one("example.com.", "A", "", "", &[])]);
    assert!(silent.contains("no answer   0.04 ms\nNOT ANSWERED"), "{silent}");
    let hit = ("example.com.", 60, "A", "192.0.2.7");
    assert!(
        shown("example.com.", vec![one("example.com.", "A", "NOERROR", "cache", &[hit])])
            .ends_with("FOUND\n")
    );
}

#[test]
fn an_address_asks_for_the_name_behind_it() {
    let check = |text: &str, types: &[&str], expected: (&str, &[&str])| {
        let own = |types: &[&str]| types.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(question(text, &own(types)), (expected.0.to_owned(), own(expected.1)));
    };
    check("10.112.4.20", &[], ("20.4.112.10.in-addr.arpa.", &["PTR"]));
    let v6 = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.f.f.e.7.a.5.d.f.ip6.arpa.";
    check("fd5a:7eff::a", &[], (v6, &["PTR"]));
    check("10.112.4.20", &["A"], ("10.112.4.20", &["A"]));
    check("web", &[], ("web", &[]));
}
