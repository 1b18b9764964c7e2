//! Network policy on a grid of pods: the truth tables of the specification with packets, the evaluator against the kernel, planted bugs.

use weft_e2e::{each_family, in_family};
use weft_lab::checks::policy::{self, CASES, Case, Grid};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// Worlds of the differential test; five hundred are a part of `cargo lab soak`.
const ROUNDS: u64 = 20;
/// Their seed.
const SEED: u64 = 6;

fn on_grid(
    fabric: &Fabric,
    cast: &weft_lab::checks::Cast,
    check: impl Fn(&mut Grid<'_>) -> Result<String>,
) -> Result {
    let mut grid = Grid::set(fabric, cast)?;
    let began = std::time::Instant::now();
    let said = check(&mut grid)?;
    eprintln!("{}: {:.1} s: {said}", fabric.topology().family.word(), began.elapsed().as_secs_f32());
    grid.strike()
}

#[test]
fn every_case_of_the_specification_is_kept_between_all_pairs_of_pods() -> Result {
    let cases: Vec<Case> = CASES.concat();
    in_family("small", Family::Dual, |fabric, cast| on_grid(fabric, cast, |grid| grid.cases(&cases)))
}

#[test]
fn chosen_cases_are_kept_in_every_kind_of_families() -> Result {
    let cases = policy::everywhere();
    each_family("small", |fabric, cast| {
        if fabric.topology().family == Family::Dual {
            // All cases are run there.
            return Ok(());
        }
        on_grid(fabric, cast, |grid| grid.cases(&cases))
    })
}

#[test]
fn packets_meet_what_the_evaluator_says_in_random_worlds_and_planted_bugs_are_noticed() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        on_grid(fabric, cast, |grid| {
            let said = policy::differential(grid, SEED, ROUNDS)?;
            Ok(format!("{said}; {}", policy::planted(grid)?))
        })
    })
}

#[test]
fn nobody_gets_through_who_never_may_and_nobody_is_refused_who_may_while_everything_changes() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        on_grid(fabric, cast, |grid| policy::races(grid, &policy::Pace::SHORT))
    })
}

#[test]
fn nobody_gets_through_while_tables_are_broken_nor_by_an_address_that_was_anothers() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        on_grid(fabric, cast, |grid| Ok(format!("{}; {}", policy::reused(grid)?, policy::tampered(grid)?)))
    })
}
