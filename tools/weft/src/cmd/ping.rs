//! `weft ping FROM TO`: real echo packets, sent by the agent of the sender's node out of the pod's namespace.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, NOT_FOUND, USAGE};
use weft_model::{Kind, PodName};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::one,
    pod::{ask_node, unexpected},
};
use crate::{
    args::{Ping, pod_name},
    client::{Session, address, bytes_of},
    fail::{Failure, Outcome},
    table::at,
};

/// Runs the command.
pub(crate) async fn run(args: &Ping, run: &Run) -> Outcome {
    let session = run.session()?;
    let from = named(&args.from, "FROM", &session)?;
    let (sender, _) = one(&session, Kind::Pod, &from.to_string()).await?;
    let to = targets(&args.to, &session, &sender).await?;
    let ping = v1::Ping {
        from_pod: from.to_string(),
        to: to.iter().map(|a| bytes_of(*a)).collect(),
        count: args.count,
        size: args.size,
        dont_fragment: args.df,
    };
    let node = at(&sender, "/spec/nodeName");
    let answer = ask_node(&session, &node, ask::What::Ping(ping), None).await?;
    let answer_request::What::Ping(answer) = answer else { return Err(unexpected(&node)) };
    let rows = answer.rows;
    let items: Vec<Value> = rows.iter().map(row).collect();
    let lost = rows.iter().any(|row| row.received < row.sent || row.sent == 0);
    let text: String = items.iter().map(|item| line(&from.to_string(), &node, item)).collect();
    run.printer
        .value(&json!({"kind": "Ping", "from": from.to_string(), "node": node, "items": items}), &text);
    if lost { Err(Failure::Answer(ExitCode::No)) } else { Ok(()) }
}

/// Addresses to ping: an address itself, or those of a pod that the sender has a family for.
async fn targets(to: &str, session: &Session, sender: &Value) -> Outcome<Vec<IpAddr>> {
    if let Ok(address) = to.parse() {
        return Ok(vec![address]);
    }
    let name = named(to, "TO", session)?;
    let (pod, _) = one(session, Kind::Pod, &name.to_string()).await?;
    let own = addresses(sender);
    let targets: Vec<IpAddr> =
        addresses(&pod).into_iter().filter(|a| own.iter().any(|o| o.is_ipv4() == a.is_ipv4())).collect();
    if targets.is_empty() {
        return Err(Failure::new(&NOT_FOUND, format!("pod {name} has no address of a family of the sender")));
    }
    Ok(targets)
}

/// A pod's name as it was typed for an argument.
pub(super) fn named(text: &str, field: &str, session: &Session) -> Outcome<PodName> {
    pod_name(text, session.namespace()).map_err(|e| {
        let error = Error::new(&USAGE, e.to_string()).field(field);
        error.try_this("name a pod as NAME or NAMESPACE/NAME", "weft get pods -A").into()
    })
}

/// Addresses of a pod, primary family first.
pub(super) fn addresses(pod: &Value) -> Vec<IpAddr> {
    pod.pointer("/status/podIPs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|ip| ip.get("ip")?.as_str()?.parse().ok())
        .collect()
}

fn row(row: &v1::PingRow) -> Value {
    let mut times: Vec<u32> = row.rtt_us.clone();
    times.sort_unstable();
    json!({
        "to": address(&row.to).map(|a| a.to_string()),
        "source": address(&row.from).map(|a| a.to_string()),
        "sent": row.sent,
        "received": row.received,
        "medianUs": times.get(times.len() / 2),
        "maxUs": times.last(),
        "problem": row.problem,
    })
}

fn line(from: &str, node: &str, item: &Value) -> String {
    let time =
        item["medianUs"].as_u64().map_or(String::new(), |us| format!("   {}.{:03} ms", us / 1000, us % 1000));
    let problem =
        item["problem"].as_str().filter(|p| !p.is_empty()).map_or(String::new(), |p| format!("   {p}"));
    format!(
        "{from} ({}, {node}) -> {}   {}/{} answered{time}{problem}\n",
        at(item, "/source"),
        at(item, "/to"),
        item["received"],
        item["sent"]
    )
}
