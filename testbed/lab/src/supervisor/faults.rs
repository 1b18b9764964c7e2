//! Bringing faults about and undoing them.

use std::sync::Arc;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};

use super::machine::{Body, raw};
use super::{State, Supervisor, no_machine};
use crate::fault::{Fault, Link};
use crate::launch::own_program;
use crate::netfilter::{Direction, Loss, Sender, flush_ruleset, set_losses};
use crate::plan::Machine;
use crate::protocol::{Act, Place, Response};
use crate::topology::Subnets;
use crate::{Refusal, Result, ip};

impl Supervisor {
    pub(crate) fn fail(self: &Arc<Self>, fault: Fault) -> Result<Response> {
        self.check_names(&fault)?;
        if self.state().faults.contains(&fault) {
            bail!("{fault} is in force already");
        }
        match &fault {
            Fault::KillMachine(name) => self.kill_machine(name)?,
            Fault::KillProcess(name, process) => drop(self.act(name, process, Act::Kill)?),
            Fault::StopProcess(name, process) => drop(self.act(name, process, Act::Hold)?),
            Fault::Pause(name) => self.signal_all(name, Signal::SIGSTOP)?,
            Fault::Cut(Link { a, b: None }) => ip::batch(&[format!("link set dev {a} down")])?,
            // The switch's side only; the machine isn't told, as with a smaller link far away.
            Fault::Mtu(link, bytes) => {
                let line = |end| format!("link set dev {end} mtu {bytes}");
                ip::batch(&link.ends().map(line).collect::<Vec<_>>())?;
            }
            Fault::FlushNft(name) if self.is_virtual(name) => {
                let program = own_program()?;
                self.run_on(name, &[&program.to_string_lossy(), "inside", "flush-nft"])?;
            }
            Fault::FlushNft(name) => self.within(&Place::Machine(name.clone()), flush_ruleset)?,
            Fault::DeleteLink(name, link) => self.run_on(name, &["ip", "link", "delete", "dev", link])?,
            Fault::Partition { .. } | Fault::Cut(_) | Fault::Drop(..) => {}
        }
        if fault.lasts() {
            self.state().faults.push(fault.clone());
        }
        if let Err(e) = self.renew_losses() {
            self.state().faults.retain(|f| *f != fault);
            return Err(e);
        }
        Ok(Response::Done)
    }

    pub(crate) fn heal(self: &Arc<Self>, fault: Option<&Fault>) -> Result<Response> {
        let healed: Vec<Fault> = {
            let state = self.state();
            state.faults.iter().filter(|f| fault.is_none_or(|wanted| *f == wanted)).cloned().collect()
        };
        if let Some(fault) = fault
            && healed.is_empty()
        {
            bail!(Refusal::NotFound(format!("{fault} is not in force")));
        }
        for fault in healed {
            self.undo(&fault).with_context(|| format!("heal {fault}"))?;
            self.state().faults.retain(|f| *f != fault);
        }
        self.renew_losses()?;
        Ok(Response::Done)
    }

    fn undo(self: &Arc<Self>, fault: &Fault) -> Result {
        match fault {
            Fault::KillMachine(name) => self.start_machines([name.clone()]),
            Fault::StopProcess(name, process) => self.act(name, process, Act::Release).map(drop),
            Fault::Pause(name) => self.signal_all(name, Signal::SIGCONT),
            Fault::Cut(link @ Link { a, b: None }) => {
                ip::batch(&[format!("link set dev {a} up")])?;
                self.renew_ports(link)
            }
            Fault::Mtu(link, _) => {
                for end in link.ends() {
                    ip::batch(&[format!("link set dev {end} mtu {}", self.link_mtu(end))])?;
                }
                self.renew_ports(link)
            }
            Fault::Partition { .. }
            | Fault::Cut(_)
            | Fault::Drop(..)
            | Fault::KillProcess(..)
            | Fault::FlushNft(_)
            | Fault::DeleteLink(..) => Ok(()),
        }
    }

    /// The losses at the switch that the faults in force add up to.
    pub(crate) fn renew_losses(&self) -> Result {
        let losses = {
            let state = self.state();
            let mut losses = Vec::new();
            for fault in &state.faults {
                state.losses(fault, &mut losses);
            }
            losses
        };
        crate::namespace::in_thread(|| set_losses(&losses))
    }

    fn renew_ports(&self, link: &Link) -> Result {
        let lines: Vec<String> = {
            let state = self.state();
            let ends = link.ends().filter_map(|end| state.plan.machine(end));
            ends.flat_map(|machine| state.plan.renew_port_lines(machine)).collect()
        };
        ip::batch(&lines)
    }

    /// Signals every process on the machine but its first; a virtual machine as a whole.
    fn signal_all(&self, name: &str, signal: Signal) -> Result {
        let (first, body) = {
            let state = self.state();
            let machine = state.machines.get(name).ok_or_else(|| no_machine(name))?;
            (machine.pid(), machine.body()?)
        };
        let first = first.with_context(|| format!("{name} is down"))?;
        if matches!(body, Body::Virtual(_)) {
            return kill(raw(first), signal).with_context(|| format!("signal {name}"));
        }
        let space = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let wanted = space(first);
        let all = std::fs::read_dir("/proc").context("read /proc")?.flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok())) {
            if pid != first && space(pid) == wanted {
                let _ = kill(raw(pid), signal);
            }
        }
        Ok(())
    }

    fn check_names(&self, fault: &Fault) -> Result {
        let state = self.state();
        let check = |name: &str| match state.machines.contains_key(name) {
            true => Ok(()),
            false => Err(no_machine(name)),
        };
        match fault {
            Fault::KillMachine(name)
            | Fault::Pause(name)
            | Fault::FlushNft(name)
            | Fault::KillProcess(name, _)
            | Fault::StopProcess(name, _)
            | Fault::DeleteLink(name, _) => check(name),
            Fault::Partition { from, to, .. } => from.iter().chain(to).try_for_each(|name| check(name)),
            Fault::Cut(link) | Fault::Drop(link, _) | Fault::Mtu(link, _) => link.ends().try_for_each(check),
        }
    }
}

impl State {
    fn losses(&self, fault: &Fault, losses: &mut Vec<Loss>) {
        match fault {
            Fault::Partition { from, to, one_way } => {
                for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
                    self.lose(a, b, 100, losses);
                    if !one_way {
                        self.lose(b, a, 100, losses);
                    }
                }
            }
            Fault::Cut(Link { a, b: Some(b) }) => {
                self.lose(a, b, 100, losses);
                self.lose(b, a, 100, losses);
            }
            Fault::Drop(Link { a, b: Some(b) }, percent) => {
                self.lose(a, b, *percent, losses);
                self.lose(b, a, *percent, losses);
            }
            Fault::Drop(Link { a, b: None }, percent) if self.is_up(a) => {
                for direction in [Direction::FromMachine, Direction::ToMachine] {
                    losses.push(Loss { port: a.clone(), direction, from: None, percent: *percent });
                }
            }
            Fault::Drop(..)
            | Fault::Cut(_)
            | Fault::KillMachine(_)
            | Fault::KillProcess(..)
            | Fault::StopProcess(..)
            | Fault::Pause(_)
            | Fault::Mtu(..)
            | Fault::FlushNft(_)
            | Fault::DeleteLink(..) => {}
        }
    }

    /// Frames from `a` get lost at the port of `b`.
    fn lose(&self, a: &str, b: &str, percent: u8, losses: &mut Vec<Loss>) {
        let (Some(sender), true) = (self.machines.get(a), self.is_up(b)) else { return };
        for sender in senders(sender.plan(), self.plan.subnets) {
            losses.push(Loss {
                port: b.to_owned(),
                direction: Direction::ToMachine,
                from: Some(sender),
                percent,
            });
        }
    }

    fn is_up(&self, name: &str) -> bool {
        self.machines.get(name).is_some_and(super::Machine::is_up)
    }
}

fn senders(machine: &Machine, subnets: Subnets) -> Vec<Sender> {
    match subnets {
        Subnets::Shared => vec![Sender::Mac(machine.mac_bytes())],
        Subnets::PerNode => machine.addresses().into_iter().map(Sender::Address).collect(),
    }
}
