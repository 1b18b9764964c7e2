//! Behind an upstream that lies: nothing of it is ever answered to a pod, and what it claims about others doesn't count.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{WEB, WEB_SERVICE, ask, cluster_addresses, data, forward_to, of_kind, servers};
use crate::checks::{Cast, each};
use crate::fabric::on;
use crate::probe::liar::{POISON, VICTIMS};
use crate::probe::names::ADDRESS_4;
use crate::{Fabric, Result};

/// Lies behind which the truth comes: it is what is answered.
const TRUE_IN_THE_END: [&str; 5] = ["wrong-id", "wrong-question", "wrong-case", "many-ids", "extra"];
/// Those behind which nothing comes.
const NEVER_TRUE: [&str; 8] = ["into", "chain0", "loop", "long", "count", "pointer", "cut", "noise"];
/// Questions at the same time.
const AT_ONCE: usize = 14;
/// A client gives up after this; an answer, if only that there is none, comes sooner.
const PATIENCE: &str = "9000";

/// Asks for every kind of lie, over UDP and TCP, and then for those whom the poison was for.
pub fn lied_to(fabric: &Fabric, cast: &Cast) -> Result<String> {
    fabric.apply(WEB_SERVICE)?;
    let outside = fabric.outside();
    let (liar, server) = (fabric.machine(&outside)?.addresses(), servers(fabric)?[0]);
    let upstream = fabric.background(on(&outside), &["serve", "liar:53"], &[])?;
    forward_to(fabric, &liar)?;
    let restarts = fabric.service(cast.a.node(), "dns")?.restarts;
    // The lies are told: whoever asks the liar itself hears them.
    let own =
        liar.iter().find(|own| own.is_ipv4() == server.is_ipv4()).context("the liar has no such address")?;
    let told = ask(fabric, &cast.a.place(), *own, &["into.lie.test"])?;
    ensure!(is_poisoned(&told), "the liar tells no lies: {told}");
    let questions: Vec<(&str, bool)> = TRUE_IN_THE_END
        .into_iter()
        .chain(NEVER_TRUE)
        .flat_map(|label| [(label, false), (label, true)])
        .collect();
    let check = |(label, tcp): &(&str, bool)| {
        let name = format!("{label}.lie.test");
        let transport: &[&str] = if *tcp { &["--tcp", "1"] } else { &[] };
        let question = [&[name.as_str(), "--within", PATIENCE][..], transport].concat();
        let seen = ask(fabric, &cast.a.place(), server, &question)?;
        ensure!(!is_poisoned(&seen), "{name}: poison was answered: {seen}");
        if TRUE_IN_THE_END.contains(label) {
            ensure!(data(&seen, "A") == [ADDRESS_4.to_string()], "{name}: the truth isn't answered: {seen}");
        } else {
            ensure!(seen["rcode"].is_string(), "{name}: nothing is answered: {seen}");
        }
        Ok(())
    };
    // Half of them over TCP: a pod may have so many connections at the same time.
    questions.chunks(AT_ONCE).try_for_each(|some| each(some, check))?;
    let own = of_kind(&cluster_addresses(fabric, "names-web")?, "A");
    for (name, expected) in [(VICTIMS[0], vec![ADDRESS_4.to_string()]), (VICTIMS[1], own.clone()), (WEB, own)]
    {
        let seen = ask(fabric, &cast.a.place(), server, &[name])?;
        ensure!(data(&seen, "A") == expected, "{name}: {expected:?} was expected: {seen}");
    }
    let after = fabric.service(cast.a.node(), "dns")?.restarts;
    ensure!(after == restarts, "the DNS process was started anew {} times", after - restarts);
    upstream.stop()?;
    forward_to(fabric, &[])?;
    fabric.erase(WEB_SERVICE)?;
    Ok(format!(
        "{} kinds of lies over UDP and TCP: the truth where it came too ({}), else a failure in time; no poison was answered or kept",
        TRUE_IN_THE_END.len() + NEVER_TRUE.len(),
        TRUE_IN_THE_END.len()
    ))
}

fn is_poisoned(seen: &Value) -> bool {
    seen.to_string().contains(&POISON.to_string())
}
