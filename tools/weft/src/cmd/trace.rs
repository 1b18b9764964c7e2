//! `weft trace FROM TO`: what a packet meets, told by the nodes of both ends; `--probe` sends a real one, which must agree.
//!
//! The sender's node tells the way and its own end, the nodes of destinations tell theirs: each by what its kernel holds.

mod screen;
mod value;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde_json::Value;
use tokio::task::JoinSet;
use weft_errors::{Error, ExitCode, NOT_FOUND, USAGE};
use weft_model::{Kind, PodName};
use weft_proto::v1::{self, answer_request, ask};

use self::{
    screen::screen,
    value::{Verdict, value, verdict},
};
use super::{
    Run,
    get::one,
    ping::{addresses, named},
    pod::{ask_node, unexpected},
};
use crate::{
    args::{Destination, Trace},
    client::{Session, bytes_of},
    fail::{Failure, Outcome},
    table::at,
};

/// Nodes of destinations that are asked about their end; of more, the sender's node says what it knows.
const NODES: usize = 16;
/// They have so long.
const NODE_TIME: Duration = Duration::from_secs(3);
/// Flows that one of them is asked about.
const FLOWS: usize = 256;

/// Who sends.
enum From {
    Pod(PodName, Value),
    Node,
}

/// Runs the command: 0 when the packet gets there, by what is told and, if it was asked for, by what was tried.
pub(crate) async fn run(args: &Trace, run: &Run) -> Outcome {
    let session = run.session()?;
    let (from, node) = from(&args.from, &session).await?;
    let mut question = question(args, &from, &session).await?;
    let probe = std::mem::take(&mut question.probe);
    let mut answer = ask(&session, &node, question.clone()).await?;
    question.said = said(&answer, &node, &question, run).await?;
    question.probe = probe;
    if probe || !question.said.is_empty() {
        answer = ask(&session, &node, question).await?;
    }
    let value = value(args, &node, &answer);
    run.printer.value(&value, &screen(&value));
    let code = exit(&answer);
    if code == ExitCode::Done { Ok(()) } else { Err(Failure::Answer(code)) }
}

/// The sender, and the node that tells its ways.
async fn from(text: &str, session: &Session) -> Outcome<(From, String)> {
    if let Some(node) = text.strip_prefix("node/") {
        return Ok((From::Node, node.to_owned()));
    }
    let name = named(text.strip_prefix("pod/").unwrap_or(text), "FROM", session)?;
    let (pod, _) = one(session, Kind::Pod, &name.to_string()).await?;
    let node = at(&pod, "/spec/nodeName");
    Ok((From::Pod(name, pod), node))
}

async fn ask(session: &Session, node: &str, question: v1::Trace) -> Outcome<v1::TraceResult> {
    let answer = ask_node(session, node, ask::What::Trace(question), None).await?;
    if let answer_request::What::Trace(answer) = answer { Ok(answer) } else { Err(unexpected(node)) }
}

/// What the nodes of destinations say of their end. Who doesn't answer in time is left out: the sender's node knows the policies too.
async fn said(
    answer: &v1::TraceResult,
    own: &str,
    question: &v1::Trace,
    run: &Run,
) -> Outcome<Vec<v1::TraceSaid>> {
    let mut asking = JoinSet::new();
    for (node, flows) in flows(answer, own).into_iter().take(NODES) {
        let session = run.session()?;
        let judge = v1::Judge { flows: flows.clone(), protocol: question.protocol };
        asking.spawn(async move {
            (flows, ask_node(&session, &node, ask::What::Judge(judge), Some(NODE_TIME)).await)
        });
    }
    let mut all = Vec::new();
    while let Some(told) = asking.join_next().await {
        let Ok((flows, Ok(answer_request::What::Judge(result)))) = told else { continue };
        let ends = flows.into_iter().zip(result.ends).filter(|(_, end)| !end.node.is_empty());
        all.extend(ends.map(|(flow, end)| v1::TraceSaid {
            address: flow.destination,
            port: flow.port,
            end: Some(end),
        }));
    }
    Ok(all)
}

/// Flows to pods of other nodes.
fn flows(answer: &v1::TraceResult, own: &str) -> BTreeMap<String, Vec<v1::JudgeFlow>> {
    let mut all: BTreeMap<String, Vec<v1::JudgeFlow>> = BTreeMap::new();
    for path in &answer.paths {
        for backend in path.backends.iter().filter(|backend| backend.out.is_empty()) {
            if backend.pod.is_empty() || backend.node.is_empty() || backend.node == own {
                continue;
            }
            let flows = all.entry(backend.node.clone()).or_default();
            if flows.len() < FLOWS {
                let (source, destination) = (path.from.clone(), backend.address.clone());
                flows.push(v1::JudgeFlow { source, destination, port: backend.port });
            }
        }
    }
    all
}

/// What the node is asked: services by name, so that it is the node's own view of them that counts.
async fn question(args: &Trace, from: &From, session: &Session) -> Outcome<v1::Trace> {
    let Destination { to, port, protocol } = &args.to;
    let mut question = v1::Trace {
        from_pod: if let From::Pod(name, _) = from { name.to_string() } else { String::new() },
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
            let example =
                format!("weft trace {} {to}:{}", args.from, ports.first().map_or("80", String::as_str));
            return Err(error.try_this(format!("it has {}", ports.join(", ")), example).into());
        }
        question.service = word;
    } else {
        let pod = named(to, "TO", session)?;
        let (pod, _) = one(session, Kind::Pod, &pod.to_string()).await?;
        let own = if let From::Pod(_, sender) = from { Some(addresses(sender)) } else { None };
        let of_family =
            |a: &IpAddr| own.as_ref().is_none_or(|own| own.iter().any(|o| o.is_ipv4() == a.is_ipv4()));
        question.to = addresses(&pod).into_iter().filter(of_family).map(bytes_of).collect();
        if question.to.is_empty() {
            let message = format!("pod {to} has no address of a family of the sender");
            return Err(Failure::new(&NOT_FOUND, message));
        }
    }
    Ok(question)
}

/// Name and namespace of `cart.shop`, `cart.shop.svc` and `cart.shop.svc.cluster.local`.
pub(super) fn service_name(text: &str) -> Option<(&str, &str)> {
    let mut labels = text.trim_end_matches('.').splitn(3, '.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    let rest = labels.next().unwrap_or("svc");
    let is_service = !text.contains('/') && (rest == "svc" || rest.starts_with("svc."));
    is_service.then_some((name, namespace))
}

/// Exit status: a probe that shows what was told to be impossible is a bug of ours.
fn exit(answer: &v1::TraceResult) -> ExitCode {
    let of = |path: &v1::TracePath| {
        let Some(probe) = &path.probe else {
            return if verdict(path) == Verdict::Allowed { ExitCode::Done } else { ExitCode::No };
        };
        match probe.outcome.as_str() {
            "answered" | "refused" if !probe.agrees => ExitCode::Bug,
            "answered" => ExitCode::Done,
            "sent" if probe.agrees && may_be_there(path, probe) => ExitCode::Done,
            _ => ExitCode::No,
        }
    };
    answer.paths.iter().map(of).max_by_key(|code| *code as u8).unwrap_or(ExitCode::Done)
}

/// Whether a datagram that nobody answered was for somebody who may get it.
fn may_be_there(path: &v1::TracePath, probe: &v1::TraceProbe) -> bool {
    let is_met =
        |backend: &&v1::TraceBackend| backend.address == probe.backend && backend.port == probe.backend_port;
    match path.backends.iter().find(is_met) {
        Some(met) => value::passes(met),
        None => verdict(path) == Verdict::Allowed,
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
