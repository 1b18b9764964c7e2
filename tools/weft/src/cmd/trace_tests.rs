//! The screen, the words that are taken for services, and how the command ends.

use serde_json::json;

use super::*;

fn whole(probe: Value, service: Value, backends: Value, fate: &str, reason: &str) -> Value {
    json!({
        "from": "shop/web-0", "node": "n1", "to": "cart.shop", "port": 80, "protocol": "TCP", "revision": 8124,
        "paths": [{
            "source": "10.128.7.4", "destination": "10.112.4.20", "service": service, "fate": fate, "reason": reason,
            "verdict": if fate == "Served" { "Allowed" } else { fate },
            "sender": {"device": "wv01", "allows": true}, "backends": backends, "probe": probe,
        }],
    })
}

fn end(allows: bool, reason: &str, node: &str) -> Value {
    json!({"allows": allows, "reason": reason, "closest": "", "policies": [], "kernel": "", "node": node, "revision": 8124})
}

#[test]
fn a_screen_tells_service_backends_source_route_and_probe() {
    let way = |kind: &str, device: &str| json!({"kind": kind, "device": device, "peer": "n2", "route": "10.128.9.0/24", "mtu": 1440, "handshakeAgeS": 12});
    let backend = |address: &str, slots: u64, state: &str, way: Value| json!({"address": address, "port": 8080, "pod": "cart-2", "node": "n2", "slots": slots, "in": slots > 0, "state": state, "sees": "10.128.7.4", "translation": "", "way": way, "egress": end(true, "no policy selects the pod", "n1"), "ingress": end(true, "networkpolicy shop/cart-in rule 2", "n2")});
    let service = json!({"name": "shop/cart", "front": "cluster address", "map": "services", "chain": "to_2", "slots": 2, "affinitySeconds": 0, "trafficPolicy": "Cluster"});
    let backends = json!([
        backend("10.128.9.7", 2, "in", way("node", "weft0")),
        backend("10.128.9.8", 0, "it isn't ready", way("node", "weft0")),
    ]);
    let probe = json!({"outcome": "answered", "tookUs": 612, "backend": "10.128.9.7", "backendPort": 8080, "backendSees": "10.128.7.4", "agrees": true, "meaning": ""});
    let text = screen(&whole(probe, service, backends, "Served", ""));
    assert_eq!(
        text,
        "\
1 name      cart.shop -> 10.112.4.20  (service shop/cart)
2 sender    ALLOWED  10.128.7.4 is the pod's at its port wv01
3 service   10.112.4.20:80/TCP, cluster address: map services -> chain to_2 -> one of 2 slots
            10.128.9.7:8080  (cart-2, n2)  2 of 2 slots
            10.128.9.8:8080  (cart-2, n2)  out: it isn't ready
4 egress    ALLOWED  no policy selects the pod  (n1)
5 source    kept: 10.128.7.4
6 route     10.128.9.0/24 dev weft0 -> node n2 (handshake 12s ago), MTU 1440
7 ingress   ALLOWED  networkpolicy shop/cart-in rule 2  (n2)
ALLOWED at revision 8124; probe: answered in 0.61 ms by 10.128.9.7:8080, which sees 10.128.7.4
"
    );
    let mut silent =
        whole(Value::Null, Value::Null, json!([{"address": "10.128.9.7", "node": "n2"}]), "Served", "");
    silent["paths"][0]["probe"] = json!({"outcome": "timeout", "tookUs": 2_000_000, "backend": "10.128.9.7", "backendPort": 8080, "backendSees": "10.128.7.4", "agrees": false, "meaning": "no answer came back"});
    let silent = screen(&silent);
    let words = "timeout in 2000.00 ms at 10.128.9.7:8080, which sees 10.128.7.4   NOT AS TOLD: no answer came back\n  try     weft node show n2\n";
    assert!(silent.ends_with(words), "{silent}");
    let refused = screen(&whole(Value::Null, Value::Null, json!([]), "Refused", "no backend is ready"));
    assert!(refused.ends_with("REFUSED no backend is ready at revision 8124\n"), "{refused}");
}

/// A destination on n2 whose own end says this.
fn met(ingress: Value) -> Value {
    json!({"address": "10.128.9.3", "port": 5432, "pod": "db-0", "node": "n2", "slots": 0, "in": true, "sees": "10.128.7.4", "translation": "",
        "way": {"kind": "pod", "device": "wv02"}, "egress": end(true, "no policy selects the pod", "n1"), "ingress": ingress})
}

#[test]
fn what_denies_is_told_with_its_step_and_what_to_do() {
    let mut denied = end(false, "isolated by shop/db-in; no rule matches", "n2");
    denied["policies"] = json!(["shop/db-in"]);
    denied["closest"] = json!("closest: networkpolicy shop/db-in rule 1: the peer lacks role=admin");
    let mut whole = whole(Value::Null, Value::Null, json!([met(denied.clone())]), "Straight", "");
    whole["to"] = json!("10.112.4.20");
    whole["paths"][0]["verdict"] = json!("Denied");
    assert_eq!(
        screen(&whole),
        "\
1 sender    ALLOWED  10.128.7.4 is the pod's at its port wv01
2 egress    ALLOWED  no policy selects the pod  (n1)
3 source    kept: 10.128.7.4
4 route     10.128.9.3 dev wv02: a pod of this node
5 ingress   DENIED   isolated by shop/db-in; no rule matches  (n2)
DENIED at step 5 at revision 8124
  closest: networkpolicy shop/db-in rule 1: the peer lacks role=admin
  try     weft describe netpol -n shop db-in
"
    );
    // Where the kernel has something else, that is what happens.
    let mut unknown = end(false, "networkpolicy shop/db-in rule 1", "n2");
    unknown["kernel"] = json!("the pod isn't known yet, so it is closed");
    whole["paths"][0]["backends"] = json!([met(unknown)]);
    let text = screen(&whole);
    let words = "DENIED   the tables of n2: the pod isn't known yet, so it is closed; its policies: networkpolicy shop/db-in rule 1";
    assert!(text.contains(words) && text.ends_with("  try     weft node show n2\n"), "{text}");
    // Of several destinations each that differs is named.
    let mut open = met(end(true, "networkpolicy shop/db-in rule 1", ""));
    open["address"] = json!("10.128.9.4");
    whole["paths"][0]["backends"] = json!([met(denied), open]);
    whole["paths"][0]["verdict"] = json!("Partly");
    let text = screen(&whole);
    assert!(
        text.contains(
            "5 ingress   DENIED   isolated by shop/db-in; no rule matches  (n2)  [10.128.9.3:5432]\n"
        ),
        "{text}"
    );
    let other = "            ALLOWED  networkpolicy shop/db-in rule 1  (by the policies; its node didn't answer)  [10.128.9.4:5432]\n";
    assert!(
        text.contains(other) && text.contains("PARTLY ALLOWED: 1 of 2 backends at revision 8124\n"),
        "{text}"
    );
    whole["paths"][0]["sender"]["allows"] = json!(false);
    whole["paths"][0]["verdict"] = json!("Denied");
    assert!(screen(&whole).contains("DENIED at step 1 at revision 8124\n"), "{}", screen(&whole));
}

#[test]
fn services_are_named_as_in_dns() {
    for (text, expected) in [
        ("cart.shop", Some(("cart", "shop"))),
        ("cart.shop.svc", Some(("cart", "shop"))),
        ("cart.shop.svc.cluster.local.", Some(("cart", "shop"))),
        ("cart.shop.example.com", None),
        ("shop/cart.v2", None),
        ("web-0", None),
    ] {
        assert_eq!(service_name(text), expected, "{text}");
    }
}

#[test]
fn the_exit_status_says_whether_it_gets_there_and_whether_we_were_right() {
    use v1::TraceFate::{Dropped, Refused, Served, Straight};
    let check = |fate: v1::TraceFate, open: [bool; 2], probe: Option<(&str, bool)>, expected: ExitCode| {
        let way = || Some(v1::TraceWay { kind: "node".to_owned(), ..v1::TraceWay::default() });
        let end = |allows| Some(v1::TraceEnd { allows, ..v1::TraceEnd::default() });
        let backend = |[egress, ingress]: [bool; 2]| v1::TraceBackend {
            way: way(),
            egress: end(egress),
            ingress: end(ingress),
            ..v1::TraceBackend::default()
        };
        let path = v1::TracePath {
            fate: fate.into(),
            backends: vec![backend(open)],
            probe: probe.map(|(outcome, agrees)| v1::TraceProbe {
                outcome: outcome.to_owned(),
                agrees,
                ..v1::TraceProbe::default()
            }),
            ..v1::TracePath::default()
        };
        let answer = v1::TraceResult { paths: vec![path], ..v1::TraceResult::default() };
        assert_eq!(exit(&answer), expected, "{fate:?} {open:?} {probe:?}");
    };
    let open = [true, true];
    check(Served, open, None, ExitCode::Done);
    check(Straight, open, None, ExitCode::Done);
    check(Refused, open, None, ExitCode::No);
    check(Dropped, open, None, ExitCode::No);
    check(Served, open, Some(("answered", true)), ExitCode::Done);
    check(Served, open, Some(("sent", true)), ExitCode::Done);
    check(Served, open, Some(("refused", true)), ExitCode::No);
    check(Served, open, Some(("timeout", false)), ExitCode::No);
    check(Served, open, Some(("refused", false)), ExitCode::Bug);
    check(Refused, open, Some(("refused", true)), ExitCode::No);
    check(Refused, open, Some(("answered", false)), ExitCode::Bug);
    for closed in [[false, true], [true, false]] {
        check(Straight, closed, None, ExitCode::No);
        check(Straight, closed, Some(("timeout", true)), ExitCode::No);
        check(Served, closed, Some(("sent", true)), ExitCode::No);
        check(Straight, closed, Some(("answered", false)), ExitCode::Bug);
        check(Straight, closed, Some(("refused", false)), ExitCode::Bug);
    }
}

#[test]
fn the_nodes_of_destinations_are_asked_about_pods_of_theirs_that_may_be_picked() {
    let backend = |pod: &str, node: &str, out: &str, last: u8| v1::TraceBackend {
        address: vec![10, 0, 0, last].into(),
        port: 80,
        pod: pod.to_owned(),
        node: node.to_owned(),
        out: out.to_owned(),
        ..v1::TraceBackend::default()
    };
    let backends = vec![
        backend("a", "n1", "", 1),
        backend("b", "n2", "", 2),
        backend("c", "n2", "it isn't ready", 3),
        backend("", "n3", "", 4),
        backend("d", "n3", "", 5),
    ];
    let path = v1::TracePath { from: vec![10, 0, 0, 9].into(), backends, ..v1::TracePath::default() };
    let all = flows(&v1::TraceResult { paths: vec![path], ..v1::TraceResult::default() }, "n1");
    let lasts = |node: &str| all[node].iter().map(|flow| flow.destination[3]).collect::<Vec<_>>();
    assert_eq!((all.len(), lasts("n2"), lasts("n3")), (2, vec![2], vec![5]));
    assert!(all["n2"].iter().all(|flow| flow.source[3] == 9 && flow.port == 80));
}
