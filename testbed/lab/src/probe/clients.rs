//! Many clients at once: each asks the servers behind random ones of many addresses over HTTP, a fresh connection each time.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connects::at;
use super::{Stop, Target, now_us, talk};
use crate::Result;
use crate::wait::pass;

/// A connection that took longer was asked for again by the timer of the client's kernel (RFC 6298, section 2.1).
const SLOW: Duration = Duration::from_secs(1);
/// Failures that are told in words; the others are counted.
const MOST_TOLD: usize = 10;

/// Who connects where, how often.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Addresses.
    #[arg(required = true)]
    addresses: Vec<IpAddr>,
    /// Port.
    #[arg(long, default_value_t = 80)]
    port: u16,
    /// How many clients at the same time.
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Connections of all clients together; without it until SIGTERM.
    #[arg(long)]
    count: Option<u64>,
    /// Milliseconds that a client rests after each connection.
    #[arg(long, default_value_t = 0)]
    rest: u64,
    /// Milliseconds until a connection has failed.
    #[arg(long, default_value_t = 3000)]
    within: u64,
}

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    times: Vec<Duration>,
    answers: BTreeMap<String, u64>,
    failed: u64,
    told: Vec<Value>,
}

/// Connects until all is done, and says who answered how often and what failed.
pub(super) fn run(plan: &Plan, stop: &Stop) -> Result<Value> {
    let (seen, begun, end) = (Mutex::new(Seen::default()), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| -> Result {
        let clients: Vec<_> = (0..plan.clients)
            .map(|number| {
                let (seen, begun, end) = (&seen, &begun, &end);
                scope.spawn(move || client(plan, number, seen, begun, end))
            })
            .collect();
        if plan.count.is_none() {
            stop.wait()?;
            end.store(true, Ordering::Relaxed);
        }
        clients.into_iter().for_each(|client| drop(client.join()));
        Ok(())
    })?;
    let took = began.elapsed();
    let Seen { mut times, answers, failed, told } = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable();
    Ok(json!({
        "ok": failed == 0 && !times.is_empty(), "connections": times.len(), "failed": failed, "failures": told,
        "answers": answers, "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "p50_us": at(&times, 50),
        "p99_us": at(&times, 99), "longest_us": at(&times, 100),
        "slow": times.len() - times.partition_point(|took| *took <= SLOW),
    }))
}

fn client(plan: &Plan, number: usize, seen: &Mutex<Seen>, begun: &AtomicU64, end: &AtomicBool) {
    let chance = RandomState::new();
    let rest = Duration::from_millis(plan.rest);
    // They don't all begin at the same moment.
    pass(rest * u32::try_from(number).unwrap_or(0) / u32::try_from(plan.clients.max(1)).unwrap_or(1));
    while !end.load(Ordering::Relaxed) {
        let turn = begun.fetch_add(1, Ordering::Relaxed);
        if plan.count.is_some_and(|count| turn >= count) {
            return;
        }
        let pick = chance.hash_one(turn) % (plan.addresses.len() as u64);
        let Some(address) = usize::try_from(pick).ok().and_then(|place| plan.addresses.get(place)) else {
            return;
        };
        let (began, at) = (Instant::now(), now_us());
        let answer = talk::http(&Target { address: *address, port: plan.port, within: plan.within });
        let took = began.elapsed();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) if answer["ok"] == true => {
                let who = answer["body"]["pod"].as_str().unwrap_or_default().to_owned();
                *seen.answers.entry(who).or_default() += 1;
                seen.times.push(took);
            }
            other => {
                seen.failed += 1;
                if seen.told.len() < MOST_TOLD {
                    let why = other.map_or_else(|e| format!("{e:#}"), |answer| answer.to_string());
                    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    seen.told.push(json!({"to": address, "why": why, "at_us": at, "after_ms": ms}));
                }
            }
        }
        drop(seen);
        if !rest.is_zero() {
            pass(rest);
        }
    }
}
