//! Limits how often one address may try a join token: guessing is hopeless anyway, this keeps it cheap for us.

use std::{collections::BTreeMap, net::IpAddr};

use weft_model::WallTime;

/// Tries per address and window.
const TRIES: u32 = 5;

/// The window: one minute.
const WINDOW_MS: u64 = 60_000;

/// Addresses remembered at one time; beyond it the oldest window is forgotten.
const ADDRESSES: usize = 1024;

/// Counts tries per address: 5 a minute.
#[derive(Debug, Default)]
pub struct Tries {
    windows: BTreeMap<IpAddr, Window>,
}

#[derive(Debug)]
struct Window {
    begin: WallTime,
    tries: u32,
}

impl Tries {
    /// Nobody has tried yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a try; false when the address has had its five of this minute. IPv6 addresses of one /64 count as one.
    pub fn admit(&mut self, peer: IpAddr, now: WallTime) -> bool {
        let key = network(peer);
        let is_over = |window: &Window| now.0.saturating_sub(window.begin.0) >= WINDOW_MS;
        if !self.windows.contains_key(&key) && self.windows.len() >= ADDRESSES {
            self.windows.retain(|_, window| !is_over(window));
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.begin).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| self.windows.len() >= ADDRESSES) {
                self.windows.remove(&oldest);
            }
        }
        let window = self.windows.entry(key).or_insert(Window { begin: now, tries: 0 });
        if is_over(window) {
            *window = Window { begin: now, tries: 0 };
        }
        window.tries = window.tries.saturating_add(1);
        window.tries <= TRIES
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tries_a_minute_and_network_are_admitted() {
        let mut tries = Tries::new();
        let peer: IpAddr = "fd00::1".parse().unwrap();
        let neighbour: IpAddr = "fd00::2".parse().unwrap();
        let other: IpAddr = "fd00:0:0:1::1".parse().unwrap();
        for _ in 0..5 {
            assert!(tries.admit(peer, WallTime(1000)));
        }
        assert!(!tries.admit(peer, WallTime(2000)) && !tries.admit(neighbour, WallTime(2000)));
        assert!(tries.admit(other, WallTime(2000)));
        assert!(tries.admit(peer, WallTime(61_000)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut tries = Tries::new();
        for number in 0..3000u32 {
            assert!(tries.admit(IpAddr::from(number.to_be_bytes()), WallTime(u64::from(number))));
        }
        assert!(tries.windows.len() <= ADDRESSES);
    }
}
