//! The roles that this program plays inside a lab: `weft-lab inside ROLE`. Not for people.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use weft_model::ownership::IP_NETNS_ETC;

use crate::layout::Layout;
use crate::record::Record;
use crate::{Result, launch, mounts, netfilter, prerequisites, priority, supervisor, vm};

/// A role.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Leaves for new namespaces and starts the first process there.
    Outer {
        /// Abstract name of the control socket.
        #[arg(long)]
        socket: String,
        /// Arguments of the first process.
        #[arg(last = true)]
        inner: Vec<String>,
    },
    /// The first process of a lab.
    Supervise {
        /// Name of the lab.
        lab: String,
    },
    /// Says which prerequisites are missing inside new namespaces.
    Check,
    /// The first process of a machine.
    Machine {
        /// Name of machine and host.
        name: String,
        /// What survives the machine.
        disk: PathBuf,
    },
    /// The first process of a virtual machine.
    Virtual,
    /// What carries orders out in a virtual machine.
    Hands {
        /// The first order.
        begin: String,
    },
    /// Deletes every nf_tables table here.
    FlushNft,
    /// Makes a network namespace and mounts it.
    NetnsAdd {
        /// Where.
        path: PathBuf,
    },
    /// Takes the resolv.conf of a pod from standard input.
    ResolvConf {
        /// File name of the pod's network namespace below `/run/netns`.
        netns: String,
    },
    /// Unmounts a network namespace, and forgets its resolv.conf.
    NetnsRemove {
        /// Where.
        path: PathBuf,
    },
}

/// Plays the role. What goes wrong is also said on standard output, where the starter listens.
pub fn play(role: &Role) -> Result {
    let played = match role {
        Role::Outer { socket, inner } => launch::outer(socket, inner),
        Role::Supervise { lab } => supervise(lab),
        Role::Check => prerequisites::check_inside(),
        Role::Machine { name, disk } => machine(name, disk),
        Role::Virtual => vm::init(),
        Role::Hands { begin } => vm::hands(begin),
        Role::FlushNft => netfilter::flush_ruleset(),
        Role::NetnsAdd { path } => {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
            mounts::mount_netns(path)
        }
        Role::ResolvConf { netns } => {
            let text = std::io::read_to_string(std::io::stdin()).context("read the resolv.conf")?;
            let folder = Path::new(IP_NETNS_ETC).join(netns);
            std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            std::fs::write(folder.join("resolv.conf"), text).context("write the resolv.conf")
        }
        Role::NetnsRemove { path } => {
            if let Some(name) = path.file_name() {
                // A pod that was never attached has none.
                let _ = std::fs::remove_dir_all(Path::new(IP_NETNS_ETC).join(name));
            }
            umount2(path, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", path.display()))?;
            std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
        }
    };
    if let Err(e) = &played {
        say(&format!("error: {e:#}"))?;
    }
    played
}

fn supervise(lab: &str) -> Result {
    let layout = Layout::of(lab)?;
    let record = Record::read(&layout)?;
    priority::lead();
    let listener: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    supervisor::supervise(layout, &record.topology, &UnixListener::from(listener), || say("ready"))
}

/// Prepares the machine, then lives as its first process: adopts and reaps orphans until it is killed.
fn machine(name: &str, disk: &Path) -> Result {
    nix::unistd::sethostname(name).context("set the host name")?;
    mounts::prepare_machine(disk)?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().context("block SIGCHLD")?;
    say("ready")?;
    loop {
        while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
        {
        }
        children.wait().context("wait for orphans")?;
    }
}

fn say(line: &str) -> Result {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
