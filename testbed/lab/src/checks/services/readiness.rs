//! Readiness: probes by the agent, pods that end, and the port at which nodes tell how many endpoints they have.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use weft_model::ownership::run::NETNS_DIR;

use super::Stage;
use crate::checks::{HTTP, SERVERS, TCP, eventually, fails, works};
use crate::fabric::{Pod, on};
use crate::protocol::PodRecord;
use crate::{Fabric, Result};

/// Within this a probe has said yes, or a pod is gone, on any machine.
const READY: Duration = Duration::from_secs(10);

/// Pods that are asked, each in its own way, and what it serves once it is well. The service `ill` never is.
const ASKED: [(&str, &str, &[&str]); 4] = [
    ("tcp", "tcpSocket: { port: 9000 }", &["tcp:9000"]),
    ("https", "httpGet: { port: 8443, path: /well, scheme: HTTPS }", &["tcp:9000", "https:8443"]),
    ("grpc", "grpc: { port: 9003 }", &["tcp:9000", "grpc:9003"]),
    ("ill", "grpc: { port: 9003, service: ill }", &["tcp:9000", "grpc:9003"]),
];

/// What people say of the pod: how it is asked, and that it belongs to the service of its name.
fn asked(name: &str, how: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: asked-{name}, labels: {{ asked: {name} }} }}\nspec:\n  containers:\n  \
         - name: main\n    image: example/main:1\n    readinessProbe:\n      {how}\n      periodSeconds: 1\n      failureThreshold: 1\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{ name: asked-{name} }}\nspec:\n  selector: {{ asked: {name} }}\n  ports: \
         [{{ port: 9000 }}]\n"
    )
}

/// Pods with probes over TCP, HTTPS and gRPC get connections when they answer, and none when they don't any more or say that they
/// aren't well.
pub fn probed(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let text = ASKED.map(|(name, how, _)| asked(name, how)).join("---\n");
    fabric.apply(&text)?;
    let named = |name: &str| format!("asked-{name}");
    let pods = ASKED.map(|(name, ..)| fabric.pod(stage.cast.c.node(), &named(name), &[]));
    let pods = pods.into_iter().collect::<Result<Vec<_>>>()?;
    let from = stage.cast.a.place();
    let ask = |name: &str| -> Result<[String; 5]> {
        let address = stage.service(&named(name))?.addresses()?[0].to_string();
        Ok(["tcp", &address, TCP, "--within", "300"].map(str::to_owned))
    };
    let refused = |name: &str| -> Result {
        stage.wait_for_ready(&named(name), 0)?;
        let ask = ask(name)?;
        let seen = fails(fabric, &from, &ask.each_ref().map(String::as_str))?;
        ensure!(seen["kind"] == "refused", "{name}: a service whose pod isn't ready isn't refused: {seen}");
        Ok(())
    };
    ASKED.iter().try_for_each(|(name, ..)| refused(name))?;
    let began = Instant::now();
    let serve = |(pod, (_, _, what)): (&Pod, &(_, _, &[&str]))| fabric.serve_in(pod, what);
    let servers = pods.iter().zip(&ASKED).map(serve).collect::<Result<Vec<_>>>()?;
    for (name, ..) in &ASKED[..3] {
        let ask = ask(name)?;
        eventually(READY, || works(fabric, &from, &ask.each_ref().map(String::as_str)))
            .with_context(|| format!("a pod asked over {name}"))?;
    }
    let came = began.elapsed();
    refused("ill").context("a pod that says that it isn't serving")?;
    servers.into_iter().for_each(|server| drop(server.stop()));
    let began = Instant::now();
    ASKED.iter().try_for_each(|(name, ..)| refused(name))?;
    let went = began.elapsed();
    pods.iter().try_for_each(|pod| fabric.detach(pod))?;
    fabric.erase(&text)?;
    Ok(format!(
        "asked each second over TCP, HTTPS and gRPC: services answer {} ms after their pods do, one that says that it isn't serving \
         gets nothing, all are refused everywhere {} ms after the pods stopped",
        came.as_millis(),
        went.as_millis()
    ))
}

/// A pod that is drained: new connections go elsewhere at once, those that it has live on, and at the end of its grace it is gone.
pub fn drained(stage: &Stage<'_>) -> Result<String> {
    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: left }\nspec:\n  ipFamilyPolicy: PreferDualStack\n  selector: \
                           { left: \"yes\" }\n  ports:\n  - { name: http, port: 80 }\n  - { name: tcp, port: 9000 }\n";
    let fabric = stage.fabric;
    fabric.apply(SERVICE)?;
    let leaver = added(stage, "leaver", "left=yes")?;
    let server = fabric.serve_in(&leaver, &SERVERS)?;
    stage.wait_for("left", 1)?;
    let address = stage.service("left")?.addresses()?[0];
    let from = stage.cast.c.place();
    let living = fabric.background(from.clone(), &["stream", &address.to_string(), TCP], &[])?;
    ensure!(stage.ask(&from, address, HTTP)?.0 == "leaver", "somebody else answers");
    let stays = fabric.labelled_pod(stage.cast.c.node(), "stays", &[("left", "yes")], &SERVERS)?;
    stage.wait_for("left", 2)?;
    // Long enough for any machine; it is shortened below.
    fabric.weft(&["pod", "drain", "leaver", "--grace", "2m", "--no-wait"])?.success("weft pod drain")?;
    let began = Instant::now();
    stage.wait_for("left", 1)?;
    let elsewhere = began.elapsed();
    for _ in 0..12 {
        let (pod, _) = stage.ask(&from, address, HTTP)?;
        ensure!(pod == "stays", "{pod} is about to end and still gets connections");
    }
    let there = fabric.weft_json(&["get", "pods"])?.to_string();
    ensure!(there.contains("leaver"), "the pod went before its grace had passed");
    let lived = began.elapsed();
    let seen = living.stop()?;
    ensure!(seen["ok"] == true, "a connection to a pod that is about to end broke: {seen}");
    fabric.weft(&["pod", "drain", "leaver", "--grace", "200ms", "--no-wait"])?.success("weft pod drain")?;
    eventually(READY, || {
        let listed = fabric.weft_json(&["get", "pods"])?.to_string();
        ensure!(!listed.contains("leaver"), "still listed");
        Ok(())
    })?;
    server.stop().ok();
    fabric.detach(&stays)?;
    fabric.weft(&["delete", "service", "left"])?.success("weft delete service")?;
    Ok(format!(
        "new connections go elsewhere on every node {} ms after the drain began, an old one lived on for the {} ms that it was \
         watched ({} of {} numbers came back); at the end of its grace the pod is gone",
        elsewhere.as_millis(),
        lived.as_millis(),
        seen["echoed"],
        seen["sent"]
    ))
}

/// A pod that people add without a runtime, on the first node.
fn added(stage: &Stage<'_>, name: &str, labels: &str) -> Result<Pod> {
    let node = stage.cast.a.node();
    let made = stage.fabric.weft_json(&["pod", "add", name, "--node", node, "--labels", labels])?;
    let all = made["status"]["podIPs"].as_array().cloned().unwrap_or_default();
    let addresses: Vec<_> = all.iter().filter_map(|ip| ip["ip"].as_str()?.parse().ok()).collect();
    ensure!(!addresses.is_empty(), "no address in {made}");
    let record = PodRecord {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        node: node.to_owned(),
        netns: format!("{NETNS_DIR}/default_{name}"),
        container: String::new(),
        addresses,
    };
    Ok(Pod { record })
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
