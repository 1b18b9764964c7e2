//! Names, looked at: what nodes count, what is seen while somebody watches, where answers come from, what `weft check` finds, and
//! what is lost when nobody outside answers.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::checks::Cast;
use weft_lab::checks::names::{WEB, WEB_SERVICE, ask, forward_to, servers};
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::wait::until;
use weft_lab::{Fabric, Result};

/// How long a node has to see what is wrong, and what is right again.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);
/// A name that the upstream of the lab knows.
const FOREIGN: &str = "www.example.test";

/// Waits until something is seen; else the last that was.
fn seen_at_last<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let mut last = None;
    let found = until(PATIENCE, LOOK, || match look() {
        Ok(seen) => Some(seen),
        Err(error) => {
            last = Some(error);
            None
        }
    });
    match (found, last) {
        (Some(seen), _) => Ok(seen),
        (None, Some(error)) => Err(error),
        (None, None) => anyhow::bail!("nothing was looked at"),
    }
}

/// What the DNS of a node counts.
fn counted(fabric: &Fabric, node: &str) -> Result<Value> {
    Ok(fabric.weft_json(&["node", "show", node])?["report"]["status"]["names"].clone())
}

fn number(names: &Value, pointer: &str) -> u64 {
    names.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// Asks for names of both kinds until the time is up.
fn keep_asking(fabric: &Fabric, cast: &Cast, server: IpAddr, end: Instant) -> Result {
    while Instant::now() < end {
        for pod in [&cast.a, &cast.c] {
            ask(fabric, &pod.place(), server, &[WEB])?;
            ask(fabric, &pod.place(), server, &[FOREIGN, "--within", "5000"])?;
        }
    }
    Ok(())
}

#[test]
fn questions_are_counted_and_seen_while_somebody_watches() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        fabric.apply(WEB_SERVICE)?;
        let outside = fabric.outside();
        let stub = fabric.background(on(&outside), &["serve", "names:53"], &[])?;
        let upstreams = fabric.machine(&outside)?.addresses();
        forward_to(fabric, &upstreams)?;
        let (node, server) = (cast.a.node(), servers(fabric)?[0]);
        let before = counted(fabric, node)?;
        let pod = format!("default/{}", cast.a.name());
        let watch = ["flows", "--for", "6s", "--dns", "--pod", &pod, "-o", "json"];
        let end = Instant::now() + Duration::from_secs(7);
        let said = std::thread::scope(|scope| {
            let asking = scope.spawn(|| keep_asking(fabric, cast, server, end));
            let said = fabric.weft(&watch);
            asking.join().map_err(|_| anyhow::anyhow!("asking broke off"))??;
            said
        })?;
        ensure!(said.status == 0, "{said:?}");
        let lines: Vec<Value> =
            said.stdout.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
        ensure!(!lines.is_empty() && lines.iter().all(|line| line["pod"] == *pod), "{said:?}");
        let of = |source: &str| lines.iter().find(|line| line["source"] == source);
        let zone = of("zone").context("no question of the cluster was seen")?;
        ensure!(
            zone["name"] == format!("{WEB}.") && zone["rcode"] == "NOERROR" && zone["node"] == node,
            "{zone}"
        );
        let cached = of("cache").context("no question out of the cache was seen")?;
        let upstream = cached["upstream"].as_str().context("the cache doesn't tell its upstream")?;
        ensure!(upstreams.iter().any(|own| upstream.contains(&own.to_string())), "{cached}");

        let names = seen_at_last(|| {
            let names = counted(fabric, node)?;
            let grew = |pointer: &str| number(&names, pointer) > number(&before, pointer);
            let all = [
                "/queries/zone/cluster",
                "/queries/zone/foreign",
                "/cache/hits",
                "/cache/misses",
                "/queries/type/A",
            ];
            let missing: Vec<_> = all.into_iter().filter(|pointer| !grew(pointer)).collect();
            ensure!(missing.is_empty(), "{missing:?} didn't grow: {names}");
            Ok(names)
        })?;
        let asked = names["upstreams"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|up| number(up, "/answered"))
            .sum::<u64>();
        ensure!(asked > 0, "no upstream has answered: {names}");
        let shown = fabric.weft(&["node", "show", node])?.success("weft node show")?;
        ensure!(shown.contains("UPSTREAM") && shown.contains("zones "), "{shown}");

        let told = fabric.weft_json(&["dns", &format!("{FOREIGN}."), "--from", &pod, "--type", "A"])?;
        let first = &told["tries"][0];
        let upstream = first["upstream"].as_str().unwrap_or_default();
        ensure!(upstreams.iter().any(|own| upstream.contains(&own.to_string())), "{told}");
        ensure!(first["source"] != "cache" || first["ageS"].is_u64(), "{told}");
        stub.stop()?;
        forward_to(fabric, &[])
    })
}

/// The check's findings with a code.
fn coded(fabric: &Fabric, node: &str, code: &str) -> Result<Vec<String>> {
    let said = fabric.weft(&["check", "--node", node, "-o", "json"])?;
    let value: Value = serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))?;
    let items = value["items"].as_array().cloned().unwrap_or_default();
    let with_code = items.into_iter().filter(|item| item["error"]["code"] == code);
    Ok(with_code.map(|item| item["detail"].as_str().unwrap_or_default().to_owned()).collect())
}

fn found_once(fabric: &Fabric, node: &str, code: &str, words: &str) -> Result {
    seen_at_last(|| {
        let found = coded(fabric, node, code)?;
        ensure!(found.len() == 1 && found[0].contains(words), "{code} {words:?} isn't found once: {found:?}");
        Ok(())
    })
}

#[test]
fn dead_upstreams_cost_little_and_leave_the_fabric_healthy() -> Result {
    in_family("small", Family::V4, |fabric, cast| {
        fabric.apply(WEB_SERVICE)?;
        // On the link, and nobody's.
        let nobody: IpAddr =
            match fabric.machine(&fabric.outside())?.addresses().into_iter().find(IpAddr::is_ipv4) {
                Some(IpAddr::V4(v4)) => IpAddr::from([v4.octets()[0], v4.octets()[1], v4.octets()[2], 251]),
                other => anyhow::bail!("the outside has no address of IPv4: {other:?}"),
            };
        let (node, server) = (cast.a.node(), servers(fabric)?[0]);
        forward_to(fabric, &[nobody])?;
        for name in ["first.example.test", "second.example.test", "third.example.test"] {
            let began = Instant::now();
            let seen = ask(fabric, &cast.a.place(), server, &[name, "--within", "5000"])?;
            let took = began.elapsed();
            ensure!(seen["rcode"] == "ServFail", "{name}: {seen}");
            ensure!(took < Duration::from_millis(2500), "{name} took {took:?}: {seen}");
            let own = ask(fabric, &cast.a.place(), server, &[WEB])?;
            ensure!(own["rcode"] == "NoError", "names of the fabric: {own}");
        }
        found_once(fabric, node, "W5203", &nobody.to_string())?;
        let status = seen_at_last(|| {
            let status = fabric.weft(&["status"])?;
            ensure!(status.stdout.contains("warning"), "{status:?}");
            Ok(status)
        })?;
        ensure!(status.status == 0 && status.stdout.starts_with("HEALTHY"), "{status:?}");
        forward_to(fabric, &[])?;
        seen_at_last(|| {
            let left = coded(fabric, node, "W5203")?;
            ensure!(left.iter().all(|finding| !finding.contains(&nobody.to_string())), "{left:?}");
            Ok(())
        })
    })
}

/// Puts a file in the place of a node's resolv.conf, for this node alone.
fn put_resolv_conf(fabric: &Fabric, node: &str, text: &str) -> Result {
    let path = "/run/weft-e2e-resolv.conf";
    let script = format!(
        "printf '{text}' > {path} && {{ umount /etc/resolv.conf 2>/dev/null; mount --bind {path} /etc/resolv.conf; }}"
    );
    fabric.on(on(node), &["sh", "-c", &script])?.success("put a resolv.conf over the node's")?;
    Ok(())
}

#[test]
fn a_node_that_asks_itself_clashes_or_has_nobody_to_ask_is_found() -> Result {
    in_family("small", Family::V4, |fabric, cast| {
        let (node, own) = (cast.a.node(), servers(fabric)?);
        let lines: String = own.iter().map(|server| format!("nameserver {server}\\n")).collect();
        put_resolv_conf(fabric, node, &lines)?;
        found_once(fabric, node, "W5202", "only the fabric's own DNS is named")?;
        put_resolv_conf(fabric, node, "options edns0\\n")?;
        found_once(fabric, node, "W5207", "no upstream is named")?;
        ensure!(coded(fabric, node, "W5202")?.is_empty(), "it names nobody any more");
        put_resolv_conf(fabric, node, "nameserver 192.0.2.1\\nsearch x.cluster.local\\n")?;
        found_once(fabric, node, "W5204", "x.cluster.local")?;
        fabric.on(on(node), &["umount", "/etc/resolv.conf"])?.success("umount")?;

        // What goes to that address comes back to the node's own DNS.
        let rules = "add table ip e2e-loop; \
                     add chain ip e2e-loop output { type nat hook output priority -100; }; \
                     add rule ip e2e-loop output ip daddr 203.0.113.53 udp dport 53 dnat to 169.254.1.53";
        fabric.on(on(node), &["nft", rules])?.success("nft")?;
        // From an address of the node that isn't its DNS's: packets of that one aren't tracked, and so never translated.
        let route = "ip route add 203.0.113.53 dev weftbr0 src $(ip -4 -o addr show dev weftbr0 scope global | \
                     awk '{print $4}' | cut -d/ -f1)";
        fabric.on(on(node), &["sh", "-c", route])?.success("ip route")?;
        forward_to(fabric, &["203.0.113.53".parse()?])?;
        let found =
            found_once(fabric, node, "W5202", "203.0.113.53:53 asks this node's DNS what it is asked");
        fabric.on(on(node), &["nft", "delete table ip e2e-loop"])?.success("nft")?;
        fabric.on(on(node), &["ip", "route", "del", "203.0.113.53"])?.success("ip route")?;
        forward_to(fabric, &[])?;
        found
    })
}

#[test]
fn a_pod_made_by_hand_asks_as_its_flags_say() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let node = cast.a.node();
        let flags = [
            "--dns-policy",
            "None",
            "--nameserver",
            "192.0.2.53",
            "--search",
            "corp.example",
            "--dns-option",
            "ndots:2,edns0",
        ];
        let more = ["--hostname", "first", "--subdomain", "observe-peers", "--no-service-links"];
        fabric.apply(PEERS)?;
        let add = ["pod", "add", "observe-flags", "--node", node, "-l", "observe=peers"];
        fabric.weft(&[&add[..], &flags, &more].concat())?.success("weft pod add")?;
        let given = fabric.weft_json(&["env", "observe-flags"])?;
        ensure!(
            given["resolvConf"] == "nameserver 192.0.2.53\nsearch corp.example\noptions ndots:2 edns0\n",
            "{given}"
        );
        let server = servers(fabric)?[0];
        seen_at_last(|| {
            let name = "first.observe-peers.default.svc.cluster.local";
            let seen = ask(fabric, &cast.a.place(), server, &[name])?;
            ensure!(
                seen["rcode"] == "NoError" && seen["answers"].as_array().is_some_and(|all| !all.is_empty()),
                "{seen}"
            );
            Ok(())
        })?;
        found_once(fabric, node, "W5205", "pod default/observe-flags asks other servers")?;
        fabric.weft(&["pod", "remove", "observe-flags"])?.success("weft pod remove")?;
        fabric.weft(&["delete", "pod", "observe-flags"])?.success("weft delete pod")?;
        fabric.erase(PEERS)
    })
}

const PEERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: observe-peers, namespace: default}
spec:
  clusterIP: None
  selector: {observe: peers}
  ports: [{name: http, port: 80}]
";
