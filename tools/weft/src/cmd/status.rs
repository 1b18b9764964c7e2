//! `weft status`: the verdict first, then what is wrong, then the numbers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weft_errors::{Code, DNS_NO_UPSTREAM, DNS_UPSTREAM_UNREACHABLE, ExitCode};
use weft_proto::v1;

use super::{Run, local};
use crate::{
    client::{Answers, Session, hex, node_status_value, now_ms},
    fail::{Failure, Outcome},
    table::{at, count, span},
};

/// A handshake of this age or younger shows that a tunnel works (WireGuard, section 6.1: Reject-After-Time).
const FRESH_S: u64 = 180;

/// Runs the command: exit 0 only when all is well.
pub(crate) async fn run(run: &Run) -> Outcome {
    if let Some(here) = local::answer(false, run).await? {
        return local::status(here, run);
    }
    let session = run.session()?;
    let status = session.status().await?;
    let value = value(&status, &session);
    run.printer.value(&value, &screen(&value));
    if at(&value, "/verdict") == "HEALTHY" { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn value(status: &v1::StatusResponse, session: &Session) -> Value {
    let nodes: Vec<Value> = status.nodes.iter().map(node_status_value).collect();
    let replicas: Vec<Value> = status.replicas.iter().map(replica_value).collect();
    let fabric = status.fabric.as_ref().and_then(|wire| weft_model::Fabric::try_from(wire.clone()).ok());
    let grace = fabric.as_ref().map_or(weft_model::DEFAULT_NODE_GRACE, |fabric| fabric.node_grace);
    let mut problems = problems(&replicas, &nodes, grace.into());
    problems.extend(status.service_troubles.iter().map(service_problem));
    json!({
        "kind": "Status",
        "verdict": verdict(&problems),
        "problems": problems,
        "context": session.context_name(),
        "cluster": hex(&status.cluster),
        "revision": status.revision,
        "time": weft_yaml::format_time(now_ms()),
        "overlay": fabric.as_ref().map(|fabric| fabric.overlay.to_string()),
        "dns": fabric.is_some_and(|fabric| fabric.dns.enabled),
        "replicas": replicas,
        "nodes": nodes,
        "pods": status.pods,
        "blocks": status.blocks,
        "blocksTotal": status.blocks_total,
        "services": status.services,
        "servicesServing": status.services_serving,
    })
}

/// What is worth knowing and touches nothing that the fabric itself gives: addresses, packets, its own names.
const WARNINGS: [&Code; 2] = [&DNS_UPSTREAM_UNREACHABLE, &DNS_NO_UPSTREAM];

fn is_warning(finding: &Value) -> bool {
    let code = at(finding, "/error/code");
    WARNINGS.iter().any(|warning| warning.to_string() == code)
}

/// Warnings alone leave it healthy.
fn verdict(problems: &[Value]) -> &'static str {
    if problems.iter().all(|problem| problem["warning"] == json!(true)) { "HEALTHY" } else { "DEGRADED" }
}

fn replica_value(replica: &v1::ReplicaStatus) -> Value {
    let member = replica.member.clone().unwrap_or_default();
    json!({
        "id": member.id,
        "name": member.name,
        "voter": member.voter,
        "reachable": replica.reachable,
        "leader": replica.leader,
        "term": replica.term,
        "applied": replica.applied,
        "version": replica.version,
        "stateHash": hex(&replica.state_hash),
    })
}

/// One line per thing that is wrong, with the command that tells more; the same trouble on several nodes is one line.
/// `grace`: seconds after which the control plane takes a node for silent.
fn problems(replicas: &[Value], nodes: &[Value], grace: u64) -> Vec<Value> {
    let mut problems = Vec::new();
    let mut problem = |(severe, warning): (bool, bool), object: String, text: String, command: String| {
        problems.push(json!({
            "severe": severe, "warning": warning, "object": object, "problem": text, "command": command,
        }));
    };
    for replica in replicas.iter().filter(|r| r["reachable"] != json!(true)) {
        let name = at(replica, "/name");
        let text = "doesn't answer".to_owned();
        problem((true, false), format!("replica {name}"), text, "weft get members".to_owned());
    }
    let leaderless = !replicas.iter().any(|r| r["leader"] == json!(true));
    if leaderless {
        let voters = replicas.iter().filter(|r| r["voter"] == json!(true)).count();
        let text = format!(
            "no leader: {} of {voters} voters must answer; nodes keep forwarding, changes wait",
            voters / 2 + 1
        );
        problem((true, false), "control plane".to_owned(), text, "weft get members --stale".to_owned());
    }
    let mut common: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for node in nodes {
        let name = at(node, "/node");
        if node["connected"] != json!(true) {
            let text = unreachable(node, (!leaderless).then_some(grace));
            problem((true, false), format!("node {name}"), text, format!("weft node show {name}"));
            continue;
        }
        for (warning, text) in troubles(node, leaderless) {
            common.entry((warning, text)).or_default().push(name.clone());
        }
    }
    for ((warning, text), names) in common {
        let noun = if names.len() == 1 { "node" } else { "nodes" };
        let command = format!("weft node show {}", names.first().map_or("NODE", String::as_str));
        problem((false, warning), format!("{noun} {}", names.join(", ")), text, command);
    }
    problems
}

/// `service shop/cart: 0 of 3 backends ready: connections are refused`.
fn service_problem(trouble: &v1::ServiceTrouble) -> Value {
    let v1::ServiceTrouble { namespace, name, backends, ending } = trouble;
    let noun = if *backends == 1 { "backend" } else { "backends" };
    let effect = match ending {
        0 => "connections are refused".to_owned(),
        ending => format!("{ending} that end still serve"),
    };
    json!({
        "severe": false,
        "warning": false,
        "object": format!("service {namespace}/{name}"),
        "problem": format!("0 of {backends} {noun} ready: {effect}"),
        "command": format!("weft service show {name} -n {namespace}"),
    })
}

/// A leader counts from its own beginning, and writes what it finds: seconds until its word is missed.
const LATE_S: u64 = 10;

/// `unreachable for 2m (last report 10:11:52 UTC): its 41 pods are Unknown, and out of their services`. `grace`: seconds after which a
/// leader takes it for silent, if there is a leader.
fn unreachable(node: &Value, grace: Option<u64>) -> String {
    let age = weft_yaml::parse_time(&at(node, "/lastReport")).map(|ms| now_ms().saturating_sub(ms) / 1000);
    let since = match age {
        Some(age) => {
            let time = at(node, "/lastReport");
            let clock = time.get(11..19).unwrap_or_default();
            format!(" for {} (last report {clock} UTC)", span(age))
        }
        // Reports are kept by the replica that a node follows, in memory.
        None => " (the replicas that answer have no report of it)".to_owned(),
    };
    let pods = match node.pointer("/status/pods").and_then(Value::as_u64) {
        Some(0) => String::new(),
        Some(1) => ": its pod is Unknown".to_owned(),
        Some(n) => format!(": its {n} pods are Unknown"),
        None => ": its pods are Unknown".to_owned(),
    };
    let held = || age.zip(grace).is_some_and(|(age, grace)| age >= grace + LATE_S);
    let fate = match node["silentSince"].is_string() {
        true => ", and out of services that others serve",
        false if held() => ", and still in services: too many nodes fell silent at once to believe it",
        false => "",
    };
    format!("unreachable{since}{pods}{fate}")
}

/// Subsystems that don't work and checks that failed, each with whether it is only a warning. Without a leader no node can publish:
/// that is said once already.
pub(crate) fn troubles(node: &Value, leaderless: bool) -> Vec<(bool, String)> {
    let list = |pointer: &str| node.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let failed = |value: &&Value| value["ok"] != json!(true);
    let subsystems = list("/status/subsystems")
        .iter()
        .filter(failed)
        .filter(|s| !(leaderless && at(s, "/name") == "publish"))
        .map(|s| (false, format!("{}: {}", at(s, "/name"), at(s, "/error/message"))));
    let findings = list("/status/findings")
        .iter()
        .filter(failed)
        .map(|f| (is_warning(f), format!("{}: {}", at(f, "/check"), at(f, "/error/message"))));
    subsystems.chain(findings).collect()
}

fn screen(value: &Value) -> String {
    let list = |name: &str| value[name].as_array().map_or(&[][..], Vec::as_slice);
    let problems = list("problems");
    let warnings = problems.iter().filter(|problem| problem["warning"] == json!(true)).count();
    let numbers = [(problems.len() - warnings, "problem"), (warnings, "warning")];
    let numbers = numbers.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun));
    let number = numbers.collect::<Vec<_>>().join(", ");
    let number = if number.is_empty() { number } else { format!("  {number}") };
    let time = at(value, "/time");
    let mut text = format!(
        "{}{number}   context {}   revision {}   {} UTC\n",
        at(value, "/verdict"),
        at(value, "/context"),
        at(value, "/revision"),
        time.get(11..19).unwrap_or_default()
    );
    let width = problems.iter().map(|p| at(p, "/object").chars().count()).max().unwrap_or(0);
    for problem in problems {
        let sign = if problem["severe"] == json!(true) { '✗' } else { '!' };
        text += &format!(
            "  {sign} {:width$}  {}      {}\n",
            at(problem, "/object"),
            at(problem, "/problem"),
            at(problem, "/command")
        );
    }
    let replicas = list("replicas");
    let reachable = replicas.iter().filter(|r| r["reachable"] == json!(true)).count();
    let leader = replicas.iter().find(|r| r["leader"] == json!(true));
    let leader = leader
        .map_or("no leader".to_owned(), |l| format!("leader {} (term {})", at(l, "/name"), at(l, "/term")));
    text += &format!("\nControl plane   {reachable}/{}, {leader}\n", count(replicas.len(), "replica"));
    text += &nodes_line(list("nodes"), value["revision"].as_u64().unwrap_or(0));
    text += &mesh_line(list("nodes"), &at(value, "/overlay"));
    text += &format!(
        "Addresses       {}, {} of {} blocks leased\n",
        count(usize::try_from(value["pods"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX), "pod"),
        value["blocks"],
        value["blocksTotal"]
    );
    if value["services"].as_u64().is_some_and(|services| services > 0) {
        text += &format!("Services        {}, {} serving\n", value["services"], value["servicesServing"]);
    }
    if value["dns"] == json!(true) {
        text += &names_line(list("nodes"));
    }
    text
}

fn is_ready(node: &&Value) -> bool {
    node["connected"] == json!(true)
}

fn nodes_line(nodes: &[Value], revision: u64) -> String {
    let ready = nodes.iter().filter(is_ready).count();
    let current = |n: &&Value| n["status"]["appliedRevision"].as_u64().unwrap_or(0) >= revision;
    let current = nodes.iter().filter(is_ready).filter(current).count();
    format!(
        "Nodes           {ready}/{} ready, {current} at revision {revision}, {} behind\n",
        nodes.len(),
        ready - current
    )
}

/// `3/3 nodes answer`, by what nodes in reach say; nothing while none has said anything.
fn names_line(nodes: &[Value]) -> String {
    let of = |node: &Value| {
        let subsystems = node["status"]["subsystems"].as_array()?;
        subsystems
            .iter()
            .find(|subsystem| subsystem["name"] == json!("dns"))
            .map(|dns| dns["ok"] == json!(true))
    };
    let told: Vec<bool> = nodes.iter().filter(is_ready).filter_map(of).collect();
    match told.len() {
        0 => String::new(),
        all => {
            let mut answers = Answers::default();
            nodes.iter().filter(is_ready).for_each(|node| answers.add(&node["status"]["names"]));
            let numbers = if answers.all == 0 { String::new() } else { format!(" · {}", answers.text()) };
            let well = told.iter().filter(|ok| **ok).count();
            format!("Names           {well}/{all} nodes answer{numbers}\n")
        }
    }
}

/// `12/20 tunnels fresh, 8 with worker-3 stale · userspace on 1 node`, by what nodes in reach say.
fn mesh_line(nodes: &[Value], overlay: &str) -> String {
    if overlay == "routed" {
        return "Mesh            none: mode routed\n".to_owned();
    }
    let peers: Vec<&Value> = nodes
        .iter()
        .filter(is_ready)
        .flat_map(|n| n["status"]["peers"].as_array().into_iter().flatten())
        .collect();
    let is_fresh = |peer: &&&Value| peer["handshakeAgeS"].as_u64().is_some_and(|age| age <= FRESH_S);
    let fresh = peers.iter().filter(is_fresh).count();
    let mut stale: BTreeMap<String, usize> = BTreeMap::new();
    for peer in peers.iter().filter(|peer| !is_fresh(peer)) {
        *stale.entry(at(peer, "/node")).or_default() += 1;
    }
    let stale: String = stale.iter().map(|(node, number)| format!(", {number} with {node} stale")).collect();
    let userspace =
        nodes.iter().filter(is_ready).filter(|n| n["status"]["kernelWireguard"] == json!(false)).count();
    let engine = match userspace {
        0 => String::new(),
        n => format!(" · userspace on {}", count(n, "node")),
    };
    format!("Mesh            {fresh}/{} fresh{stale}{engine}\n", count(peers.len(), "tunnel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, connected: bool, status: Value) -> Value {
        json!({"node": name, "connected": connected, "lastReport": null, "status": status})
    }

    fn replica(name: &str, reachable: bool, leader: bool) -> Value {
        json!({"name": name, "voter": true, "reachable": reachable, "leader": leader})
    }

    fn lines(replicas: &[Value], nodes: &[Value]) -> Vec<String> {
        problems(replicas, nodes, 20)
            .iter()
            .map(|p| format!("{}: {}", at(p, "/object"), at(p, "/problem")))
            .collect()
    }

    #[test]
    fn one_trouble_on_many_nodes_is_one_line_and_nothing_follows_from_a_lost_leader() {
        let failing = |name: &str, message: &str| json!({"pods": 2, "subsystems": [{"name": name, "ok": false, "error": {"message": message}}], "findings": []});
        let all = [replica("cp-1", true, true)];
        assert!(lines(&all, &[node("n1", true, json!({}))]).is_empty());
        let nodes =
            [node("n1", true, failing("mesh", "no tunnel")), node("n2", true, failing("mesh", "no tunnel"))];
        assert_eq!(lines(&all, &nodes), ["nodes n1, n2: mesh: no tunnel"]);
        let lost =
            [replica("cp-1", true, false), replica("cp-2", false, false), replica("cp-3", false, false)];
        let found = lines(&lost, &[node("n1", true, failing("publish", "nobody leads"))]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].contains("2 of 3 voters must answer"), "{found:?}");
        let away = lines(&all, &[node("n3", false, failing("mesh", "old"))]);
        assert_eq!(
            away,
            ["node n3: unreachable (the replicas that answer have no report of it): its 2 pods are Unknown"]
        );
    }

    #[test]
    fn an_upstream_that_is_gone_is_a_warning_and_the_fabric_is_healthy() {
        let finding = |code: &str| {
            let error = json!({"code": code, "message": "192.0.2.1:53 left 3 questions unanswered"});
            json!({"pods": 2, "subsystems": [], "findings": [{"check": "dns upstream", "ok": false, "error": error}]})
        };
        let found =
            |code: &str| problems(&[replica("cp-1", true, true)], &[node("n1", true, finding(code))], 20);
        let (warned, wrong) = (found("W5203"), found("W5202"));
        assert_eq!((warned.len(), verdict(&warned)), (1, "HEALTHY"));
        assert_eq!((wrong.len(), verdict(&wrong)), (1, "DEGRADED"));
        assert_eq!(verdict(&[warned, wrong].concat()), "DEGRADED");
        assert_eq!(verdict(&[]), "HEALTHY");
    }

    #[test]
    fn nodes_whose_dns_answers_are_counted_among_those_in_reach() {
        let dns =
            |ok: bool| json!({"subsystems": [{"name": "links", "ok": true}, {"name": "dns", "ok": ok}]});
        let check = |nodes: &[Value], expected: &str| assert_eq!(names_line(nodes), expected);
        check(
            &[node("n1", true, dns(true)), node("n2", true, dns(false))],
            "Names           1/2 nodes answer\n",
        );
        check(
            &[node("n1", true, dns(true)), node("n2", false, dns(true))],
            "Names           1/1 nodes answer\n",
        );
        check(&[node("n1", true, json!({"subsystems": []}))], "");
    }

    #[test]
    fn what_becomes_of_a_silent_nodes_pods_is_told() {
        let check = |silent: bool, age_s: u64, grace: Option<u64>, expected: &str| {
            let mut node = node("n1", false, json!({"pods": 1}));
            let ago = |s: u64| json!(weft_yaml::format_time(now_ms() - s * 1000));
            node["lastReport"] = ago(age_s);
            if silent {
                node["silentSince"] = ago(age_s);
            }
            let text = unreachable(&node, grace);
            let rest = text.split_once("its pod is Unknown").map(|(_, rest)| rest);
            assert_eq!(rest, Some(expected), "{text}");
        };
        check(false, 10, Some(20), "");
        check(true, 25, Some(20), ", and out of services that others serve");
        check(false, 25, Some(20), "");
        check(
            false,
            40,
            Some(20),
            ", and still in services: too many nodes fell silent at once to believe it",
        );
        check(false, 400, None, "");
    }

    #[test]
    fn a_service_that_refuses_is_a_problem_with_the_command_that_tells_more() {
        let trouble = |backends, ending| v1::ServiceTrouble {
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
            backends,
            ending,
        };
        let told = service_problem(&trouble(3, 0));
        assert_eq!(at(&told, "/problem"), "0 of 3 backends ready: connections are refused");
        assert_eq!(at(&told, "/command"), "weft service show cart -n shop");
        assert_eq!(
            at(&service_problem(&trouble(1, 1)), "/problem"),
            "0 of 1 backend ready: 1 that end still serve"
        );
    }

    #[test]
    fn the_mesh_line_counts_tunnels_of_nodes_in_reach() {
        let peer = |node: &str, age: Value| json!({"node": node, "handshakeAgeS": age});
        let status = |peers: Vec<Value>| json!({"kernelWireguard": false, "peers": peers});
        let nodes = [
            node("n1", true, status(vec![peer("n2", json!(4)), peer("n3", json!(181))])),
            node("n2", true, status(vec![peer("n1", json!(180)), peer("n3", Value::Null)])),
            node("n3", false, status(vec![peer("n1", json!(9))])),
        ];
        assert_eq!(
            mesh_line(&nodes, "wireguard"),
            "Mesh            2/4 tunnels fresh, 2 with n3 stale · userspace on 2 nodes\n"
        );
        assert_eq!(mesh_line(&nodes, "routed"), "Mesh            none: mode routed\n");
    }
}
