//! Taking what a kernel has: what of it can be built upon, what must be mended, which entries it holds.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use weft_model::Family;
use weft_nft::{Element, Elements, Mend, Observed, SetRef, Table};

use super::{Actual, Services};
use crate::service::{
    element,
    reading::Reading,
    round::LAST,
    rules::{self, Stick},
};

/// Elements between two questions whether somebody waits: less than a millisecond.
const PATIENCE: usize = 1024;

/// A table as the kernel has it, whose elements count.
struct Standing {
    family: Family,
    table: Table,
    /// How its rules become as wanted; `None`: they are.
    mend: Option<Mend>,
}

impl Services {
    /// The tables whose dump [`Services::observed`] takes: also those of a family that the fabric lacks.
    pub fn tables(&self) -> Vec<Table> {
        let sticks = self.actual.as_ref().map(|actual| actual.sticks.clone()).unwrap_or_default();
        [Family::V4, Family::V6].iter().map(|family| rules::table(*family, &sticks)).collect()
    }

    /// Takes what the kernel has; whatever differs from what is wanted is pending from now on.
    pub fn observed(&mut self, observed: &Observed) {
        self.observed_unless(observed, &mut || false);
    }

    /// As [`Services::observed`]; `false` and nothing taken as soon as `given_up` says so, which is asked again and again.
    pub fn observed_unless(&mut self, observed: &Observed, given_up: &mut dyn FnMut() -> bool) -> bool {
        let before = (std::mem::take(&mut self.mends), std::mem::take(&mut self.faults));
        let both = [Family::V4, Family::V6].map(rules::table_ref);
        let names = both.iter().flat_map(|id| observed.chains_of(id));
        let sticks: BTreeSet<Stick> = names.filter_map(Stick::from_chain).collect();
        let mut families = BTreeSet::new();
        let mut standing = Vec::new();
        for (family, id) in [Family::V4, Family::V6].into_iter().zip(&both) {
            if !observed.has_table(id) {
                continue;
            }
            if self.around.families.contains(&family) {
                let Some(found) = self.stands(family, &sticks, observed) else { continue };
                standing.push(found);
            }
            families.insert(family);
        }
        let (mut base, mut entries, mut count) = (Elements::default(), Reading::new(&self.tracker), 0_usize);
        let end = each(&standing, observed, &mut |family, id, element| {
            match element::read(family, &id.name, &element) {
                Some(seen) => entries.take(family, seen, &element),
                None => base.insert(id.clone(), element),
            }
            count += 1;
            if count.is_multiple_of(PATIENCE) && given_up() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if end.is_break() {
            (self.mends, self.faults) = before;
            return false;
        }
        let again = |wanted: &mut dyn FnMut(Family, &str, Element)| {
            let _ = each(&standing, observed, &mut |family, id, element| {
                wanted(family, &id.name, element);
                ControlFlow::Continue(())
            });
        };
        let entries = entries.finish(again);
        self.tracker.observed(entries);
        self.round = None;
        let base = if base == *self.base { Arc::clone(&self.base) } else { Arc::new(base) };
        let mends = standing.into_iter().filter_map(|found| Some((found.family, found.mend?)));
        self.mends = mends.collect();
        self.actual = Some(Actual { families, base, sticks });
        true
    }

    /// How a table that is there can be built upon; `None`: not at all.
    fn stands(&mut self, family: Family, sticks: &BTreeSet<Stick>, observed: &Observed) -> Option<Standing> {
        let table = rules::table(family, sticks);
        let faults = observed.rule_differences(std::slice::from_ref(&table));
        self.faults += faults.len();
        let mend = match faults.is_empty() {
            true => None,
            false if self.unmendable => return None,
            false => {
                let mut mend = Mend::new(&table, observed);
                if mend.replaces_sets() {
                    // As in a whole load: nothing is refused before everything is there.
                    mend.empty(LAST);
                }
                Some(mend)
            }
        };
        Some(Standing { family, table, mend })
    }
}

/// The elements that these tables have, or will have left: of sets that only we change.
fn each(
    standing: &[Standing],
    observed: &Observed,
    take: &mut dyn FnMut(Family, &SetRef, Element) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for Standing { family, table, mend } in standing {
        for set in table.sets.iter().filter(|set| !set.dynamic) {
            let id = SetRef { table: table.id.clone(), name: set.name.clone() };
            let mut take = |element| take(*family, &id, element);
            match mend {
                None => observed.elements_of(&id, set).try_for_each(&mut take)?,
                Some(mend) => mend.elements(observed, &id, set).try_for_each(&mut take)?,
            }
        }
    }
    ControlFlow::Continue(())
}
