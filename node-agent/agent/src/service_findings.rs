//! What `weft check` says of services on this node: how much they need, and what can't be given.

use std::sync::{Mutex, PoisonError};

use weft_errors::{Error, SERVICE_LIMIT};
use weft_model::ServiceName;
use weft_plan::{Finding, ServiceProblem};

/// Findings of the loop of services.
#[derive(Debug, Default)]
pub(crate) struct ServiceFindings(Mutex<Vec<Finding>>);

impl ServiceFindings {
    /// The findings now.
    pub(crate) fn all(&self) -> Vec<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
