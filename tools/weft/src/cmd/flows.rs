//! `weft flows`: questions about names as they are answered, or packets as they are dropped, on one node or all. Nodes keep nothing: they
//! tell what happens while somebody watches, and are asked again and again for what came meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use weft_errors::{Error, NODE_UNREACHABLE, USAGE};
use weft_model::Kind;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::one,
    pod::{ask_node, local_namespace, named, unexpected},
};
use crate::{
    args::{FlowVerdict, Flows},
    client::{LocalAgent, Session, address, random, socket, time},
    fail::{Failure, Outcome},
    table::{Column, Table, at, column, count},
};

/// How long a node may wait for something to happen before it answers.
const WAIT: Duration = Duration::from_secs(2);
/// A node that can't be asked is asked again after this.
const RETRY: Duration = Duration::from_secs(2);
/// Answers of nodes that wait to be printed.
const WAITING: usize = 16;

/// Whom to ask.
enum Place {
    /// The agent of this machine.
    Here(LocalAgent),
    /// Through the control plane.
    Node(Box<Session>),
}

/// What a node said.
enum Said {
    Flows(v1::FlowsResult),
    /// It can't be asked; told once.
    Failed(Failure),
    /// It can be asked again.
    Back,
}

/// Runs the command: until its time is up, or it is interrupted.
pub(crate) async fn run(args: &Flows, run: &Run) -> Outcome {
    let columns = match (args.dns, args.verdict) {
        (true, _) => query_columns(),
        (false, Some(FlowVerdict::Dropped)) => drop_columns(),
        (false, None) => {
            return Err(wrong(
                "--verdict",
                "what is to be watched? Packets that are dropped, or names: --dns",
            ));
        }
    };
    let until = match (args.watch, args.time) {
        (true, _) => None,
        (false, Some(time)) => Some(Instant::now() + time),
        (false, None) => {
            return Err(wrong("--watch", "nothing is kept of what happened: watch with -w, or --for TIME"));
        }
    };
    let (places, pod) = places(args, run).await?;
    let id = random()?.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
    let flows = v1::Flows { watcher: id, pod, wait_ms, names: args.dns, drops: args.verdict.is_some() };
    let alone = places.len() == 1;
    let (words, mut heard) = mpsc::channel(WAITING);
    let mut asking = JoinSet::new();
    for (node, place) in places {
        asking.spawn(follow(node, place, flows.clone(), run.global.timeout, words.clone()));
    }
    drop(words);
    let mut table = Table::new(&columns, run.printer.style());
    let mut begun = false;
    loop {
        let word = match until {
            Some(until) => tokio::time::timeout_at(until, heard.recv()).await.unwrap_or(None),
            None => heard.recv().await,
        };
        let Some((node, said)) = word else { return Ok(()) };
        match said {
            Said::Flows(result) => {
                begun = true;
                print(&node, &result, run, &mut table);
            }
            Said::Failed(failure) if alone && !begun => return Err(failure),
            Said::Failed(failure) => {
                let why = match failure {
                    Failure::Error(error) => error.message,
                    Failure::Answer(_) => String::new(),
                };
                run.printer.note(&format!("node {node} isn't heard: {why}"));
            }
            Said::Back => run.printer.note(&format!("node {node} is heard again")),
        }
    }
}

fn wrong(field: &str, message: &str) -> Failure {
    Error::new(&USAGE, message).field(field).try_this("such as", "weft flows -w --verdict dropped").into()
}

fn print(node: &str, result: &v1::FlowsResult, run: &Run, table: &mut Table<'_>) {
    for query in &result.names {
        run.printer.change(&value(node, query), false, table);
    }
    for packet in &result.drops {
        run.printer.change(&drop_value(node, packet), false, table);
    }
    for left_out in &result.left_out {
        if run.printer.json() {
            let value = json!({
                "kind": "LeftOut",
                "node": node,
                "reason": left_out.reason,
                "pod": left_out.pod,
                "packets": left_out.packets,
            });
            run.printer.change(&value, false, table);
        }
        let of = if left_out.pod.is_empty() { String::new() } else { format!(" of {}", left_out.pod) };
        let (packets, reason) =
            (count(usize::try_from(left_out.packets).unwrap_or(usize::MAX), "packet"), &left_out.reason);
        run.printer.note(&format!("node {node}: {packets} more{of} dropped ({reason}), too many to tell"));
    }
    if result.dropped > 0 {
        if run.printer.json() {
            let dropped = json!({"kind": "Dropped", "node": node, "count": result.dropped});
            run.printer.change(&dropped, false, table);
        }
        run.printer.note(&format!("node {node}: {} more than could be told", result.dropped));
    }
}

/// Nodes to ask, by their names, and the pod that is watched. The agent of this machine is asked without a control plane.
async fn places(args: &Flows, run: &Run) -> Outcome<(Vec<(String, Place)>, String)> {
    if let Some(pod) = &args.pod {
        let local = named(pod, &local_namespace(run))?;
        if let Ok(mut agent) = LocalAgent::open()
            && agent.has_pod(&local, run.global.timeout).await?
        {
            return Ok((vec![here(agent, run).await?], local.to_string()));
        }
        let session = run.session()?;
        let name = named(pod, session.namespace())?;
        let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
        let node = at(&value, "/spec/nodeName");
        return Ok((vec![(node, Place::Node(Box::new(session)))], name.to_string()));
    }
    if let Some(node) = &args.node {
        return Ok((vec![(node.clone(), Place::Node(Box::new(run.session()?)))], String::new()));
    }
    let session = match run.session() {
        Ok(session) => session,
        Err(failure) => {
            let Ok(agent) = LocalAgent::open() else { return Err(failure) };
            return Ok((vec![here(agent, run).await?], String::new()));
        }
    };
    let reports = session.status().await?.nodes;
    let nodes = reports.into_iter().filter(|report| report.connected).map(|report| report.node);
    let places: Vec<_> =
        nodes.map(|node| Ok((node, Place::Node(Box::new(run.session()?))))).collect::<Outcome<_>>()?;
    if places.is_empty() {
        return Err(Failure::new(&NODE_UNREACHABLE, "no node is in reach"));
    }
    Ok((places, String::new()))
}

async fn here(mut agent: LocalAgent, run: &Run) -> Outcome<(String, Place)> {
    let node = agent.status(false, run.global.timeout).await?.node;
    Ok((node, Place::Here(agent)))
}

/// Asks a node again and again, as long as somebody hears it. Each question has the whole time of a command.
async fn follow(
    node: String,
    mut place: Place,
    flows: v1::Flows,
    timeout: Duration,
    words: mpsc::Sender<(String, Said)>,
) {
    let mut lost = false;
    loop {
        let said = match place.fetch(&node, flows.clone(), timeout + WAIT).await {
            Ok(result) => Said::Flows(result),
            Err(failure) => Said::Failed(failure),
        };
        let is_lost = matches!(said, Said::Failed(_));
        let told = match (lost, is_lost) {
            (true, true) => None,
            (true, false) => Some(Said::Back),
            (false, _) => None,
        };
        if let Some(told) = told
            && words.send((node.clone(), told)).await.is_err()
        {
            return;
        }
        if !(lost && is_lost) && words.send((node.clone(), said)).await.is_err() {
            return;
        }
        lost = is_lost;
        if lost {
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Place {
    async fn fetch(&mut self, node: &str, flows: v1::Flows, time: Duration) -> Outcome<v1::FlowsResult> {
        match self {
            Self::Here(agent) => agent.flows(flows, time).await,
            Self::Node(session) => {
                session.restart(time);
                let answer = ask_node(session, node, ask::What::Flows(flows), None).await?;
                let answer_request::What::Flows(result) = answer else { return Err(unexpected(node)) };
                Ok(result)
            }
        }
    }
}

fn value(node: &str, query: &v1::NamesQuery) -> Value {
    json!({
        "kind": "Query",
        "time": time(query.time_us / 1000),
        "timeUs": query.time_us,
        "node": node,
        "pod": query.pod,
        "from": address(&query.from).map(|from| from.to_string()),
        "name": query.name,
        "type": query.r#type,
        "rcode": query.rcode,
        "answers": query.answers,
        "source": query.source,
        "upstream": query.upstream.as_ref().and_then(socket).map(|upstream| upstream.to_string()),
        "tookUs": query.took_us,
        "transport": if query.tcp { "tcp" } else { "udp" },
    })
}

fn drop_value(node: &str, packet: &v1::DroppedPacket) -> Value {
    let port = |port: u32| (port > 0).then_some(port);
    json!({
        "kind": "Drop",
        "time": time(packet.time_us / 1000),
        "timeUs": packet.time_us,
        "node": node,
        "reason": packet.reason,
        "pod": packet.pod,
        "direction": packet.direction,
        "reply": packet.reply,
        "peer": packet.peer,
        "source": address(&packet.source).map(|source| source.to_string()),
        "sourcePort": port(packet.source_port),
        "destination": address(&packet.destination).map(|destination| destination.to_string()),
        "destinationPort": port(packet.destination_port),
        "protocol": packet.protocol,
        "flags": packet.flags,
        "policies": packet.policies,
        "why": packet.why,
        "hint": packet.hint,
    })
}

fn drop_columns() -> Vec<Column> {
    vec![
        column("TIME", clock),
        column("NODE", |v| at(v, "/node")),
        column("REASON", |v| at(v, "/reason")),
        column("FROM", |v| side(v, true)),
        column("TO", |v| side(v, false)),
        column("PROTOCOL", |v| format!("{} {}", at(v, "/protocol"), at(v, "/flags")).trim_end().to_owned()),
        column("WHY", |v| match (at(v, "/why"), at(v, "/hint")) {
            (why, hint) if hint.is_empty() => why,
            (why, hint) => format!("{why}; {hint}"),
        }),
    ]
}

/// `shop/web-0 10.128.7.4:41022`: who sent the packet, or for whom it was.
fn side(value: &Value, is_sender: bool) -> String {
    let (address, port) =
        if is_sender { ("/source", "/sourcePort") } else { ("/destination", "/destinationPort") };
    let (address, port) = (at(value, address), at(value, port));
    // Whose rules were asked sends what leaves it, and what answers those who came in. Nobody else's were but the sender's.
    let is_pods = (at(value, "/direction") == "ingress") == (value["reply"] == json!(true));
    let name = match (is_pods == is_sender, at(value, "/pod"), at(value, "/peer")) {
        (true, pod, _) => pod,
        (false, _, peer) => peer.strip_prefix("pod/").unwrap_or(&peer).to_owned(),
    };
    let place = match (address.contains(':'), port.is_empty()) {
        (_, true) => address,
        (true, false) => format!("[{address}]:{port}"),
        (false, false) => format!("{address}:{port}"),
    };
    format!("{name} {place}").trim().to_owned()
}

fn query_columns() -> Vec<Column> {
    vec![
        column("TIME", clock),
        column("NODE", |v| at(v, "/node")),
        column("POD", |v| match at(v, "/pod").as_str() {
            "" => at(v, "/from"),
            pod => pod.to_owned(),
        }),
        column("TYPE", |v| at(v, "/type")),
        column("NAME", |v| at(v, "/name")),
        column("CODE", code),
        column("SOURCE", |v| format!("{} {}", at(v, "/source"), at(v, "/upstream")).trim_end().to_owned()),
        column("TOOK", |v| {
            let us = v["tookUs"].as_u64().unwrap_or(0);
            format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
        }),
    ]
}

/// `10:14:07.201`, in UTC.
fn clock(value: &Value) -> String {
    let millis = value["timeUs"].as_u64().unwrap_or(0) / 1000 % 1000;
    format!("{}.{millis:03}", at(value, "/time").get(11..19).unwrap_or_default())
}

/// The code; an answer without records has one of its own, and where nothing was sent there is none.
fn code(value: &Value) -> String {
    match at(value, "/rcode").as_str() {
        "NOERROR" if value["answers"] == json!(0) => "NODATA".to_owned(),
        code => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::bytes_of,
        table::{Style, render},
    };

    #[test]
    fn a_row_tells_who_asked_what_and_where_the_answer_came_from() {
        let server: std::net::SocketAddr = "192.0.2.53:53".parse().unwrap();
        let query = v1::NamesQuery {
            time_us: 1_700_000_000_123_456,
            from: bytes_of("10.128.0.7".parse().unwrap()),
            pod: "shop/web-0".to_owned(),
            name: "www.example.com.".to_owned(),
            r#type: "A".to_owned(),
            rcode: "NOERROR".to_owned(),
            source: "upstream".to_owned(),
            upstream: Some((&server).into()),
            took_us: 4567,
            tcp: false,
            answers: 1,
        };
        let limited = v1::NamesQuery {
            pod: String::new(),
            rcode: String::new(),
            source: "rate".to_owned(),
            upstream: None,
            ..query.clone()
        };
        let nothing =
            v1::NamesQuery { answers: 0, source: "zone".to_owned(), upstream: None, ..query.clone() };
        let rows = [value("n1", &query), value("n1", &limited), value("n1", &nothing)];
        let text = render(&query_columns(), &rows, Style { wide: false, no_headers: true });
        let expected = "22:13:20.123  n1  shop/web-0  A  www.example.com.  NOERROR  upstream 192.0.2.53:53  4.56 ms\n\
                        22:13:20.123  n1  10.128.0.7  A  www.example.com.  -        rate                    4.56 ms\n\
                        22:13:20.123  n1  shop/web-0  A  www.example.com.  NODATA   zone                    4.56 ms\n";
        assert_eq!(text, expected);
        assert_eq!((rows[0]["transport"].as_str(), rows[0]["tookUs"].as_u64()), (Some("udp"), Some(4567)));
    }

    #[test]
    fn a_dropped_packet_tells_both_sides_and_what_would_allow_it() {
        let bytes = |text: &str| bytes_of(text.parse().unwrap());
        let denied = v1::DroppedPacket {
            time_us: 1_700_000_000_123_456,
            reason: "policy-ingress".to_owned(),
            pod: "shop/db-0".to_owned(),
            direction: "ingress".to_owned(),
            source: bytes("10.128.7.4"),
            destination: bytes("10.128.9.3"),
            protocol: "tcp".to_owned(),
            source_port: 41022,
            destination_port: 5432,
            flags: "SYN".to_owned(),
            peer: "pod/shop/web-0".to_owned(),
            policies: vec!["shop/db".to_owned()],
            why: "isolated by shop/db; no rule matches".to_owned(),
            hint: "closest: networkpolicy shop/db rule 1: the peer lacks role=admin".to_owned(),
            ..v1::DroppedPacket::default()
        };
        let answer = v1::DroppedPacket {
            reply: true,
            source: bytes("fd00::3"),
            destination: bytes("2001:db8::7"),
            source_port: 80,
            destination_port: 9,
            flags: "ACK".to_owned(),
            peer: String::new(),
            hint: String::new(),
            ..denied.clone()
        };
        let spoofed = v1::DroppedPacket {
            reason: "spoofed".to_owned(),
            pod: "shop/web-1".to_owned(),
            source: bytes("10.128.7.9"),
            destination: bytes("10.128.9.3"),
            protocol: "icmp".to_owned(),
            flags: "echo-request".to_owned(),
            peer: "service/shop/db".to_owned(),
            ..v1::DroppedPacket { time_us: denied.time_us, ..v1::DroppedPacket::default() }
        };
        let rows = [&denied, &answer, &spoofed].map(|packet| drop_value("n1", packet));
        let style = Style { wide: false, no_headers: true };
        let text = rows.map(|row| render(&drop_columns(), &[row], style));
        assert_eq!(
            text,
            [
                "22:13:20.123  n1  policy-ingress  shop/web-0 10.128.7.4:41022  shop/db-0 10.128.9.3:5432  tcp SYN  \
                 isolated by shop/db; no rule matches; closest: networkpolicy shop/db rule 1: the peer lacks role=admin\n",
                "22:13:20.123  n1  policy-ingress  shop/db-0 [fd00::3]:80  [2001:db8::7]:9  tcp ACK  \
                 isolated by shop/db; no rule matches\n",
                "22:13:20.123  n1  spoofed  shop/web-1 10.128.7.9  service/shop/db 10.128.9.3  icmp echo-request  -\n",
            ]
        );
    }
}
