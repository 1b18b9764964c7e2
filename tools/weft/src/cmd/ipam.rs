//! `weft ipam show|who|check`: use of the ranges, owner of an address, proof that none is held twice or lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_model::Kind;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::objects,
    pod::{ask_node, unexpected},
};
use crate::{
    args::Ipam,
    client::{address, bytes_of, node_status_value, object},
    fail::{Failure, Outcome},
    table::{at, column, joined},
};

/// Runs the subcommand.
pub(crate) async fn run(args: Ipam, run: &Run) -> Outcome {
    match args {
        Ipam::Show => show(run).await,
        Ipam::Who { address } => who(address, run).await,
        Ipam::Check => check(run).await,
    }
}

async fn show(run: &Run) -> Outcome {
    let session = run.session()?;
    let blocks = objects(&session, Kind::Lease, "", "").await?;
    let status = session
        .admin()?
        .status(session.request(v1::StatusRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let reports: Vec<Value> = status.nodes.iter().map(node_status_value).collect();
    let uses: BTreeMap<String, &Value> = reports
        .iter()
        .flat_map(|report| report["status"]["blocks"].as_array().into_iter().flatten())
        .map(|block| (at(block, "/block"), block))
        .collect();
    let items: Vec<Value> = blocks["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|lease| {
            let block = at(lease, "/metadata/name");
            let seen = uses.get(&block);
            json!({
                "kind": "Block",
                "metadata": {"name": block},
                "node": at(lease, "/status/node"),
                "epoch": lease["status"]["epoch"],
                "used": seen.map(|s| s["used"].clone()),
                "quarantine": seen.map(|s| s["quarantine"].clone()),
            })
        })
        .collect();
    let columns = [
        column("BLOCK", |v| at(v, "/metadata/name")),
        column("NODE", |v| at(v, "/node")),
        column("USED", |v| at(v, "/used")),
        column("QUARANTINE", |v| at(v, "/quarantine")),
        column("EPOCH", |v| at(v, "/epoch")),
    ];
    run.printer
        .note(&format!("{} of {} blocks leased, {} pods", status.blocks, status.blocks_total, status.pods));
    run.printer.list(&weft_yaml::list_value(items, status.revision), &columns);
    Ok(())
}

async fn who(wanted: IpAddr, run: &Run) -> Outcome {
    let session = run.session()?;
    let request = v1::WhoHasRequest { address: bytes_of(wanted) };
    let answer = session
        .admin()?
        .who_has(session.request(request))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let wrap = |kind| object(Some(v1::Object { kind: Some(kind) })).map(|o| weft_yaml::object_value(&o));
    let pod = answer.pod.map(|p| wrap(v1::object::Kind::Pod(p))).transpose()?;
    let lease = answer.lease.map(|l| wrap(v1::object::Kind::Lease(l))).transpose()?;
    let block = lease.as_ref().map(|l| {
        format!(
            "   block {} on {} (epoch {})",
            at(l, "/metadata/name"),
            at(l, "/status/node"),
            at(l, "/status/epoch")
        )
    });
    let holder = match (&pod, answer.node.as_str()) {
        (Some(pod), _) => format!(
            "pod {}/{} on {}",
            at(pod, "/metadata/namespace"),
            at(pod, "/metadata/name"),
            at(pod, "/spec/nodeName")
        ),
        (None, "") => "nobody".to_owned(),
        (None, node) => format!("node {node}"),
    };
    let purpose = if answer.purpose.is_empty() {
        "in no range of the fabric".to_owned()
    } else {
        format!("in the {} range", answer.purpose)
    };
    let value = json!({"kind": "AddressOwner", "address": wanted.to_string(), "pod": pod, "lease": lease, "node": answer.node, "purpose": answer.purpose, "revision": answer.revision});
    run.printer.value(&value, &format!("{wanted}   {holder}{}   {purpose}", block.unwrap_or_default()));
    if pod.is_none() && answer.node.is_empty() { Err(Failure::Answer(ExitCode::NotFound)) } else { Ok(()) }
}

/// What one address is known as, by place.
#[derive(Default)]
struct Seen {
    control: BTreeSet<String>,
    journals: BTreeSet<String>,
    kernels: BTreeSet<String>,
}

async fn check(run: &Run) -> Outcome {
    let session = run.session()?;
    let status = session
        .admin()?
        .status(session.request(v1::StatusRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let mut seen: BTreeMap<IpAddr, Seen> = BTreeMap::new();
    let mut unreachable = Vec::new();
    let mut asked = BTreeSet::new();
    for report in &status.nodes {
        match ask_node(&session, &report.node, ask::What::Ledger(v1::Ledger {})).await {
            Ok(answer_request::What::Ledger(ledger)) => {
                asked.insert(report.node.clone());
                add_ledger(&mut seen, &report.node, ledger);
            }
            Ok(_) => return Err(unexpected(&report.node)),
            Err(_) => unreachable.push(report.node.clone()),
        }
    }
    // The control plane is read after the nodes: a pod published meanwhile is in both.
    let pods = objects(&session, Kind::Pod, "", "").await?;
    for pod in pods["items"].as_array().into_iter().flatten() {
        let node = at(pod, "/spec/nodeName");
        if !asked.contains(&node) {
            continue;
        }
        for ip in joined(pod, "/status/podIPs").split(", ") {
            if let Ok(ip) = ip.parse() {
                seen.entry(ip).or_default().control.insert(format!(
                    "{node}:{}/{}",
                    at(pod, "/metadata/namespace"),
                    at(pod, "/metadata/name")
                ));
            }
        }
    }
    let items: Vec<Value> = seen.iter().filter_map(|(address, seen)| problem(*address, seen)).collect();
    let summary = format!(
        "{} addresses, {} nodes asked: {} problems{}",
        seen.len(),
        asked.len(),
        items.len(),
        if unreachable.is_empty() {
            String::new()
        } else {
            format!("   (unreachable: {})", unreachable.join(", "))
        }
    );
    let lines: String =
        items.iter().map(|p| format!("{}   {}\n", at(p, "/address"), at(p, "/problem"))).collect();
    let value = json!({"kind": "IpamCheck", "addresses": seen.len(), "nodes": asked.len(), "unreachable": unreachable, "items": items});
    run.printer.value(&value, &format!("{lines}{summary}"));
    if items.is_empty() { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn add_ledger(seen: &mut BTreeMap<IpAddr, Seen>, node: &str, ledger: v1::LedgerResult) {
    for row in ledger.rows {
        let Some(address) = address(&row.address) else { continue };
        let entry = seen.entry(address).or_default();
        if !row.journal_pod.is_empty() {
            entry.journals.insert(format!("{node}:{}", row.journal_pod));
        }
        if !row.kernel_port.is_empty() {
            entry.kernels.insert(format!("{node}:{}", row.kernel_port));
        }
    }
}

/// What is wrong with an address, if anything.
fn problem(address: IpAddr, seen: &Seen) -> Option<Value> {
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" and ");
    let problem = if seen.journals.len() > 1 {
        format!("held twice: {}", list(&seen.journals))
    } else if seen.kernels.len() > 1 {
        format!("behind two ports: {}", list(&seen.kernels))
    } else if seen.journals.is_empty() && !seen.kernels.is_empty() {
        format!("in the kernel of {} but in no journal", list(&seen.kernels))
    } else if !seen.journals.is_empty() && seen.kernels.is_empty() {
        format!("in the journal of {} but in no kernel", list(&seen.journals))
    } else if seen.journals != seen.control {
        format!("journal says {:?}, control plane {:?}", list(&seen.journals), list(&seen.control))
    } else {
        return None;
    };
    Some(json!({"address": address.to_string(), "problem": problem}))
}
