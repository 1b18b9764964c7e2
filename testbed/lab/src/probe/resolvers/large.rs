//! A hundred thousand services: what the tables take and cost by themselves, and the process with them.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use weft_model::{Item, Revision};
use weft_names::Limits;
use weft_view::{Update, View};

use super::agent::Agent;
use super::data::{Questions, items, service, v4};
use super::servers::{UPSTREAM, address};
use super::usage::resident;
use super::{Rows, answered, ask};
use crate::Result;

/// Services.
const SERVICES: u32 = 100_000;
/// Changes that are timed.
const CHANGES: u32 = 1000;
/// Changes that are timed from the agent's word to the answer.
const TOLD: u32 = 50;

/// Measures.
pub(super) fn run(agent: &Agent<'_>, socket: &UdpSocket, rounds: u32, rows: &mut Rows) -> Result {
    let items = items(SERVICES, UPSTREAM)?;
    for _ in 0..rounds {
        tables(items.clone(), rows)?;
    }
    process(agent, socket, &items, rounds, rows)
}

/// The tables alone, in this process.
fn tables(items: Vec<Item>, rows: &mut Rows) -> Result {
    let mut view = View::default();
    let (mut names, _forwarder) = weft_names::open(7, Limits::default());
    let whole = Update::SnapshotPart { revision: Revision(1), first: true, last: true, items };
    let touched = view.fold(whole)?;
    let began = Instant::now();
    let folded = names.fold(&view, &touched);
    rows.add("weft", "tables_100000_built", "ms", began.elapsed().as_secs_f64() * 1e3);
    ensure!(folded.rebuilt, "the tables weren't built");
    rows.add("weft", "tables_100000", "MiB", names.octets() as f64 / f64::from(1 << 20));
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let number = change * 97 % SERVICES;
        let addresses = vec![v4(SERVICES + change).into()];
        let upserts = vec![Item::Service(service(number, addresses)?)];
        let revision = Revision(2 + u64::from(change));
        let touched = view.fold(Update::Delta { revision, upserts, deletes: Vec::new() })?;
        let began = Instant::now();
        names.fold(&view, &touched);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |hundredth: usize| times[times.len() * hundredth / 100].as_secs_f64() * 1e6;
    rows.add("weft", "change_at_100000", "us", at(50));
    rows.add("weft", "change_at_100000_p99", "us", at(99));
    Ok(())
}

/// The process: memory, a change's way from the agent's word to the answer, and its start with what it saved.
fn process(agent: &Agent<'_>, socket: &UdpSocket, items: &[Item], rounds: u32, rows: &mut Rows) -> Result {
    let (at, questions) = (address(0), Questions::services(1)?);
    let mut fed = agent.start(at)?;
    agent.tell(&mut fed, Revision(10), items)?;
    for told in 0..TOLD {
        let new = v4(SERVICES + told);
        let item = Item::Service(service(0, vec![IpAddr::from(new)])?);
        let began = Instant::now();
        fed.change(Revision(11 + u64::from(told)), &item)?;
        let end = began + Duration::from_secs(5);
        while !says(socket, at, &questions, new)? {
            ensure!(Instant::now() < end, "the process doesn't say {new}");
        }
        rows.add("weft", "change_told_at_100000", "us", began.elapsed().as_secs_f64() * 1e6);
        fed.drain()?;
    }
    let back = items.get(1).context("no service")?;
    fed.change(Revision(11 + u64::from(TOLD)), back)?;
    answered(socket, at, &questions, Duration::from_secs(5))?;
    rows.add("weft", "process_100000_resident", "MiB", resident(fed.server.pid())?);
    fed.server.end()?;
    for _ in 0..rounds {
        let began = Instant::now();
        let _fed = agent.start(at)?;
        answered(socket, at, &questions, Duration::from_secs(20))?;
        rows.add("weft", "start_100000", "s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Whether the answer to the first question is this address.
fn says(
    socket: &UdpSocket,
    at: std::net::SocketAddr,
    questions: &Questions,
    address: std::net::Ipv4Addr,
) -> Result<bool> {
    let right = questions.with_first(address.into());
    match ask(socket, at, &right, 0, Duration::from_millis(500)) {
        Ok(()) => Ok(true),
        Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Err(error),
        Err(_) => Ok(false),
    }
}
