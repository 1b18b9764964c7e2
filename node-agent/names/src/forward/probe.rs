//! Looking for loops: does an upstream ask us what we ask it?
//!
//! A name by chance is asked of each upstream of the root; when a reader meets it, that upstream leads back here, and is left alone
//! until a later look says otherwise (CoreDNS, plugin loop, ends the process; a node's resolver shall rather live).

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::Exchange;
use crate::{
    Moment, RecordType,
    message::{Lowered, Question, write_query},
};

/// Milliseconds between two looks at the same upstreams.
pub(crate) const EVERY_MS: u64 = 600_000;
/// Milliseconds that a look takes at most.
pub(crate) const PATIENCE_MS: u64 = 2000;

/// What readers look for; 0: nothing.
#[derive(Default)]
pub(crate) struct Sought {
    token: AtomicU64,
    was_met: AtomicBool,
}

impl Sought {
    /// Whether a question is our own, come back; notes it. Only questions of this type are ours.
    pub(crate) fn meets(&self, name: &Lowered, kind: RecordType) -> bool {
        if kind != RecordType::HINFO || name.count() != 2 {
            return false;
        }
        let token = self.token.load(Ordering::Relaxed);
        let met = token != 0 && *name.label(0) == digits(token);
        if met {
            self.was_met.store(true, Ordering::Relaxed);
        }
        met
    }
}

fn digits(token: u64) -> [u8; 16] {
    let digit = |index: u32| b"0123456789abcdef"[(token >> (60 - 4 * index) & 15) as usize];
    std::array::from_fn(|index| digit(u32::try_from(index).unwrap_or_default()))
}

/// A look at all upstreams, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Look {
    left: Vec<SocketAddr>,
    pub(crate) current: Option<(Exchange, SocketAddr)>,
    /// When the current one is given up, or the next look begins.
    pub(crate) due: Option<Moment>,
}

impl Look {
    /// Begins with these.
    pub(crate) fn begin(servers: Vec<SocketAddr>, now: Moment) -> Self {
        Self { due: (!servers.is_empty()).then_some(now), left: servers, current: None }
    }

    /// The next message, if one is left; `None` and the look rests until its time comes again.
    pub(crate) fn next(
        &mut self,
        sought: &Sought,
        exchange: Exchange,
        now: Moment,
        chance: &mut dyn FnMut() -> u64,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let Some(server) = self.left.pop() else {
            sought.token.store(0, Ordering::Relaxed);
            self.due = Some(now.after(EVERY_MS));
            return None;
        };
        let token = chance() | 1;
        sought.was_met.store(false, Ordering::Relaxed);
        sought.token.store(token, Ordering::Relaxed);
        let mut name = vec![16];
        name.extend(digits(token));
        name.push(16);
        name.extend(digits(chance()));
        name.push(0);
        self.current = Some((exchange, server));
        self.due = Some(now.after(PATIENCE_MS));
        let question = Question { name: &name, kind: RecordType::HINFO, edns: Some(false), unchecked: false };
        let [high, low, ..] = chance().to_be_bytes();
        Some((server, write_query(u16::from_be_bytes([high, low]), question)))
    }

    /// The current one is over: which upstream it was, and whether it leads back here.
    pub(crate) fn result(&mut self, sought: &Sought) -> Option<(Exchange, SocketAddr, bool)> {
        let (exchange, server) = self.current.take()?;
        Some((exchange, server, sought.was_met.load(Ordering::Relaxed)))
    }
}
