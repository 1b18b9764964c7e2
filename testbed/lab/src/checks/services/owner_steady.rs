//! An owner of a load-balancer address that nothing happens to leaves its machine's nf_tables alone: who lists a large ruleset there is
//! done as soon as anywhere else.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::owner::{BOUND, Balanced, INSIDE, ask_anew};
use crate::Result;
use crate::checks::UDP;
use crate::fabric::on;

/// What lies in the large table, and for how long it is listed.
const LISTING: [&str; 5] = ["ruleset", "--elements", "30000", "--seconds", "3"];

/// The address answers, also those who ask anew where it is, and nothing is committed on the owner, as on a node that owns nothing.
pub fn owner_steady(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let address = balanced.addresses[0];
    let owner = balanced.owner(address)?;
    let (plain, _) = listed(&fabric.probe(on(INSIDE), &LISTING)?).context(INSIDE)?;
    let asked = fabric.background(on(&fabric.outside()), &["gaps", &address.to_string(), UDP], &[])?;
    let (listing, asking) = std::thread::scope(|scope| {
        let listing = scope.spawn(|| fabric.probe(on(&owner.node), &LISTING));
        let asking = ask_anew(balanced);
        (listing.join(), asking)
    });
    asking?;
    let listing = listing.map_err(|_| anyhow::anyhow!("the listing broke off"))?;
    let (owning, said) = listed(&listing?).with_context(|| owner.node.clone())?;
    let seen = asked.stop()?;
    let gap = seen["longest_gap_ms"].as_u64().context("no gap")?;
    ensure!(gap <= BOUND, "the address was away for {gap} ms while nothing happened: {seen}");
    // Either machine may be busy for a moment.
    ensure!(owning <= 4 * plain + 500, "{owning} ms on {}, {plain} ms on {INSIDE}", owner.node);
    Ok(format!(
        "{} owns and answers, longest silence {gap} ms: {said}, {owning} ms at most each; {plain} ms on {INSIDE}, which owns nothing",
        owner.node
    ))
}

/// How long the longest listing took, milliseconds; nothing was committed meanwhile.
fn listed(seen: &Value) -> Result<(u64, String)> {
    let number = |name: &str| seen[name].as_u64().with_context(|| format!("no {name} in {seen}"));
    let (changes, within) = (number("changes")?, number("within_ms")?);
    ensure!(changes == 0, "{changes} commits in {within} ms: {seen}");
    ensure!(number("unfinished")? == 0 && number("listings")? > 0, "a listing that never ended: {seen}");
    let said = format!(
        "no commit in {within} ms, {} listings of {} elements",
        number("listings")?,
        number("elements")?
    );
    Ok((number("longest_ms")?, said))
}
