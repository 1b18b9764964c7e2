//! `weft flows --dns`: questions about names as they are answered, on one node or all. Nodes keep nothing: they tell what happens
//! while somebody watches, and are asked again and again for what came meanwhile.

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
    args::Flows,
    client::{LocalAgent, Session, address, random, socket, time},
    fail::{Failure, Outcome},
    table::{Column, Table, at, column},
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
    if !args.dns {
        return Err(wrong("--dns", "what is to be watched? Questions about names: --dns"));
    }
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
    let flows = v1::Flows { watcher: id, pod, wait_ms, names: true };
    let alone = places.len() == 1;
    let (words, mut heard) = mpsc::channel(WAITING);
    let mut asking = JoinSet::new();
    for (node, place) in places {
        asking.spawn(follow(node, place, flows.clone(), run.global.timeout, words.clone()));
    }
    drop(words);
    let columns = columns();
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
    Error::new(&USAGE, message).field(field).try_this("such as", "weft flows -w --dns").into()
}

fn print(node: &str, result: &v1::FlowsResult, run: &Run, table: &mut Table<'_>) {
    for query in &result.names {
        run.printer.change(&value(node, query), false, table);
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

fn columns() -> Vec<Column> {
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
        let text = render(&columns(), &rows, Style { wide: false, no_headers: true });
        let expected = "22:13:20.123  n1  shop/web-0  A  www.example.com.  NOERROR  upstream 192.0.2.53:53  4.56 ms\n\
                        22:13:20.123  n1  10.128.0.7  A  www.example.com.  -        rate                    4.56 ms\n\
                        22:13:20.123  n1  shop/web-0  A  www.example.com.  NODATA   zone                    4.56 ms\n";
        assert_eq!(text, expected);
        assert_eq!((rows[0]["transport"].as_str(), rows[0]["tookUs"].as_u64()), (Some("udp"), Some(4567)));
    }
}
