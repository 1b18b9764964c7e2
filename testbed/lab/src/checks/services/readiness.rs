//! Readiness: probes by the agent, pods that end, and the port at which nodes tell how many endpoints they have.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Stage;
use crate::checks::{HTTP, TCP, eventually, fails, works};
use crate::fabric::on;
use crate::{Fabric, Result};

/// What people say of the pod: how it is asked, and that it belongs to the service `asked`.
const ASKED: &str = "apiVersion: v1
kind: Pod
metadata: { name: asked, labels: { asked: \"yes\" } }
spec:
  containers:
  - name: main
    image: example/main:1
    readinessProbe:
      tcpSocket: { port: 9000 }
      periodSeconds: 1
      failureThreshold: 1
---
apiVersion: v1
kind: Service
metadata: { name: asked }
spec:
  selector: { asked: \"yes\" }
  ports: [{ port: 9000 }]
";

/// A pod with a probe gets connections when it answers, and none when it doesn't any more.
pub fn probed(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    fabric.apply(ASKED)?;
    let pod = fabric.pod(stage.cast.c.node(), "asked", &[])?;
    let address = stage.service("asked")?.addresses()?[0].to_string();
    let ask = ["tcp", &address, TCP, "--within", "300"];
    let from = stage.cast.a.place();
    stage.wait_for_ready("asked", 0)?;
    let seen = fails(fabric, &from, &ask)?;
    ensure!(seen["kind"] == "refused", "a service whose pod isn't ready isn't refused: {seen}");
    let server = fabric.serve_in(&pod, &["tcp:9000"])?;
    let began = Instant::now();
    eventually(Duration::from_secs(5), || works(fabric, &from, &ask))?;
    let came = began.elapsed();
    server.stop().ok();
    let began = Instant::now();
    stage.wait_for_ready("asked", 0)?;
    let went = began.elapsed();
    fabric.detach(&pod)?;
    fabric.weft(&["delete", "service", "asked"])?.success("weft delete service")?;
    fabric.weft(&["delete", "pod", "asked"])?.success("weft delete pod")?;
    Ok(format!(
        "asked each second: its service answers {} ms after the pod does, and is refused everywhere {} ms after it stopped",
        came.as_millis(),
        went.as_millis()
    ))
}

/// A pod that is drained: new connections go elsewhere at once, and at the end of its grace it is gone.
pub fn drained(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let node = stage.cast.a.node();
    let added = ["pod", "add", "leaver", "--node", node, "--labels", "stage=yes"];
    fabric.weft(&added)?.success("weft pod add")?;
    stage.wait_for("both", 3)?;
    fabric.weft(&["pod", "drain", "leaver", "--grace", "2s", "--no-wait"])?.success("weft pod drain")?;
    let began = Instant::now();
    stage.wait_for("both", 2)?;
    let elsewhere = began.elapsed();
    let there = fabric.weft_json(&["get", "pods"])?.to_string();
    ensure!(there.contains("leaver"), "the pod went before its grace had passed");
    let address = stage.service("both")?.addresses()?[0];
    for _ in 0..12 {
        // Nobody serves in the pod: a connection that went there would be refused.
        stage.ask(&stage.cast.c.place(), address, HTTP)?;
    }
    eventually(Duration::from_secs(10), || {
        let listed = fabric.weft_json(&["get", "pods"])?.to_string();
        ensure!(!listed.contains("leaver"), "still listed");
        Ok(())
    })?;
    Ok(format!(
        "new connections go elsewhere on every node {} ms after the drain began, the pod is gone {} ms after it",
        elsewhere.as_millis(),
        began.elapsed().as_millis()
    ))
}

/// `healthCheckNodePort`: a node with a local endpoint says 200 and how many, one without says 503.
pub fn health_ports(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    fabric.apply(
        "apiVersion: v1\nkind: Service\nmetadata: { name: watched }\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  ipFamilyPolicy: PreferDualStack\n  \
         selector: { one: \"yes\" }\n  ports: [{ port: 80 }]\n",
    )?;
    let stored = fabric.weft_json(&["get", "service", "watched"])?;
    let port = stored["spec"]["healthCheckNodePort"].as_u64().context("no healthCheckNodePort")?.to_string();
    let outside = on(&fabric.outside());
    let mut answers = Vec::new();
    for (node, ok, local) in [(stage.one.node(), true, 1), (stage.two.node(), false, 0)] {
        for address in addresses_for(fabric, stage, node)? {
            let ask = ["http", &address, &port];
            let seen = if ok { works(fabric, &outside, &ask)? } else { fails(fabric, &outside, &ask)? };
            let status = if ok { 200 } else { 503 };
            ensure!(seen["status"] == status, "{node} at {address} says {seen} instead of {status}");
            ensure!(seen["body"]["localEndpoints"] == local, "{node} at {address} counts wrongly: {seen}");
            answers.push(format!("{node} {status}"));
        }
    }
    fabric.weft(&["delete", "service", "watched"])?.success("weft delete service")?;
    fabric.settle()?;
    for address in addresses_for(fabric, stage, stage.one.node())? {
        eventually(Duration::from_secs(3), || {
            fails(fabric, &outside, &["tcp", &address, &port, "--within", "300"])
        })?;
    }
    Ok(answers.join(", "))
}

/// Addresses of a node in the families of pods.
fn addresses_for(fabric: &Fabric, stage: &Stage<'_>, node: &str) -> Result<Vec<String>> {
    let all = fabric.machine(node)?.addresses();
    let shared = all.into_iter().filter(|a| crate::checks::same_family(&stage.cast.a, *a).is_ok());
    Ok(shared.map(|address| address.to_string()).collect())
}
