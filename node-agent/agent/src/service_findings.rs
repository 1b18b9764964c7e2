//! What `weft check` says of services on this node: how much they need, and what can't be given.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use weft_errors::{Error, SERVICE_LIMIT};
use weft_model::ServiceName;
use weft_plan::{Finding, Limits, ServiceProblem};

/// Findings of the loop of services.
#[derive(Debug, Default)]
pub(crate) struct ServiceFindings {
    found: Mutex<Vec<Finding>>,
    compared: Mutex<Option<Comparison>>,
    /// The last comparison that found something.
    repaired: Mutex<Option<Comparison>>,
    limits: Mutex<Limits>,
}

/// What came of reading the kernel's maps.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    at: Instant,
    differences: usize,
}

impl ServiceFindings {
    /// The findings now.
    pub(crate) fn all(&self) -> Vec<Finding> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let compared = *self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let repaired = *self.repaired.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = found.last_mut() else { return found };
        if let Some(Comparison { at, .. }) = compared.filter(|compared| compared.differences == 0) {
            last.detail += &format!("; as wanted when compared {} s ago", at.elapsed().as_secs());
        }
        if let Some(Comparison { at, differences }) = repaired {
            let what = if differences == 1 { "difference was" } else { "differences were" };
            last.detail += &format!("; {differences} {what} repaired {} s ago", at.elapsed().as_secs());
        }
        found
    }

    /// The kernel's maps and rules were read: in so many places they were not as this process had left them.
    pub(crate) fn compared(&self, differences: usize) {
        let comparison = Comparison { at: Instant::now(), differences };
        if differences > 0 {
            *self.repaired.lock().unwrap_or_else(PoisonError::into_inner) = Some(comparison);
        }
        *self.compared.lock().unwrap_or_else(PoisonError::into_inner) = Some(comparison);
    }

    /// What all services together leave to each.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that.
    pub(crate) fn limited(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Notes problems, and the elements of all services with those of the largest.
    pub(crate) fn set(
        &self,
        problems: &[ServiceProblem],
        (total, largest): (usize, Vec<(ServiceName, usize)>),
    ) {
        let name = || "services".to_owned();
        let mut found: Vec<Finding> = problems
            .iter()
            .map(|problem| {
                let error = Error::new(&SERVICE_LIMIT, problem.to_string());
                Finding { name: name(), detail: error.message.clone(), ok: false, error: Some(error) }
            })
            .collect();
        if found.is_empty() && total > 0 {
            let of_largest = largest.first().map(|(service, size)| format!(", {size} of {service}"));
            let detail = format!("{total} elements in the kernel's maps{}", of_largest.unwrap_or_default());
            found.push(Finding { name: name(), detail, ok: true, error: None });
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
