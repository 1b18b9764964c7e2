//! What supervisor and virtual machine tell each other: one JSON document per line each way on a virtio port.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Name of the port, and of the tags of the two shared folders.
pub(super) const PORT: &str = "weft-lab";
/// Tag of the host's root, read-only.
pub(super) const ROOT: &str = "root";
/// Tag of the lab's folder.
pub(super) const LAB: &str = "lab";

/// To the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// The first order: who it is.
    Begin(Begin),
    /// Starts a process under a number that the supervisor chose.
    Start(u64, Start),
    /// Signals it.
    Signal(u64, i32),
}

/// Who a machine is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// Name of machine and host.
    pub(crate) name: String,
    /// The lab's folder, at the same path inside.
    pub(crate) lab: PathBuf,
    /// What survives the machine, below `lab`.
    pub(crate) disk: PathBuf,
    /// `ip` lines for its link.
    pub(crate) lines: Vec<String>,
    /// Environment of its processes.
    pub(crate) env: BTreeMap<String, String>,
    /// This program's file.
    pub(crate) program: PathBuf,
}

/// A process to start. Files lie below the lab's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Added to the machine's environment.
    pub(crate) env: BTreeMap<String, String>,
    /// What it reads.
    pub(crate) stdin: Option<PathBuf>,
    /// Where its output goes, appended.
    pub(crate) out: PathBuf,
    /// Where its errors go, appended.
    pub(crate) errors: PathBuf,
    /// File name of its network namespace below `/run/netns`; the machine's own otherwise.
    pub(crate) netns: Option<String>,
    /// Socket for its notifications (sd_notify).
    pub(crate) notify: Option<String>,
}

/// From the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    /// It has done `Begin`.
    Up,
    /// It could not.
    Failed(String),
    /// A process runs: its number of the supervisor, and its process id inside.
    Started(u64, u32),
    /// A process could not be started.
    Refused(u64, String),
    /// A process says that it is ready.
    Ready(u64),
    /// A process has ended with this status.
    Ended(u64, u8),
}
