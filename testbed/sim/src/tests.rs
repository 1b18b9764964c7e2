//! Seeds that must hold, and mutants that must be found.

use std::time::Instant;

use crate::{Faults, Mutant, Report, Sim, Violation};

const UNITS: u64 = 2_000;
const SETTLE: u64 = 4_000;

fn run(seed: u64, mutant: Option<Mutant>) -> Result<Report, Violation> {
    // Every fourth seed is about elections.
    let faults = if seed % 4 == 3 { Faults::elections() } else { Faults::recoverable() };
    let mut sim = Sim::with(seed, mutant).faults(faults);
    sim.run(UNITS)?;
    sim.settle(SETTLE)?;
    Ok(sim.report())
}

#[test]
fn leases_stay_unique_and_no_acknowledged_write_is_lost_through_crashes_and_partitions() {
    // `WEFT_SIM_FIRST=15 WEFT_SIM_SEEDS=1` repeats the seed 15 that a violation named.
    let begin = Instant::now();
    let mut total = Report::default();
    let seeds = std::env::var("WEFT_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let first = std::env::var("WEFT_SIM_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        match run(seed, None) {
            Ok(report) => total.add(&report),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{seeds} seeds in {:?}: {total:?}", begin.elapsed());
    // In the end of each run one node had no power until it was found silent.
    assert!(total.silences >= seeds && total.returns_of_nodes >= seeds, "{total:?}");
}

/// The number of seeds until the invariants find the mutant, and what they say.
fn hunt(mutant: Mutant, seeds: u64) -> Option<(u64, Violation)> {
    // A vote that is forgotten shows in elections: there, every fourth seed.
    let seed = |count| if mutant == Mutant::ForgetVote { 4 * count + 3 } else { count };
    (0..seeds).find_map(|count| run(seed(count), Some(mutant)).err().map(|violation| (count + 1, violation)))
}

#[test]
fn every_mutant_is_found() {
    const SEEDS: u64 = 40;
    for mutant in Mutant::ALL {
        let begin = Instant::now();
        match hunt(mutant, SEEDS) {
            Some((count, violation)) => {
                println!("{mutant:?} after {count} seeds, {:?}: {violation}", begin.elapsed())
            }
            None => panic!("{mutant:?} lived through {SEEDS} seeds"),
        }
    }
}

#[test]
fn a_seed_repeats_exactly_and_another_one_differs() {
    let report = |seed| run(seed, None).map_err(|violation| violation.to_string());
    let (one, again, other) = (report(7), report(7), report(8));
    assert_eq!(one, again);
    assert_ne!(one.map(|report| report.trace), other.map(|report| report.trace));
}

/// R19 of docs/reliability: at most two comparisons of 32 entries lie between the difference and the stop.
#[test]
fn a_replica_whose_state_differs_stops_by_itself() {
    for seed in 0..5 {
        let mut sim = Sim::with(seed, Some(Mutant::ReadDifferently)).without_own_comparison();
        sim.run(3_000).unwrap_or_else(|violation| panic!("{violation}"));
        let (id, _) = sim.diverged().unwrap_or_else(|| panic!("seed {seed}: nobody stopped"));
        assert_eq!(id.0, 2, "seed {seed}: the one that reads differently stops, not another");
    }
}
