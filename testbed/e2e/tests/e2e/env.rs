//! What a pod is given when it is made: variables of its namespace's services, its resolv.conf; and that programs of the machine's C
//! library and of Python find names with it.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weft_e2e::{each_family, in_family};
use weft_lab::checks::Cast;
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::wait::until;
use weft_lab::{Fabric, Result};

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{ipFamilyPolicy: PreferDualStack, ports: [{{name: http, port: 80, targetPort: 8080}}], selector: {{env: web}}}}\n---\n"
    )
}

/// What a pod was given, as soon as the control plane knows the pod.
fn given(fabric: &Fabric, pod: &str) -> Result<Value> {
    let seen =
        until(Duration::from_secs(10), Duration::from_millis(20), || fabric.weft_json(&["env", pod]).ok());
    seen.with_context(|| format!("what was given to {pod} can't be had"))
}

fn names(given: &Value) -> Vec<&str> {
    given["env"].as_array().into_iter().flatten().filter_map(|variable| variable["name"].as_str()).collect()
}

fn fixed(fabric: &Fabric, _: &Cast) -> Result {
    let (first, later) = (service("env-first"), service("env-later"));
    fabric.apply(&first)?;
    let node = fabric.nodes()?.swap_remove(0);
    let old = fabric.pod(&node, "env-old", &[])?;
    fabric.apply(&later)?;
    let new = fabric.pod(&node, "env-new", &[])?;
    let address = fabric.weft_json(&["get", "service", "env-first"])?["spec"]["clusterIP"].clone();
    let address = address.as_str().context("no address")?.to_owned();
    let seen = given(fabric, "env-old")?;
    let url =
        if address.contains(':') { format!("tcp://[{address}]:80") } else { format!("tcp://{address}:80") };
    let all = [
        ("ENV_FIRST_SERVICE_HOST", address.as_str()),
        ("ENV_FIRST_SERVICE_PORT", "80"),
        ("ENV_FIRST_SERVICE_PORT_HTTP", "80"),
        ("ENV_FIRST_PORT", url.as_str()),
        ("ENV_FIRST_PORT_80_TCP", url.as_str()),
        ("ENV_FIRST_PORT_80_TCP_PROTO", "tcp"),
        ("ENV_FIRST_PORT_80_TCP_PORT", "80"),
        ("ENV_FIRST_PORT_80_TCP_ADDR", address.as_str()),
    ];
    let all: Vec<_> = all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    // Other tests of this fabric may have services too.
    let own = seen["env"].as_array().into_iter().flatten();
    let own: Vec<_> =
        own.filter(|v| v["name"].as_str().is_some_and(|n| n.starts_with("ENV_"))).cloned().collect();
    ensure!(own == all && seen["recorded"] == true, "{seen}");
    ensure!(
        names(&given(fabric, "env-new")?).contains(&"ENV_LATER_PORT"),
        "a later pod has the later service"
    );
    // Neither a new agent nor the end of the services changes it.
    fabric.restart(&node, "agent")?;
    fabric.erase(&[first, later].concat())?;
    fabric.settle_all()?;
    ensure!(given(fabric, "env-old")?["env"] == seen["env"], "what was given has changed");
    let folder = seen["folder"].as_str().context("no folder")?.to_owned();
    let on_node = fabric.on(on(&node), &["cat", &format!("{folder}/environment")])?.success("cat")?;
    ensure!(on_node.contains(&format!("ENV_FIRST_PORT={url}\n")), "{on_node}");
    [old, new].iter().try_for_each(|pod| fabric.detach(pod))?;
    ensure!(fabric.on(on(&node), &["ls", &folder])?.status != 0, "{folder} outlives its pod");
    Ok(())
}

#[test]
fn a_pods_variables_are_fixed_when_it_is_made_and_its_files_go_with_it() -> Result {
    in_family("small", Family::Dual6, fixed)?;
    in_family("small", Family::V4, fixed)
}

/// Looks a name up with Python, whose answers don't come by the command line of `getent`.
const PYTHON: &str = "import socket, sys
found = socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)
print(' '.join(sorted({entry[4][0] for entry in found})))";

fn found(fabric: &Fabric, cast: &Cast) -> Result {
    let text = service("env-found");
    fabric.apply(&text)?;
    let web = fabric.labelled_pod(cast.c.node(), "env-web", &[("env", "web")], &["http:8080"])?;
    let client = fabric.pod(cast.a.node(), "env-client", &[])?;
    fabric.settle()?;
    let seen = fabric.weft_json(&["get", "service", "env-found"])?;
    let mut addresses: Vec<_> =
        seen["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    addresses.sort_unstable();
    for name in ["env-found", "env-found.default", "env-found.default.svc.cluster.local"] {
        let python = fabric.on(client.place(), &["python3", "-c", PYTHON, name])?.success("python3")?;
        ensure!(python.split_whitespace().eq(addresses.iter().copied()), "{name}: {python} {addresses:?}");
        let getent = fabric.on(client.place(), &["getent", "ahosts", name])?.success("getent")?;
        ensure!(addresses.iter().all(|address| getent.contains(address)), "{name}: {getent} {addresses:?}");
        let told = fabric.weft_json(&["dns", name, "--from", "env-client"])?;
        let answers = told["tries"].as_array().into_iter().flatten();
        let answers = answers.flat_map(|one| one["answers"].as_array().into_iter().flatten());
        let mut data: Vec<_> = answers.filter_map(|record| record["data"].as_str()).collect();
        data.sort_unstable();
        ensure!(
            data.iter().filter(|data| addresses.contains(data)).eq(&addresses),
            "{name}: {told} {addresses:?}"
        );
    }
    let missing = fabric.on(client.place(), &["getent", "ahosts", "env-nobody"])?;
    ensure!(missing.status == 2, "a name that nobody has: {missing:?}");
    fabric.detach(&client)?;
    fabric.detach(&web)?;
    fabric.erase(&text)
}

#[test]
fn programs_find_names_from_the_first_moment_in_every_kind_of_families() -> Result {
    each_family("small", found)
}

const POLICY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: env-own-way, namespace: default}
spec:
  enableServiceLinks: false
  dnsPolicy: None
  dnsConfig:
    nameservers: [192.0.2.53]
    searches: [corp.example]
    options: [{name: ndots, value: '2'}, {name: edns0}]
";

#[test]
fn a_pod_asks_as_people_said_before_it_was_made() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let text = service("env-unwanted");
        fabric.apply(&text)?;
        fabric.apply(POLICY)?;
        let pod = fabric.pod(cast.a.node(), "env-own-way", &[])?;
        let inside = fabric.on(pod.place(), &["cat", "/etc/resolv.conf"])?.success("cat")?;
        ensure!(inside == "nameserver 192.0.2.53\nsearch corp.example\noptions ndots:2 edns0\n", "{inside}");
        let seen = given(fabric, "env-own-way")?;
        ensure!(!names(&seen).iter().any(|name| name.starts_with("ENV_")), "{seen}");
        ensure!(seen["resolvConf"] == inside, "{seen}");
        let check = fabric.weft_json(&["check", "--node", cast.a.node()])?;
        ensure!(check.to_string().contains("pod default/env-own-way asks other servers"), "{check}");
        fabric.detach(&pod)?;
        fabric.erase(&[text.as_str(), POLICY].concat())
    })
}

#[test]
fn people_enter_a_pod_of_their_own_and_its_names_work() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let text = service("env-by-hand");
        fabric.apply(&text)?;
        let (node, weft) = (on(cast.a.node()), fabric.weft_program());
        fabric.on(node.clone(), &[&weft, "pod", "add", "env-mine"])?.success("weft pod add")?;
        let exec = |argv: &[&str]| {
            fabric.on(node.clone(), &[&["ip", "netns", "exec", "default_env-mine"], argv].concat())
        };
        let found = exec(&["getent", "ahosts", "env-by-hand"])?.success("getent")?;
        let address = fabric.weft_json(&["get", "service", "env-by-hand"])?["spec"]["clusterIP"].clone();
        ensure!(found.contains(address.as_str().context("no address")?), "{found} {address}");
        let exported =
            fabric.on(node.clone(), &[&weft, "env", "env-mine", "--export"])?.success("weft env")?;
        ensure!(exported.contains("export ENV_BY_HAND_SERVICE_PORT='80'\n"), "{exported}");
        fabric.on(node.clone(), &[&weft, "pod", "remove", "env-mine"])?.success("weft pod remove")?;
        let left = fabric.on(node.clone(), &["ls", "/etc/netns", "/run/netns", "/run/weft/setup"])?;
        ensure!(!left.stdout.contains("env-mine"), "{left:?}");
        fabric.erase(&text)
    })
}
