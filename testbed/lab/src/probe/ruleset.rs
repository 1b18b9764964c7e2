//! Whether a machine's nf_tables ruleset stands still: how often it changes while nobody wants anything, and how long somebody takes who
//! lists a large table. Whoever lists begins anew with each commit, whichever table it is about.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weft_kernel::{NftError, NftSocket};
use weft_nft::{Batch, DataType, Element, Set, Table, TableFamily, TableRef, Value as Key};

use super::millis;
use crate::Result;

/// Elements of one transaction.
const AT_ONCE: usize = 5_000;
/// What others do because somebody has committed is over by then; they only look.
const QUIET: Duration = Duration::from_millis(500);

/// Puts a large table beside those of others, lists it again and again for so long, and takes it away.
pub(super) fn run(elements: u16, within: Duration) -> Result<Value> {
    let mut socket = NftSocket::open().context("open nf_tables")?;
    let table = large();
    fill(&mut socket, &table, elements)?;
    let seen = listed(&mut socket, &table, elements, within);
    let mut batch = Batch::new();
    batch.remove_table(&table.id);
    socket.commit(&batch).context("take the table away")?;
    seen
}

fn large() -> Table {
    let id = TableRef { family: TableFamily::Inet, name: "lab_large".to_owned() };
    Table { id, sets: vec![Set::exact("all", &[DataType::InetService], 0)], chains: Vec::new() }
}

fn fill(socket: &mut NftSocket, table: &Table, elements: u16) -> Result {
    let mut batch = Batch::new();
    batch.replace_table(table);
    socket.commit(&batch).context("make a table")?;
    let elements: Vec<Element> = (0..elements).map(|port| Element::of(vec![Key::U16(port)])).collect();
    for some in elements.chunks(AT_ONCE) {
        let mut batch = Batch::new();
        batch.add_elements(&table.id, &table.sets[0], some);
        socket.commit(&batch).context("fill a table")?;
    }
    Ok(())
}

fn listed(socket: &mut NftSocket, table: &Table, elements: u16, within: Duration) -> Result<Value> {
    crate::wait::pass(QUIET);
    let tables = std::slice::from_ref(table);
    let (first, began) = (socket.generation()?.id, Instant::now());
    let (mut listings, mut unfinished, mut longest) = (0, 0, Duration::ZERO);
    while began.elapsed() < within {
        let began = Instant::now();
        match socket.observe(tables) {
            Ok(seen) => {
                ensure!(seen.elements(tables).len() == usize::from(elements), "the table isn't whole");
                listings += 1;
            }
            Err(NftError::Unsteady { .. }) => unfinished += 1,
            Err(error) => return Err(error.into()),
        }
        longest = longest.max(began.elapsed());
    }
    let changes = socket.generation()?.id.wrapping_sub(first);
    let (within_ms, longest_ms) = (millis(began.elapsed()), millis(longest));
    Ok(
        json!({"ok": true, "elements": elements, "within_ms": within_ms, "changes": changes, "listings": listings, "unfinished": unfinished, "longest_ms": longest_ms}),
    )
}
