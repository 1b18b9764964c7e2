//! Many bytes in one direction over TCP, and the hash that each side computed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::talk::{connect, micros};
use super::{MARKER, Target, usage};
use crate::Result;

const CHUNK: usize = 64 * 1024;

/// Hash over a stream of bytes: a 64-bit multiply-and-rotate over 8-byte words. Errors of a network change it; it is no cryptography.
struct Hash {
    state: u64,
    rest: Vec<u8>,
}

impl Hash {
    fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, rest: Vec::with_capacity(8) }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let take = (8 - self.rest.len()).min(bytes.len());
            self.rest.extend(&bytes[..take]);
            bytes = &bytes[take..];
            if self.rest.len() == 8 {
                let word: [u8; 8] = self.rest.as_slice().try_into().unwrap_or_default();
                self.word(u64::from_le_bytes(word));
                self.rest.clear();
            }
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word: [u8; 8] = word.try_into().unwrap_or_default();
            self.word(u64::from_le_bytes(word));
        }
        self.rest.extend(words.remainder());
    }

    fn word(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
    }

    fn end(mut self) -> String {
        let length = self.rest.len() as u64;
        self.rest.resize(8, 0);
        let word: [u8; 8] = self.rest.as_slice().try_into().unwrap_or_default();
        self.word(u64::from_le_bytes(word));
        self.word(length);
        format!("{:016x}", self.state)
    }
}

/// Bytes that don't repeat, with the marker at the beginning of every chunk.
struct Source {
    state: u64,
}

impl Source {
    fn fill(&mut self, chunk: &mut [u8]) {
        for word in chunk.chunks_mut(8) {
            // xorshift64: any sequence does that doesn't repeat within a transfer.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes()[..word.len()]);
        }
        if let Some(start) = chunk.get_mut(..MARKER.len()) {
            start.copy_from_slice(MARKER);
        }
    }
}

/// Sends `bytes` and compares what was hashed on both sides.
pub(super) fn put(target: &Target, bytes: u64) -> Result<Value> {
    let mut stream = connect(target)?;
    let began = Instant::now();
    writeln!(stream, "put {bytes}")?;
    let (mut hash, mut source) = (Hash::new(), Source { state: 0x1234_5678_9abc_def1 });
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        source.fill(&mut chunk[..length]);
        hash.add(&chunk[..length]);
        stream.write_all(&chunk[..length])?;
        left -= length as u64;
    }
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    let took = began.elapsed();
    let (seen_hash, seen) = answer.trim().split_once(' ').context("the server broke off")?;
    let sent = hash.end();
    Ok(json!({
        "ok": sent == seen_hash, "bytes": bytes, "us": micros(took), "hash": sent, "hash_seen": seen_hash, "seen": seen,
        "local": stream.local_addr()?.ip(), "usage": usage()?,
    }))
}

/// The server's side: reads what `put` announces and answers with hash and client address.
pub(super) fn serve(mut stream: TcpStream, peer: SocketAddr) -> Result {
    let mut reader = BufReader::with_capacity(CHUNK, stream.try_clone()?);
    let mut order = String::new();
    reader.read_line(&mut order)?;
    let Some(Ok(mut left)) = order.trim().strip_prefix("put ").map(str::parse::<u64>) else {
        bail!("not an order: {order}");
    };
    let mut hash = Hash::new();
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let length = reader.read(&mut chunk[..most])?;
        if length == 0 {
            bail!("the client broke off");
        }
        hash.add(&chunk[..length]);
        left -= length as u64;
    }
    writeln!(stream, "{} {}", hash.end(), peer.ip())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(parts: &[&[u8]]) -> String {
        let mut hash = Hash::new();
        parts.iter().for_each(|part| hash.add(part));
        hash.end()
    }

    #[test]
    fn the_hash_depends_on_every_byte_and_on_nothing_else() {
        assert_eq!(hash(&[b"hello, ", b"wide", b" world"]), hash(&[b"hello, wide world"]));
        assert_ne!(hash(&[b"hello, wide world"]), hash(&[b"hello, wide worle"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a\0"]));
        let mut swapped = [0; 64];
        Source { state: 1 }.fill(&mut swapped);
        let whole = hash(&[&swapped]);
        swapped.swap(40, 50);
        assert_ne!(whole, hash(&[&swapped]));
    }
}
