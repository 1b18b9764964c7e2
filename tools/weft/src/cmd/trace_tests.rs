//! The screen, the words that are taken for services, and how the command ends.

use super::*;

fn whole(probe: Value, service: Value, backends: Value, fate: &str, reason: &str) -> Value {
    json!({
        "from": "shop/web-0", "node": "n1", "to": "cart.shop", "port": 80, "protocol": "TCP", "revision": 8124,
        "paths": [{
            "source": "10.128.7.4", "destination": "10.112.4.20", "service": service, "fate": fate, "reason": reason,
            "backends": backends, "probe": probe,
        }],
    })
}

#[test]
fn a_screen_tells_service_backends_source_route_and_probe() {
    let way = |kind: &str, device: &str| json!({"kind": kind, "device": device, "peer": "n2", "route": "10.128.9.0/24", "mtu": 1440, "handshakeAgeS": 12});
    let backend = |address: &str, slots: u64, state: &str, way: Value| json!({"address": address, "port": 8080, "pod": "cart-2", "node": "n2", "slots": slots, "in": slots > 0, "state": state, "sees": "10.128.7.4", "translation": "", "way": way});
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
2 service   10.112.4.20:80/TCP, cluster address: map services -> chain to_2 -> one of 2 slots
            10.128.9.7:8080  (cart-2, n2)  2 of 2 slots
            10.128.9.8:8080  (cart-2, n2)  out: it isn't ready
3 source    kept: 10.128.7.4
4 route     10.128.9.0/24 dev weft0 -> node n2 (handshake 12s ago), MTU 1440
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
    let check = |fate: v1::TraceFate, probe: Option<(&str, bool)>, expected: ExitCode| {
        let way = Some(v1::TraceWay { kind: "node".to_owned(), ..v1::TraceWay::default() });
        let path = v1::TracePath {
            fate: fate.into(),
            backends: vec![v1::TraceBackend { way, ..v1::TraceBackend::default() }],
            probe: probe.map(|(outcome, agrees)| v1::TraceProbe {
                outcome: outcome.to_owned(),
                agrees,
                ..v1::TraceProbe::default()
            }),
            ..v1::TracePath::default()
        };
        let answer = v1::TraceResult { paths: vec![path], ..v1::TraceResult::default() };
        assert_eq!(exit(&answer), expected, "{fate:?} {probe:?}");
    };
    check(Served, None, ExitCode::Done);
    check(Straight, None, ExitCode::Done);
    check(Refused, None, ExitCode::No);
    check(Dropped, None, ExitCode::No);
    check(Served, Some(("answered", true)), ExitCode::Done);
    check(Served, Some(("sent", true)), ExitCode::Done);
    check(Served, Some(("refused", true)), ExitCode::No);
    check(Served, Some(("timeout", false)), ExitCode::No);
    check(Served, Some(("refused", false)), ExitCode::Bug);
    check(Refused, Some(("refused", true)), ExitCode::No);
    check(Refused, Some(("answered", false)), ExitCode::Bug);
}
