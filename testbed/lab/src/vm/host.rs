//! The supervisor's side of a virtual machine: starts qemu, gives orders, knows how the processes inside fare.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::sys::signal::Signal;

use super::order::{Begin, Order, Start, Word};
use super::qemu::Spec;
use crate::Result;

/// Time in which a machine has booted, on a busy host without virtualisation.
const BOOT: Duration = Duration::from_secs(90);
/// Time in which a machine has started a process.
const START: Duration = Duration::from_secs(20);
/// Time in which it takes an order.
const TAKE: Duration = Duration::from_secs(5);
/// Status of processes whose machine died.
const KILLED: u8 = 137;

/// A virtual machine that runs.
#[derive(Debug)]
pub(crate) struct Vm {
    name: String,
    orders: Mutex<UnixStream>,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    up: Option<core::result::Result<(), String>>,
    gone: bool,
    next: u64,
    processes: BTreeMap<u64, Process>,
}

#[derive(Debug, Default)]
struct Process {
    started: Option<core::result::Result<u32, String>>,
    ready: bool,
    status: Option<u8>,
}

/// A process inside.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    vm: Arc<Vm>,
    number: u64,
    pid: u32,
}

impl Vm {
    /// Boots the machine; returns when it has done `begin`. The child is qemu: its end is the machine's.
    pub(crate) fn boot(spec: &Spec, begin: Begin) -> Result<(Child, Arc<Self>)> {
        let _ = std::fs::remove_file(&spec.orders);
        let listener = UnixListener::bind(&spec.orders).context("make the socket for orders")?;
        listener.set_nonblocking(true)?;
        let console = OpenOptions::new().create(true).append(true).open(&spec.console);
        let console = console.with_context(|| format!("open {}", spec.console.display()))?;
        let mut child =
            spec.command().stdout(console.try_clone()?).stderr(console).spawn().context("start qemu")?;
        let booted = accept(&listener, &mut child).and_then(|stream| Self::begin(&spec.name, stream, begin));
        match booted {
            Ok(vm) => Ok((child, vm)),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(e.context(format!(
                    "the virtual machine {} doesn't boot; see {}",
                    spec.name,
                    spec.console.display()
                )))
            }
        }
    }

    fn begin(name: &str, stream: UnixStream, begin: Begin) -> Result<Arc<Self>> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(TAKE))?;
        let hearing = stream.try_clone()?;
        let vm = Arc::new(Self {
            name: name.to_owned(),
            orders: Mutex::new(stream),
            inside: Mutex::default(),
            changed: Condvar::new(),
        });
        let heard = Arc::clone(&vm);
        std::thread::Builder::new().name(format!("hear {name}")).spawn(move || {
            for line in BufReader::new(hearing).lines() {
                let Some(word) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
                heard.hear(word);
            }
            heard.inside().gone = true;
            heard.changed.notify_all();
        })?;
        vm.order(&Order::Begin(begin))?;
        match vm.wait(Some(BOOT), |inside| inside.up.clone()) {
            Some(Ok(())) => Ok(vm),
            Some(Err(why)) => bail!("{why}"),
            None if vm.inside().gone => bail!("it ended"),
            None => bail!("it is not up after {BOOT:?}"),
        }
    }

    /// Starts a process.
    pub(crate) fn start(self: &Arc<Self>, start: Start) -> Result<Remote> {
        let number = {
            let mut inside = self.inside();
            inside.next += 1;
            let number = inside.next;
            inside.processes.insert(number, Process::default());
            number
        };
        self.order(&Order::Start(number, start))?;
        match self.wait(Some(START), |inside| inside.processes.get(&number)?.started.clone()) {
            Some(Ok(pid)) => Ok(Remote { vm: Arc::clone(self), number, pid }),
            Some(Err(why)) => bail!("{why}"),
            None if self.inside().gone => bail!("{} has just died", self.name),
            None => bail!("{} did not start a process within {START:?}", self.name),
        }
    }

    fn order(&self, order: &Order) -> Result {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.write_all(line.as_bytes()).with_context(|| format!("give {} an order", self.name))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `probe` has an answer; none when the machine has gone or `within` has passed.
    fn wait<T>(
        &self,
        within: Option<Duration>,
        mut probe: impl FnMut(&mut Inside) -> Option<T>,
    ) -> Option<T> {
        let deadline = within.map(|within| Instant::now() + within);
        let mut inside = self.inside();
        loop {
            if let Some(answer) = probe(&mut inside) {
                return Some(answer);
            }
            if inside.gone {
                return None;
            }
            inside = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn hear(&self, word: Word) {
        let mut inside = self.inside();
        let mut change = |number: u64, change: &dyn Fn(&mut Process)| {
            if let Some(process) = inside.processes.get_mut(&number) {
                change(process);
            }
        };
        match word {
            Word::Started(number, pid) => change(number, &|process| process.started = Some(Ok(pid))),
            Word::Refused(number, why) => change(number, &|process| process.started = Some(Err(why.clone()))),
            Word::Ready(number) => change(number, &|process| process.ready = true),
            Word::Ended(number, status) => change(number, &|process| process.status = Some(status)),
            Word::Up => inside.up = Some(Ok(())),
            Word::Failed(why) => inside.up = Some(Err(why)),
        }
        drop(inside);
        self.changed.notify_all();
    }
}

impl Remote {
    /// Its process id inside.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Signals it, if it still runs.
    pub(crate) fn signal(&self, signal: Signal) -> Result {
        self.vm.order(&Order::Signal(self.number, signal as i32))
    }

    /// Waits for its end and returns its status; `ready` is called when it says that it is.
    pub(crate) fn attend(&self, ready: impl FnOnce()) -> u8 {
        let mut ready = Some(ready);
        loop {
            let unheard = ready.is_some();
            let news = self.vm.wait(None, |inside| {
                let process = inside.processes.get(&self.number)?;
                process.status.map(Some).or((process.ready && unheard).then_some(None))
            });
            match news {
                Some(None) => {
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
                Some(Some(status)) => {
                    self.vm.inside().processes.remove(&self.number);
                    return status;
                }
                None => return KILLED,
            }
        }
    }
}

/// The connection that qemu makes when it starts.
fn accept(listener: &UnixListener, child: &mut Child) -> Result<UnixStream> {
    let connected = crate::wait::until(START, Duration::from_millis(5), || match listener.accept() {
        Ok((stream, _)) => Some(Ok(stream)),
        Err(_) => match child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Err(anyhow!("qemu ended: {status}"))),
            Err(e) => Some(Err(e.into())),
        },
    });
    connected.unwrap_or_else(|| bail!("qemu doesn't connect"))
}
