//! Records of an answer as the cache keeps them: written for the place right behind the question, ready to be copied.
//!
//! Owners are pointers into the question or to the target of an earlier CNAME wherever that is possible, data have whole names. So
//! a body can also stand elsewhere, behind CNAMEs of our own: [`Body::write`] moves the pointers.

use std::collections::BTreeSet;

use super::{
    code::Rcode,
    name::within,
    record::{Record, data_name, write_data},
    reply::{Reply, Section},
    wire::{HEADER, be16, be32},
};
use crate::message::RecordType;

/// Places in one record, from the start of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where it begins.
    start: u16,
    /// Where the pointer that ends its owner stands; `u16::MAX`: the owner has none.
    pointer: u16,
    /// Where its time to live stands.
    ttl: u16,
}

const NO_POINTER: u16 = u16::MAX;

/// Names further back aren't pointed at: 11 CNAMEs of ours may come to stand in front, and a pointer ends at 0x3fff.
const FAR: usize = 0x2000;

/// An answer or a denial without header, question and OPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) rcode: Rcode,
    /// Records of the answer section; the others belong to the authority section.
    answers: u16,
    bytes: Box<[u8]>,
    marks: Box<[Mark]>,
    /// Seconds for which all of it may be kept.
    pub(crate) ttl: u32,
    /// The chain of CNAMEs ends here, and nobody said what is there.
    pub(crate) open_end: Option<OpenEnd>,
    /// Addresses were left out.
    pub(crate) is_filtered: bool,
    /// Length of the name for which it is written.
    name_length: u16,
}

/// Where a chain of CNAMEs ends without anybody saying what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenEnd {
    /// The last target, lower case.
    pub(crate) name: Box<[u8]>,
    /// Where it stands when the body's name is the question's.
    at: u16,
}

/// How times to live are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// That many seconds have passed.
    Seconds(u32),
    /// It is over: this many seconds are granted.
    Stale(u32),
}

impl Body {
    /// A remembered failure: nothing.
    pub(crate) fn failure(name: &[u8]) -> Self {
        Builder::new(name).denial(Rcode::SERVFAIL, 0)
    }

    /// Octets that it takes.
    pub(crate) fn octets(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.marks) + size_of::<Self>() + 32
    }

    /// Whether it says that the name doesn't exist.
    pub(crate) fn is_missing(&self) -> bool {
        self.rcode == Rcode::NXDOMAIN
    }

    /// Copies it into a reply, in which its name stands at `name_at`. What doesn't fit is left out, and the reply is truncated.
    /// Says where the open end's name stands.
    pub(crate) fn write(&self, reply: &mut Reply<'_>, name_at: usize, age: Age) -> usize {
        let start = reply.position();
        let fitting = self.fitting(reply.room());
        let end = self.marks.get(fitting).map_or(self.bytes.len(), |mark| usize::from(mark.start));
        let answers = usize::from(self.answers).min(fitting);
        let boundary = self.marks.get(answers).map_or(self.bytes.len(), |mark| usize::from(mark.start));
        let (answer, rest) = self.bytes[..end].split_at(boundary.min(end));
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let whole = reply.put(Section::Answer, count(answers), answer)
            && reply.put(Section::Authority, count(fitting - answers), rest);
        if !whole || fitting < self.marks.len() {
            reply.set_truncated();
        }
        for mark in self.marks.iter().take(if whole { fitting } else { 0 }) {
            let at = usize::from(mark.ttl);
            let ttl = match age {
                Age::Seconds(seconds) => be32(&self.bytes, at).unwrap_or_default().saturating_sub(seconds),
                Age::Stale(seconds) => seconds,
            };
            reply.patch(start + at, ttl.to_be_bytes());
            if mark.pointer != NO_POINTER && (name_at != HEADER || start != self.home()) {
                let pointer = self.moved(usize::from(mark.pointer), name_at, start);
                reply.patch(start + usize::from(mark.pointer), pointer);
            }
        }
        let end = self.open_end.as_ref().map_or(self.home(), |end| usize::from(end.at));
        start + end.saturating_sub(self.home())
    }

    /// How many records fit, whole.
    fn fitting(&self, room: usize) -> usize {
        if self.bytes.len() <= room {
            return self.marks.len();
        }
        self.marks.iter().skip(1).take_while(|mark| usize::from(mark.start) <= room).count()
    }

    /// Where it stands when its name is the question's.
    fn home(&self) -> usize {
        HEADER + usize::from(self.name_length) + 4
    }

    /// The pointer at a place, for a body that begins at `start` and whose name stands at `name_at`.
    fn moved(&self, at: usize, name_at: usize, start: usize) -> [u8; 2] {
        let old = usize::from(be16(&self.bytes, at).unwrap_or_default() & 0x3fff);
        let new = if old < self.home() { old - HEADER + name_at } else { old - self.home() + start };
        (u16::try_from(new).unwrap_or_default() | 0xc000).to_be_bytes()
    }
}

/// Writes a body.
pub(crate) struct Builder {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    answers: u16,
    /// Names that stand in the message, and where.
    known: Vec<(Vec<u8>, usize)>,
    seen: BTreeSet<Vec<u8>>,
    home: usize,
    ttl: u32,
    is_filtered: bool,
}

impl Builder {
    /// For a question about `name`, lower case.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            bytes: Vec::new(),
            marks: Vec::new(),
            answers: 0,
            known: vec![(name.to_vec(), HEADER)],
            seen: BTreeSet::new(),
            home: HEADER + name.len() + 4,
            ttl: u32::MAX,
            is_filtered: false,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.answers == 0
    }

    pub(crate) const fn set_filtered(&mut self) {
        self.is_filtered = true;
    }

    /// Appends a record to the answer; one that stands there already is left out.
    pub(crate) fn answer_record(&mut self, message: &[u8], record: &Record<'_>) -> Option<()> {
        if self.record(message, record)? {
            self.answers += 1;
            self.ttl = self.ttl.min(record.ttl);
            if record.kind == RecordType::CNAME {
                let target = data_name(message, record)?;
                let at = self.home + self.bytes.len() - target.len();
                if at < FAR {
                    self.known.push((target, at));
                }
            }
        }
        Some(())
    }

    /// Appends a record to the authority section, behind all answers.
    pub(crate) fn authority_record(&mut self, message: &[u8], record: &Record<'_>) -> Option<()> {
        self.record(message, record).map(|_| ())
    }

    /// Whether it was appended, or stands there already.
    fn record(&mut self, message: &[u8], record: &Record<'_>) -> Option<bool> {
        let start = self.bytes.len();
        let pointer = self.owner(&record.name);
        let ttl = self.bytes.len() + 4;
        self.bytes.extend(record.kind.0.to_be_bytes());
        self.bytes.extend(record.class.to_be_bytes());
        self.bytes.extend(record.ttl.to_be_bytes());
        let length = self.bytes.len();
        self.bytes.extend([0; 2]);
        write_data(message, record, &mut self.bytes)?;
        let data_length = u16::try_from(self.bytes.len() - length - 2).ok()?;
        self.bytes[length..length + 2].copy_from_slice(&data_length.to_be_bytes());
        if !self.seen.insert(self.bytes[start..].to_vec()) {
            self.bytes.truncate(start);
            return Some(false);
        }
        let [start, ttl] = [start, ttl].map(|at| u16::try_from(at).ok());
        self.marks.push(Mark { start: start?, pointer: pointer.unwrap_or(NO_POINTER), ttl: ttl? });
        Some(true)
    }

    /// Writes an owner, and says where its pointer stands.
    fn owner(&mut self, name: &[u8]) -> Option<u16> {
        let known = self.known.iter().find_map(|(known, at)| Some(at + within(known, name)?));
        let known = known.filter(|_| name.len() > 1).and_then(|at| u16::try_from(at).ok());
        let at = u16::try_from(self.bytes.len()).ok();
        match known {
            Some(target) => {
                self.bytes.extend((target | 0xc000).to_be_bytes());
                at
            }
            None => {
                self.bytes.extend_from_slice(name);
                None
            }
        }
    }

    /// An answer; it may be kept as long as the shortest of its records, at most `most` seconds.
    pub(crate) fn answer(self, most: u32) -> Body {
        let ttl = if self.is_filtered && self.is_empty() { 0 } else { self.ttl.min(most) };
        self.done(Rcode::NOERROR, ttl, None)
    }

    /// A denial that may be kept that many seconds.
    pub(crate) fn denial(self, rcode: Rcode, ttl: u32) -> Body {
        let ttl = self.ttl.min(ttl);
        self.done(rcode, ttl, None)
    }

    /// CNAMEs whose last target is for somebody else to answer.
    pub(crate) fn open(self, most: u32) -> Body {
        let ttl = self.ttl.min(most);
        let end = self.known.last().filter(|_| self.known.len() > 1).map(|(name, at)| OpenEnd {
            name: name.as_slice().into(),
            at: u16::try_from(*at).unwrap_or_default(),
        });
        self.done(Rcode::NOERROR, ttl, end)
    }

    fn done(self, rcode: Rcode, ttl: u32, open_end: Option<OpenEnd>) -> Body {
        Body {
            rcode,
            answers: self.answers,
            bytes: self.bytes.into(),
            marks: self.marks.into(),
            ttl,
            open_end,
            is_filtered: self.is_filtered,
            name_length: u16::try_from(self.home - HEADER - 4).unwrap_or_default(),
        }
    }
}
