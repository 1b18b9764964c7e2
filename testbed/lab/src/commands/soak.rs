//! `soak`: the long forms of checks that the suite runs shortly.

use clap::{Args, ValueEnum};

use super::{print, progress};
use crate::checks::Cast;
use crate::checks::names::{ChurnLoad, Names};
use crate::checks::policy::{self, Grid, Pace};
use crate::checks::services::{Churn, Load, crowded};
use crate::fabric::product::{self, Profile};
use crate::layout::Layout;
use crate::topology::Topology;
use crate::{Fabric, Result, launch, prerequisites};

/// Connections whose shares are compared.
const CONNECTIONS: u64 = 20_000;

/// Random worlds of policies, and their seed.
const WORLDS: u64 = 500;
/// The first one's.
const SEED: u64 = 2026;

/// `cargo lab soak`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Programs built without optimisation
    #[arg(long)]
    debug: bool,
    /// One part alone
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// What runs for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Many connections are shared evenly
    Shares,
    /// Long connections survive
    Connections,
    /// No connection fails while backends come and go
    Churn,
    /// No name tells what was withdrawn while everything changes
    Names,
    /// Packets meet what the evaluator says in random worlds, and nobody gets through while everything changes
    Policy,
    /// A node full of pods that are asked for their readiness
    Crowd,
}

impl Soak {
    pub(crate) fn run(self) -> Result {
        prerequisites::check()?;
        let (product, lab) = product::build(if self.debug { Profile::Debug } else { Profile::Release })?;
        launch::use_program(lab);
        let layout = Layout::of("soak")?;
        crate::substrate::stop(&layout)?;
        let mut topology = Topology::of_nodes(3);
        topology.control_planes.count = 3;
        let fabric = Fabric::tied(&layout, topology.checked()?, product, &mut progress)?;
        let cast = Cast::attach(&fabric)?;
        let wants = |part| self.only.is_none_or(|only| only == part);
        if wants(Part::Names) {
            let names = Names::set(&fabric, &cast)?;
            print(names.under_change(&ChurnLoad::LONG)?)?;
            names.strike()?;
        }
        if wants(Part::Policy) {
            let mut grid = Grid::set(&fabric, &cast)?;
            print(policy::differential(&mut grid, SEED, WORLDS)?)?;
            print(policy::races(&mut grid, &Pace::LONG)?)?;
            grid.strike()?;
        }
        if [Part::Shares, Part::Connections, Part::Churn].into_iter().any(wants) {
            let churn = Churn::set(&fabric, &cast, Load::LONG.services)?;
            if wants(Part::Shares) {
                print(churn.shares(CONNECTIONS)?)?;
            }
            if wants(Part::Connections) {
                print(churn.long_connections(&Load::LONG)?)?;
            }
            if wants(Part::Churn) {
                print(churn.under_change(&Load::LONG)?)?;
            }
            churn.strike()?;
        }
        if wants(Part::Crowd) {
            print(crowded(&fabric, cast.c.node())?)?;
        }
        fabric.down()
    }
}
