//! What the kernel sends: acknowledgements, errors, dumps, notices of new generations.
//!
//! In: the bytes of one datagram. Out: one `Message` after another. Malformed bytes give an error, never a panic.

use crate::{
    Error, SetRef, TableFamily, TableRef,
    attr::{Attr, Reader},
    batch::{attrs, element},
    expr::{Expr, decode},
    wire::{self, msg},
};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sequence number of the request it answers; 0 in notices.
    pub sequence: u32,
    /// The dump that it is part of is inconsistent: somebody committed meanwhile. Ask again.
    pub interrupted: bool,
    /// What it says.
    pub reply: Reply,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The request was carried out.
    Acknowledged,
    /// The request failed.
    Failed(Failure),
    /// A dump is complete.
    Done,
    /// A generation: after a request, or as a notice of a commit.
    Generation(Generation),
    /// A table, and whether it sleeps: then none of its chains sees a packet.
    Table(TableRef, bool),
    /// A chain.
    Chain(ObservedChain),
    /// A rule.
    Rule(ObservedRule),
    /// A set or map.
    Set(ObservedSet),
    /// Elements of a set: part of a dump.
    Elements(SetRef, Vec<ObservedElement>),
    /// Something that Weft doesn't use.
    Other,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Error number of the kernel, positive.
    pub errno: i32,
    /// The kernel's own words, where it has any (extended acknowledgement).
    pub text: String,
    /// Offset in the request of the attribute that it dislikes.
    pub offset: Option<u32>,
}

/// One state of all tables of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Rises by one with each commit, whoever made it.
    pub id: u32,
    /// Thread that committed or asked, as its own first process namespace numbers it.
    pub process: u32,
    /// Name of that thread.
    pub name: String,
}

/// A chain in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedChain {
    /// Its table.
    pub table: TableRef,
    /// Its name.
    pub name: String,
    /// Kind, hook number, priority, policy number of a base chain.
    pub base: Option<(String, u32, i32, u32)>,
    /// It belongs to a rule, and goes with it.
    pub bound: bool,
}

/// What came by a counter since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
}

/// A rule in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRule {
    /// Its table.
    pub table: TableRef,
    /// Its chain.
    pub chain: String,
    /// Number of the rule in its table; never reused.
    pub handle: u64,
    /// Why it is there; empty: it doesn't say.
    pub comment: String,
    /// What it counted; `None`: it doesn't count.
    pub counted: Option<Counted>,
    pub(crate) exprs: Vec<Expr>,
}

/// A set in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSet {
    /// Table and name.
    pub id: SetRef,
    pub(crate) flags: u32,
    pub(crate) key_type: u32,
    pub(crate) key_len: u32,
    pub(crate) data_type: Option<u32>,
    pub(crate) size: u32,
    pub(crate) each: Vec<Expr>,
}

impl ObservedSet {
    /// Whether it belongs to a rule, and goes with it.
    pub(crate) const fn is_anonymous(&self) -> bool {
        self.flags & wire::set::ANONYMOUS != 0
    }
}

/// An element in the kernel: of a range in a plain interval set it is one end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedElement {
    pub(crate) key: Vec<u8>,
    pub(crate) key_end: Option<Vec<u8>>,
    pub(crate) is_end: bool,
    pub(crate) verdict: Option<crate::Verdict>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) counted: Option<Counted>,
}

/// The messages of a datagram. The first error ends it.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message, Error>> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (message, behind) = match split(rest) {
            Ok(parts) => parts,
            Err(error) => {
                rest = &[];
                return Some(Err(error));
            }
        };
        rest = behind;
        let message = read(message);
        if message.is_err() {
            rest = &[];
        }
        Some(message)
    })
}

/// The first message and what follows it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let truncated = Error::Truncated { what: "message" };
    let len = u32::from_ne_bytes(*bytes.first_chunk().ok_or(truncated.clone())?);
    let len = usize::try_from(len).map_err(|_| truncated.clone())?;
    if len < wire::MESSAGE_HEADER || len > bytes.len() {
        return Err(truncated);
    }
    Ok((&bytes[..len], bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

/// Reads one message; `split` has checked its length.
fn read(message: &[u8]) -> Result<Message, Error> {
    let short = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
    let (kind, flags) = (short(4), short(6));
    let sequence = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
    let body = &message[wire::MESSAGE_HEADER..];
    let reply = match kind {
        wire::NLMSG_ERROR => error(body, flags)?,
        wire::NLMSG_DONE => done(body),
        _ if kind >> 8 == wire::SUBSYSTEM => table_message(kind.to_le_bytes()[0], body)?,
        _ => Reply::Other,
    };
    Ok(Message { sequence, interrupted: flags & wire::F_DUMP_INTERRUPTED != 0, reply })
}

/// `struct nlmsgerr`, then the request (whole unless capped), then what extended acknowledgements add.
fn error(body: &[u8], flags: u16) -> Result<Reply, Error> {
    let truncated = Error::Truncated { what: "error message" };
    let errno = i32::from_ne_bytes(*body.first_chunk().ok_or(truncated.clone())?).saturating_neg();
    if errno == 0 {
        return Ok(Reply::Acknowledged);
    }
    let request = body.get(4..).ok_or(truncated.clone())?;
    let mut failure = Failure { errno, text: String::new(), offset: None };
    if flags & wire::F_ACK_TLVS == 0 {
        return Ok(Reply::Failed(failure));
    }
    let whole = u32::from_ne_bytes(*request.first_chunk().ok_or(truncated.clone())?);
    let skip = if flags & wire::F_CAPPED == 0 {
        usize::try_from(whole).map_err(|_| truncated.clone())?.next_multiple_of(4)
    } else {
        wire::MESSAGE_HEADER
    };
    let extra = Reader::new(request.get(skip..).ok_or(truncated)?);
    if let Some(text) = extra.find(1)? {
        failure.text = text.string(); // NLMSGERR_ATTR_MSG
    }
    if let Some(offset) = extra.find(2)? {
        // NLMSGERR_ATTR_OFFS, host order unlike all else here
        failure.offset = offset.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    }
    Ok(Reply::Failed(failure))
}

/// The end of a dump carries an error number when the dump broke off.
fn done(body: &[u8]) -> Reply {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes).saturating_neg()) {
        None | Some(..=0) => Reply::Done,
        Some(errno) => Reply::Failed(Failure { errno, text: String::new(), offset: None }),
    }
}

fn table_message(kind: u8, body: &[u8]) -> Result<Reply, Error> {
    let of = *body.first().ok_or(Error::Truncated { what: "nf_tables message" })?;
    let attributes = Reader::new(body.get(wire::GENERIC_HEADER..).unwrap_or(&[]));
    if kind == msg::NEWGEN {
        return generation(&attributes);
    }
    let Some(family) = TableFamily::from_number(of) else { return Ok(Reply::Other) };
    Ok(match kind {
        msg::NEWTABLE => {
            let flags = number(&attributes, attrs::TABLE_FLAGS)?.unwrap_or_default();
            Reply::Table(table(family, &attributes)?, flags & wire::TABLE_DORMANT != 0)
        }
        msg::NEWCHAIN => Reply::Chain(chain(family, &attributes)?),
        msg::NEWRULE => Reply::Rule(rule(family, &attributes)?),
        msg::NEWSET => Reply::Set(set(family, &attributes)?),
        msg::NEWSETELEM => elements(family, &attributes)?,
        _ => Reply::Other,
    })
}

/// An attribute that must be there.
fn need<'a>(
    r: &Reader<'a>,
    kind: u16,
    what: &'static str,
    attribute: &'static str,
) -> Result<Attr<'a>, Error> {
    r.find(kind)?.ok_or(Error::Missing { what, attribute })
}

fn number(r: &Reader<'_>, kind: u16) -> Result<Option<u32>, Error> {
    r.find(kind)?.map(|a| a.u32()).transpose()
}

/// The name of the table is the first attribute of every object.
fn table(family: TableFamily, r: &Reader<'_>) -> Result<TableRef, Error> {
    Ok(TableRef { family, name: need(r, attrs::TABLE_NAME, "object", "table")?.string() })
}

fn generation(r: &Reader<'_>) -> Result<Reply, Error> {
    let id = need(r, 1, "generation", "number")?.u32()?;
    let name = r.find(3)?.map(|a| a.string()).unwrap_or_default();
    Ok(Reply::Generation(Generation { id, process: number(r, 2)?.unwrap_or_default(), name }))
}

fn chain(family: TableFamily, r: &Reader<'_>) -> Result<ObservedChain, Error> {
    let name = need(r, attrs::CHAIN_NAME, "chain", "name")?.string();
    let base = match r.find(attrs::CHAIN_HOOK)? {
        None => None,
        Some(hook) => {
            let kind = need(r, attrs::CHAIN_TYPE, "chain", "type")?.string();
            let policy = number(r, attrs::CHAIN_POLICY)?.unwrap_or_default();
            let priority = number(&hook.nested(), attrs::HOOK_PRIORITY)?.unwrap_or_default().cast_signed();
            Some((kind, number(&hook.nested(), attrs::HOOK_NUMBER)?.unwrap_or_default(), priority, policy))
        }
    };
    let bound = number(r, attrs::CHAIN_FLAGS)?.unwrap_or_default() & wire::CHAIN_BOUND != 0;
    Ok(ObservedChain { table: table(family, r)?, name, base, bound })
}

fn rule(family: TableFamily, r: &Reader<'_>) -> Result<ObservedRule, Error> {
    let chain = need(r, attrs::RULE_CHAIN, "rule", "chain")?.string();
    let handle = need(r, attrs::RULE_HANDLE, "rule", "handle")?.u64()?;
    let list = r.find(attrs::RULE_EXPRESSIONS)?;
    let exprs = list.as_ref().map(decode::list).transpose()?.unwrap_or_default();
    let counted = list.as_ref().map(decode::counted_of_list).transpose()?.flatten();
    let comment = r.find(attrs::RULE_USERDATA)?.map(|data| comment(data.value)).unwrap_or_default();
    Ok(ObservedRule { table: table(family, r)?, chain, handle, comment, counted, exprs })
}

/// The comment among the data that programs keep with a rule: each entry is type, length, value.
fn comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let Some((value, behind)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == attrs::COMMENT {
            return String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        }
        data = behind;
    }
    String::new()
}

fn set(family: TableFamily, r: &Reader<'_>) -> Result<ObservedSet, Error> {
    let name = need(r, attrs::SET_NAME, "set", "name")?.string();
    let size = match r.find(attrs::SET_DESC)? {
        None => 0,
        Some(desc) => number(&desc.nested(), attrs::DESC_SIZE)?.unwrap_or_default(),
    };
    let each = match (r.find(attrs::SET_EXPRESSION)?, r.find(attrs::SET_EXPRESSIONS)?) {
        (_, Some(list)) => decode::list(&list)?,
        (Some(one), None) => vec![decode::one(&one)?],
        (None, None) => Vec::new(),
    };
    Ok(ObservedSet {
        each,
        id: SetRef { table: table(family, r)?, name },
        flags: number(r, attrs::SET_FLAGS)?.unwrap_or_default(),
        key_type: number(r, attrs::SET_KEY_TYPE)?.unwrap_or_default(),
        key_len: number(r, attrs::SET_KEY_LEN)?.unwrap_or_default(),
        data_type: number(r, attrs::SET_DATA_TYPE)?,
        size,
    })
}

fn elements(family: TableFamily, r: &Reader<'_>) -> Result<Reply, Error> {
    let name = need(r, element::attrs::LIST_SET, "list of elements", "set")?.string();
    let id = SetRef { table: table(family, r)?, name };
    let list = match r.find(element::attrs::LIST_ELEMENTS)? {
        None => Vec::new(),
        Some(list) => list.nested().map(|e| one_element(&e?)).collect::<Result<_, _>>()?,
    };
    Ok(Reply::Elements(id, list))
}

fn one_element(attr: &Attr<'_>) -> Result<ObservedElement, Error> {
    let r = attr.nested();
    let bytes = |kind| -> Result<Option<Vec<u8>>, Error> {
        let Some(attr) = r.find(kind)? else { return Ok(None) };
        Ok(decode::value(&attr)?.map(<[u8]>::to_vec))
    };
    let verdict = match r.find(element::attrs::DATA)? {
        None => None,
        Some(data) => decode::verdict(&data)?,
    };
    let counted = match (r.find(element::attrs::EXPRESSION)?, r.find(element::attrs::EXPRESSIONS)?) {
        (_, Some(list)) => decode::counted_of_list(&list)?,
        (Some(one), None) => decode::counted(&one)?,
        (None, None) => None,
    };
    Ok(ObservedElement {
        counted,
        key: bytes(element::attrs::KEY)?.unwrap_or_default(),
        key_end: bytes(element::attrs::KEY_END)?,
        is_end: number(&r, element::attrs::FLAGS)?.unwrap_or_default() & element::attrs::INTERVAL_END != 0,
        verdict,
        value: bytes(element::attrs::DATA)?,
        timeout_ms: r.find(element::attrs::TIMEOUT)?.map(|a| a.u64()).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error_message(capped: bool) -> Vec<u8> {
        let request = [24_u32.to_ne_bytes(), [0; 4], 7_u32.to_ne_bytes(), [0; 4]].concat();
        let mut body = [(-2_i32).to_ne_bytes().to_vec(), request].concat();
        if !capped {
            body.extend_from_slice(&[9; 8]);
        }
        let mut w = crate::attr::Writer::default();
        w.string(1, "no such chain").bytes(2, &36_u32.to_ne_bytes());
        body.extend(w.into_bytes());
        let flags = wire::F_ACK_TLVS | if capped { wire::F_CAPPED } else { 0 };
        let mut out = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        out.extend(wire::NLMSG_ERROR.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(7_u32.to_ne_bytes());
        out.extend([0; 4]);
        out.extend(body);
        out
    }

    #[test]
    fn an_error_brings_the_kernels_words_and_the_place() {
        for capped in [true, false] {
            let bytes = error_message(capped);
            let message = messages(&bytes).next().unwrap().unwrap();
            let failure = Failure { errno: 2, text: "no such chain".into(), offset: Some(36) };
            assert_eq!(message, Message { sequence: 7, interrupted: false, reply: Reply::Failed(failure) });
        }
    }

    #[test]
    fn a_message_cut_short_is_an_error() {
        let bytes = error_message(true);
        assert!(matches!(messages(&bytes[..20]).next(), Some(Err(Error::Truncated { .. }))));
        assert!(messages(&[]).next().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_body_of_any_message_is_survived(kind in 0_u16..0x20, body in proptest::collection::vec(any::<u8>(), 0..96)) {
            for kind in [kind, (wire::SUBSYSTEM << 8) | kind] {
                let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
                bytes.extend(kind.to_ne_bytes());
                bytes.extend([0; 10]);
                bytes.extend(&body);
                let _ = messages(&bytes).count();
            }
        }
    }
}
