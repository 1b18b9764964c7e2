//! `weft service list|show`, and the screen of a service that `weft describe svc` shows too.

use serde_json::{Value, json};
use weft_errors::{Error, NOT_FOUND};
use weft_model::{EndpointItem, Item, Kind, NodeName, ServiceItem};
use weft_plan::{Here, Local, choose};
use weft_proto::v1;

use super::{
    Run, endpoints,
    get::{items, list, objects, one},
    kinds::split_name,
};
use crate::{
    args::Service,
    client::Session,
    fail::Outcome,
    output::items as items_of,
    table::{Style, at, column, joined, render},
};

/// Class of load balancers that is ours, besides none at all.
const LOAD_BALANCER_CLASS: &str = "weft.io/lb";

/// Runs the subcommand.
pub(crate) async fn run(args: Service, run: &Run) -> Outcome {
    match args {
        Service::List { selector, all_namespaces } => {
            list(Kind::Service, all_namespaces, &selector, run).await
        }
        Service::Show { name, backends, node } => show(&name, backends, node.as_deref(), run).await,
    }
}

async fn show(name: &str, backends: bool, node: Option<&str>, run: &Run) -> Outcome {
    let session = run.session()?;
    let value = account(&session, name, node).await?;
    let all = backends || node.is_some();
    run.printer.value(&value, &screen(&value, all));
    Ok(())
}

/// Everything about a service in one value: the object, its endpoints with what is wrong with them, who owns its
/// addresses, and for a node which endpoints it uses.
pub(crate) async fn account(session: &Session, word: &str, node: Option<&str>) -> Outcome<Value> {
    let (object, revision) = one(session, Kind::Service, word).await?;
    let (namespace, name) = split_name(Kind::Service, word, session.namespace());
    let (found, _) = items(session, v1::ItemKind::Service, namespace, name).await?;
    let item =
        found.into_iter().find_map(|item| if let Item::Service(item) = item { Some(item) } else { None });
    let mut backends = item.as_ref().map(endpoints::value).unwrap_or_default();
    let silent = endpoints::silent_nodes(&objects(session, Kind::Node, "", "").await?);
    endpoints::heed_silence(&mut backends, &silent);
    explain(session, namespace, &mut backends).await?;
    let uses = match (node, &item) {
        (Some(node), Some(item)) => uses(session, item, node).await?,
        (Some(_), None) | (None, _) => Value::Null,
    };
    let owners = owners(session, &object).await?;
    let waits = waits(session, &object).await?;
    Ok(json!({
        "kind": "ServiceReport",
        "metadata": object["metadata"],
        "revision": revision,
        "service": object,
        "endpoints": backends,
        "owners": owners,
        "waits": waits,
        "uses": uses,
    }))
}

/// Tells a pod whose own object says that it isn't ready from one whose node says so.
async fn explain(session: &Session, namespace: &str, backends: &mut Value) -> Outcome {
    let Some(Value::Array(list)) = backends.get_mut("endpoints") else { return Ok(()) };
    // With a reason already: its node is silent.
    let waiting = |endpoint: &Value| {
        let state = at(endpoint, "/state");
        state.starts_with("not ready") && !state.starts_with("not ready:")
    };
    if !list.iter().any(waiting) {
        return Ok(());
    }
    let said = objects(session, Kind::PodSpec, namespace, "").await?;
    for endpoint in list.iter_mut().filter(|endpoint| waiting(endpoint)) {
        let pod = at(endpoint, "/pod");
        let spec = items_of(&said).iter().find(|spec| at(spec, "/metadata/name") == pod && !pod.is_empty());
        let ready = spec.map(|spec| at(spec, "/status/conditions/0/status")).unwrap_or_default();
        let probed = spec.is_some_and(|spec| {
            let container = spec.pointer("/spec/containers/0");
            container.is_some_and(|c| c.get("readinessProbe").is_some() || c.get("startupProbe").is_some())
        });
        let why = match (pod.is_empty(), ready.as_str(), probed) {
            (true, _, _) => "its EndpointSlice says so",
            (false, "False", _) => "its Pod object says so (condition Ready)",
            (false, _, true) => "its probe has not passed, or fails",
            (false, _, false) => "its node says so",
        };
        let state = format!("{}: {why}", at(endpoint, "/state"));
        if let Value::Object(map) = endpoint {
            map.insert("state".to_owned(), json!(state));
        }
    }
    Ok(())
}

/// Which endpoints a node uses, per port and family, by the rules that its agent follows.
async fn uses(session: &Session, item: &ServiceItem, node: &str) -> Outcome<Value> {
    let (peers, _) = items(session, v1::ItemKind::Peer, "", node).await?;
    let peer = peers.into_iter().find_map(|item| if let Item::Peer(peer) = item { Some(peer) } else { None });
    let Some(peer) = peer else {
        let error = Error::new(&NOT_FOUND, format!("node {node:?} doesn't exist")).object("node", "", node);
        return Err(error.try_this("list what there is", "weft get nodes").into());
    };
    let here: NodeName = peer.node;
    let mut rows = Vec::new();
    for (index, port) in item.ports.iter().enumerate() {
        for family in [weft_model::Family::V4, weft_model::Family::V6] {
            // Which of its own pods are gone already only the node knows.
            let local = Local::default();
            let place = Here { node: &here, zone: &peer.zone, local: &local };
            let chosen = choose(&item.endpoints, index, family, place);
            if chosen.cluster.is_empty() && chosen.local.is_empty() {
                continue;
            }
            let sockets = |list: &[&EndpointItem]| {
                list.iter().map(|endpoint| socket(endpoint, index)).collect::<Vec<_>>()
            };
            rows.push(json!({
                "port": port.port,
                "protocol": endpoints::protocol(port.protocol),
                "family": family.to_string(),
                "cluster": sockets(&chosen.cluster),
                "local": sockets(&chosen.local),
            }));
        }
    }
    Ok(json!({"node": here.as_str(), "zone": peer.zone, "ports": rows}))
}

fn socket(endpoint: &EndpointItem, port: usize) -> String {
    let number = endpoint.ports.get(port).copied().unwrap_or_default();
    std::net::SocketAddr::new(endpoint.address, number).to_string()
}

/// Who answers for the service's load-balancer addresses.
async fn owners(session: &Session, object: &Value) -> Outcome<Vec<Value>> {
    let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let given: Vec<String> = ingress.into_iter().flatten().map(|given| at(given, "/ip")).collect();
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let all = objects(session, Kind::Owner, "", "").await?;
    Ok(items_of(&all).iter().filter(|owner| given.contains(&at(owner, "/metadata/name"))).cloned().collect())
}

/// Why a load balancer has no address: who gives them, and what the control plane told when it looked.
async fn waits(session: &Session, object: &Value) -> Outcome<Option<String>> {
    let has_one = object.pointer("/status/loadBalancer/ingress/0").is_some();
    if has_one || at(object, "/spec/type") != "LoadBalancer" {
        return Ok(None);
    }
    let class = at(object, "/spec/loadBalancerClass");
    if !class.is_empty() && class != LOAD_BALANCER_CLASS {
        return Ok(Some(format!("class {class} is somebody else's")));
    }
    let pools = objects(session, Kind::Pool, "", "").await?;
    let fabric = objects(session, Kind::Fabric, "", "").await?;
    let of_fabric = items_of(&fabric).iter().any(|f| !joined(f, "/spec/ranges/loadBalancers").is_empty());
    if items_of(&pools).is_empty() && !of_fabric {
        return Ok(Some("there is no LoadBalancerPool".to_owned()));
    }
    Ok(Some("no pool gives one of its families unasked".to_owned()))
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

/// The screen; `all` shows every backend, also those that are ready.
pub(crate) fn screen(value: &Value, all: bool) -> String {
    let service = &value["service"];
    let spec = &service["spec"];
    let kind = at(spec, "/type");
    let mut text =
        format!("{}/{}   {kind}", at(service, "/metadata/namespace"), at(service, "/metadata/name"));
    if kind == "ExternalName" {
        return format!("{text}\nAlias       {}\n", at(spec, "/externalName"));
    }
    text += &format!("   {}", at(spec, "/ipFamilyPolicy"));
    text += &format!("\nAddresses   {}", or(joined(spec, "/clusterIPs"), "-"));
    text += &external(value);
    text.push('\n');
    for port in spec["ports"].as_array().into_iter().flatten() {
        text += &format!("Port        {}\n", port_line(port));
    }
    text += &format!("Selector    {}\n", or(pairs(&spec["selector"]), "- (its endpoints are written)"));
    text += &format!("Policy      {}\n", policy(spec));
    let endpoints = &value["endpoints"];
    for (place, line) in paths(value).iter().enumerate() {
        text += &format!("{:12}{line}\n", if place == 0 { "Path" } else { "" });
    }
    text += &format!("Backends    {} ready\n", endpoints::ready_of_all(endpoints));
    text += &backends(endpoints, all);
    text + &uses_screen(&value["uses"])
}

fn external(value: &Value) -> String {
    let mut parts = Vec::new();
    let ingress = value["service"].pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    for given in ingress.into_iter().flatten() {
        let address = at(given, "/ip");
        let owner = value["owners"].as_array().into_iter().flatten();
        let owner = owner.into_iter().find(|owner| at(owner, "/metadata/name") == address);
        let by = match owner {
            Some(owner) => match at(owner, "/status/successor") {
                next if next.is_empty() => format!(" (answered by {})", at(owner, "/status/node")),
                next => format!(" (answered by {}, then {next})", at(owner, "/status/node")),
            },
            None => String::new(),
        };
        parts.push(format!("{address}{by}"));
    }
    if parts.is_empty() && at(value, "/service/spec/type") == "LoadBalancer" {
        let why = match at(value, "/waits") {
            why if why.is_empty() => String::new(),
            why => format!(" ({why})"),
        };
        parts.push(format!("load balancer: none given yet{why}"));
    }
    let written = joined(value, "/service/spec/externalIPs");
    if !written.is_empty() {
        parts.push(format!("external {written}"));
    }
    if parts.is_empty() { String::new() } else { format!(" · {}", parts.join(" · ")) }
}

/// `http 80/TCP -> http, node port 30080`.
fn port_line(port: &Value) -> String {
    let name = at(port, "/name");
    let name = if name.is_empty() { String::new() } else { format!("{name} ") };
    let node = at(port, "/nodePort");
    let node = if node.is_empty() { String::new() } else { format!(", node port {node}") };
    format!("{name}{}/{} -> {}{node}", at(port, "/port"), at(port, "/protocol"), at(port, "/targetPort"))
}

fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect::<Vec<_>>().join(",")
}

fn policy(spec: &Value) -> String {
    let mut parts = vec![format!("internal {}", or(at(spec, "/internalTrafficPolicy"), "Cluster"))];
    let external = at(spec, "/externalTrafficPolicy");
    if !external.is_empty() {
        parts.push(format!("external {external}"));
    }
    let health = at(spec, "/healthCheckNodePort");
    if !health.is_empty() {
        parts.push(format!("health check port {health}"));
    }
    let seconds = at(spec, "/sessionAffinityConfig/clientIP/timeoutSeconds");
    if !seconds.is_empty() {
        parts.push(format!("a client keeps its backend for {seconds} s"));
    }
    let preferred = at(spec, "/trafficDistribution");
    if !preferred.is_empty() {
        parts.push(format!("distribution {preferred}"));
    }
    parts.join(" · ")
}

/// What happens to a packet: to the virtual address, then to what the outside uses.
fn paths(value: &Value) -> Vec<String> {
    let (service, endpoints) = (&value["service"], &value["endpoints"]);
    let spec = &service["spec"];
    let mut lines = vec![path(spec, endpoints)];
    let is_local = at(spec, "/externalTrafficPolicy") == "Local";
    let then = if is_local {
        "a backend on that node, which sees the client; without one there: dropped"
    } else {
        "any of them, which sees a node"
    };
    let mut ports = spec["ports"].as_array().into_iter().flatten().map(|port| at(port, "/nodePort"));
    if let Some(port) = ports.find(|port| !port.is_empty()) {
        lines.push(format!("outside -> any node's address:{port} -> {then}"));
    }
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    for given in ingress.into_iter().flatten() {
        let address = at(given, "/ip");
        let owner =
            value["owners"].as_array().into_iter().flatten().find(|o| at(o, "/metadata/name") == address);
        let node = owner.map(|owner| at(owner, "/status/node")).unwrap_or_default();
        let by = if node.is_empty() { "a node it is routed to".to_owned() } else { node };
        lines.push(format!("outside -> {address} -> {by} -> {then}"));
    }
    lines
}

/// What happens to a packet to the virtual address, in one line.
fn path(spec: &Value, endpoints: &Value) -> String {
    let Some(address) = spec.pointer("/clusterIPs/0").and_then(Value::as_str) else {
        return "no address yet".to_owned();
    };
    let all = endpoints["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
    let of_family =
        |e: &&Value| address == "None" || at(e, "/address").contains(':') == address.contains(':');
    let list: Vec<&Value> = all.iter().filter(of_family).collect();
    let ready: Vec<&&Value> = list.iter().filter(|endpoint| endpoint["ready"] == json!(true)).collect();
    let ending =
        list.iter().filter(|e| e["serving"] == json!(true) && e["terminating"] == json!(true)).count();
    if address == "None" {
        return format!("headless: its name leads straight to {} addresses", ready.len());
    }
    match (ready.first(), ending) {
        (Some(first), _) => {
            // Out of the fabric a pod has the address of its node.
            let is_outside = at(first, "/pod").is_empty() && at(first, "/node").is_empty();
            format!(
                "{address} -> one of {} ready, as {} -> which sees {}",
                ready.len(),
                endpoints::socket(first),
                if is_outside { "the client's node" } else { "the client" }
            )
        }
        (None, 0) => format!("{address} -> refused: no backend is ready"),
        (None, ending) => format!("{address} -> one of {ending} that end: nobody else is ready"),
    }
}

fn backends(endpoints: &Value, all: bool) -> String {
    let list = endpoints["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<Value> =
        list.iter().filter(|endpoint| all || at(endpoint, "/state") != "ready").cloned().collect();
    if shown.is_empty() {
        return String::new();
    }
    let columns = [
        column("POD", |e| at(e, "/pod")),
        column("ENDPOINT", endpoints::socket),
        column("NODE", |e| at(e, "/node")),
        column("ZONE", |e| at(e, "/zone")),
        column("STATE", |e| at(e, "/state")),
    ];
    render(&columns, &shown, Style::default())
}

fn uses_screen(uses: &Value) -> String {
    let Some(ports) = uses["ports"].as_array() else { return String::new() };
    let zone = at(uses, "/zone");
    let zone = if zone.is_empty() { String::new() } else { format!(" (zone {zone})") };
    let mut text = format!("Node        {}{zone} sends to\n", at(uses, "/node"));
    let columns = [
        column("PORT", |p| format!("{}/{}", at(p, "/port"), at(p, "/protocol"))),
        column("FAMILY", |p| at(p, "/family")),
        column("CLUSTER", |p| joined(p, "/cluster")),
        column("LOCAL", |p| joined(p, "/local")),
    ];
    text += &render(&columns, ports, Style::default());
    if ports.is_empty() {
        text += "nobody: no backend serves\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_tells_the_path_and_why_a_backend_is_out() {
        let endpoint = |address: &str, ready: bool, state: &str| json!({"address": address, "ports": [8080], "ready": ready, "serving": ready, "terminating": false, "pod": "web-0", "node": "n1", "state": state});
        let mut value = json!({
            "service": {
                "metadata": {"namespace": "shop", "name": "web"},
                "spec": {
                    "type": "NodePort", "ipFamilyPolicy": "SingleStack", "clusterIPs": ["10.112.0.9"],
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080}],
                    "selector": {"app": "web"}, "externalTrafficPolicy": "Local",
                },
            },
            "endpoints": {"endpoints": [endpoint("10.128.0.2", true, "ready"), endpoint("10.128.0.3", false, "not ready: its node says so")]},
            "owners": [], "uses": null,
        });
        let mut outside = value.clone();
        outside["endpoints"]["endpoints"] = json!([{"address": "192.0.2.9", "ports": [9000], "ready": true, "serving": true, "terminating": false, "state": "ready"}]);
        let text = screen(&outside, false);
        assert!(text.contains("as 192.0.2.9:9000 -> which sees the client's node"), "{text}");
        let text = screen(&value, false);
        for line in [
            "shop/web   NodePort   SingleStack",
            "Addresses   10.112.0.9",
            "Port        http 80/TCP -> http, node port 30080",
            "Selector    app=web",
            "Policy      internal Cluster · external Local",
            "Path        10.112.0.9 -> one of 1 ready, as 10.128.0.2:8080 -> which sees the client",
            "            outside -> any node's address:30080 -> a backend on that node, which sees the client; without one there: dropped",
            "Backends    1/2 ready",
            "web-0  10.128.0.3:8080  n1    -     not ready: its node says so",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains("10.128.0.2:8080  n1"), "ready ones are shown on request: {text}");
        value["service"]["spec"]["type"] = json!("LoadBalancer");
        value["waits"] = json!("there is no LoadBalancerPool");
        assert!(
            screen(&value, false).contains("load balancer: none given yet (there is no LoadBalancerPool)")
        );
        value["service"]["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        value["owners"] = json!([{"metadata": {"name": "192.0.2.1"}, "status": {"node": "n2"}}]);
        assert!(
            screen(&value, false)
                .contains("\n            outside -> 192.0.2.1 -> n2 -> a backend on that node")
        );
        value["endpoints"]["endpoints"] = json!([]);
        assert!(screen(&value, true).contains("10.112.0.9 -> refused: no backend is ready"));
    }
}
