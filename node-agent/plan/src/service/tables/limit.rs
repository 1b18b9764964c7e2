//! What all services together may take: who is closed when it is too much, and which time-outs of affinity there are.

use std::collections::BTreeSet;

use weft_model::ServiceName;
use weft_view::View;

use super::Services;
use crate::{
    Facts,
    service::problem::{MOST_ELEMENTS, MOST_TIMEOUTS, ServiceProblem},
};

/// Services named in a complaint.
const NAMED: usize = 5;

/// What all services together leave to each: known only to whoever has all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Services that are closed since all need too many elements.
    pub closed: BTreeSet<ServiceName>,
    /// Time-outs of affinity that may be used, seconds; empty: any.
    pub timeouts: BTreeSet<u32>,
}

impl Services {
    /// For some services of many, with what all of them together leave to these.
    pub(in crate::service) fn within(limits: Limits) -> Self {
        Self { fixed: Some(limits), ..Self::default() }
    }

    /// What all services together leave to each.
    pub fn limits(&self) -> Limits {
        Limits { closed: self.around.closed.clone(), timeouts: self.around.timeouts.clone() }
    }

    /// Number of elements of all services, and of each of the largest, largest first.
    pub fn sizes(&self) -> (usize, Vec<(ServiceName, usize)>) {
        let mut all: Vec<_> = self.sizes.iter().map(|(name, size)| (name.clone(), *size)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(NAMED);
        (self.total, all)
    }

    /// What can't be given, in words.
    pub fn problems(&self) -> Vec<ServiceProblem> {
        let mut found = Vec::new();
        if !self.around.closed.is_empty() {
            let (wanted, largest) = self.sizes();
            let closed = self.around.closed.iter().cloned().collect();
            found.push(ServiceProblem::TooManyElements { wanted, closed, largest });
        }
        let distinct: BTreeSet<u32> = self.timeouts.values().copied().collect();
        if distinct.len() > MOST_TIMEOUTS {
            let shortest = self.around.timeouts.first().copied().unwrap_or_default();
            found.push(ServiceProblem::TooManyTimeouts { wanted: distinct.len(), shortest });
        }
        found
    }

    /// Time-outs that may be used: the longest of those that are asked for; empty: any.
    pub(super) fn allowed_timeouts(&self) -> BTreeSet<u32> {
        if let Some(limits) = &self.fixed {
            return limits.timeouts.clone();
        }
        let distinct: BTreeSet<u32> = self.timeouts.values().copied().collect();
        match distinct.len().saturating_sub(MOST_TIMEOUTS) {
            0 => BTreeSet::new(),
            surplus => distinct.into_iter().skip(surplus).collect(),
        }
    }

    /// Closes the largest services as long as all together need too much; opens them when there is room.
    pub(super) fn limit(&mut self, view: &View, facts: &Facts) {
        let closed = match &self.fixed {
            Some(limits) => limits.closed.clone(),
            None => self.too_large(),
        };
        if closed != self.around.closed {
            let changed = closed.symmetric_difference(&self.around.closed).cloned().collect();
            self.around.closed = closed;
            self.compile(view, facts, changed, false);
        }
    }

    fn too_large(&self) -> BTreeSet<ServiceName> {
        let mut closed = BTreeSet::new();
        if self.total <= MOST_ELEMENTS {
            return closed;
        }
        let mut by_size: Vec<(usize, &ServiceName)> =
            self.sizes.iter().map(|(name, size)| (*size, name)).collect();
        by_size.sort_unstable();
        let mut total = self.total;
        while total > MOST_ELEMENTS
            && let Some((size, name)) = by_size.pop()
        {
            total -= size;
            closed.insert(name.clone());
        }
        closed
    }
}
