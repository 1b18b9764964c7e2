//! An owner of load-balancer addresses reaches nobody: its uplink is unplugged, or the switch loses everything from and to it. Another
//! owner answers; when the link is back the old one has to learn that, and is silent.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::owner::{Balanced, Gap, ask_anew, says};
use crate::Result;
use crate::wait::pass;

/// An owner that was unplugged asks before it answers: this is what frames that were on their way may take.
const PLUGGED: Duration = Duration::from_millis(100);
/// One that was cut off farther away doesn't hear of that if single frames still reached it, as a switch's own: it asks each time that
/// it looks. On a machine that does much else.
const LEARNS: Duration = Duration::from_millis(500);
/// That nothing comes in any more counts once something did for so long, and more.
const STEADY: Duration = Duration::from_millis(2_500);

/// The owner's link is unplugged at the switch: it sees that.
pub fn owner_unplugged(balanced: &Balanced<'_>) -> Result<String> {
    let (gap, last) = cut(balanced, PLUGGED, |node| format!("cut {node}"))?;
    Ok(format!(
        "{} unplugged: away for {} ms, {} answers; plugged in again: {}",
        gap.before.node, gap.ms, gap.after.node, last
    ))
}

/// Everything from and to the owner is lost at the switch: all that it sees is that nothing comes in any more.
pub fn owner_unreached(balanced: &Balanced<'_>) -> Result<String> {
    let fabric = balanced.fabric;
    let others = |node: &str| -> Result<String> {
        let machines = fabric.client().describe()?.plan.machines;
        let names = machines.into_iter().map(|machine| machine.name).filter(|name| name != node);
        Ok(names.collect::<Vec<_>>().join(","))
    };
    let owner = balanced.owner(balanced.addresses[0])?.node;
    let everybody = others(&owner)?;
    let (gap, last) = cut(balanced, LEARNS, |node| format!("partition {node}|{everybody}"))?;
    Ok(format!(
        "{} reaches nobody: away for {} ms, {} answers; heard again: {}",
        gap.before.node, gap.ms, gap.after.node, last
    ))
}

/// Cuts the owner off and heals that; what is seen meanwhile, and when the old owner claimed the address last, in words. It may
/// do so for so long.
fn cut(balanced: &Balanced<'_>, learns: Duration, fault: impl Fn(&str) -> String) -> Result<(Gap, String)> {
    let fabric = balanced.fabric;
    let old = balanced.mac(&balanced.owner(balanced.addresses[0])?.node)?;
    pass(STEADY);
    let gap = balanced.gap(|owner| {
        fabric.fail(&fault(&owner.node))?;
        ask_anew(balanced)
    })?;
    gap.moved()?;
    gap.alone(balanced, old)?;
    let mut healed = None;
    let back = balanced.stays(|_| {
        fabric.heal()?;
        healed = Some(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?);
        ask_anew(balanced)
    })?;
    let healed = healed.context("not healed")?;
    ensure!(back.after.epoch == gap.after.epoch, "it moved when the old owner was heard again");
    let new = balanced.mac(&gap.after.node)?;
    let words = |mac| back.frames.iter().filter(move |frame| says(frame, gap.address) == Some(mac));
    ensure!(words(new).next().is_some(), "the owner said nothing");
    let last = words(old).map(|frame| frame.at.saturating_sub(healed)).max();
    ensure!(
        last.is_none_or(|last| last <= learns),
        "the old owner still claims the address {last:?} after it is heard again"
    );
    fabric.client().ready(&gap.before.node, "agent", Duration::from_secs(20))?;
    balanced.settled()?;
    let words = words(old).count();
    let told = match last {
        Some(last) => {
            format!("{words} words of the old owner, the last {} ms after that, then none", last.as_millis())
        }
        None => "not one word of the old owner".to_owned(),
    };
    Ok((gap, told))
}
