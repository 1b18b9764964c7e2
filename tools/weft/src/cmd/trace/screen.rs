//! What was told, for people: a numbered step per line, a block per address, the verdict last.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::table::{at, span};

/// Lines of a kind that a screen shows.
const SHOWN: usize = 16;

/// The screen.
pub(super) fn screen(value: &Value) -> String {
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
    if !path["sender"].is_null() {
        let (own, device) = (at(path, "/source"), at(path, "/sender/device"));
        lines.push((
            "sender",
            match path["sender"]["allows"] == json!(true) {
                true => format!("ALLOWED  {own} is the pod's at its port {device}"),
                false => format!("DENIED   {own} at port {device}: the tables of port security lack it"),
            },
        ));
    }
    if !path["service"].is_null() {
        lines.push(("service", service_line(whole, path)));
    }
    let picked: Vec<&Value> =
        path["backends"].as_array().into_iter().flatten().filter(|b| b["in"] == json!(true)).collect();
    let mut all = |word, told: Vec<String>| lines.extend(told.into_iter().map(|line| (word, line)));
    all("egress", end_lines("egress", &picked));
    all("source", distinct(picked.iter().map(|backend| source_line(path, backend))));
    all("route", distinct(picked.iter().map(|backend| route_line(backend))));
    all("ingress", end_lines("ingress", &picked));
    let (mut text, mut last, mut step) = (String::new(), "", 0);
    let mut denies = 0;
    for (word, line) in lines {
        step += usize::from(word != last);
        text +=
            &if word == last { format!("{:12}{line}\n", "") } else { format!("{step} {word:8}  {line}\n") };
        last = word;
        if word == "service" {
            text += &backend_lines(path);
        }
        if denies == 0 && denied_at(path, &picked) == Some(word) {
            denies = step;
        }
    }
    text + &verdict(whole, path, denies)
}

/// The first step that drops it, whoever it is for.
fn denied_at<'a>(path: &Value, picked: &[&Value]) -> Option<&'a str> {
    if path.pointer("/sender/allows") == Some(&json!(false)) {
        return Some("sender");
    }
    let closed = |end: &str| {
        let mut all = picked.iter().map(|backend| backend.pointer(&format!("/{end}/allows")));
        !picked.is_empty() && all.all(|allows| allows == Some(&json!(false)))
    };
    // Of several destinations some may be closed at one end and the others at the other: the last one tells.
    ["egress", "ingress"].into_iter().find(|end| closed(end)).or(Some("ingress"))
}

/// `ALLOWED  networkpolicy shop/db-in rule 1`, for each destination that differs.
fn end_lines(end: &str, picked: &[&Value]) -> Vec<String> {
    let mut texts: Vec<(String, String)> = Vec::new();
    for backend in picked {
        let place = socket(&at(backend, "/address"), &at(backend, "/port"));
        let told = &backend[end];
        if !told.is_null() {
            texts.push((place, end_line(told)));
        } else if end == "ingress" && at(backend, "/pod").is_empty() {
            texts.push((place, "ALLOWED  the destination is no pod: no policy asks there".to_owned()));
        }
    }
    let kinds: BTreeSet<&String> = texts.iter().map(|(_, text)| text).collect();
    let one = kinds.len() <= 1;
    distinct(texts.into_iter().map(|(place, text)| if one { text } else { format!("{text}  [{place}]") }))
}

fn end_line(end: &Value) -> String {
    let word = if end["allows"] == json!(true) { "ALLOWED" } else { "DENIED" };
    let (reason, kernel, node) = (at(end, "/reason"), at(end, "/kernel"), at(end, "/node"));
    match (kernel.is_empty(), node.is_empty()) {
        (false, _) => format!("{word:7}  the tables of {node}: {kernel}; its policies: {reason}"),
        (true, false) => format!("{word:7}  {reason}  ({node})"),
        (true, true) => format!("{word:7}  {reason}  (by the policies; its node didn't answer)"),
    }
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

fn verdict(whole: &Value, path: &Value, step: usize) -> String {
    let backends = || path["backends"].as_array().into_iter().flatten().filter(|b| b["in"] == json!(true));
    let fate = match at(path, "/verdict").as_str() {
        "Allowed" => "ALLOWED".to_owned(),
        "Denied" => format!("DENIED at step {step}"),
        "Lost" => "LOST: there is no way to it".to_owned(),
        "Partly" => {
            let closed = |end: &Value| end["allows"] == json!(false);
            let open = backends().filter(|b| !closed(&b["egress"]) && !closed(&b["ingress"])).count();
            format!("PARTLY ALLOWED: {open} of {} backends", backends().count())
        }
        word => format!("{} {}", word.to_uppercase(), at(path, "/reason")),
    };
    let told = format!("{fate} at revision {}", at(whole, "/revision"));
    let next = next_steps(path);
    let probe = &path["probe"];
    if probe.is_null() {
        return format!("{told}\n{next}");
    }
    let took = probe["tookUs"].as_u64().unwrap_or(0);
    let by = match (at(probe, "/backend"), at(probe, "/backendSees")) {
        // Of what is dropped as told, nobody sees anything.
        _ if probe["agrees"] == json!(true) && at(path, "/verdict") == "Denied" => String::new(),
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
        .filter(|node| {
            at(probe, "/outcome") == "timeout" && probe["agrees"] != json!(true) && !node.is_empty()
        });
    let hint = silent.map(|node| format!("\n  try     weft node show {node}")).unwrap_or_default();
    let meaning = match at(probe, "/meaning") {
        meaning if meaning.is_empty() => String::new(),
        meaning => format!(": {meaning}"),
    };
    format!(
        "{told}; probe: {} in {}.{:02} ms{by}{sign}{meaning}{hint}\n{next}",
        at(probe, "/outcome"),
        took / 1000,
        took % 1000 / 10
    )
}

/// Of what is denied: what would allow it, and where to look.
fn next_steps(path: &Value) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut note = |line: String| {
        if !lines.contains(&line) && lines.len() < SHOWN {
            lines.push(line);
        }
    };
    if path.pointer("/sender/allows") == Some(&json!(false)) {
        note("  try     weft check".to_owned());
    }
    let ends = path["backends"].as_array().into_iter().flatten().flat_map(|b| [&b["egress"], &b["ingress"]]);
    for end in ends.filter(|end| end["allows"] == json!(false)) {
        if !at(end, "/kernel").is_empty() {
            note(format!("  try     weft node show {}", at(end, "/node")));
            continue;
        }
        let closest = at(end, "/closest");
        if !closest.is_empty() {
            note(format!("  {closest}"));
        }
        let policy = end["policies"].as_array().and_then(|all| all.first()?.as_str()?.split_once('/'));
        if let Some((namespace, name)) = policy {
            note(format!("  try     weft describe netpol -n {namespace} {name}"));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
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
