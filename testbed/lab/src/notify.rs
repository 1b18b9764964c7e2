//! Hearing from services that they are ready (sd_notify).

use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::Result;

/// Makes the socket that a service gets as `$NOTIFY_SOCKET`, in the calling thread's namespaces.
pub(crate) fn bind(path: &str) -> Result<UnixDatagram> {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).with_context(|| format!("make {path}"))?;
    Ok(socket)
}

/// Says that the service has ended: [`hear`] returns.
pub(crate) fn end(socket: &UnixDatagram, ended: &AtomicBool) {
    ended.store(true, Ordering::Relaxed);
    // Whoever reads gets nothing from now on, at once.
    let _ = socket.shutdown(Shutdown::Both);
}

/// Listens until the service has `ended`; `ready` is called whenever it says that it is.
pub(crate) fn hear(socket: &UnixDatagram, ended: &AtomicBool, ready: impl Fn()) {
    let mut buffer = [0; 4096];
    while !ended.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        if buffer[..length].split(|b| *b == b'\n').any(|line| line == b"READY=1") {
            ready();
        }
    }
}
