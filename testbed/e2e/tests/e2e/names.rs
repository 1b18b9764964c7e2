//! Names, with packets: what pods are answered in every kind of families, and what goes on without whom.
//!
//! Questions and answers are read by another implementation (hickory). Every record of the specification is walked elsewhere; here
//! it is sockets, ways and processes.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::{each_family, in_family};
use weft_lab::checks::Cast;
use weft_lab::checks::names::{WEB, ask, cluster_addresses, data, forward_to, kind_of, of_kind, servers};
use weft_lab::fabric::{Background, READY, on};
use weft_lab::topology::Family;
use weft_lab::wait::until;
use weft_lab::{Fabric, Result};

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: names-web, namespace: default}
spec:
  ipFamilyPolicy: PreferDualStack
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: names-alone, namespace: default}
spec:
  clusterIP: None
  ipFamilyPolicy: PreferDualStack
  selector: {names: alone}
  ports: [{name: http, port: 80}]
";

/// Longest time without answers when the DNS process is killed.
const BACK: u64 = 300;

fn expect(seen: &Value, rcode: &str, kind: &str, expected: &[String]) -> Result {
    ensure!(
        seen["rcode"] == rcode && data(seen, kind) == expected,
        "{rcode} {expected:?} was expected: {seen}"
    );
    Ok(())
}

/// A service and a headless one are answered at every address, over UDP and TCP, to pods of each node and to the node.
fn answered(fabric: &Fabric, cast: &Cast) -> Result {
    fabric.apply(SERVICES)?;
    let alone = fabric.labelled_pod(cast.c.node(), "names-alone", &[("names", "alone")], &[])?;
    fabric.settle()?;
    let cluster = cluster_addresses(fabric, "names-web")?;
    let servers = servers(fabric)?;
    ensure!(!cluster.is_empty() && !servers.is_empty());
    let places = [cast.a.place(), cast.c.place(), on(cast.a.node())];
    for (place, server) in places.iter().flat_map(|place| servers.iter().map(move |server| (place, *server)))
    {
        for kind in ["A", "AAAA"] {
            for transport in [&[][..], &["--tcp", "1"]] {
                let question = [&[WEB, "--type", kind][..], transport].concat();
                expect(&ask(fabric, place, server, &question)?, "NoError", kind, &of_kind(&cluster, kind))?;
            }
        }
        let seen =
            ask(fabric, place, server, &["_http._tcp.names-web.default.svc.cluster.local", "--type", "SRV"])?;
        expect(&seen, "NoError", "SRV", &[format!("0 100 80 {WEB}.")])?;
        let pipelined = ask(fabric, place, server, &[WEB, "--type", "SRV", "--tcp", "50"])?;
        ensure!(pipelined["ok"] == true, "fifty questions in one connection: {pipelined}");
        let nobody = ask(fabric, place, server, &["nobody.default.svc.cluster.local"])?;
        expect(&nobody, "NXDomain", "A", &[])?;
    }
    // The headless one is its pod, as soon as that is known to be ready.
    let headless = "names-alone.default.svc.cluster.local";
    for address in alone.addresses() {
        let kind = kind_of(address);
        let found = until(Duration::from_secs(10), Duration::from_millis(50), || {
            let seen = ask(fabric, &cast.a.place(), servers[0], &[headless, "--type", kind]).ok()?;
            (data(&seen, kind) == of_kind(alone.addresses(), kind)).then_some(())
        });
        found.with_context(|| format!("{headless} has no {kind}"))?;
    }
    fabric.detach(&alone)
}

/// Only a node's own pods are answered, and only about names.
fn closed_to_others(fabric: &Fabric, cast: &Cast) -> Result {
    let outside = on(&fabric.outside());
    let node = fabric.machine(cast.a.node())?;
    for server in servers(fabric)? {
        let (text, gateway) =
            (server.to_string(), node.addresses().into_iter().find(|a| a.is_ipv4() == server.is_ipv4()));
        let other_port = fabric.probe(cast.a.place(), &["tcp", &text, "9000", "--within", "1000"])?;
        ensure!(
            other_port["ok"] == false && other_port["kind"] == "refused",
            "another port answers: {other_port}"
        );
        let Some(gateway) = gateway else { continue };
        let gateway = gateway.to_string();
        fabric
            .on(outside.clone(), &["ip", "route", "replace", &text, "via", &gateway])?
            .success("ip route")?;
        for transport in [&[][..], &["--tcp", "1"]] {
            let seen = ask(fabric, &outside, server, &[&[WEB, "--within", "300"][..], transport].concat())?;
            ensure!(seen["ok"] == false && seen["rcode"].is_null(), "outside was answered: {seen}");
        }
        fabric.on(outside.clone(), &["ip", "route", "delete", &text])?.success("ip route")?;
    }
    Ok(())
}

#[test]
fn services_are_found_by_name_over_udp_and_tcp_in_every_kind_of_families() -> Result {
    each_family("small", |fabric, cast| {
        answered(fabric, cast)?;
        closed_to_others(fabric, cast)
    })
}

#[test]
fn services_are_found_by_name_in_mode_routed() -> Result {
    in_family("routed", Family::Dual, |fabric, cast| {
        answered(fabric, cast)?;
        closed_to_others(fabric, cast)
    })
}

#[test]
fn foreign_names_come_from_an_upstream_and_are_kept() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let outside = fabric.outside();
        let stub = fabric.background(on(&outside), &["serve", "names:53"], &[])?;
        forward_to(fabric, &fabric.machine(&outside)?.addresses())?;
        let server = servers(fabric)?[0];
        let foreign = |name: &str, rest: &[&str]| {
            ask(fabric, &cast.a.place(), server, &[&[name, "--within", "5000"][..], rest].concat())
        };
        expect(&foreign("www.example.test", &[])?, "NoError", "A", &["192.0.2.80".to_owned()])?;
        let v6 = foreign("www.example.test", &["--type", "AAAA"])?;
        expect(&v6, "NoError", "AAAA", &["2001:db8::80".to_owned()])?;
        expect(&foreign("nx.example.test", &[])?, "NXDomain", "A", &[])?;
        let alias = foreign("alias.example.test", &[])?;
        expect(&alias, "NoError", "CNAME", &["target.example.test.".to_owned()])?;
        expect(&alias, "NoError", "A", &["192.0.2.80".to_owned()])?;
        let cut = foreign("big.example.test", &["--type", "TXT"])?;
        ensure!(cut["tc"] == true && cut["bytes"].as_u64() <= Some(1232), "too much for a datagram: {cut}");
        let whole = foreign("big.example.test", &["--type", "TXT", "--tcp", "1"])?;
        ensure!(data(&whole, "TXT").len() == 30, "by TCP all of it comes: {whole}");
        // The text counts questions: a second one wasn't asked.
        let counts = [(); 2]
            .map(|()| foreign("count.example.test", &["--type", "TXT"]).map(|seen| data(&seen, "TXT")));
        let [first, second] = counts.map(|count| count.unwrap_or_default());
        ensure!(!first.is_empty() && first == second, "asked anew: {first:?} {second:?}");
        stub.stop()?;
        forward_to(fabric, &[])
    })
}

/// Questions of pod a at a steady rate.
fn steadily(fabric: &Fabric, cast: &Cast, rate: &str) -> Result<Background> {
    let server = servers(fabric)?[0].to_string();
    let load = fabric.background(cast.a.place(), &["dns-load", &server, WEB, "--rate", rate], &[])?;
    pass(Duration::from_millis(300));
    Ok(load)
}

/// Time in which nothing is waited for but the load.
fn pass(span: Duration) {
    let _ = until(span, span, || None::<()>);
}

fn none_lost(what: &str, seen: &Value) -> Result {
    ensure!(seen["sent"].as_u64() > Some(100) && seen["lost"] == 0 && seen["wrong"] == 0, "{what}: {seen}");
    Ok(())
}

/// The DNS process of pod a's node is killed: its questions wait in the sockets that the agent holds. How soon it is back is looked at
/// again when the machine had other things to do.
fn killed(fabric: &Fabric, cast: &Cast) -> Result {
    const TRIES: usize = 4;
    /// What one system call takes.
    const MOST_LOST: u64 = 64;
    let mut late = Vec::new();
    for _ in 0..TRIES {
        let load = steadily(fabric, cast, "500")?;
        fabric.kill(cast.a.node(), "dns")?;
        pass(Duration::from_millis(500));
        let seen = load.stop()?;
        // A question that was taken and not answered is lost with the process; a client asks again.
        ensure!(seen["lost"].as_u64() <= Some(MOST_LOST) && seen["wrong"] == 0, "killed: {seen}");
        if seen["longest_gap_ms"].as_u64() <= Some(BACK) && seen["max_us"].as_u64() <= Some(BACK * 1000) {
            return Ok(());
        }
        late.push(seen.to_string());
    }
    anyhow::bail!("back too late each time: {late:?}")
}

#[test]
fn names_outlive_every_process_but_their_own_and_that_is_back_at_once() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        fabric.apply(SERVICES)?;
        let node = cast.a.node();
        killed(fabric, cast)?;

        let load = steadily(fabric, cast, "500")?;
        fabric.kill(node, "agent")?;
        pass(Duration::from_secs(1));
        none_lost("the agent was killed", &load.stop()?)?;

        let load = steadily(fabric, cast, "500")?;
        fabric.hold("cp-1", "weftd")?;
        pass(Duration::from_secs(1));
        let seen = load.stop()?;
        fabric.release("cp-1", "weftd")?;
        fabric.client().ready("cp-1", "weftd", READY)?;
        none_lost("no control plane", &seen)?;
        fabric.settle_all()
    })
}

/// A service that was made after the tables were last written to the disk.
const LATE: &str = "
apiVersion: v1
kind: Service
metadata: {name: names-late, namespace: default}
spec: {ports: [{name: http, port: 80}]}
";

#[test]
fn a_dns_process_that_comes_back_answers_as_the_agent_knows_it_not_as_the_disk_does() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let (node, server) = (cast.a.node(), servers(fabric)?[0].to_string());
        fabric.apply(SERVICES)?;
        let on_disk = |name: &str| fabric.on(on(node), &["grep", "-q", name, "/var/lib/weft/dns/tables"]);
        let saved = until(Duration::from_secs(30), Duration::from_millis(20), || {
            (on_disk("names-web").ok()?.status == 0).then_some(())
        });
        saved.context("the tables aren't saved")?;
        // The next time is ten seconds later.
        fabric.apply(LATE)?;
        let name = "names-late.default.svc.cluster.local";
        let load = fabric.background(cast.a.place(), &["dns-load", &server, name, "--rate", "500"], &[])?;
        pass(Duration::from_millis(300));
        ensure!(on_disk("names-late")?.status != 0, "the tables are saved too soon for this");
        fabric.kill(node, "dns")?;
        pass(Duration::from_millis(500));
        let seen = load.stop()?;
        fabric.erase(LATE)?;
        // A question that was taken and not answered is lost with the process; none is answered wrongly.
        ensure!(seen["wrong"] == 0 && seen["lost"].as_u64() <= Some(64), "{seen}");
        Ok(())
    })
}

#[test]
fn an_upgrade_of_the_dns_process_loses_no_question() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        fabric.apply(SERVICES)?;
        let load = steadily(fabric, cast, "2000")?;
        (0..3).try_for_each(|_| fabric.restart(cast.a.node(), "dns"))?;
        none_lost("restarted thrice", &load.stop()?)
    })
}

#[test]
fn names_come_back_without_an_agent() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        fabric.apply(SERVICES)?;
        let (node, server) = (cast.a.node(), servers(fabric)?[0]);
        let cluster = of_kind(&cluster_addresses(fabric, "names-web")?, "A");
        // Its tables are on the disk a second after they came.
        let saved = until(Duration::from_secs(30), Duration::from_millis(100), || {
            let seen = fabric.on(on(node), &["grep", "-c", "names-web", "/var/lib/weft/dns/tables"]).ok()?;
            (seen.status == 0).then_some(())
        });
        saved.context("the tables aren't saved")?;
        fabric.hold(node, "agent")?;
        fabric.kill(node, "dns")?;
        let answered = until(Duration::from_secs(5), Duration::from_millis(20), || {
            let seen = ask(fabric, &cast.a.place(), server, &[WEB, "--within", "500"]).ok()?;
            (data(&seen, "A") == cluster).then_some(())
        });
        fabric.release(node, "agent")?;
        answered.context("without an agent nobody is answered")?;
        fabric.settle_all()?;
        // Once it answers for the process it has taken the sockets over: a process that dies is missed by nobody again.
        let told = until(Duration::from_secs(10), Duration::from_millis(50), || {
            fabric.weft_json(&["dns", "names-web", "--from", cast.a.name()]).ok()
        });
        told.context("the agent doesn't speak with the process")?;
        killed(fabric, cast)
    })
}
