//! What this machine's tables have dropped so far, as the kernel counts it: nobody is asked but the kernel.

use anyhow::Context;
use serde_json::{Map, Value, json};
use weft_kernel::NftSocket;
use weft_plan::{DropCounters, DropCounts};

use crate::Result;

/// Reads the counters once.
pub(super) fn run() -> Result<Value> {
    let counters = DropCounters::all();
    let mut socket = NftSocket::open().context("open nf_tables")?;
    let counts = DropCounts::read(&socket.counts(&counters.tables, &counters.sets).context("read counters")?);
    let reasons: Map<String, Value> =
        counts.reasons.iter().map(|(reason, packets)| (reason.to_string(), json!(packets))).collect();
    let pod = |((direction, address), packets): (&(_, _), &u64)| json!({"direction": to_text(direction), "address": to_text(address), "packets": packets});
    let pods: Vec<Value> = counts.pods.iter().map(pod).collect();
    Ok(json!({"ok": true, "reasons": reasons, "pods": pods}))
}

fn to_text(value: &impl ToString) -> String {
    value.to_string()
}
