//! One loop per subject: full View and facts in, steps into the kernel, state out.
//!
//! Level-triggered: a wish only says what to look at first. A failure is state of the subject, retried with jittered
//! backoff while the other loops go on. Nothing is swept before the View was in sync once.

mod guard;
mod mesh;
mod policy;
mod service;
mod subject;

pub(crate) use guard::GuardLoop;
pub(crate) use mesh::{MeshLoop, device as mesh_device};
pub(crate) use policy::PolicyLoop;
pub(crate) use service::ServiceLoop;
pub(crate) use subject::SubjectLoop;

use weft_plan::Sweep;
use weft_view::View;

/// Whether unknown things may be removed.
pub(crate) fn sweep(view: &View) -> Sweep {
    if view.is_in_sync() && view.fabric().is_some() { Sweep::Allowed } else { Sweep::Forbidden }
}
