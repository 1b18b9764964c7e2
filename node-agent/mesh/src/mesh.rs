//! The owner thread of a device and the handle through which others call it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use weft_model::Secret;
use weft_plan::{DeviceState, PeerStep};

use crate::{
    Error,
    device::{Backend, BackendChoice, Device},
};

/// Longest wait for one call. The UAPI socket has no time limit of its own: a tunnel that hangs is noticed here.
pub const CALL_DEADLINE: Duration = Duration::from_secs(2);

/// Which device, with which key.
#[derive(Clone, Debug)]
pub struct MeshOptions {
    /// Name of the device: `weft0` or `weft1`.
    pub device: String,
    /// Its private key.
    pub private_key: Secret<[u8; 32]>,
    /// Which backends may be taken.
    pub backend: BackendChoice,
}

/// A handle to one device. Calls block up to [`CALL_DEADLINE`] and exclude each other; call it from a plain thread.
///
/// The owner thread is born in the network and mount namespace of the thread that called [`Mesh::open`].
#[derive(Debug)]
pub struct Mesh {
    name: String,
    calls: Mutex<SyncSender<Call>>,
}

/// A call that has waited behind one that hung is not begun once its caller has given up.
struct Call {
    begin_by: Instant,
    verb: Verb,
}

enum Verb {
    Prepare(SyncSender<Result<Backend, Error>>),
    Observe(SyncSender<Result<DeviceState, Error>>),
    Execute(Vec<PeerStep>, SyncSender<Result<DeviceState, Error>>),
}

impl Mesh {
    /// Starts the owner thread; touches no device. It ends when the handle is dropped.
    pub fn open(options: MeshOptions) -> Result<Self, Error> {
        let name = options.device;
        let device = Device::new(&name, options.private_key, options.backend)?;
        let (calls, inbox) = mpsc::sync_channel(1);
        thread::Builder::new().name(format!("mesh-{name}")).spawn(move || own(device, &inbox)).map_err(
            |source| Error::Refused { device: name.clone(), step: "start its thread".to_owned(), source },
        )?;
        Ok(Self { name, calls: Mutex::new(calls) })
    }

    /// Finds the backend, and makes the device where the kernel has WireGuard. To be called first, and again after
    /// `Missing`. With `Userspace` the caller makes the TUN device; the tunnel process then serves the socket.
    pub fn prepare(&self) -> Result<Backend, Error> {
        self.call(Verb::Prepare)
    }

    /// Reads the device: key, port, peers with endpoints, counters, age of the last handshake.
    pub fn observe(&self) -> Result<DeviceState, Error> {
        self.call(Verb::Observe)
    }

    /// Does the steps in one request and reads the device back. Fails with `NotShown` when it took them without effect.
    pub fn execute(&self, steps: &[PeerStep]) -> Result<DeviceState, Error> {
        let steps = steps.to_vec();
        self.call(|answer| Verb::Execute(steps, answer))
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn call<T>(&self, verb: impl FnOnce(SyncSender<Result<T, Error>>) -> Verb) -> Result<T, Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        let verb = verb(answer);
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let late = || Error::Deadline { device: self.name.clone(), waited: started.elapsed() };
        match calls.try_send(Call { begin_by: started + CALL_DEADLINE, verb }) {
            Ok(()) => {}
            // An earlier call hangs and another one waits already.
            Err(TrySendError::Full(_)) => return Err(late()),
            Err(TrySendError::Disconnected(_)) => return Err(Error::Panicked { device: self.name.clone() }),
        }
        match answered.recv_timeout(CALL_DEADLINE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(late()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Panicked { device: self.name.clone() }),
        }
    }
}

/// The owner thread: answers one call after the other; a panic of the library ends the call, not the thread.
fn own(mut device: Device, inbox: &Receiver<Call>) {
    while let Ok(call) = inbox.recv() {
        if Instant::now() >= call.begin_by {
            continue;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&mut device, call.verb)));
        if answered.is_err() {
            tracing::error!("a call into the WireGuard library panicked");
        }
    }
}

/// Who asked may have given up: its answer is then nobody's.
fn answer(device: &mut Device, verb: Verb) {
    match verb {
        Verb::Prepare(answer) => {
            let _ = answer.send(device.prepare());
        }
        Verb::Observe(answer) => {
            let _ = answer.send(device.observe());
        }
        Verb::Execute(steps, answer) => {
            let _ = answer.send(device.execute(&steps));
        }
    }
}
