//! Service Sync: what agents follow and what they give back.

mod fanout;
mod report;
mod service;
mod watch;

pub(crate) use fanout::Fanout;
pub(crate) use report::{Reports, merge as merge_reports};
pub(crate) use service::SyncService;
