//! One long TCP connection that carries numbers there and back: shows whether it survives and how long it ever stood still.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::talk::connect;
use super::{Event, Stop, Target};
use crate::Result;

/// Time for the last numbers to come back after the end.
const LAST: Duration = Duration::from_secs(5);

pub(super) fn run(target: &Target, rate: u32, stop: &Stop) -> Result<Value> {
    let mut stream = connect(target)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut seen = String::new();
    reader.read_line(&mut seen)?;
    let step = Duration::from_secs(1) / rate.max(1);
    let (mut sent, mut echoed, mut in_order) = (0u64, 0u64, true);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    let mut next = Instant::now();
    let mut end: Option<Instant> = None;
    let broken = loop {
        let now = Instant::now();
        longest = longest.max(now - last);
        match end {
            Some(at) if now >= at || echoed == sent => break None,
            None if now >= next => {
                if let Err(e) = stream.write_all(&sent.to_be_bytes()) {
                    break Some(e.to_string());
                }
                sent += 1;
                next += step;
            }
            _ => {}
        }
        // Bytes already in the reader's buffer don't make the socket readable.
        let event = match reader.buffer().len() >= 8 {
            true => Event::Readable,
            false => {
                let until = end.unwrap_or(next).saturating_duration_since(Instant::now());
                stop.or_readable(&stream, until)?
            }
        };
        match event {
            Event::Readable => {
                let mut number = [0; 8];
                if let Err(e) = reader.read_exact(&mut number) {
                    break Some(e.to_string());
                }
                in_order &= u64::from_be_bytes(number) == echoed;
                echoed += 1;
                last = Instant::now();
            }
            Event::Stop if end.is_none() => end = Some(Instant::now() + LAST),
            Event::Stop => break None,
            Event::Time => {}
        }
    };
    Ok(json!({
        "ok": broken.is_none() && in_order && sent == echoed, "sent": sent, "echoed": echoed, "in_order": in_order,
        "longest_gap_ms": u64::try_from(longest.as_millis()).unwrap_or(u64::MAX), "broken": broken, "seen": seen.trim(),
    }))
}
