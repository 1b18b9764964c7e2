//! `soak`: the long forms of checks that the suite runs shortly.

use clap::Args;

use super::{print, progress};
use crate::checks::Cast;
use crate::checks::services::{Churn, Load};
use crate::fabric::product::{self, Profile};
use crate::layout::Layout;
use crate::topology::Topology;
use crate::{Fabric, Result, prerequisites};

/// Connections whose shares are compared.
const CONNECTIONS: u64 = 20_000;

/// `cargo lab soak`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Programs built without optimisation
    #[arg(long)]
    debug: bool,
}

impl Soak {
    pub(crate) fn run(self) -> Result {
        prerequisites::check()?;
        let (product, _) = product::build(if self.debug { Profile::Debug } else { Profile::Release })?;
        let layout = Layout::of("soak")?;
        crate::substrate::stop(&layout)?;
        let mut topology = Topology::of_nodes(3);
        topology.control_planes.count = 3;
        let fabric = Fabric::tied(&layout, topology.checked()?, product, &mut progress)?;
        let cast = Cast::attach(&fabric)?;
        let churn = Churn::set(&fabric, &cast, Load::LONG.services)?;
        print(churn.shares(CONNECTIONS)?)?;
        print(churn.long_connections(&Load::LONG)?)?;
        print(churn.under_change(&Load::LONG)?)?;
        churn.strike()?;
        fabric.down()
    }
}
