//! Seeds that must hold, and mutants that must be found.

use std::time::Instant;

use crate::{Faults, Mutant, Report, Sim, Violation};

const UNITS: u64 = 2_400;
const SETTLE: u64 = 4_000;

fn run(seed: u64, mutant: Option<Mutant>) -> Result<Report, Violation> {
    let mut sim = Sim::with(seed, mutant).faults(Faults::recoverable());
    sim.run(UNITS)?;
    sim.settle(SETTLE)?;
    Ok(sim.report())
}

#[test]
fn leases_stay_unique_and_no_acknowledged_write_is_lost_through_crashes_and_partitions() {
    let begin = Instant::now();
    let mut total = Report::default();
    let seeds = std::env::var("WEFT_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let first = std::env::var("WEFT_SIM_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        match run(seed, None) {
            Ok(report) => total.add(&report),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{seeds} seeds in {:?}: {total:?}", begin.elapsed());
}
