//! Whether answers for held addresses leave this node: the tables that hold them back, and the signs of life that let them through.
//!
//! In: held addresses, the uplink, that this process is awake. Out: the tables of weft-plan (`answer_tables`), a frame to the kernel
//! per look. A commit only when the addresses, the uplink or the tables have changed: whoever lists a large ruleset isn't disturbed by
//! an owner. Where frames don't vouch, since the loopback device is down or somebody drops them, answers are given all the same, and
//! the log says so. Not here: which addresses, and how often (`announce`).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_kernel::{NftSocket, Voucher};
use weft_model::Family;
use weft_nft::Batch;
use weft_plan::{
    AWAKE, AWAKE_RESTART, answer_tables, changed_answers, fall_asleep, guard_answers, is_awake,
    remove_answer_tables, stay_awake, try_vouchers, vouched_for,
};

use crate::limits;

/// A frame is taken in before sending returns, unless the processor has too much to do: that many are sent before nobody took one.
const FRAMES: usize = 4;

/// What the tables are known to be.
#[derive(Debug, PartialEq, Eq)]
enum Tables {
    /// Unknown: they are made anew.
    Unknown,
    /// Not there.
    Absent,
    /// Made for these addresses and this uplink.
    Made(BTreeSet<IpAddr>, String),
    /// Not there, since frames don't vouch; it's tried again then.
    Useless(Instant),
}

/// The tables of one node, and its signs of life.
pub(crate) struct Gate {
    socket: NftSocket,
    voucher: Option<Voucher>,
    tables: Tables,
    /// When they were looked at last, and when they are again.
    looked: Instant,
    look_at: Instant,
    /// Signs of life were sent, and their time may not be over.
    open: bool,
    /// That answers can't be withheld was said.
    said: bool,
}

impl Gate {
    pub(crate) fn new(socket: NftSocket) -> Self {
        let now = Instant::now();
        Self {
            socket,
            voucher: None,
            tables: Tables::Unknown,
            looked: now,
            look_at: now,
            open: false,
            said: false,
        }
    }

    /// At the first look: whether an agent before this one said that it would come back.
    pub(crate) fn begin(&mut self, uplink: &str) -> Result<bool, Error> {
        let tables = answer_tables();
        let observed = self.socket.observe(&tables).map_err(|e| e.envelope())?;
        if !tables.iter().any(|table| observed.has_table(&table.id)) {
            self.tables = Tables::Absent;
        }
        Ok(is_awake(&observed, uplink))
    }

    /// After a failure nothing is known.
    pub(crate) fn forget(&mut self) {
        (self.tables, self.voucher) = (Tables::Unknown, None);
    }

    /// Somebody else committed: the tables may be gone or changed.
    pub(crate) fn look_soon(&mut self) {
        self.look_at = self.look_at.min(self.looked + limits::GATE_LOOK_REST);
    }

    /// Lets answers for held addresses through for a moment. Where the kernel can't withhold them they are given all the same.
    pub(crate) fn vouch(&mut self, held: &BTreeSet<IpAddr>, uplink: &str) {
        match self.try_vouch(held, uplink) {
            Ok(()) => self.said &= matches!(self.tables, Tables::Useless(_)),
            Err(error) => {
                self.forget();
                self.say(&error);
            }
        }
    }

    /// Nothing leaves from now on until this process vouches again.
    pub(crate) fn close(&mut self) {
        if !std::mem::take(&mut self.open) || !matches!(self.tables, Tables::Made(..)) {
            return;
        }
        if let Err(error) = self.commit(&fall_asleep()) {
            self.forget();
            tracing::warn!(%error, "answers on the link are given a moment longer than they should be");
        }
    }

    fn try_vouch(&mut self, held: &BTreeSet<IpAddr>, uplink: &str) -> Result<(), Error> {
        let now = Instant::now();
        self.open = true;
        if held.is_empty() {
            if self.tables != Tables::Absent {
                self.commit(&remove_answer_tables())?;
                self.tables = Tables::Absent;
            }
            return Ok(());
        }
        if now >= self.look_at && matches!(self.tables, Tables::Made(..)) {
            self.look()?;
        }
        match &self.tables {
            Tables::Useless(until) if now < *until => return Ok(()),
            Tables::Made(made, by) if made == held && by == uplink => {
                self.speak(held);
                return Ok(());
            }
            Tables::Made(..) => {}
            Tables::Unknown | Tables::Absent | Tables::Useless(_) => {
                self.commit(&try_vouchers(uplink))?;
                if !self.is_heard(held)? {
                    return self.give_up();
                }
            }
        }
        self.commit(&guard_answers(held, uplink, AWAKE))?;
        self.tables = Tables::Made(held.clone(), uplink.to_owned());
        self.put_off(limits::OBSERVE_EVERY);
        self.speak(held);
        Ok(())
    }

    /// One frame per family. One that fails is missed at a look, which comes at once then.
    fn speak(&mut self, held: &BTreeSet<IpAddr>) {
        if let Err(error) = self.frames(held) {
            tracing::debug!(%error, "a sign of life to the kernel was lost");
            (self.voucher, self.look_at) = (None, self.looked);
        }
    }

    fn frames(&mut self, held: &BTreeSet<IpAddr>) -> Result<(), Error> {
        let voucher = match self.voucher.take() {
            Some(voucher) => voucher,
            None => Voucher::open().map_err(|e| e.envelope())?,
        };
        let sent = families(held).into_iter().try_for_each(|family| voucher.vouch(family));
        self.voucher = Some(voucher);
        sent.map_err(|e| e.envelope())
    }

    /// Whether frames vouch for every family of these addresses.
    fn is_heard(&mut self, held: &BTreeSet<IpAddr>) -> Result<bool, Error> {
        let families = families(held);
        for _ in 0..FRAMES {
            self.speak(held);
            let observed = self.socket.observe(&answer_tables()).map_err(|e| e.envelope())?;
            if families.is_subset(&vouched_for(&observed)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the tables are still as they were made, and frames still vouch.
    fn look(&mut self) -> Result<(), Error> {
        let Tables::Made(held, uplink) = &self.tables else { return Ok(()) };
        let (held, uplink) = (held.clone(), uplink.clone());
        let changed = match self.socket.observe(&answer_tables()) {
            Ok(observed) => changed_answers(&observed, &held, &uplink),
            Err(error) => {
                tracing::debug!(%error, "the tables about answers on the link can't be read");
                self.put_off(limits::GATE_LOOK_REST);
                return Ok(());
            }
        };
        self.put_off(limits::OBSERVE_EVERY);
        if let Some(difference) = changed {
            tracing::info!(%difference, "tables about answers on the link are made anew");
            self.tables = Tables::Unknown;
        } else if !self.is_heard(&held)? {
            self.give_up()?;
        }
        Ok(())
    }

    fn put_off(&mut self, pause: Duration) {
        self.looked = Instant::now();
        self.look_at = self.looked + pause;
    }

    /// Better an owner that answers when frozen than one that never does.
    fn give_up(&mut self) -> Result<(), Error> {
        self.commit(&remove_answer_tables())?;
        self.tables = Tables::Useless(Instant::now() + limits::OBSERVE_EVERY);
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(
                "frames on the loopback device don't reach our rules, so answers on the link can't be withheld: a frozen agent would go \
                 on answering; is lo up, and does somebody drop there?"
            );
        }
        Ok(())
    }

    fn say(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, "answers on the link can't be withheld: a frozen agent would go on answering");
        }
    }

    /// The agent starts anew: the kernel answers meanwhile.
    pub(crate) fn rest(&mut self) {
        if !matches!(self.tables, Tables::Made(..)) {
            return;
        }
        if let Err(error) = self.commit(&stay_awake(AWAKE_RESTART)) {
            tracing::warn!(%error, "load-balancer addresses aren't answered for while the agent is away");
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.socket.commit(batch).map(drop).map_err(|e| e.envelope())
    }
}

fn families(held: &BTreeSet<IpAddr>) -> BTreeSet<Family> {
    held.iter().map(|address| Family::of(*address)).collect()
}
