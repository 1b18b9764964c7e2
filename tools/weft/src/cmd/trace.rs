//! `weft trace FROM TO`: what a pod's packet meets, told by its node's own plan; `--probe` sends a real one, which must agree.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, NOT_FOUND, USAGE};
use weft_model::{Kind, PodName};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run, endpoints,
    get::one,
    ping::{addresses, named},
    pod::{ask_node, unexpected},
};
use crate::{
    args::{Destination, Trace},
    client::{Session, address, bytes_of},
    fail::{Failure, Outcome},
    table::{at, span},
};

/// Lines of a kind that a screen shows.
const SHOWN: usize = 16;

/// Runs the command: 0 when the packet gets there, by what is told and, if it was asked for, by what was tried.
pub(crate) async fn run(args: &Trace, run: &Run) -> Outcome {
    let session = run.session()?;
    let from = named(&args.from, "FROM", &session)?;
    let (sender, _) = one(&session, Kind::Pod, &from.to_string()).await?;
    let question = question(args, &from, &sender, &session).await?;
    let node = at(&sender, "/spec/nodeName");
    let answer = ask_node(&session, &node, ask::What::Trace(question), None).await?;
    let answer_request::What::Trace(answer) = answer else { return Err(unexpected(&node)) };
    let value = value(args, &from, &node, &answer);
    run.printer.value(&value, &screen(&value));
    let code = exit(&answer);
    if code == ExitCode::Done { Ok(()) } else { Err(Failure::Answer(code)) }
}

/// What the node is asked: services by name, so that it is the node's own view of them that counts.
async fn question(args: &Trace, from: &PodName, sender: &Value, session: &Session) -> Outcome<v1::Trace> {
    let Destination { to, port, protocol } = &args.to;
    let mut question = v1::Trace {
        from_pod: from.to_string(),
        protocol: v1::Protocol::from(*protocol).into(),
        port: port.unwrap_or(0).into(),
        probe: args.probe,
        ..v1::Trace::default()
    };
    if let Ok(address) = to.parse::<IpAddr>() {
        question.to = vec![bytes_of(address)];
    } else if let Some((name, namespace)) = service_name(to) {
        let word = format!("{namespace}/{name}");
        let (service, _) = one(session, Kind::Service, &word).await?;
        if question.port == 0 {
            let ports: Vec<String> =
                service["spec"]["ports"].as_array().into_iter().flatten().map(|p| at(p, "/port")).collect();
            let error = Error::new(&USAGE, format!("which port of service {word}?")).field("TO");
            let example = format!("weft trace {from} {to}:{}", ports.first().map_or("80", String::as_str));
            return Err(error.try_this(format!("it has {}", ports.join(", ")), example).into());
        }
        question.service = word;
    } else {
        let pod = named(to, "TO", session)?;
        let (pod, _) = one(session, Kind::Pod, &pod.to_string()).await?;
        let own = addresses(sender);
        let of_family = |a: &IpAddr| own.iter().any(|o| o.is_ipv4() == a.is_ipv4());
        question.to = addresses(&pod).into_iter().filter(of_family).map(bytes_of).collect();
        if question.to.is_empty() {
            let message = format!("pod {to} has no address of a family of the sender");
            return Err(Failure::new(&NOT_FOUND, message));
        }
    }
    Ok(question)
}

/// Name and namespace of `cart.shop`, `cart.shop.svc` and `cart.shop.svc.cluster.local`.
fn service_name(text: &str) -> Option<(&str, &str)> {
    let mut labels = text.trim_end_matches('.').splitn(3, '.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    let rest = labels.next().unwrap_or("svc");
    let is_service = !text.contains('/') && (rest == "svc" || rest.starts_with("svc."));
    is_service.then_some((name, namespace))
}

/// Exit status: a probe that shows what was told to be impossible is a bug of ours.
fn exit(answer: &v1::TraceResult) -> ExitCode {
    let of = |path: &v1::TracePath| {
        let arrives = matches!(path.fate(), v1::TraceFate::Straight | v1::TraceFate::Served)
            && path.backends.iter().any(|b| b.out.is_empty() && way_of(b).kind != "nowhere");
        match &path.probe {
            Some(probe) if !probe.agrees && matches!(probe.outcome.as_str(), "answered" | "refused") => {
                ExitCode::Bug
            }
            Some(probe) if !probe.agrees || !matches!(probe.outcome.as_str(), "answered" | "sent") => {
                ExitCode::No
            }
            Some(_) | None if !arrives => ExitCode::No,
            Some(_) | None => ExitCode::Done,
        }
    };
    answer.paths.iter().map(of).max_by_key(|code| *code as u8).unwrap_or(ExitCode::Done)
}

fn way_of(backend: &v1::TraceBackend) -> v1::TraceWay {
    backend.way.clone().unwrap_or_default()
}

fn text_of(bytes: &[u8]) -> Option<String> {
    address(bytes).map(|address| address.to_string())
}

fn value(args: &Trace, from: &PodName, node: &str, answer: &v1::TraceResult) -> Value {
    let Destination { to, port, protocol } = &args.to;
    json!({
        "kind": "Trace",
        "from": from.to_string(),
        "node": node,
        "to": to,
        "port": port,
        "protocol": endpoints::protocol(*protocol),
        "revision": answer.revision,
        "alias": (!answer.alias.is_empty()).then_some(&answer.alias),
        "paths": answer.paths.iter().map(path_value).collect::<Vec<_>>(),
    })
}

fn path_value(path: &v1::TracePath) -> Value {
    let fate = match path.fate() {
        v1::TraceFate::Straight => "Straight",
        v1::TraceFate::Served => "Served",
        v1::TraceFate::Refused => "Refused",
        v1::TraceFate::Dropped => "Dropped",
        v1::TraceFate::Unspecified => "Unknown",
    };
    let service = path.service.as_ref().map(|service| {
        json!({
            "name": service.name,
            "front": service.front,
            "map": service.map,
            "chain": service.chain,
            "slots": service.slots,
            "affinitySeconds": service.affinity_s,
            "trafficPolicy": service.policy,
        })
    });
    json!({
        "source": text_of(&path.from),
        "destination": text_of(&path.to),
        "service": service,
        "fate": fate,
        "reason": path.reason,
        "backends": path.backends.iter().map(backend_value).collect::<Vec<_>>(),
        "probe": path.probe.as_ref().map(probe_value),
    })
}

fn backend_value(backend: &v1::TraceBackend) -> Value {
    let way = way_of(backend);
    json!({
        "address": text_of(&backend.address),
        "port": backend.port,
        "pod": backend.pod,
        "node": backend.node,
        "slots": backend.slots,
        "state": if backend.out.is_empty() { "in" } else { backend.out.as_str() },
        "in": backend.out.is_empty(),
        "sees": text_of(&backend.source),
        "translation": backend.translation,
        "way": {
            "kind": way.kind,
            "device": way.device,
            "peer": way.peer,
            "gateway": text_of(&way.gateway),
            "route": way.route,
            "mtu": way.mtu,
            "handshakeAgeS": way.handshake_age_s,
        },
    })
}

fn probe_value(probe: &v1::TraceProbe) -> Value {
    json!({
        "outcome": probe.outcome,
        "tookUs": probe.took_us,
        "backend": text_of(&probe.backend),
        "backendPort": probe.backend_port,
        "backendSees": text_of(&probe.source),
        "agrees": probe.agrees,
        "meaning": probe.meaning,
    })
}

/// The screen: a numbered step per line, a block per address.
fn screen(value: &Value) -> String {
    if let Some(alias) = value["alias"].as_str() {
        return format!(
            "1 name      {} -> {alias} (an alias: no packet goes to it itself)\n",
            at(value, "/to")
        );
    }
    let blocks = value["paths"].as_array().into_iter().flatten().map(|path| block(value, path));
    blocks.collect::<Vec<_>>().join("\n")
}

fn block(whole: &Value, path: &Value) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let (asked, destination) = (at(whole, "/to"), at(path, "/destination"));
    if asked != destination {
        let of = match at(path, "/service/name") {
            name if name.is_empty() => String::new(),
            name => format!("  (service {name})"),
        };
        lines.push(("name", format!("{asked} -> {destination}{of}")));
    }
    if !path["service"].is_null() {
        lines.push(("service", service_line(whole, path)));
    }
    let picked: Vec<&Value> =
        path["backends"].as_array().into_iter().flatten().filter(|b| b["in"] == json!(true)).collect();
    let sources = distinct(picked.iter().map(|backend| source_line(path, backend)));
    lines.extend(sources.into_iter().map(|line| ("source", line)));
    let routes = distinct(picked.iter().map(|backend| route_line(backend)));
    lines.extend(routes.into_iter().map(|line| ("route", line)));
    let mut text = String::new();
    let mut step = 0;
    for (word, line) in lines {
        step += 1;
        text += &format!("{step} {word:8}  {line}\n");
        if word == "service" {
            text += &backend_lines(path);
        }
    }
    text + &verdict(whole, path)
}

/// Each line once, in order; of many the first.
fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut more = 0;
    for line in all {
        match lines.len() {
            _ if lines.contains(&line) => {}
            SHOWN => more += 1,
            _ => lines.push(line),
        }
    }
    if more > 0 {
        lines.push(format!("and {more} more (-o json)"));
    }
    lines
}

/// `10.112.4.20:80/TCP, cluster address: map services -> chain to_3 -> a slot of 3`.
fn service_line(whole: &Value, path: &Value) -> String {
    let service = &path["service"];
    let front = format!(
        "{}, {}: map {}",
        socket(&at(path, "/destination"), &at(whole, "/port")),
        at(service, "/front"),
        at(service, "/map")
    );
    let front = front.replacen(',', &format!("/{},", at(whole, "/protocol")), 1);
    let policy = match at(service, "/trafficPolicy").as_str() {
        "Local" => ", policy Local",
        _ => "",
    };
    let affinity = match service["affinitySeconds"].as_u64() {
        Some(seconds) if seconds > 0 => format!(", a client stays for {seconds} s"),
        Some(_) | None => String::new(),
    };
    match service["slots"].as_u64().unwrap_or(0) {
        0 => format!("{front} -> {}{policy}", at(service, "/chain")),
        1 => format!("{front} -> chain {} -> its only slot{policy}{affinity}", at(service, "/chain")),
        slots => {
            format!("{front} -> chain {} -> one of {slots} slots{policy}{affinity}", at(service, "/chain"))
        }
    }
}

fn backend_lines(path: &Value) -> String {
    let backends = path["backends"].as_array().map_or(&[][..], Vec::as_slice);
    let slots = path.pointer("/service/slots").and_then(Value::as_u64).unwrap_or(0);
    let line = |backend: &Value| {
        let own = backend["slots"].as_u64().unwrap_or(0);
        let state = match own {
            0 => format!("out: {}", at(backend, "/state")),
            1 if slots == 1 => "gets all".to_owned(),
            own => format!("{own} of {slots} slots"),
        };
        let who: Vec<String> =
            [at(backend, "/pod"), at(backend, "/node")].into_iter().filter(|w| !w.is_empty()).collect();
        let who = if who.is_empty() { "no pod".to_owned() } else { who.join(", ") };
        format!("{}  ({who})  {state}", socket(&at(backend, "/address"), &at(backend, "/port")))
    };
    let all = distinct(backends.iter().map(line));
    all.iter().map(|line| format!("            {line}\n")).collect()
}

fn source_line(path: &Value, backend: &Value) -> String {
    let (own, sees) = (at(path, "/source"), at(backend, "/sees"));
    match at(backend, "/translation") {
        why if why.is_empty() => format!("kept: {own}"),
        why => format!("{own} -> {sees}: {why}"),
    }
}

/// `10.128.9.0/24 dev weft0 -> node worker-2 (handshake 12s ago), MTU 1440`.
fn route_line(backend: &Value) -> String {
    let way = &backend["way"];
    let device = at(way, "/device");
    let to = at(backend, "/address");
    match at(way, "/kind").as_str() {
        "pod" => format!("{to} dev {device}: a pod of this node"),
        "node" => {
            let via = match at(way, "/gateway") {
                gateway if gateway.is_empty() => String::new(),
                gateway => format!(" via {gateway}"),
            };
            let age = match way["handshakeAgeS"].as_u64() {
                Some(seconds) => format!(" (handshake {} ago)", span(seconds)),
                None if via.is_empty() => " (no handshake yet)".to_owned(),
                None => String::new(),
            };
            format!(
                "{}{via} dev {device} -> node {}{age}, MTU {}",
                at(way, "/route"),
                at(way, "/peer"),
                at(way, "/mtu")
            )
        }
        "outside" if device.is_empty() => {
            format!("{to}: outside of the fabric, and this node has no underlay")
        }
        "outside" => format!("{to} dev {device}: outside of the fabric, by the node's own routes"),
        "here" => format!("{to}: this node itself"),
        _ => format!("{to}: nowhere, no lease covers it or there is no tunnel"),
    }
}

fn verdict(whole: &Value, path: &Value) -> String {
    let fate = match at(path, "/fate").as_str() {
        "Straight" | "Served" => "ALLOWED".to_owned(),
        word => format!("{} {}", word.to_uppercase(), at(path, "/reason")),
    };
    let told = format!("{fate} at revision {}", at(whole, "/revision"));
    let probe = &path["probe"];
    if probe.is_null() {
        return format!("{told}\n");
    }
    let took = probe["tookUs"].as_u64().unwrap_or(0);
    let by = match (at(probe, "/backend"), at(probe, "/backendSees")) {
        (backend, sees) if !backend.is_empty() && !sees.is_empty() => {
            let word = if at(probe, "/outcome") == "answered" { "by" } else { "at" };
            format!(" {word} {}, which sees {sees}", socket(&backend, &at(probe, "/backendPort")))
        }
        _ => String::new(),
    };
    let sign = if probe["agrees"] == json!(true) { "" } else { "   NOT AS TOLD" };
    let silent = path["backends"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|backend| at(backend, "/address") == at(probe, "/backend"))
        .map(|backend| at(backend, "/node"))
        .filter(|node| at(probe, "/outcome") == "timeout" && !node.is_empty());
    let hint = silent.map(|node| format!("\n  try     weft node show {node}")).unwrap_or_default();
    let meaning = match at(probe, "/meaning") {
        meaning if meaning.is_empty() => String::new(),
        meaning => format!(": {meaning}"),
    };
    format!(
        "{told}; probe: {} in {}.{:02} ms{by}{sign}{meaning}{hint}\n",
        at(probe, "/outcome"),
        took / 1000,
        took % 1000 / 10
    )
}

/// `10.0.0.1:80`, `[fd00::1]:80`, or the address alone.
fn socket(address: &str, port: &str) -> String {
    let is_none = port.is_empty() || port == "0";
    match address.contains(':') {
        _ if is_none => address.to_owned(),
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
