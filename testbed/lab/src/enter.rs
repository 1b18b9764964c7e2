//! Entering a lab from outside, with this very process: for commands that run in the caller's terminal.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};

use crate::namespace::{Namespaces, enter_net, resolve_as};
use crate::protocol::{Description, Place};
use crate::record::Record;
use crate::{Refusal, Result};

/// How far a command enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Its children are processes of the place: files, links, names, process numbers.
    Whole,
    /// Only the links: the process keeps its files and may have threads.
    Links,
}

/// Enters `place` with this process, which must have a single thread.
pub fn enter(record: &Record, description: &Description, place: &Place, depth: Depth) -> Result {
    enter_user_namespace(record.pid)?;
    let lab = Namespaces::of(record.pid)?;
    let machine = match place {
        Place::Switch => {
            return match depth {
                Depth::Whole => lab.enter(),
                Depth::Links => lab.enter_net(),
            };
        }
        Place::Machine(machine) | Place::Pod(machine, _) => machine,
    };
    let state = description.machines.iter().find(|m| m.machine.name == *machine);
    let Some((pid, is_virtual)) = state.and_then(|m| Some((m.pid?, m.is_virtual))) else {
        bail!(Refusal::NotFound(format!("{machine} isn't there or down")));
    };
    if is_virtual {
        bail!(Refusal::Usage(format!(
            "{machine} is a virtual machine, which can't be entered: use cargo lab exec, or look at its link"
        )));
    }
    // Process numbers of the description are those of the lab's own /proc.
    lab.enter()?;
    let inside = Namespaces::of(pid)?;
    match depth {
        Depth::Whole => inside.enter()?,
        Depth::Links => inside.enter_net()?,
    }
    match place {
        Place::Pod(_, netns) => {
            enter_net(&Path::new("/run/netns").join(netns))?;
            if depth == Depth::Whole { resolve_as(netns) } else { Ok(()) }
        }
        Place::Switch | Place::Machine(_) => Ok(()),
    }
}

/// Joins the user namespace of the lab; a lab of root may be in the caller's own.
fn enter_user_namespace(pid: u32) -> Result {
    let path = format!("/proc/{pid}/ns/user");
    if std::fs::read_link(&path).ok() == std::fs::read_link("/proc/self/ns/user").ok() {
        return Ok(());
    }
    let file = File::open(&path).with_context(|| format!("open {path}"))?;
    setns(&file, CloneFlags::CLONE_NEWUSER).context("enter the lab's user namespace")
}

/// The place that a word of the command line means: `n1`, `web-0`, `shop/web-0`, `node/n1`, `pod/web-0`, `switch`.
pub fn find(description: &Description, word: &str) -> Result<Place> {
    let (kind, name) = match word.split_once('/') {
        Some((kind @ ("node" | "pod"), name)) => (Some(kind), name),
        _ => (None, word),
    };
    let machine =
        description.machines.iter().find(|m| m.machine.name == name).map(|m| m.machine.name.clone());
    let (namespace, pod) = name.split_once('/').map_or((None, name), |(ns, pod)| (Some(ns), pod));
    let pods: Vec<_> = description
        .pods
        .iter()
        .filter(|p| p.name == pod && namespace.is_none_or(|ns| p.namespace == ns))
        .collect();
    match (kind, machine, pods.as_slice()) {
        (_, None, []) if word == "switch" => Ok(Place::Switch),
        (None, Some(_), [_, ..]) => {
            bail!(Refusal::Usage(format!("{word:?} is a machine and a pod: say node/{word} or pod/{word}")))
        }
        (None | Some("node"), Some(machine), _) => Ok(Place::Machine(machine)),
        (None | Some("pod"), _, [pod]) => Ok(Place::Pod(pod.node.clone(), pod.netns.clone())),
        (_, _, [_, _, ..]) => {
            let all: Vec<String> = pods.iter().map(|p| format!("{}/{}", p.namespace, p.name)).collect();
            bail!(Refusal::Usage(format!("{word:?} could be: {}", all.join(", "))))
        }
        _ => bail!(Refusal::NotFound(format!("the lab has no machine or pod {word:?}"))),
    }
}
