//! When elements of nf_tables sets are made and removed in this network namespace, as the kernel tells it after each transaction.

use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use serde_json::{Value, json};

use super::{Event, Stop, now_us, print, watch};
use crate::Result;

/// How long one wait for notifications lasts.
const WAIT: Duration = Duration::from_secs(10);
/// Kinds of nf_tables messages (`linux/netfilter/nf_tables.h`, NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM).
const NEW_ELEMENT: u16 = 12;
const DEL_ELEMENT: u16 = 14;

/// Prints a line for each notification of elements until a signal comes; `ready` once nothing can be missed any more.
pub(super) fn run(stop: &Stop) -> Result<Value> {
    let socket = watch::open_nft()?;
    print(&json!("ready"))?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stop.or_readable(&socket, WAIT)? {
            Event::Stop => return Ok(json!({"ok": true})),
            Event::Time => {}
            Event::Readable => {
                let at = now_us();
                let (mut added, mut removed) = (0, 0);
                loop {
                    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                        Ok(length) => {
                            let (more, fewer) = count(&buffer[..length])?;
                            (added, removed) = (added + more, removed + fewer);
                        }
                        Err(Errno::EAGAIN) => break,
                        Err(e) => return Err(e).context("read notifications"),
                    }
                }
                if added + removed > 0 {
                    print(&json!({"at_us": at, "added": added, "removed": removed}))?;
                }
            }
        }
    }
}

/// How many messages of a datagram are about elements that were made, and removed.
fn count(mut bytes: &[u8]) -> Result<(u32, u32)> {
    let (mut added, mut removed) = (0, 0);
    while let Some(header) = bytes.first_chunk::<16>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        ensure!(length >= 16, "a netlink message of {length} bytes");
        match u16::from_ne_bytes([header[4], header[5]]) & 0xff {
            NEW_ELEMENT => added += 1,
            DEL_ELEMENT => removed += 1,
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok((added, removed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_come_and_go_are_counted() {
        let message = |kind: u16, extra: usize| {
            let mut bytes = u32::try_from(16 + extra).unwrap().to_ne_bytes().to_vec();
            bytes.extend((10 << 8 | kind).to_ne_bytes());
            bytes.resize((16 + extra).next_multiple_of(4), 0);
            bytes
        };
        let all = [message(NEW_ELEMENT, 5), message(DEL_ELEMENT, 4), message(DEL_ELEMENT, 0), message(15, 8)];
        assert_eq!(count(&all.concat()).unwrap(), (1, 2));
        assert!(count(&[0; 16]).is_err(), "no end");
    }
}
