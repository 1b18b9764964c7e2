//! `bench fabric`: how soon a fabric is ready, how soon a change is in every node's kernel, what the daemons cost at rest.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Row;
use crate::fabric::on;
use crate::{Fabric, Result};

/// Changes whose way into the kernels is timed.
const CHANGES: usize = 60;
/// How long the daemons are watched at rest.
const REST: Duration = Duration::from_secs(10);
/// Jiffies a second (`getconf CLK_TCK`, fixed by the kernel's ABI).
const JIFFIES: f64 = 100.0;

/// Prints resident KiB, the most that it ever was, and used jiffies of the daemon of a program that runs in this machine.
const LOOK: &str = r#"for d in /proc/[0-9]*; do
  case "$(readlink $d/exe)" in */PROGRAM) ;; *) continue ;; esac
  case "$(tr '\0' ' ' < $d/cmdline)" in *" run "*) ;; *) continue ;; esac
  grep -E 'VmRSS|VmHWM' $d/status | sort -r | tr -dc '0-9\n'
  cut -d' ' -f14,15 $d/stat
done"#;

/// Measures; `ready` is what the start took.
pub(super) fn measure(fabric: &Fabric, ready: Duration) -> Result<Vec<Row>> {
    let mut start = Row::new("weft", "ready", "s");
    start.rounds.push(ready.as_secs_f64());
    let mut rows = vec![start];
    rows.extend(changes(fabric)?);
    rows.extend(rest(fabric)?);
    Ok(rows)
}

/// `weft apply --wait` of a change that every node's nf_tables gets, and the same command without a change: the difference
/// is the way from the command to all kernels and back.
fn changes(fabric: &Fabric) -> Result<Vec<Row>> {
    let file = fabric.client().layout().contexts().with_file_name("change.yaml");
    let path = file.to_string_lossy().into_owned();
    let apply = |exception: usize| -> Result<f64> {
        let text = format!(
            "apiVersion: weft.io/v1\nkind: Fabric\nspec: {{masqueradeExceptions: [198.51.{exception}.0/24]}}\n"
        );
        std::fs::write(&file, text)?;
        let begin = Instant::now();
        fabric.weft(&["apply", "-f", &path, "--wait", "-q"])?.success("weft apply --wait")?;
        Ok(begin.elapsed().as_secs_f64() * 1000.0)
    };
    let mut changed = Row::new("weft", "apply_wait", "ms");
    let mut unchanged = Row::new("command", "apply_wait", "ms");
    for exception in 0..CHANGES {
        changed.rounds.push(apply(exception)?);
        unchanged.rounds.push(apply(exception)?);
    }
    let mut way = Row::new("weft", "change_to_kernels", "ms");
    way.rounds = changed.rounds.iter().zip(&unchanged.rounds).map(|(with, without)| with - without).collect();
    let worst = way.p99("change_to_kernels_p99");
    Ok(vec![changed, unchanged, way, worst])
}

/// Resident memory and use of a core of each daemon, with nothing to do.
fn rest(fabric: &Fabric) -> Result<Vec<Row>> {
    let machines = [
        ("cp-1", "weftd"),
        ("cp-2", "weftd"),
        ("cp-3", "weftd"),
        ("n1", "weft-agent"),
        ("n2", "weft-agent"),
        ("n3", "weft-agent"),
    ];
    let before = machines.iter().map(|(m, p)| look(fabric, m, p)).collect::<Result<Vec<_>>>()?;
    let begin = Instant::now();
    crate::wait::pass(REST);
    let span = begin.elapsed().as_secs_f64();
    let mut rows = Vec::new();
    for (program, memory, cpu) in
        [("weftd", "weftd_resident", "weftd_idle"), ("weft-agent", "agent_resident", "agent_idle")]
    {
        let (mut resident, mut idle) =
            (Row::new("weft", memory, "MiB"), Row::new("weft", cpu, "% of a core"));
        for ((machine, own), Daemon { seconds: used, .. }) in
            machines.iter().zip(&before).filter(|((_, own), _)| *own == program)
        {
            let now = look(fabric, machine, own).context("the second look")?;
            resident.rounds.push(now.resident);
            idle.rounds.push((now.seconds - used) / span * 100.0);
        }
        rows.extend([resident, idle]);
    }
    Ok(rows)
}

/// What a daemon costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Daemon {
    /// Resident memory, MiB.
    pub(super) resident: f64,
    /// The most that it ever was, MiB.
    pub(super) most: f64,
    /// Processor time so far, seconds.
    pub(super) seconds: f64,
}

/// Looks at the daemon of a program on a machine.
pub(super) fn look(fabric: &Fabric, machine: &str, program: &str) -> Result<Daemon> {
    let script = LOOK.replace("PROGRAM", program);
    let text = fabric.on(on(machine), &["sh", "-c", &script])?.success("a look at a daemon")?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [resident, most, user, system] = numbers.as_slice() else {
        anyhow::bail!("{program} on {machine}: {text:?}");
    };
    Ok(Daemon { resident: resident / 1024.0, most: most / 1024.0, seconds: (user + system) / JIFFIES })
}
