//! Answers of upstreams: nothing brings the parser down, what is believed survives the way through the cache.

use std::net::IpAddr;

use hickory_proto::{
    op::Message,
    rr::{Name, RData, Record, rdata},
};
use proptest::prelude::*;

use super::*;
use crate::{
    Transport,
    fixture::{query, wire, words},
    message::{Age, Reply, parse},
};

const NAME: &str = "www.example.com";

fn judge(bytes: &[u8], question: &[u8], kind: RecordType) -> Verdict {
    let name = wire(NAME);
    let nothing = |_: IpAddr| false;
    let expected = Expected {
        id: 0xabcd,
        question,
        name: &name,
        kind,
        dnssec_ok: false,
        is_filtered: &nothing,
        own: None,
    };
    read_answer(bytes, expected)
}

fn question(kind: RecordType) -> Vec<u8> {
    query(NAME, kind, true)[12..].to_vec()
}

fn answer(kind: RecordType, records: Vec<RData>) -> Vec<u8> {
    let mut message = Message::from_vec(&query(NAME, kind, true)).unwrap().into_response();
    let name = Name::from_ascii("www.example.com.").unwrap();
    for data in records {
        message.add_answer(Record::from_rdata(name.clone(), 77, data));
    }
    message.to_vec().unwrap()
}

/// What a client gets when the body stands behind its question.
fn told(body: &Body, kind: RecordType) -> Vec<u8> {
    let bytes = query(NAME, kind, true);
    let query = parse(&bytes).unwrap();
    let mut out = vec![0; 65_535];
    let mut reply = Reply::begin(&mut out, &query, Transport::Tcp).unwrap();
    body.write(&mut reply, HEADER, Age::Seconds(7));
    let length = reply.finish(body.rcode, None);
    out[..length].to_vec()
}

#[test]
fn data_with_names_are_whole_behind_the_cache() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let check = |kind: RecordType, data: RData, expected: &str| {
        let bytes = answer(kind, vec![data]);
        let verdict = judge(&bytes, &question(kind), kind);
        let Verdict::Answer(body) = verdict else { panic!("{kind}: {verdict:?}") };
        assert_eq!(body.ttl, 77);
        assert_eq!(words(NAME, &told(&body, kind)), format!("NoError: 70 {kind} {expected}"));
    };
    let mail = rdata::MX::new(10, name("mail.example.com."));
    check(RecordType::MX, RData::MX(mail), "10 mail.example.com.");
    check(RecordType::NS, RData::NS(rdata::NS(name("ns.www.example.com."))), "ns.www.example.com.");
    check(RecordType::PTR, RData::PTR(rdata::PTR(name("www.example.com."))), "www.example.com.");
    check(
        RecordType::SRV,
        RData::SRV(rdata::SRV::new(1, 2, 3, name("x.example.com."))),
        "1 2 3 x.example.com.",
    );
    check(RecordType::TXT, RData::TXT(rdata::TXT::new(vec!["hello".to_owned()])), "hello");
    let soa = rdata::SOA::new(name("ns.example.com."), name("admin.example.com."), 1, 2, 3, 4, 5);
    check(RecordType::SOA, RData::SOA(soa), "ns.example.com. admin.example.com. 1 2 3 4 5");
}

#[test]
fn what_contradicts_itself_isnt_believed() {
    let good = answer(RecordType::A, vec![RData::A(rdata::A::new(192, 0, 2, 1))]);
    let question = question(RecordType::A);
    let check = |what: &str, change: &dyn Fn(&mut Vec<u8>), expected: Verdict| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(judge(&bytes, &question, RecordType::A), expected, "{what}");
    };
    let at = good.len() - 4;
    assert!(matches!(judge(&good, &question, RecordType::A), Verdict::Answer(_)));
    check("more answers than there are", &|b| b[7] = 2, Verdict::Broken);
    check("records that aren't counted", &|b| b[7] = 0, Verdict::Broken);
    check("octets behind it", &|b| b.push(0), Verdict::Broken);
    check("a cut record", &|b| b.truncate(at + 3), Verdict::Broken);
    check(
        "an address of three octets",
        &|b| {
            b[at - 1] = 3;
            b.pop();
        },
        Verdict::Broken,
    );
    check("a denial with an answer", &|b| b[3] |= 3, Verdict::Broken);
    check("their trouble", &|b| b[3] |= 2, Verdict::Failed(Rcode::SERVFAIL));
    check("truncation", &|b| b[2] |= 2, Verdict::Truncated);
    check("the question in another case", &|b| b[13] = b'W', Verdict::CaseLost);
    check("another question", &|b| b[13] = b'v', Verdict::Stranger);
    check(
        "a pointer to itself",
        &|b| {
            let place = u8::try_from(at - 12).unwrap();
            b[at - 12..at - 10].copy_from_slice(&[0xc0, place]);
        },
        Verdict::Broken,
    );
    check(
        "a pointer forwards",
        &|b| {
            let place = u8::try_from(at).unwrap();
            b[at - 12..at - 10].copy_from_slice(&[0xc0, place]);
        },
        Verdict::Broken,
    );
    check(
        "an OPT among the answers",
        &|b| {
            b[at - 9] = 41;
        },
        Verdict::Broken,
    );
    check(
        "a header and their trouble",
        &|b| {
            b[3] |= 5;
            b[5] = 0;
            b[7] = 0;
            b.truncate(12);
        },
        Verdict::Failed(Rcode::REFUSED),
    );
}

#[test]
fn a_referral_is_no_answer() {
    let mut message = Message::from_vec(&query(NAME, RecordType::A, true)).unwrap().into_response();
    let name = |text: &str| Name::from_ascii(text).unwrap();
    message.add_authority(Record::from_rdata(name("com."), 9, RData::NS(rdata::NS(name("a.gtld.example.")))));
    let bytes = message.to_vec().unwrap();
    assert_eq!(judge(&bytes, &question(RecordType::A), RecordType::A), Verdict::Failed(Rcode::NOERROR));
}

#[test]
fn many_equal_records_cost_little_and_stand_once() {
    let mut bytes = answer(RecordType::A, vec![RData::A(rdata::A::new(192, 0, 2, 1))]);
    let record = bytes[bytes.len() - 16..].to_vec();
    bytes.extend(record.repeat(3499));
    bytes[6..8].copy_from_slice(&3500_u16.to_be_bytes());
    let Verdict::Answer(body) = judge(&bytes, &question(RecordType::A), RecordType::A) else { panic!() };
    assert_eq!(words(NAME, &told(&body, RecordType::A)), "NoError: 70 A 192.0.2.1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_of_an_upstream_bring_the_parser_down(
        tail in prop::collection::vec(any::<u8>(), 0..400),
        counts in prop::array::uniform3(0_u8..4),
        kind in prop::sample::select(vec![1_u16, 2, 5, 6, 15, 28, 33, 35, 46, 47]),
    ) {
        let kind = RecordType(kind);
        let mut bytes = query(NAME, kind, true);
        bytes[2] |= 0x80;
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            bytes[at] = count;
        }
        bytes.extend(tail);
        let asked = question(kind);
        if let Verdict::Answer(body) = judge(&bytes, &asked, kind) {
            prop_assert!(Message::from_vec(&told(&body, kind)).is_ok() || body.octets() > 0);
        }
    }

    #[test]
    fn changed_and_cut_answers_are_read_or_refused_but_never_more(
        octets in prop::collection::vec(any::<[u8; 4]>(), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let records = octets.iter().map(|o| RData::A(rdata::A::from(std::net::Ipv4Addr::from(*o)))).collect();
        let good = answer(RecordType::A, records);
        let asked = question(RecordType::A);
        let mut bytes = good.clone();
        for (at, octet) in changes {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        let _ = judge(&bytes, &asked, RecordType::A);
        let cut = cut.index(good.len());
        prop_assert!(!matches!(judge(&good[..cut], &asked, RecordType::A), Verdict::Answer(_)), "a part of an answer");
        let Verdict::Answer(body) = judge(&good, &asked, RecordType::A) else { panic!() };
        let read = Message::from_vec(&told(&body, RecordType::A)).unwrap();
        let unique: std::collections::BTreeSet<_> = octets.iter().collect();
        prop_assert_eq!(read.answers.len(), unique.len());
    }
}
