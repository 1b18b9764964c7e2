//! The CNI socket: one request per connection, answered by a worker within its deadline.
//!
//! Frames: as in weft-cni (`exchange.rs`).

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;
use weft_errors::Error;
use weft_ipam::Origin;
use weft_model::Probes;
use weft_process::Tasks;

use super::{
    check::check,
    engine::{Engine, NewPod},
    failure::{CniFailure, code},
    request::{Attachment, Call, Request},
    result::Made,
    socket::Socket,
    version::Version,
};
use crate::{limits, states::Subsystem};

const FRAME_VERSION: u8 = 1;

/// A call that was accepted.
struct Waiting {
    stream: UnixStream,
    accepted: Instant,
}

/// Starts the threads that serve the socket.
pub(crate) fn serve(tasks: &Tasks, engine: &Arc<Engine>, socket: Socket) -> Result<(), Error> {
    let (sender, receiver) = sync_channel(limits::ATTACHMENTS_WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..limits::ATTACH_WORKERS {
        let (engine, receiver) = (Arc::clone(engine), Arc::clone(&receiver));
        tasks.spawn_thread(format!("attach-{number}"), move || {
            work(&engine, &receiver);
            Ok(())
        })?;
    }
    let (stop, engine) = (tasks.token(), Arc::clone(engine));
    tasks.spawn_thread("cni-accept", move || {
        accept(socket.connections(stop.clone(), || engine.note_all()), &sender, &stop);
        Ok(())
    })
}

/// Ends when the token is cancelled, at once when whoever cancels it connects (run.rs, `stop_threads`).
fn accept(
    incoming: impl Iterator<Item = io::Result<UnixStream>>,
    sender: &SyncSender<Waiting>,
    stop: &CancellationToken,
) {
    let mut pause = limits::ACCEPT_PAUSE_FIRST;
    for stream in incoming {
        if stop.is_cancelled() {
            return;
        }
        if stream.is_ok() {
            pause = limits::ACCEPT_PAUSE_FIRST;
        }
        match stream.map(|stream| sender.try_send(Waiting { stream, accepted: Instant::now() })) {
            Ok(Ok(())) => {}
            Ok(Err(TrySendError::Full(waiting))) => refuse_busy(waiting.stream),
            Ok(Err(TrySendError::Disconnected(_))) => return,
            Err(error) => {
                // Without descriptors (EMFILE) the next call fails at once too: only others can free some.
                tracing::warn!(%error, "a CNI connection can't be accepted");
                let stopped = || stop.is_cancelled().then_some(());
                // Time passing is the expected end here.
                let _ = weft_process::wait::until_blocking(pause, "stop", stopped);
                pause = (pause * 2).min(limits::ACCEPT_PAUSE_LONGEST);
            }
        }
    }
}

fn refuse_busy(mut stream: UnixStream) {
    let message = format!("{} calls wait already", limits::ATTACHMENTS_WAITING);
    let failure = CniFailure::new(code::LATER, message, "W1003 Busy: try again in a moment");
    // Nobody may be listening any more; then there is nothing to say.
    let _ = answer(&mut stream, 1, &failure.text(None));
}

fn work(engine: &Engine, receiver: &Mutex<Receiver<Waiting>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(waiting) = next else { return };
        if let Err(error) = handle(engine, waiting) {
            tracing::debug!(%error, "a CNI connection broke");
        }
    }
}

fn handle(engine: &Engine, waiting: Waiting) -> io::Result<()> {
    let Waiting { mut stream, accepted } = waiting;
    let deadline = accepted + limits::ATTACH_DEADLINE;
    stream.set_read_timeout(Some(limits::FRAME_DEADLINE))?;
    stream.set_write_timeout(Some(limits::FRAME_DEADLINE))?;
    let Some(body) = read_frame(&mut stream)? else { return Ok(()) };
    let call: Call = match serde_json::from_slice(&body) {
        Ok(call) => call,
        Err(error) => {
            let failure =
                CniFailure::new(code::DECODE, "the request frame can't be decoded", error.to_string());
            return answer(&mut stream, 1, &failure.text(None));
        }
    };
    let command = call.command.clone();
    let (version, request) = call.check();
    let result = request.and_then(|request| perform(engine, &request, version, deadline));
    match &result {
        Ok(_) => tracing::debug!(command, elapsed_us = micros(accepted), "CNI call done"),
        Err(failure) => tracing::info!(
            command,
            code = failure.code,
            error = failure.message,
            details = failure.details,
            "CNI call refused"
        ),
    }
    let added = result.as_ref().ok().and_then(|done| done.added.clone());
    let sent = match &result {
        Ok(done) => answer(&mut stream, 0, &done.text),
        Err(failure) => answer(&mut stream, 1, &failure.text(version)),
    };
    if let (Err(_), Some(attachment)) = (&sent, added) {
        // The runtime gave up meanwhile: what nobody heard of isn't kept.
        tracing::info!(%attachment, "an attachment whose caller is gone is undone");
        let deadline = Instant::now() + limits::ATTACH_DEADLINE;
        if let Ok(held) = engine.lock(&attachment.container, deadline)
            && let Err(error) = engine.remove(&held, &attachment, deadline)
        {
            tracing::warn!(%error, %attachment, "an attachment whose caller is gone can't be undone");
        }
    }
    sent
}

/// What a call leads to.
pub(crate) struct Done {
    /// Bytes for the plugin's standard output.
    text: Vec<u8>,
    /// The attachment that was made.
    added: Option<weft_model::AttachmentId>,
}

impl Done {
    const fn silent() -> Self {
        Self { text: Vec::new(), added: None }
    }
}

/// Carries out a checked request.
pub(crate) fn perform(
    engine: &Engine,
    request: &Request,
    version: Option<Version>,
    deadline: Instant,
) -> Result<Done, CniFailure> {
    let failed = |error: Error| CniFailure::of_envelope(&error);
    let later = |error: Error| CniFailure { code: code::LATER, ..CniFailure::of_envelope(&error) };
    match request {
        Request::Version => Ok(Done { text: Version::list(), added: None }),
        Request::Status => status(engine),
        Request::Check(attachment) => {
            let _held = engine.lock(&attachment.id.container, deadline).map_err(later)?;
            check(engine.node(), attachment).map_err(failed).map(|()| Done::silent())
        }
        Request::Del(id) => {
            let held = engine.lock(&id.container, deadline).map_err(later)?;
            engine.remove(&held, id, deadline).map_err(failed).map(|_| Done::silent())
        }
        Request::Add(attachment) => {
            if !engine.node().is_ready() {
                return Err(not_ready(engine, code::LATER));
            }
            let held = engine.lock(&attachment.id.container, deadline).map_err(later)?;
            let holding = engine.add(&held, new_pod(attachment), deadline).map_err(failed)?;
            let given = engine.setups().read(&holding.attachment.container).unwrap_or_default();
            let view = engine.node().view();
            let made = Made {
                link: &holding.link,
                interface: &holding.attachment.interface,
                mac: holding.mac,
                mtu: holding.mtu,
                netns: &holding.netns,
                addresses: &holding.addresses,
                dns: &given.resolv_conf,
                domain: view.fabric().map_or("", |fabric| &fabric.domain),
            };
            let text = made.text(version.unwrap_or(Version::V1_1_0));
            Ok(Done { text, added: Some(holding.attachment.clone()) })
        }
    }
}

fn new_pod(attachment: &Attachment) -> NewPod {
    NewPod {
        attachment: attachment.id.clone(),
        pod: attachment.pod.clone(),
        labels: attachment.config.labels.clone(),
        netns: attachment.netns.clone(),
        origin: Origin::Cni { network: attachment.config.network.clone() },
        wanted: attachment.config.addresses.clone(),
        forbidden_netns: attachment.forbidden_netns.clone(),
        unique: false,
        probes: Probes::default(),
    }
}

/// Ready for ADD: the kernel is prepared and every family of the fabric has an address left.
fn status(engine: &Engine) -> Result<Done, CniFailure> {
    let node = engine.node();
    if !node.is_ready() {
        return Err(not_ready(engine, code::NOT_READY));
    }
    let view = node.view();
    let families = view.fabric().map_or(&[][..], |fabric| fabric.families.list());
    let now = crate::clock::uptime();
    match families.iter().find_map(|family| node.addresses.read(|ledger| ledger.has_free(*family, now)).err())
    {
        None => Ok(Done::silent()),
        Some(error) => Err(CniFailure { code: code::NOT_READY, ..CniFailure::of(&error) }),
    }
}

fn not_ready(engine: &Engine, code: u32) -> CniFailure {
    let node = engine.node();
    let states = node.states.all();
    let what = [Subsystem::Links, Subsystem::Routes, Subsystem::Nft];
    let error = what.iter().find_map(|subsystem| states.get(subsystem)?.error.as_ref());
    let details = match error {
        Some(error) => error.to_string(),
        None if node.view().fabric().is_none() => {
            "no replica of the control plane has been reached since this node joined".to_owned()
        }
        None => "it has just started; try again in a moment".to_owned(),
    };
    CniFailure::new(code, "weft-agent isn't ready to attach pods", details)
}

/// One request frame; `None` when the caller closed without one.
fn read_frame(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 5];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [version, length @ ..] = head;
    decode_body(version, u32::from_be_bytes(length), stream).map(Some)
}

/// The body behind a frame's head.
pub(crate) fn decode_body(version: u8, length: u32, stream: &mut impl Read) -> io::Result<Vec<u8>> {
    if version != FRAME_VERSION || length > limits::MAX_FRAME {
        return Err(io::Error::other(format!("a frame of version {version} and {length} bytes is refused")));
    }
    let mut body = Vec::new();
    stream.take(length.into()).read_to_end(&mut body)?;
    if body.len() == length as usize { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn answer(stream: &mut UnixStream, status: u8, text: &[u8]) -> io::Result<()> {
    let mut frame = vec![FRAME_VERSION, status];
    frame.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(text);
    stream.write_all(&frame)?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn errors_of_accept_that_come_back_at_once_are_tried_again_slowly() {
        let (sender, receiver) = sync_channel(4);
        let stop = CancellationToken::new();
        let mut tries = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                let failing = std::iter::from_fn(|| {
                    tries += 1;
                    // Descriptors are free again at the end: nothing is lost.
                    let first = UnixStream::pair().map(|(stream, _)| stream);
                    Some(if tries % 5 == 0 { first } else { Err(io::Error::from_raw_os_error(24)) })
                });
                accept(failing, &sender, &stop);
            });
            let waiting = receiver.recv_timeout(Duration::from_secs(5)).unwrap();
            assert!(waiting.accepted.elapsed() < Duration::from_secs(5));
            let never =
                weft_process::wait::until_blocking(Duration::from_millis(100), "nothing", || None::<()>);
            assert!(never.is_err());
            stop.cancel();
        });
        assert!((5..50).contains(&tries), "{tries} calls of accept");
    }
}
