//! Statements to expressions: dependencies are added where a field needs them, once per rule.

use std::net::IpAddr;

use crate::{
    CtState, Field, Mark, Op, Recall, Reject, Rule, Set, Statement, TableFamily, Term, Translate,
    expr::{CmpOp, Expr, NatKind, PayloadBase, RecallOp, ct, fib, reject},
    field::{Depends, meta},
};

/// TCP option number of the maximum segment size (RFC 9293 section 3.2).
const TCP_OPTION_MSS: u8 = 2;
/// Number of TCP.
const TCP: u8 = 6;

/// The expressions of a rule in a table of a family.
pub(crate) fn rule(rule: &Rule, family: TableFamily) -> Vec<Expr> {
    let mut lowering = Lowering { family, out: Vec::new(), established: Vec::new() };
    rule.statements.iter().for_each(|s| lowering.statement(s));
    lowering.out
}

/// The expressions of each element of a set.
pub(crate) fn each(set: &Set) -> Vec<Expr> {
    rule(&Rule { statements: set.each.to_vec(), comment: "" }, TableFamily::Inet)
}

struct Lowering {
    family: TableFamily,
    out: Vec<Expr>,
    /// Matches that the rule has made already.
    established: Vec<[Expr; 2]>,
}

impl Lowering {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match { field, op, value } => {
                self.load(std::slice::from_ref(field));
                self.compare(*op, value.first_bytes());
                if let (Op::Eq, [.., load, compare]) = (op, self.out.as_slice()) {
                    self.established.push([load.clone(), compare.clone()]);
                }
            }
            Statement::Bits { mark, mask, value } => {
                self.out.push(load_mark(*mark));
                self.masked(&mask.to_ne_bytes());
                self.compare(Op::Eq, value.to_ne_bytes().to_vec());
            }
            Statement::State(states) => self.any_bit(ct::STATE, state_mask(states)),
            Statement::Status(status) => self.any_bit(ct::STATUS, *status as u32),
            Statement::Direction(direction) => {
                self.out.push(Expr::Ct { key: ct::DIRECTION, to: 0 });
                self.compare(Op::Eq, vec![*direction as u8]);
            }
            Statement::TcpFlags { mask, value } => {
                self.need(Depends::Transport(TCP));
                self.out.push(Expr::Payload { base: PayloadBase::Transport, offset: 13, len: 1, to: 0 });
                self.masked(&[*mask]);
                self.compare(Op::Eq, vec![*value]);
            }
            Statement::ArpOfIpv4 => {
                self.need(Depends::Arp);
                self.out.push(Expr::Payload { base: PayloadBase::Network, offset: 0, len: 6, to: 0 });
                // Hardware Ethernet, protocol IPv4, lengths 6 and 4 (RFC 826).
                self.compare(Op::Eq, vec![0, 1, 8, 0, 6, 4]);
            }
            Statement::Lookup { key, set, absent } => self.lookup(key, set, false, *absent),
            Statement::VerdictMap { key, map } => self.lookup(key, map, true, false),
            Statement::Equals(term, value) => {
                self.compute(&[term]);
                self.compare(Op::Eq, value.to_ne_bytes().to_vec());
            }
            Statement::Found { key, set, absent } => {
                self.compute(&[key]);
                let set = (*set).to_owned();
                self.out.push(Expr::Lookup { set, from: 0, verdict: false, absent: *absent });
            }
            Statement::Dispatch { key, map } => {
                self.compute(&[key]);
                self.out.push(Expr::Lookup { set: map.clone(), from: 0, verdict: true, absent: false });
            }
            Statement::DestinationKind(op, kind) => {
                let (result, flags) = (fib::ADDRESS_KIND, fib::DESTINATION);
                self.out.push(Expr::Fib { result, flags, to: 0 });
                self.compare(*op, (*kind as u32).to_ne_bytes().to_vec());
            }
            Statement::Mark { .. }
            | Statement::MarkBecomes(_)
            | Statement::MarkIs(_)
            | Statement::PriorityBecomes(_)
            | Statement::PriorityIs(_)
            | Statement::Translate { .. }
            | Statement::Remember { .. }
            | Statement::Renew { .. }
            | Statement::MasqueradeRandomly
            | Statement::MssOfRoute
            | Statement::Counter
            | Statement::Limit { .. }
            | Statement::Log { .. }
            | Statement::Masquerade
            | Statement::Snat(_)
            | Statement::Dnat(..)
            | Statement::NoTrack
            | Statement::Reject(_)
            | Statement::Verdict(_) => self.action(statement),
        }
    }

    fn action(&mut self, statement: &Statement) {
        match statement {
            Statement::Mark { mark, clear, set } => self.change_mark(*mark, *clear, *set),
            Statement::MssOfRoute => {
                self.need(Depends::Transport(TCP));
                self.out.push(Expr::RouteMss { to: 0 });
                self.out.push(Expr::HostToNetwork { from: 0, to: 0, len: 2, size: 2 });
                self.out.push(Expr::TcpOptionSet { option: TCP_OPTION_MSS, offset: 2, len: 2, from: 0 });
            }
            Statement::Counter => self.out.push(Expr::Counter),
            Statement::Limit { per_second, burst } => {
                self.out.push(Expr::Limit { rate: *per_second, unit_secs: 1, burst: *burst });
            }
            Statement::Log { group, prefix } => {
                self.out.push(Expr::Log { group: *group, prefix: (*prefix).to_owned() });
            }
            Statement::Masquerade => self.out.push(Expr::Masquerade),
            Statement::MasqueradeRandomly => self.out.push(Expr::MasqueradeRandomly),
            Statement::MarkBecomes(term) => self.become_(meta::MARK, term),
            Statement::PriorityBecomes(term) => self.become_(meta::PRIORITY, term),
            Statement::MarkIs(number) => self.set_to(0, meta::MARK, *number),
            Statement::PriorityIs(number) => self.set_to(0, meta::PRIORITY, *number),
            Statement::Translate { what, v4, to, random, mark } => {
                self.translate_to(*what, *v4, to, *random, *mark);
            }
            Statement::Remember { what, map, key, data } => {
                self.compute(&[key, data]);
                let (op, timeout_ms) = match what {
                    Recall::Refresh { seconds } => (RecallOp::Update, u64::from(*seconds) * 1000),
                    Recall::Forget => (RecallOp::Delete, 0),
                };
                let map = (*map).to_owned();
                self.out.push(Expr::Remember { op, map, key: 0, data: Some(key.words()), timeout_ms });
            }
            Statement::Renew { set, key, timeout_ms } => {
                self.load(std::slice::from_ref(key));
                let (op, map, timeout_ms) = (RecallOp::Update, (*set).to_owned(), *timeout_ms);
                self.out.push(Expr::Remember { op, map, key: 0, data: None, timeout_ms });
            }
            Statement::Snat(address) => self.translate(NatKind::Source, *address, None),
            Statement::Dnat(address, port) => self.translate(NatKind::Destination, *address, *port),
            Statement::NoTrack => self.out.push(Expr::NoTrack),
            Statement::Reject(how) => {
                let (kind, code) = refusal(*how, self.family);
                self.out.push(Expr::Reject { kind, code });
            }
            Statement::Verdict(verdict) => self.out.push(Expr::Verdict(verdict.clone())),
            Statement::Match { .. }
            | Statement::Bits { .. }
            | Statement::State(_)
            | Statement::Direction(_)
            | Statement::Status(_)
            | Statement::TcpFlags { .. }
            | Statement::ArpOfIpv4
            | Statement::Lookup { .. }
            | Statement::VerdictMap { .. }
            | Statement::Equals(..)
            | Statement::Found { .. }
            | Statement::Dispatch { .. }
            | Statement::DestinationKind(..) => {}
        }
    }

    /// Loads fields side by side, each from the next free word on, after what they depend on.
    fn load(&mut self, fields: &[Field]) {
        fields.iter().for_each(|f| self.need(f.depends()));
        let mut word = 0;
        for field in fields {
            self.out.push(field.load(word));
            word += field.bytes().div_ceil(4);
        }
    }

    fn need(&mut self, depends: Depends) {
        for pair in depends.matches(self.family) {
            if !self.established.contains(&pair) {
                self.out.extend(pair.iter().cloned());
                self.established.push(pair);
            }
        }
    }

    fn compare(&mut self, op: Op, data: Vec<u8>) {
        let op = match op {
            Op::Eq => CmpOp::Eq,
            Op::Ne => CmpOp::Ne,
            Op::Gt => CmpOp::Gt,
        };
        self.out.push(Expr::Cmp { from: 0, op, data });
    }

    fn masked(&mut self, mask: &[u8]) {
        self.out.push(Expr::Bitwise { from: 0, to: 0, mask: mask.to_vec(), xor: vec![0; mask.len()] });
    }

    /// Matches when the connection's number has any of the bits.
    fn any_bit(&mut self, key: u32, mask: u32) {
        self.out.push(Expr::Ct { key, to: 0 });
        self.masked(&mask.to_ne_bytes());
        self.compare(Op::Ne, vec![0; 4]);
    }

    fn lookup(&mut self, key: &[Field], set: &str, verdict: bool, absent: bool) {
        self.load(key);
        self.out.push(Expr::Lookup { set: set.to_owned(), from: 0, verdict, absent });
    }

    fn change_mark(&mut self, mark: Mark, clear: u32, set: u32) {
        let mask = (!(clear | set)).to_ne_bytes().to_vec();
        self.out.push(load_mark(mark));
        self.out.push(Expr::Bitwise { from: 0, to: 0, mask, xor: set.to_ne_bytes().to_vec() });
        self.out.push(match mark {
            Mark::Packet => Expr::MetaSet { key: meta::MARK, from: 0 },
            Mark::Connection => Expr::CtSet { key: ct::MARK, from: 0 },
        });
    }

    fn translate(&mut self, kind: NatKind, address: IpAddr, port: Option<u16>) {
        let (family, data) = match address {
            IpAddr::V4(a) => (2, a.octets().to_vec()),
            IpAddr::V6(a) => (10, a.octets().to_vec()),
        };
        self.out.push(Expr::Constant { to: 0, data });
        let port = port.map(|port| {
            self.out.push(Expr::Constant { to: 4, data: port.to_be_bytes().to_vec() });
            4
        });
        self.out.push(Expr::Nat { kind, family, address: 0, port, random: false });
    }

    fn become_(&mut self, key: u32, term: &Term) {
        self.compute(&[term]);
        self.out.push(Expr::MetaSet { key, from: 0 });
    }

    /// By a word that nothing else needs.
    fn set_to(&mut self, word: u32, key: u32, number: u32) {
        self.out.push(Expr::Constant { to: word, data: number.to_ne_bytes().to_vec() });
        self.out.push(Expr::MetaSet { key, from: word });
    }

    fn translate_to(&mut self, what: Translate, v4: bool, to: &Term, random: bool, mark: Option<u32>) {
        self.compute(&[to]);
        if let Some(mark) = mark {
            self.set_to(to.words().next_multiple_of(4), meta::MARK, mark);
        }
        let (family, address_words) = if v4 { (2, 1) } else { (10, 4) };
        let kind = match what {
            Translate::Source => NatKind::Source,
            Translate::Destination => NatKind::Destination,
        };
        let port = (to.words() > address_words).then_some(address_words);
        self.out.push(Expr::Nat { kind, family, address: 0, port, random });
    }

    /// Leaves the values side by side from word 0 on, after everything that their fields depend on.
    fn compute(&mut self, terms: &[&Term]) {
        let mut fields = Vec::new();
        terms.iter().for_each(|term| term.each_field(&mut |field| fields.push(field)));
        fields.iter().for_each(|field| self.need(field.depends()));
        let mut word = 0;
        for term in terms {
            self.term(term, word);
            word += term.words();
        }
    }

    /// Leaves a value from `word` on; words before it keep theirs, those behind it serve on the way.
    fn term(&mut self, term: &Term, word: u32) {
        match term {
            Term::Field(field) => self.out.push(field.load(word)),
            Term::Mark => self.out.push(Expr::Meta { key: meta::MARK, to: word }),
            Term::Priority => self.out.push(Expr::Meta { key: meta::PRIORITY, to: word }),
            Term::Random(modulus) => self.out.push(Expr::Random { to: word, modulus: *modulus }),
            Term::Hash { of, modulus, seed } => {
                let mut to = word;
                for field in of {
                    self.out.push(field.load(to));
                    to += field.bytes().div_ceil(4);
                }
                let (len, modulus, seed) = ((to - word) * 4, *modulus, *seed);
                self.out.push(Expr::Hash { from: word, len, to: word, modulus, seed });
            }
            Term::Masked(inner, mask) => {
                self.term(inner, word);
                let (mask, xor) = (mask.to_ne_bytes().to_vec(), vec![0; 4]);
                self.out.push(Expr::Bitwise { from: word, to: word, mask, xor });
            }
            Term::Mapped { key, map, .. } => {
                self.term(key, word);
                self.out.push(Expr::Map { map: (*map).to_owned(), from: word, to: word });
            }
            Term::Joined(parts) => {
                let mut to = word;
                for part in parts {
                    self.term(part, to);
                    to += part.words();
                }
            }
        }
    }
}

fn load_mark(mark: Mark) -> Expr {
    match mark {
        Mark::Packet => Expr::Meta { key: meta::MARK, to: 0 },
        Mark::Connection => Expr::Ct { key: ct::MARK, to: 0 },
    }
}

/// Type and code of a refusal: `inet` and `bridge` have codes for both families, the others those of their own.
const fn refusal(how: Reject, family: TableFamily) -> (u32, u8) {
    match (how, family) {
        (Reject::TcpReset, _) => (reject::TCP_RESET, 0),
        (Reject::PortUnreachable, TableFamily::Ip) => (reject::ICMP, reject::ICMP4_PORT),
        (Reject::PortUnreachable, TableFamily::Ip6) => (reject::ICMP, reject::ICMP6_PORT),
        (Reject::PortUnreachable, _) => (reject::ICMPX, reject::PORT_UNREACHABLE),
        (Reject::AdminProhibited, TableFamily::Ip) => (reject::ICMP, reject::ICMP4_PROHIBITED),
        (Reject::AdminProhibited, TableFamily::Ip6) => (reject::ICMP, reject::ICMP6_PROHIBITED),
        (Reject::AdminProhibited, _) => (reject::ICMPX, reject::ADMIN_PROHIBITED),
    }
}

fn state_mask(states: &[CtState]) -> u32 {
    states.iter().fold(0, |mask, state| mask | *state as u32)
}
