//! Entering namespaces: work runs in a thread of its own that entered them, so nothing leaks into other threads.
//!
//! A process started by such a thread is born inside. Not here: making the lab's first namespaces (launch.rs).

use std::fs::File;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use weft_model::ownership::IP_NETNS_ETC;

use crate::{Result, mounts};

/// Open handles of the namespaces of one machine. While a handle lives, so does the namespace.
#[derive(Debug)]
pub struct Namespaces {
    net: File,
    mount: File,
    process: File,
    host_name: File,
}

impl Namespaces {
    /// Opens the namespaces of the process `pid` (as numbered in the caller's `/proc`).
    pub fn of(pid: u32) -> Result<Self> {
        let open = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            File::open(&path).with_context(|| format!("open {path}"))
        };
        Ok(Self { net: open("net")?, mount: open("mnt")?, process: open("pid")?, host_name: open("uts")? })
    }

    /// Enters them with the calling thread, which must share nothing with others (see [`Namespaces::run`]) or be alone.
    /// The process namespace takes effect for children.
    pub fn enter(&self) -> Result {
        setns(&self.net, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
        setns(&self.host_name, CloneFlags::CLONE_NEWUTS).context("enter the host-name namespace")?;
        setns(&self.process, CloneFlags::CLONE_NEWPID).context("enter the process namespace")?;
        setns(&self.mount, CloneFlags::CLONE_NEWNS).context("enter the mount namespace")
    }

    /// Enters the network namespace alone, with the calling thread.
    pub fn enter_net(&self) -> Result {
        setns(&self.net, CloneFlags::CLONE_NEWNET).context("enter the network namespace")
    }

    /// Runs `work` in a thread inside these namespaces, and inside the network namespace mounted at `pod` if one is given.
    pub fn run<T: Send>(&self, pod: Option<&Path>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            unshare(CloneFlags::CLONE_FS).context("leave the shared working directory")?;
            self.enter()?;
            if let Some(path) = pod {
                enter_net(path)?;
            }
            work()
        })
    }
}

/// Enters the network namespace that is mounted at `path`, with the calling thread.
pub fn enter_net(path: &Path) -> Result {
    let file = File::open(path).with_context(|| format!("open the namespace {}", path.display()))?;
    setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter the namespace {}", path.display()))
}

/// Gives the calling thread, and what it starts, the resolv.conf of a pod, by the name of the pod's network namespace: as `ip netns
/// exec` does.
pub fn resolve_as(netns: &str) -> Result {
    let own = Path::new(IP_NETNS_ETC).join(netns).join("resolv.conf");
    if own.exists() { mounts::put_over(&own, Path::new("/etc/resolv.conf")) } else { Ok(()) }
}

/// Runs `work` in a thread of its own and waits for it.
pub fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().map_err(|_| anyhow!("a thread of the lab panicked"))?
    })
}
