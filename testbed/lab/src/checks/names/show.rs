//! Names as people meet them: services fetched by name in both families, with the programs of a machine.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::servers;
use crate::checks::{Cast, SERVERS};
use crate::fabric::Pod;
use crate::wait::pass;
use crate::{Fabric, Result};

/// A service of both families in front of a pod of the second node.
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: hello}\nspec: {ipFamilyPolicy: PreferDualStack, selector: {hello: \
                       \"yes\"}, ports: [{name: http, port: 80}]}\n";
/// Longest time without answers when the DNS process is killed.
const BACK: u64 = 300;

/// A pod fetches a service by each form of its name, in each family, with `curl`.
pub fn fetched(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let web = fabric.labelled_pod(cast.c.node(), "hello-web", &[("hello", "yes")], &SERVERS)?;
    fabric.apply(SERVICE)?;
    fabric.settle()?;
    // Made after the service: it may ask from its first moment on.
    let client = fabric.pod(cast.a.node(), "hello-client", &[])?;
    let families = client.addresses().iter().map(|address| if address.is_ipv4() { "-4" } else { "-6" });
    let mut fetches = 0;
    for family in families {
        for name in ["hello", "hello.default", "hello.default.svc.cluster.local"] {
            let url = format!("http://{name}/");
            let text = fabric
                .on(client.place(), &["curl", "-sS", "--max-time", "5", family, &url])?
                .success("curl")?;
            let seen: Value =
                serde_json::from_str(&text).with_context(|| format!("curl {family} {url}: {text}"))?;
            ensure!(seen["pod"] == web.name(), "curl {family} {url}: {seen}");
            fetches += 1;
        }
    }
    let variables = given(fabric, &client)?;
    [client, web].iter().try_for_each(|pod| fabric.detach(pod))?;
    fabric.erase(SERVICE)?;
    Ok(format!(
        "{fetches} times curl -4 and -6 http://hello/ and longer forms; $HELLO_SERVICE_HOST is {variables}"
    ))
}

/// The variable of the service, which the pod was given when it was made.
fn given(fabric: &Fabric, pod: &Pod) -> Result<IpAddr> {
    let seen = crate::checks::eventually(Duration::from_secs(5), || fabric.weft_json(&["env", pod.name()]))?;
    let mut all = seen["env"].as_array().into_iter().flatten();
    let host = all.find(|variable| variable["name"] == "HELLO_SERVICE_HOST");
    let host = host
        .and_then(|variable| variable["value"].as_str())
        .with_context(|| format!("no variable: {seen}"))?;
    Ok(host.parse()?)
}

/// The DNS process of a node is killed while a pod asks: it is back at once, and an upgrade isn't noticed at all.
pub fn process_dies(fabric: &Fabric, cast: &Cast) -> Result<String> {
    fabric.apply(super::WEB_SERVICE)?;
    let (node, server) = (cast.a.node(), servers(fabric)?[0].to_string());
    let load = |rate: &str| {
        fabric.background(cast.a.place(), &["dns-load", &server, super::WEB, "--rate", rate], &[])
    };
    let asking = load("500")?;
    pass(Duration::from_millis(300));
    fabric.kill(node, "dns")?;
    pass(Duration::from_millis(500));
    let killed = asking.stop()?;
    let gap = killed["longest_gap_ms"].as_u64().unwrap_or(u64::MAX);
    ensure!(gap <= BACK && killed["wrong"] == 0, "killed: {killed}");
    let asking = load("2000")?;
    fabric.restart(node, "dns")?;
    let upgraded = asking.stop()?;
    ensure!(upgraded["lost"] == 0 && upgraded["wrong"] == 0, "upgraded: {upgraded}");
    fabric.erase(super::WEB_SERVICE)?;
    Ok(format!(
        "killed: {} of {} questions lost, silent for {gap} ms; upgraded: 0 of {} lost",
        killed["lost"], killed["sent"], upgraded["sent"]
    ))
}
