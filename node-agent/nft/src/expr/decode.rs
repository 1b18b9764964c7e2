//! Attributes of the kernel's dumps to expressions.
//!
//! What Weft never writes (another attribute set, another mode) becomes `Expr::Foreign`: it then differs from all we want.

use super::{CmpOp, Expr, NatKind, PayloadBase, RecallOp, attrs};
use crate::{
    Counted, Error, Verdict,
    attr::{Attr, Reader},
};

/// Reads a list of expressions.
pub(crate) fn list(attr: &Attr<'_>) -> Result<Vec<Expr>, Error> {
    attr.nested().map(|element| one(&element?)).collect()
}

/// A verdict out of `struct nft_data`; `None` when it is a value or an unknown verdict.
pub(crate) fn verdict(data: &Attr<'_>) -> Result<Option<Verdict>, Error> {
    let Some(verdict) = data.nested().find(attrs::DATA_VERDICT)? else { return Ok(None) };
    let number = number(&verdict.nested(), attrs::VERDICT_CODE)?.unwrap_or_default();
    let chain = verdict.nested().find(attrs::VERDICT_CHAIN)?.map(|a| a.string()).unwrap_or_default();
    Ok(Verdict::from_number(number, chain))
}

/// The bytes out of `struct nft_data`.
pub(crate) fn value<'a>(data: &Attr<'a>) -> Result<Option<&'a [u8]>, Error> {
    Ok(data.nested().find(attrs::DATA_VALUE)?.map(|a| a.value))
}

/// What the first counter of a list of expressions counted; `None`: none counts.
pub(crate) fn counted_of_list(attr: &Attr<'_>) -> Result<Option<Counted>, Error> {
    for element in attr.nested() {
        if let Some(counted) = counted(&element?)? {
            return Ok(Some(counted));
        }
    }
    Ok(None)
}

/// What an expression counted, if it is a counter.
pub(crate) fn counted(element: &Attr<'_>) -> Result<Option<Counted>, Error> {
    let name = element.nested().find(attrs::NAME)?.map(|name| name.string());
    let Some(data) = element.nested().find(attrs::DATA)?.filter(|_| name.as_deref() == Some("counter"))
    else {
        return Ok(None);
    };
    let [octets, packets] = attrs::COUNTER;
    let number = |kind| data.nested().find(kind)?.map(|a| a.u64()).transpose();
    Ok(Some(Counted { packets: number(packets)?.unwrap_or(0), octets: number(octets)?.unwrap_or(0) }))
}

/// Reads one expression.
pub(crate) fn one(element: &Attr<'_>) -> Result<Expr, Error> {
    let missing = |attribute| Error::Missing { what: "expression", attribute };
    let name = element.nested().find(attrs::NAME)?.ok_or(missing("name"))?.string();
    let data = element.nested().find(attrs::DATA)?;
    let data = data.map_or(Reader::new(&[]), |d| d.nested());
    let known = match name.as_str() {
        "meta" | "ct" => meta_or_ct(&name, &data)?,
        "payload" => payload(&data)?,
        "cmp" => cmp(&data)?,
        "bitwise" => bitwise(&data)?,
        "lookup" => lookup(&data)?,
        "immediate" => immediate(&data)?,
        "fib" => fib(&data)?,
        "rt" => rt(&data)?,
        "byteorder" => byteorder(&data)?,
        "exthdr" => exthdr(&data)?,
        "limit" => limit(&data)?,
        "log" => log(&data)?,
        "nat" => nat(&data)?,
        "reject" => reject(&data)?,
        "counter" => Some(Expr::Counter),
        "notrack" => Some(Expr::NoTrack),
        "masq" => masquerade(&data)?,
        "numgen" => numgen(&data)?,
        "hash" => hash(&data)?,
        "dynset" => dynset(&data)?,
        _ => None,
    };
    Ok(known.unwrap_or(Expr::Foreign(name)))
}

fn number(data: &Reader<'_>, kind: u16) -> Result<Option<u32>, Error> {
    data.find(kind)?.map(|a| a.u32()).transpose()
}

/// Word of a register on the wire; the verdict register has none.
fn word(data: &Reader<'_>, kind: u16) -> Result<Option<u32>, Error> {
    Ok(number(data, kind)?.and_then(|register| match register {
        1..=4 => Some((register - 1) * 4),
        8..=23 => Some(register - 8),
        _ => None,
    }))
}

fn bytes(data: &Reader<'_>, kind: u16) -> Result<Option<Vec<u8>>, Error> {
    let Some(attr) = data.find(kind)? else { return Ok(None) };
    Ok(value(&attr)?.map(<[u8]>::to_vec))
}

fn meta_or_ct(name: &str, data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let is_meta = name == "meta";
    let source = if is_meta { attrs::META[2] } else { attrs::CT[3] };
    let Some(key) = number(data, attrs::META[1])? else { return Ok(None) };
    if !is_meta && data.find(attrs::CT[2])?.is_some() {
        return Ok(None); // of one direction: never ours
    }
    Ok(match (word(data, attrs::META[0])?, word(data, source)?) {
        (Some(to), None) if is_meta => Some(Expr::Meta { key, to }),
        (None, Some(from)) if is_meta => Some(Expr::MetaSet { key, from }),
        (Some(to), None) => Some(Expr::Ct { key, to }),
        (None, Some(from)) => Some(Expr::CtSet { key, from }),
        (Some(_), Some(_)) | (None, None) => None,
    })
}

fn payload(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [dreg, base, offset, len] = attrs::PAYLOAD;
    let base = match number(data, base)? {
        Some(0) => PayloadBase::Link,
        Some(1) => PayloadBase::Network,
        Some(2) => PayloadBase::Transport,
        _ => return Ok(None),
    };
    let (Some(to), Some(offset), Some(len)) = (word(data, dreg)?, number(data, offset)?, number(data, len)?)
    else {
        return Ok(None);
    };
    Ok(Some(Expr::Payload { base, offset, len, to }))
}

fn cmp(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let op = match number(data, attrs::CMP[1])? {
        Some(0) => CmpOp::Eq,
        Some(1) => CmpOp::Ne,
        Some(4) => CmpOp::Gt,
        _ => return Ok(None),
    };
    let (Some(from), Some(data)) = (word(data, attrs::CMP[0])?, bytes(data, attrs::CMP[2])?) else {
        return Ok(None);
    };
    Ok(Some(Expr::Cmp { from, op, data }))
}

fn bitwise(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [sreg, dreg, _, mask, xor, op] = attrs::BITWISE;
    if number(data, op)?.unwrap_or(attrs::MASK_XOR) != attrs::MASK_XOR {
        return Ok(None);
    }
    let registers = (word(data, sreg)?, word(data, dreg)?);
    let ((Some(from), Some(to)), Some(mask), Some(xor)) = (registers, bytes(data, mask)?, bytes(data, xor)?)
    else {
        return Ok(None);
    };
    Ok(Some(Expr::Bitwise { from, to, mask, xor }))
}

fn lookup(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [set, sreg, dreg, _, flags] = attrs::LOOKUP;
    let (Some(set), Some(from)) = (data.find(set)?, word(data, sreg)?) else { return Ok(None) };
    let verdict = match number(data, dreg)? {
        None => false,
        Some(0) => true,
        Some(_) => {
            let to = word(data, dreg)?;
            return Ok(to.map(|to| Expr::Map { map: set.string(), from, to }));
        }
    };
    let absent = number(data, flags)?.unwrap_or_default() & 1 == 1;
    Ok(Some(Expr::Lookup { set: set.string(), from, verdict, absent }))
}

fn immediate(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let Some(what) = data.find(attrs::IMMEDIATE[1])? else { return Ok(None) };
    if number(data, attrs::IMMEDIATE[0])? == Some(0) {
        return Ok(verdict(&what)?.map(Expr::Verdict));
    }
    let (Some(to), Some(bytes)) = (word(data, attrs::IMMEDIATE[0])?, value(&what)?) else { return Ok(None) };
    Ok(Some(Expr::Constant { to, data: bytes.to_vec() }))
}

fn fib(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let numbers = (number(data, attrs::FIB[1])?, number(data, attrs::FIB[2])?);
    let (Some(to), (Some(result), Some(flags))) = (word(data, attrs::FIB[0])?, numbers) else {
        return Ok(None);
    };
    Ok(Some(Expr::Fib { result, flags, to }))
}

fn rt(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let is_mss = number(data, attrs::RT[1])? == Some(attrs::RT_TCPMSS);
    Ok(word(data, attrs::RT[0])?.filter(|_| is_mss).map(|to| Expr::RouteMss { to }))
}

fn byteorder(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [sreg, dreg, op, len, size] = attrs::BYTEORDER;
    let registers = (word(data, sreg)?, word(data, dreg)?);
    let sizes = (number(data, len)?, number(data, size)?);
    let ((Some(from), Some(to)), (Some(len), Some(size))) = (registers, sizes) else { return Ok(None) };
    let is_hton = number(data, op)? == Some(attrs::HTON);
    Ok(is_hton.then_some(Expr::HostToNetwork { from, to, len, size }))
}

fn exthdr(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [dreg, kind, offset, len, _, op, sreg] = attrs::EXTHDR;
    if data.find(dreg)?.is_some() || number(data, op)? != Some(attrs::EXTHDR_TCP) {
        return Ok(None);
    }
    let numbers = (number(data, offset)?, number(data, len)?);
    let (Some(kind), Some(from), (Some(offset), Some(len))) = (data.find(kind)?, word(data, sreg)?, numbers)
    else {
        return Ok(None);
    };
    Ok(Some(Expr::TcpOptionSet { option: kind.u8()?, offset, len, from }))
}

fn limit(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [rate, unit, burst, kind, flags] = attrs::LIMIT;
    if number(data, kind)?.unwrap_or_default() != 0 || number(data, flags)?.unwrap_or_default() != 0 {
        return Ok(None);
    }
    let (Some(rate), Some(unit), Some(burst)) = (data.find(rate)?, data.find(unit)?, number(data, burst)?)
    else {
        return Ok(None);
    };
    Ok(Some(Expr::Limit { rate: rate.u64()?, unit_secs: unit.u64()?, burst }))
}

fn log(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let Some(group) = data.find(attrs::LOG[0])? else { return Ok(None) };
    let group = group.value.first_chunk().ok_or(Error::Truncated { what: "log group" })?;
    let prefix = data.find(attrs::LOG[1])?.map(|a| a.string()).unwrap_or_default();
    Ok(Some(Expr::Log { group: u16::from_be_bytes(*group), prefix }))
}

fn nat(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [kind, family, address, _, port, _, flags] = attrs::NAT;
    let random = number(data, flags)?.unwrap_or_default() & attrs::NAT_RANDOM != 0;
    let kind = match number(data, kind)? {
        Some(0) => NatKind::Source,
        Some(1) => NatKind::Destination,
        _ => return Ok(None),
    };
    let (Some(family), Some(address)) = (number(data, family)?, word(data, address)?) else {
        return Ok(None);
    };
    let Ok(family) = u8::try_from(family) else { return Ok(None) };
    Ok(Some(Expr::Nat { kind, family, address, port: word(data, port)?, random }))
}

fn masquerade(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    Ok(match number(data, attrs::MASQUERADE_FLAGS)? {
        None => data.clone().next().is_none().then_some(Expr::Masquerade),
        Some(attrs::NAT_RANDOM) => Some(Expr::MasqueradeRandomly),
        Some(_) => None,
    })
}

fn numgen(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [dreg, modulus, kind, offset] = attrs::NUMGEN;
    let is_plain =
        number(data, kind)? == Some(attrs::NUMGEN_RANDOM) && number(data, offset)?.unwrap_or_default() == 0;
    let (Some(to), Some(modulus), true) = (word(data, dreg)?, number(data, modulus)?, is_plain) else {
        return Ok(None);
    };
    Ok(Some(Expr::Random { to, modulus }))
}

fn hash(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [sreg, dreg, len, modulus, seed, offset, kind] = attrs::HASH;
    if number(data, kind)?.unwrap_or_default() != 0 || number(data, offset)?.unwrap_or_default() != 0 {
        return Ok(None);
    }
    let registers = (word(data, sreg)?, word(data, dreg)?);
    let numbers = (number(data, len)?, number(data, modulus)?, number(data, seed)?);
    let ((Some(from), Some(to)), (Some(len), Some(modulus), Some(seed))) = (registers, numbers) else {
        return Ok(None);
    };
    Ok(Some(Expr::Hash { from, len, to, modulus, seed }))
}

fn dynset(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let [name, _, op, key, value, timeout] = attrs::DYNSET;
    let op = match number(data, op)? {
        Some(1) => RecallOp::Update,
        Some(2) => RecallOp::Delete,
        _ => return Ok(None),
    };
    let (Some(map), Some(key)) = (data.find(name)?, word(data, key)?) else { return Ok(None) };
    let timeout_ms = data.find(timeout)?.map(|a| a.u64()).transpose()?.unwrap_or_default();
    Ok(Some(Expr::Remember { op, map: map.string(), key, data: word(data, value)?, timeout_ms }))
}

fn reject(data: &Reader<'_>) -> Result<Option<Expr>, Error> {
    let Some(kind) = number(data, attrs::REJECT[0])? else { return Ok(None) };
    let code = data.find(attrs::REJECT[1])?.map(|a| a.u8()).transpose()?.unwrap_or_default();
    Ok(Some(Expr::Reject { kind, code }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Writer;

    #[test]
    fn each_expression_is_read_as_it_was_written() {
        let all = vec![
            Expr::Meta { key: 3, to: 4 },
            Expr::MetaSet { key: 3, from: 6 },
            Expr::Payload { base: PayloadBase::Transport, offset: 8, len: 16, to: 6 },
            Expr::Cmp { from: 0, op: CmpOp::Ne, data: b"wv".to_vec() },
            Expr::Cmp { from: 0, op: CmpOp::Gt, data: vec![4, 216] },
            Expr::Bitwise { from: 0, to: 1, mask: vec![1, 2, 3, 4], xor: vec![0; 4] },
            Expr::Lookup { set: "ports4".into(), from: 0, verdict: false, absent: true },
            Expr::Lookup { set: "verdicts".into(), from: 0, verdict: true, absent: false },
            Expr::Constant { to: 8, data: vec![10, 0, 0, 1] },
            Expr::Verdict(Verdict::Jump("marks".into())),
            Expr::Verdict(Verdict::Drop),
            Expr::Verdict(Verdict::Return),
            Expr::Counter,
            Expr::NoTrack,
            Expr::Ct { key: 0, to: 0 },
            Expr::CtSet { key: 3, from: 0 },
            Expr::Fib { result: 3, flags: 2, to: 0 },
            Expr::RouteMss { to: 0 },
            Expr::HostToNetwork { from: 0, to: 0, len: 2, size: 2 },
            Expr::TcpOptionSet { option: 2, offset: 2, len: 2, from: 0 },
            Expr::Limit { rate: 10, unit_secs: 1, burst: 5 },
            Expr::Log { group: 7, prefix: "drop".into() },
            Expr::Masquerade,
            Expr::MasqueradeRandomly,
            Expr::Nat { kind: NatKind::Destination, family: 2, address: 0, port: Some(4), random: false },
            Expr::Nat { kind: NatKind::Source, family: 10, address: 0, port: None, random: true },
            Expr::Map { map: "services".into(), from: 0, to: 1 },
            Expr::Random { to: 1, modulus: 3 },
            Expr::Hash { from: 1, len: 8, to: 1, modulus: 251, seed: 0 },
            Expr::Remember {
                op: RecallOp::Update,
                map: "affinity".into(),
                key: 0,
                data: Some(2),
                timeout_ms: 3000,
            },
            Expr::Remember {
                op: RecallOp::Delete,
                map: "affinity".into(),
                key: 0,
                data: Some(2),
                timeout_ms: 0,
            },
            Expr::Remember { op: RecallOp::Update, map: "awake".into(), key: 0, data: None, timeout_ms: 200 },
            Expr::Reject { kind: 2, code: 3 },
        ];
        let mut w = Writer::default();
        w.nested(4, |w| all.iter().for_each(|e| e.encode(w)));
        let bytes = w.into_bytes();
        let attr = Reader::new(&bytes).find(4).unwrap().unwrap();
        assert_eq!(list(&attr).unwrap(), all);
    }

    #[test]
    fn an_unknown_expression_is_foreign() {
        let mut w = Writer::default();
        w.nested(4, |w| Expr::Foreign("quota".into()).encode(w));
        let bytes = w.into_bytes();
        let attr = Reader::new(&bytes).find(4).unwrap().unwrap();
        assert_eq!(list(&attr).unwrap(), [Expr::Foreign("quota".into())]);
    }
}
