//! `weft trace` and policies: what is told of both ends is what the nodes' kernels do, which a real packet proves.

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

const SERVERS: [&str; 2] = ["tcp:9000", "udp:9001"];

const OBJECTS: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-in, namespace: default}
spec: {podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {role: web}}}], ports: [{port: 9000}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: log-out, namespace: default}
spec: {podSelector: {matchLabels: {role: log}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {role: db}}}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: sql, namespace: default}
spec: {selector: {role: db}, ipFamilyPolicy: PreferDualStack, ports: [{port: 5432, targetPort: 9000}]}
";

/// What is told, with a probe, whose every path must end as told.
fn trace(fabric: &Fabric, from: &str, to: &str, verdict: &str, status: u8) -> Result<Vec<Value>> {
    let output = fabric.weft(&["trace", from, to, "--probe", "-o", "json"])?;
    ensure!(output.status == status, "weft trace {from} {to} ended with {}: {output:?}", output.status);
    let told: Value = serde_json::from_str(&output.stdout)?;
    let paths = told["paths"].as_array().cloned().unwrap_or_default();
    ensure!(paths.len() == 2, "one per family: {told}");
    for path in &paths {
        ensure!(path["verdict"] == verdict && path["probe"]["agrees"] == true, "{from} {to}: {path}");
    }
    Ok(paths)
}

/// What one end of the first destination says.
fn end<'a>(path: &'a Value, which: &str) -> &'a Value {
    path.pointer(&format!("/backends/0/{which}")).unwrap_or(&Value::Null)
}

/// Both paths are denied at this end by this policy, by the kernel of this node.
fn denied(paths: &[Value], which: &str, policy: &str, node: &str) -> Result {
    for path in paths {
        let end = end(path, which);
        let by = end["policies"].as_array().is_some_and(|all| all.iter().any(|one| one == policy));
        ensure!(
            end["allows"] == false && by && end["node"] == node && end["kernel"] == "",
            "{which}: {path}"
        );
    }
    Ok(())
}

#[test]
fn a_trace_tells_who_denies_and_a_packet_agrees() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let (first, second) = (cast.a.node(), cast.c.node());
        let pod =
            |node: &str, name: &str, role: &str| fabric.labelled_pod(node, name, &[("role", role)], &SERVERS);
        let (web, log) = (pod(first, "tr-web", "web")?, pod(first, "tr-log", "log")?);
        let (db, other) = (pod(second, "tr-db", "db")?, pod(first, "tr-other", "other")?);
        fabric.settle()?;
        let open = trace(fabric, web.name(), "tr-db:9000", "Allowed", 0)?;
        for path in &open {
            ensure!(path["sender"]["allows"] == true, "port security: {path}");
            let (egress, ingress) = (end(path, "egress"), end(path, "ingress"));
            ensure!(egress["node"] == first && ingress["node"] == second, "both kernels were asked: {path}");
            ensure!(ingress["reason"] == "no policy selects the pod", "{path}");
        }
        fabric.apply(OBJECTS)?;
        // A pod whose rule allows it, another port, and one that no rule names; to the pod and by its service.
        let allowed = trace(fabric, web.name(), "tr-db:9000", "Allowed", 0)?;
        ensure!(end(&allowed[0], "ingress")["reason"] == "networkpolicy default/db-in rule 1", "{allowed:?}");
        denied(
            &trace(fabric, web.name(), "tr-db:9001/udp", "Denied", 1)?,
            "ingress",
            "default/db-in",
            second,
        )?;
        let before = fabric.drops(second)?;
        for to in ["tr-db:9000", "sql.default:5432"] {
            denied(&trace(fabric, other.name(), to, "Denied", 1)?, "ingress", "default/db-in", second)?;
        }
        let dropped = fabric.drops(second)?.since(&before).of(weft_model::Direction::Ingress, &db);
        ensure!(dropped >= 4, "the kernel counted {dropped} of four probes");
        // What leaves no node, and what is for nobody in the fabric.
        denied(&trace(fabric, log.name(), "tr-web:9000", "Denied", 1)?, "egress", "default/log-out", first)?;
        let outside = fabric.weft(&["trace", log.name(), "203.0.113.9:80", "--probe", "-o", "json"])?;
        ensure!(outside.status == 1 && outside.stdout.contains("\"Denied\""), "{outside:?}");
        // The node's own processes come in, another node's don't.
        trace(fabric, &format!("node/{second}"), "tr-db:9000", "Allowed", 0)?;
        denied(
            &trace(fabric, &format!("node/{first}"), "tr-db:9000", "Denied", 1)?,
            "ingress",
            "default/db-in",
            second,
        )?;
        let why = fabric.weft(&["policy", "why", "tr-other", "sql.default:5432"])?;
        ensure!(
            why.status == 1 && why.stdout.contains("pod/default/tr-db 9000/tcp   DENIED  IPv4 and IPv6"),
            "{why:?}"
        );
        fabric.erase(OBJECTS).context("the policies and the service go")?;
        [&web, &log, &db, &other].into_iter().try_for_each(|pod| fabric.detach(pod))
    })
}
