//! What carries orders out in a virtual machine: prepares it, starts processes, says how they fare. Standard input is the port.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};

use super::guest::say;
use super::order::{Begin, Order, Start, Word};
use crate::namespace::{enter_net, in_thread, resolve_as};
use crate::supervisor::{raw, status_byte};
use crate::{Result, ip, mounts, notify};

struct Hands {
    port: Mutex<File>,
    /// Process ids by the supervisor's numbers.
    running: Mutex<BTreeMap<u64, u32>>,
}

/// Works until the supervisor goes; `begin` is the first order.
pub fn hands(begin: &str) -> Result {
    let port = File::from(stdin().as_fd().try_clone_to_owned()?);
    let hands = Arc::new(Hands { port: Mutex::new(port.try_clone()?), running: Mutex::default() });
    let prepared =
        serde_json::from_str(begin).context("read the first order").and_then(|begin| prepare(&begin));
    match prepared {
        Ok(()) => hands.say(&Word::Up)?,
        Err(e) => {
            hands.say(&Word::Failed(format!("{e:#}")))?;
            return Err(e);
        }
    }
    for line in BufReader::new(port).lines() {
        match serde_json::from_str(&line.context("read orders")?).context("read an order")? {
            Order::Start(number, start) => hands.start(number, start)?,
            Order::Signal(number, signal) => hands.signal(number, signal),
            Order::Begin(_) => {}
        }
    }
    Ok(())
}

fn prepare(begin: &Begin) -> Result {
    nix::unistd::sethostname(&begin.name).context("set the host name")?;
    mounts::prepare_machine(&begin.disk)?;
    if Path::new("/proc/sys/net/ipv6/conf/eth0").exists() {
        ip::sysctl("net/ipv6/conf/eth0/accept_dad", "0")?;
        ip::sysctl("net/ipv6/conf/eth0/accept_ra", "0")?;
    }
    ip::batch(&begin.lines)
}

impl Hands {
    fn say(&self, word: &Word) -> Result {
        say(&mut self.port.lock().unwrap_or_else(PoisonError::into_inner), word)
    }

    fn start(self: &Arc<Self>, number: u64, start: Start) -> Result {
        let (mut child, notifications) = match spawn(&start) {
            Ok(started) => started,
            Err(e) => return self.say(&Word::Refused(number, format!("{e:#}"))),
        };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(number, child.id());
        self.say(&Word::Started(number, child.id()))?;
        let hands = Arc::clone(self);
        std::thread::Builder::new().name(format!("process {number}")).spawn(move || -> Result {
            let ended = AtomicBool::new(false);
            let status = std::thread::scope(|scope| {
                if let Some(socket) = &notifications {
                    scope.spawn(|| notify::hear(socket, &ended, || drop(hands.say(&Word::Ready(number)))));
                }
                let status = child.wait().map_or(255, status_byte);
                hands.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                if let Some(socket) = &notifications {
                    notify::end(socket, &ended);
                }
                status
            });
            hands.say(&Word::Ended(number, status))
        })?;
        Ok(())
    }

    fn signal(&self, number: u64, signal: i32) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(pid), Ok(signal)) = (running.get(&number), Signal::try_from(signal)) {
            let _ = kill(raw(*pid), signal);
        }
    }
}

fn spawn(start: &Start) -> Result<(Child, Option<UnixDatagram>)> {
    let mut command = start.command()?;
    let notifications = start.listen(&mut command)?;
    let child = in_thread(|| {
        if let Some(netns) = &start.netns {
            enter_net(&Path::new("/run/netns").join(netns))?;
            if start.resolves() {
                resolve_as(netns)?;
            }
        }
        start.spawn(&mut command)
    })?;
    Ok((child, notifications))
}
