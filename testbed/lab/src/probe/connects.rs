//! Times the making of TCP connections, each from a fresh port.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::{Target, usage};
use crate::Result;

/// Connects `count` times; the connections end at once, by reset, so that nothing waits for its end.
pub(super) fn run(target: &Target, count: u32) -> Result<Value> {
    let mut times =
        times(SocketAddr::new(target.address, target.port), count, Duration::from_millis(target.within))?;
    times.sort_unstable();
    Ok(
        json!({"ok": true, "count": count, "p50_us": at(&times, 50), "p99_us": at(&times, 99), "usage": usage()?}),
    )
}

/// What each of `count` connections took, in the order of their making. After the time was taken the server's first byte is waited
/// for: a server that lags behind would let its queue overflow, and lose what is measured next.
pub(super) fn times(to: SocketAddr, count: u32, within: Duration) -> Result<Vec<Duration>> {
    (0..count)
        .map(|number| {
            let began = Instant::now();
            let stream = TcpStream::connect_timeout(&to, within)
                .with_context(|| format!("connection {number} to {to}"))?;
            let took = began.elapsed();
            stream.set_read_timeout(Some(within))?;
            (&stream).read_exact(&mut [0]).context("the server says nothing")?;
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok(took)
        })
        .collect()
}

/// A percentile of sorted times, in microseconds with a fraction.
pub(super) fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}
