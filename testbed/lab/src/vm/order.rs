//! What supervisor and virtual machine tell each other: one JSON document per line each way on a virtio port.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{Result, notify};

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

impl Start {
    /// The process, its files opened by the caller: here or in a virtual machine the same.
    pub(crate) fn command(&self) -> Result<Command> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("open {}", path.display()))
        };
        let stdin = match &self.stdin {
            Some(path) => Stdio::from(File::open(path).with_context(|| format!("open {}", path.display()))?),
            None => Stdio::null(),
        };
        let (program, arguments) = self.argv.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(&self.env).stdin(stdin);
        command.stdout(open(&self.out)?).stderr(open(&self.errors)?);
        Ok(command)
    }

    /// Whether it is a program that may look up names: in a pod it gets the pod's resolv.conf. Our own asks servers by their
    /// addresses, and is started often.
    pub(crate) fn resolves(&self) -> bool {
        let program = self.argv.first().map(Path::new);
        program.and_then(Path::file_name).is_some_and(|name| name != env!("CARGO_PKG_NAME"))
    }

    /// The socket for its notifications, bound where the caller stands, and told to the process.
    pub(crate) fn listen(&self, command: &mut Command) -> Result<Option<UnixDatagram>> {
        let notifications = self.notify.as_deref().map(notify::bind).transpose()?;
        if let Some(socket) = &self.notify {
            command.env("NOTIFY_SOCKET", socket);
        }
        Ok(notifications)
    }

    /// Starts it.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        command.spawn().with_context(|| format!("start {}", self.argv.join(" ")))
    }
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
