//! A race: policies, labels and pods change all the time, while raw sockets try what no policy ever allows, and others what one of them
//! always allows, or allows now.
//!
//! What a pod gets is seen by a packet socket in its network namespace, also in pods that come meanwhile, before their first packet. One
//! pod is let in and kept out in turn: what it sent while it was kept out, from the moment in which every node had that, may not come;
//! while it is let in, it may not be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ends::{Ends, connect};
use super::raw::{Attacker, Sniffer};
use super::{End, Options};
use crate::probe::now_us;
use crate::probe::write::{Change, Writer};
use crate::wait::pass;

/// The whole of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Race {
    /// Pods.
    pub(crate) ends: Vec<End>,
    /// Folders in which namespaces of new pods appear, and how their names begin.
    pub(crate) folders: Vec<PathBuf>,
    /// Beginning of their names.
    pub(crate) prefix: String,
    /// For how long, milliseconds.
    pub(crate) span_ms: u64,
    /// Changes per second, beside those that wait until every node has them.
    pub(crate) rate: f64,
    /// Before it begins.
    pub(crate) first: Vec<Change>,
    /// What is changed all the time, by a writer each.
    pub(crate) churn: Vec<Vec<Change>>,
    /// Lets the pod in, and keeps it out.
    pub(crate) turns: [Change; 2],
    /// Places of: who is let in and kept out in turn, who always may, who never may, and whom they ask.
    pub(crate) turning: usize,
    /// Who always may.
    pub(crate) friend: usize,
    /// Who never may.
    pub(crate) strangers: Vec<usize>,
    /// Whom they ask.
    pub(crate) asked: Vec<usize>,
    /// Addresses that new pods may get: they are asked before they are there.
    pub(crate) spare: Vec<IpAddr>,
}

/// Between two rounds of the strangers.
const REST: Duration = Duration::from_millis(3);
/// How long somebody who may needs at most for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the pod that is kept out tries.
const KEPT_OUT: Duration = Duration::from_millis(30);
/// What was sent while it was kept out has come or gone within this, on a busy machine too: what is still on its way through the tunnel
/// when it is let in again rightly comes.
const UNDER_WAY: Duration = Duration::from_millis(300);
/// How often new pods are looked for.
const LOOK: Duration = Duration::from_millis(1);
/// What is still on its way when all stop.
const LAST: Duration = Duration::from_millis(100);
/// Port that is asked.
const PORT: u16 = 80;

/// What was seen.
#[derive(Default)]
struct Seen {
    /// From whom to whom what came that never may.
    delivered: Vec<String>,
    /// Moments in which the turning pod sent what came.
    turned: Vec<u64>,
    /// Whom the friend reached, by what was sniffed.
    reached: BTreeSet<String>,
    sniffers: BTreeSet<String>,
    /// Connections that weren't made though they may.
    refused: Vec<String>,
}

struct Stage<'a> {
    race: &'a Race,
    ends: &'a Ends,
    end: &'a AtomicBool,
    seen: &'a Mutex<Seen>,
    sent: &'a AtomicU64,
    made: &'a AtomicU64,
    changes: &'a AtomicU64,
    /// Times in which the turning pod was kept out on every node.
    kept_out: &'a Mutex<Vec<(u64, u64)>>,
}

/// Runs it.
pub(in crate::probe) fn run(options: &Options) -> Result<Value> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let race: Race = serde_json::from_str(&text).context("standard input is no race")?;
    let (ends, _) = Ends::open(&race.ends, &[])?;
    let mut writer = Writer::open(&options.target)?;
    writer.change_and_wait(&race.first)?;
    let (end, seen, kept_out) = (AtomicBool::new(false), Mutex::new(Seen::default()), Mutex::new(Vec::new()));
    let [sent, made, changes] = [const { AtomicU64::new(0) }; 3];
    let stage = Stage {
        race: &race,
        ends: &ends,
        end: &end,
        seen: &seen,
        sent: &sent,
        made: &made,
        changes: &changes,
        kept_out: &kept_out,
    };
    let began = Instant::now();
    let mut churners = Vec::new();
    for _ in &race.churn {
        churners.push(Writer::open(&options.target)?);
    }
    std::thread::scope(|scope| -> Result<()> {
        let mut threads = vec![
            scope.spawn(|| stage.sniff()),
            scope.spawn(|| stage.strange()),
            scope.spawn(|| stage.befriend()),
            scope.spawn(|| stage.serve()),
        ];
        threads.push(scope.spawn(|| stage.turn(&mut writer)));
        for (changes, mut writer) in race.churn.iter().zip(churners) {
            let stage = &stage;
            threads.push(scope.spawn(move || stage.churn(&mut writer, changes)));
        }
        let span = Duration::from_millis(race.span_ms);
        while began.elapsed() < span && threads.iter().all(|thread| !thread.is_finished()) {
            pass(Duration::from_millis(20));
        }
        end.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let took = began.elapsed();
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let kept_out = kept_out.into_inner().unwrap_or_else(PoisonError::into_inner);
    let late = |moment: &&u64| kept_out.iter().any(|(from, to)| (from..to).contains(moment));
    let late = seen.turned.iter().filter(late).count();
    let unseen: Vec<_> = seen.sniffers.difference(&seen.reached).collect();
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    Ok(json!({
        "ok": seen.delivered.is_empty() && late == 0 && seen.refused.is_empty(),
        "delivered": seen.delivered, "late": late, "refused": seen.refused, "unseen": unseen,
        "sniffers": seen.sniffers.len(), "sent": count(&sent), "connections": count(&made), "changes": count(&changes),
        "turns": kept_out.len(), "turned": seen.turned.len(),
        "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }))
}

impl Stage<'_> {
    fn is_over(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self, places: &[usize]) -> Vec<IpAddr> {
        places.iter().flat_map(|place| self.race.ends[*place].addresses.iter().copied()).collect()
    }

    /// Listens in all pods that are asked, and in those that come, until everything is over and has come.
    fn sniff(&self) -> Result<()> {
        let strangers: BTreeMap<IpAddr, &str> = self
            .race
            .strangers
            .iter()
            .flat_map(|place| {
                self.race.ends[*place].addresses.iter().map(|a| (*a, self.race.ends[*place].name.as_str()))
            })
            .collect();
        let (friend, turning) = (self.addresses(&[self.race.friend]), self.addresses(&[self.race.turning]));
        let mut sniffers = BTreeMap::new();
        for place in &self.race.asked {
            let end = &self.race.ends[*place];
            sniffers.insert(end.name.clone(), Some(Sniffer::open(&end.netns)?));
        }
        let mut last = None;
        loop {
            for (name, path) in new_pods(&self.race.folders, &self.race.prefix) {
                // It is there for a moment before it is a namespace.
                if !sniffers.contains_key(&name)
                    && let Ok(sniffer) = Sniffer::open(&path)
                {
                    sniffers.insert(name, Some(sniffer));
                }
            }
            let mut fds: Vec<_> = sniffers
                .values()
                .flatten()
                .map(|sniffer| PollFd::new(sniffer.socket(), PollFlags::IN))
                .collect();
            poll(&mut fds, Some(&LOOK.try_into()?))?;
            drop(fds);
            for (name, sniffer) in sniffers.iter().filter_map(|(name, one)| Some((name, one.as_ref()?))) {
                while let Some(packet) = sniffer.next() {
                    let mut seen = self.seen();
                    if let Some(stranger) = strangers.get(&packet.source) {
                        seen.delivered
                            .push(format!("{stranger} {} -> {name} {}", packet.source, packet.destination));
                    } else if friend.contains(&packet.source) {
                        seen.reached.insert(name.clone());
                    } else if turning.contains(&packet.source)
                        && let Some(moment) = packet.sent_us
                    {
                        seen.turned.push(moment);
                    }
                }
            }
            if self.is_over() && last.get_or_insert_with(Instant::now).elapsed() > LAST {
                self.seen().sniffers.extend(sniffers.into_keys());
                return Ok(());
            }
        }
    }

    /// Strangers send to everybody who is asked, there or not, by raw sockets.
    fn strange(&self) -> Result<()> {
        let (mut attackers, by) = (Vec::new(), self.addresses(&[self.race.friend]));
        for place in &self.race.strangers {
            self.ends.enter(*place)?;
            attackers.push(Attacker::open(&self.race.ends[*place].addresses, &by)?);
        }
        let (asked, mut turn) = (self.addresses(&self.race.asked), 0_usize);
        while !self.is_over() {
            let spare = self.race.spare.iter().cycle().skip(turn * 7).take(self.race.spare.len().min(7));
            for address in asked.iter().chain(spare) {
                let sent = attackers[turn % attackers.len()].send(*address, PORT, turn);
                self.sent.fetch_add(sent, Ordering::Relaxed);
            }
            turn += 1;
            pass(REST);
        }
        Ok(())
    }

    /// Who always may connects all the time.
    fn befriend(&self) -> Result<()> {
        self.ends.enter(self.race.friend)?;
        let asked = self.addresses(&self.race.asked);
        while !self.is_over() {
            asked.iter().for_each(|address| self.reach("who always may", *address));
            pass(REST);
        }
        Ok(())
    }

    /// A connection that may be made.
    fn reach(&self, who: &str, address: IpAddr) {
        match reach(SocketAddr::new(address, PORT)) {
            Ok(()) => {
                self.made.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) => self.seen().refused.push(format!("{who} to {address}: {e:#}")),
        }
    }

    fn serve(&self) -> Result<()> {
        while !self.is_over() {
            let mut fds: Vec<_> =
                self.ends.listeners.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
            poll(&mut fds, Some(&(LOOK * 20).try_into()?))?;
            for listener in &self.ends.listeners {
                while listener.accept().is_ok() {}
            }
        }
        Ok(())
    }

    /// One pod is let in and kept out.
    fn turn(&self, writer: &mut Writer) -> Result<()> {
        self.ends.enter(self.race.turning)?;
        let own = &self.race.ends[self.race.turning].addresses;
        let attacker = Attacker::open(own, &[])?;
        let asked = self.addresses(&self.race.asked);
        let [open, close] = &self.race.turns;
        while !self.is_over() {
            writer.change_and_wait(std::slice::from_ref(open))?;
            asked.iter().for_each(|address| self.reach("who may now", *address));
            for address in &asked {
                attacker.send_now(*address, PORT);
            }
            writer.change_and_wait(std::slice::from_ref(close))?;
            let (from, closed) = (now_us(), Instant::now());
            while closed.elapsed() < KEPT_OUT {
                for (turn, address) in asked.iter().enumerate() {
                    attacker.send_now(*address, PORT);
                    self.sent.fetch_add(1 + attacker.send(*address, PORT, turn), Ordering::Relaxed);
                }
                pass(Duration::from_micros(500));
            }
            self.kept_out.lock().unwrap_or_else(PoisonError::into_inner).push((from, now_us()));
            pass(UNDER_WAY);
            self.changes.fetch_add(2, Ordering::Relaxed);
        }
        Ok(())
    }

    fn churn(&self, writer: &mut Writer, changes: &[Change]) -> Result<()> {
        let writers = self.race.churn.len().max(1);
        let step = Duration::from_secs_f64(writers as f64 / self.race.rate);
        let began = Instant::now();
        for (count, change) in (0_u32..).zip(changes.iter().cycle()) {
            let due = began + step * count;
            let now = Instant::now();
            if due > now {
                pass(due - now);
            }
            if self.is_over() {
                break;
            }
            writer.store(change.clone())?;
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Connects and waits for the answer.
fn reach(to: SocketAddr) -> Result<()> {
    let socket = connect(to)?;
    let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
    let ready = poll(&mut fds, Some(&PATIENCE.try_into()?))?;
    if ready == 0 {
        anyhow::bail!("no answer within {PATIENCE:?}");
    }
    socket.take_error()?.map_or(Ok(()), |e| Err(e.into()))
}

fn new_pods(folders: &[PathBuf], prefix: &str) -> Vec<(String, PathBuf)> {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    let all = folders.iter().flat_map(|folder| list(folder));
    let named = all.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(name, _)| name.starts_with(prefix)).collect()
}
