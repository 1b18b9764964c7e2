//! The two writers, and what readers share with them.

use std::sync::Arc;

use weft_model::Revision;
use weft_view::{Touched, View};

use crate::{
    Forwarder, Limits, Reader,
    cache::Cache,
    forward::Sought,
    zone::{Tables, Zone},
};

/// What readers read; nobody waits for anybody.
pub(crate) struct Shared {
    pub(crate) tables: Tables,
    pub(crate) cache: Cache,
    pub(crate) sought: Sought,
}

/// The writer of the zone; readers come from here.
pub struct Names {
    shared: Arc<Shared>,
    zone: Zone,
    limits: Limits,
}

/// What a fold did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The revision that answers have now: SOA serial, and what `weft wait` waits for.
    pub revision: Revision,
    /// Whether everything was built anew, because settings of the fabric changed.
    pub rebuilt: bool,
}

/// Makes the two writers. `seed` is chance: it keeps people from choosing names that fall into one place of a table.
pub fn open(seed: u64, limits: Limits) -> (Names, Forwarder) {
    let shared =
        Arc::new(Shared { tables: Tables::new(seed), cache: Cache::new(seed), sought: Sought::default() });
    let forwarder = Forwarder::new(Arc::clone(&shared), limits, seed);
    (Names { shared, zone: Zone::default(), limits }, forwarder)
}

impl Names {
    /// Takes up a change of the View: `touched` is what the View's own fold said. The first View with a fabric, and a change of the
    /// fabric's settings, build everything anew; anything else costs as much as what it touches. Readers see each name either
    /// as before or as after.
    pub fn fold(&mut self, view: &View, touched: &Touched) -> Folded {
        let rebuilt = self.zone.fold(&self.shared.tables, view, touched);
        Folded { revision: view.revision(), rebuilt }
    }

    /// A reader for one thread. `seed` is chance: where its rotations begin.
    pub fn reader(&self, seed: u64) -> Reader {
        Reader::new(Arc::clone(&self.shared), self.limits, seed)
    }

    /// Octets that the tables of the zone take, with what the writer keeps; a walk over everything.
    pub fn octets(&self) -> usize {
        self.shared.tables.octets() + self.zone.octets()
    }
}
