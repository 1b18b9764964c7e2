//! `weft ipam show|who|check`: use of the ranges, owner of an address, proof that none is held twice or lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde_json::{Value, json};
use weft_errors::ExitCode;
use weft_model::{AddressRange, Fabric, Family, Kind};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::objects,
    pod::{ask_node, unexpected},
};
use crate::{
    args::Ipam,
    client::{Session, address, bytes_of, node_status_value, object},
    fail::{Failure, Outcome},
    output::{Format, items as items_of, out},
    table::{age, at, column, count, joined, render},
};

/// So often is looked before something counts as a problem, with a pause between two looks.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(400);

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
    let status = session.status().await?;
    let reports: Vec<Value> = status.nodes.iter().map(node_status_value).collect();
    let uses: BTreeMap<String, &Value> = reports
        .iter()
        .flat_map(|report| report["status"]["blocks"].as_array().into_iter().flatten())
        .map(|block| (at(block, "/block"), block))
        .collect();
    let items: Vec<Value> = items_of(&blocks)
        .iter()
        .map(|lease| {
            let block = at(lease, "/metadata/name");
            let seen = uses.get(&block);
            json!({
                "kind": "Block",
                "node": at(lease, "/status/node"),
                "epoch": lease["status"]["epoch"],
                "used": seen.map(|s| s["used"].clone()),
                "quarantine": seen.map(|s| s["quarantine"].clone()),
                "metadata": {"name": block},
            })
        })
        .collect();
    let fabric = status.fabric.clone().and_then(|wire| Fabric::try_from(wire).ok());
    let ranges = fabric.map(|fabric| ranges(&fabric, &items)).unwrap_or_default();
    if matches!(run.printer.format, Format::Table | Format::Wide) {
        out(&screen(&ranges, &items, run));
        return Ok(());
    }
    let whole = json!({
        "kind": "IpamUse",
        "metadata": {"resourceVersion": status.revision.to_string()},
        "ranges": ranges,
        "items": items,
    });
    run.printer.list(&whole, &[]);
    Ok(())
}

fn screen(ranges: &[Value], blocks: &[Value], run: &Run) -> String {
    let of_ranges = [
        column("RANGE", |v| at(v, "/range")),
        column("PURPOSE", |v| at(v, "/purpose")),
        column("BLOCKS", |v| match v["blocks"].as_u64() {
            Some(all) => format!("{} of {all} leased", v["leased"]),
            None => String::new(),
        }),
    ];
    let of_blocks = [
        column("BLOCK", |v| at(v, "/metadata/name")),
        column("NODE", |v| at(v, "/node")),
        column("USED", |v| at(v, "/used")),
        column("QUARANTINE", |v| at(v, "/quarantine")),
        column("EPOCH", |v| at(v, "/epoch")),
    ];
    let style = run.printer.style();
    let mut text = render(&of_ranges, ranges, style);
    if !blocks.is_empty() {
        text += &format!("\n{}", render(&of_blocks, blocks, style));
    }
    text
}

/// The ranges of the fabric; those for pods with how many of their blocks are leased.
fn ranges(fabric: &Fabric, blocks: &[Value]) -> Vec<Value> {
    let leased: Vec<AddressRange> =
        blocks.iter().filter_map(|block| at(block, "/metadata/name").parse().ok()).collect();
    let of_pods = |range: &AddressRange| {
        let prefix = match range.family() {
            Family::V4 => fabric.block_prefix_v4,
            Family::V6 => 64,
        };
        let all = 1_u64.checked_shl(prefix.saturating_sub(range.prefix()).into());
        let leased = leased.iter().filter(|block| range.covers(**block)).count();
        json!({"purpose": "pods", "range": range.to_string(), "blocks": all, "leased": leased})
    };
    let plain = |purpose: &'static str| move |range: &AddressRange| json!({"purpose": purpose, "range": range.to_string()});
    let ranges = &fabric.ranges;
    let mut all: Vec<Value> = ranges.pods.iter().map(of_pods).collect();
    all.extend(ranges.services.iter().map(plain("services")));
    all.extend(ranges.nodes.iter().map(plain("nodes")));
    all.extend(ranges.load_balancers.iter().map(plain("load balancers")));
    all
}

async fn who(wanted: IpAddr, run: &Run) -> Outcome {
    let session = run.session()?;
    let request = v1::WhoHasRequest { address: bytes_of(wanted) };
    let answer =
        session.call(request, |mut admin, request| async move { admin.who_has(request).await }).await?;
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
        (None, "") if answer.services.is_empty() => "nobody".to_owned(),
        (None, "") => services(&answer.services, &answer.owner),
        (None, node) => format!("node {node}"),
    };
    let since = pod.as_ref().map_or(String::new(), |pod| age(pod, "/metadata/creationTimestamp"));
    let since = if since.is_empty() { since } else { format!("   since {since}") };
    let purpose = match (&pod, answer.purpose.as_str()) {
        (Some(_), _) => String::new(),
        (None, "") => "   in no range of the fabric".to_owned(),
        (None, purpose) => format!("   in the {purpose} range"),
    };
    let value = json!({"kind": "AddressOwner", "address": wanted.to_string(), "pod": pod, "lease": lease, "node": answer.node, "services": answer.services, "owner": answer.owner, "purpose": answer.purpose, "revision": answer.revision});
    run.printer.value(&value, &format!("{wanted}   {holder}{}{purpose}{since}", block.unwrap_or_default()));
    let held = pod.is_some() || !answer.node.is_empty() || !answer.services.is_empty();
    if !held { Err(Failure::Answer(ExitCode::NotFound)) } else { Ok(()) }
}

/// `service shop/web`, `services shop/a and shop/b, answered by n1`.
fn services(names: &[String], owner: &str) -> String {
    let word = if names.len() == 1 { "service" } else { "services" };
    let by = if owner.is_empty() { String::new() } else { format!(", answered by {owner}") };
    format!("{word} {}{by}", names.join(" and "))
}

/// What one address is known as, by place.
#[derive(Default)]
struct Seen {
    control: BTreeSet<String>,
    journals: BTreeSet<String>,
    kernels: BTreeSet<String>,
}

/// What control plane, journals and kernels said at one time.
struct Look {
    seen: BTreeMap<IpAddr, Seen>,
    asked: BTreeSet<String>,
    unreachable: Vec<String>,
    revision: u64,
}

async fn check(run: &Run) -> Outcome {
    let session = run.session()?;
    let mut looked = look(&session).await?;
    let mut items = looked.problems();
    // A pod that comes or goes right now is in one place and not yet in the other: only what stays is a problem.
    for _ in 1..LOOKS {
        if items.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        looked = look(&session).await?;
        let still = looked.problems();
        items.retain(|problem| still.contains(problem));
    }
    let Look { seen, asked, unreachable, revision } = &looked;
    let verdict = match items.len() {
        0 => "none held twice, none lost".to_owned(),
        n => count(n, "problem"),
    };
    let away = match unreachable.as_slice() {
        [] => String::new(),
        names => format!("   (unreachable: {}; their blocks stay leased)", names.join(", ")),
    };
    let addresses =
        if seen.len() == 1 { "1 address".to_owned() } else { format!("{} addresses", seen.len()) };
    let summary =
        format!("{addresses} on {} at revision {revision}: {verdict}{away}", count(asked.len(), "node"));
    let lines: String =
        items.iter().map(|p| format!("\n  ✗ {}   {}", at(p, "/address"), at(p, "/problem"))).collect();
    let value = json!({"kind": "IpamCheck", "addresses": seen.len(), "nodes": asked.len(), "unreachable": unreachable, "items": items});
    run.printer.value(&value, &format!("{summary}{lines}"));
    match (items.is_empty(), unreachable.is_empty()) {
        (true, true) => Ok(()),
        // What couldn't be asked isn't proven.
        (true, false) => Err(Failure::Answer(ExitCode::Partial)),
        (false, _) => Err(Failure::Answer(ExitCode::No)),
    }
}

async fn look(session: &Session) -> Outcome<Look> {
    let status = session.status().await?;
    let mut look = Look {
        seen: BTreeMap::new(),
        asked: BTreeSet::new(),
        unreachable: Vec::new(),
        revision: status.revision,
    };
    for report in &status.nodes {
        match ask_node(session, &report.node, ask::What::Ledger(v1::Ledger {}), None).await {
            Ok(answer_request::What::Ledger(ledger)) => {
                look.asked.insert(report.node.clone());
                add_ledger(&mut look.seen, &report.node, ledger);
            }
            Ok(_) => return Err(unexpected(&report.node)),
            Err(_) => look.unreachable.push(report.node.clone()),
        }
    }
    // The control plane is read after the nodes: a pod published meanwhile is in both.
    let pods = objects(session, Kind::Pod, "", "").await?;
    for pod in items_of(&pods) {
        let node = at(pod, "/spec/nodeName");
        if !look.asked.contains(&node) {
            continue;
        }
        let holder = format!("{node}:{}/{}", at(pod, "/metadata/namespace"), at(pod, "/metadata/name"));
        for ip in joined(pod, "/status/podIPs").split(", ").filter_map(|ip| ip.parse().ok()) {
            look.seen.entry(ip).or_default().control.insert(holder.clone());
        }
    }
    Ok(look)
}

impl Look {
    fn problems(&self) -> Vec<Value> {
        self.seen.iter().filter_map(|(address, seen)| problem(*address, seen)).collect()
    }
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
