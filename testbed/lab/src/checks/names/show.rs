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

/// A pod fetches a service by each form of its name, in each family, with `curl` where there is one.
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
            let argv = fetch(family, name, &url);
            let text = fabric.on(client.place(), &argv)?.success(argv[0])?;
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
        "{fetches} times http://hello/ and longer forms, by IPv4 and IPv6; $HELLO_SERVICE_HOST is {variables}"
    ))
}

/// What fetches where there is no `curl`: family, host.
const FETCH: &str = "
import socket, sys
family = {'-4': socket.AF_INET, '-6': socket.AF_INET6}[sys.argv[1]]
address = socket.getaddrinfo(sys.argv[2], 80, family, socket.SOCK_STREAM)[0][4]
with socket.socket(family) as stream:
    stream.settimeout(5)
    stream.connect(address)
    stream.sendall(b'GET / HTTP/1.1\\r\\nHost: hello\\r\\nConnection: close\\r\\n\\r\\n')
    text = b''.join(iter(lambda: stream.recv(65536), b''))
print(text.split(b'\\r\\n\\r\\n', 1)[1].decode())
";

/// A program that fetches a page: `curl`, or Python where that isn't installed.
fn fetch<'a>(family: &'a str, host: &'a str, url: &'a str) -> Vec<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join("curl").is_file()) {
        vec!["curl", "-sS", "--max-time", "5", family, url]
    } else {
        vec!["python3", "-c", FETCH, family, host]
    }
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
