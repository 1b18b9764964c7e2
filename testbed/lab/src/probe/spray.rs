//! Many datagrams as fast as they go, to somebody who needn't hear them.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::Context;
use serde_json::{Value, json};

use super::{Target, millis};
use crate::Result;

/// Sends so many; how many went, and how long it took.
pub(super) fn run(target: &Target, count: u32) -> Result<Value> {
    let any = if target.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).context("open a socket")?;
    socket.connect(SocketAddr::new(target.address, target.port)).context("name the receiver")?;
    let began = Instant::now();
    let sent = (0..count).filter(|_| socket.send(super::MARKER).is_ok()).count();
    Ok(json!({"ok": sent > 0, "sent": sent, "ms": millis(began.elapsed())}))
}
