//! `bench dns`: servers of names beside each other on one core of a machine that is no node (`probe/resolvers`).

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{ROUNDS, Row, ratios};
use crate::commands::progress;
use crate::fabric::on;
use crate::{Fabric, Result};

/// Deadline of the whole.
const WITHIN: Duration = Duration::from_secs(600);

/// Measures.
pub(super) fn measure(fabric: &Fabric, _: Duration) -> Result<Vec<Row>> {
    let (agent, rounds) = (fabric.agent_program(), ROUNDS.to_string());
    let arguments = ["resolvers", "--agent", &agent, "--rounds", &rounds];
    let seen = fabric.long_probe(on(&fabric.outside()), &arguments, WITHIN)?;
    ensure!(seen["ok"] == true, "{}", seen["why"].as_str().unwrap_or("servers of names weren't compared"));
    for note in seen["notes"].as_array().into_iter().flatten() {
        progress(note.as_str().unwrap_or_default());
    }
    let rows: Vec<Row> =
        seen["rows"].as_array().context("no rows")?.iter().map(read).collect::<Result<_>>()?;
    let wanted = |row: &&Row| row.metric.ends_with("_per_core") || row.metric.starts_with("answer_");
    for row in ratios(&rows).iter().filter(wanted) {
        progress(&format!("weft to {}", row.line()));
    }
    Ok(rows)
}

fn read(row: &Value) -> Result<Row> {
    let word = |key: &str| row[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {row}"));
    let rounds = row["rounds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    Ok(Row { rounds, ..Row::new(word("system")?, word("metric")?, word("unit")?) })
}
