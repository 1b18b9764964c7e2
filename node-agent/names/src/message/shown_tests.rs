//! What people read of responses that another library wrote.

use std::str::FromStr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType as Kind,
        rdata::{A, AAAA, CNAME, MX, PTR, SOA, SRV, TXT, opt::EdnsOption},
    },
};

use super::*;
use crate::message::parse;

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

fn response(code: ResponseCode, answers: Vec<RData>, edns: Option<Edns>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name("web.shop.svc.cluster.local."), Kind::A));
    message.metadata.response_code = code;
    let record = |data| Record::from_rdata(name("web.shop.svc.cluster.local."), 5, data);
    message.add_answers(answers.into_iter().map(record));
    message.edns = edns;
    message.to_vec().unwrap()
}

#[test]
fn records_are_shown_as_in_zone_files() {
    let check = |data: RData, expected: &str| {
        let shown = show(&response(ResponseCode::NoError, vec![data], None)).unwrap();
        assert_eq!(shown.answers.len(), 1);
        assert_eq!(
            (shown.answers[0].name.as_str(), shown.answers[0].ttl, shown.answers[0].data.as_str()),
            ("web.shop.svc.cluster.local.", 5, expected)
        );
    };
    let near = || name("a.svc.cluster.local.");
    check(RData::A(A::new(10, 112, 0, 5)), "10.112.0.5");
    check(RData::AAAA(AAAA::from_str("fd5a::1").unwrap()), "fd5a::1");
    check(RData::CNAME(CNAME(near())), "a.svc.cluster.local.");
    check(RData::PTR(PTR(near())), "a.svc.cluster.local.");
    check(RData::MX(MX::new(10, near())), "10 a.svc.cluster.local.");
    check(RData::SRV(SRV::new(0, 100, 80, near())), "0 100 80 a.svc.cluster.local.");
    check(
        RData::SOA(SOA::new(near(), near(), 1, 2, 3, 4, 5)),
        "a.svc.cluster.local. a.svc.cluster.local. 1 2 3 4 5",
    );
    check(RData::TXT(TXT::new(vec!["1.1.0".to_owned(), "a \"b\"".to_owned()])), r#""1.1.0" "a \"b\"""#);
    let unknown = hickory_proto::rr::rdata::NULL::with(vec![1, 0xab]);
    check(RData::Unknown { code: Kind::Unknown(65_280), rdata: unknown }, r"\# 2 01ab");
}

#[test]
fn codes_and_reasons_are_told() {
    let mut edns = Edns::new();
    let value = [&22_u16.to_be_bytes()[..], b"all are down"].concat();
    edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, value));
    let shown = show(&response(ResponseCode::ServFail, Vec::new(), Some(edns))).unwrap();
    assert_eq!((shown.rcode, shown.note.as_str()), (Rcode::SERVFAIL, "no reachable authority: all are down"));
    let shown = show(&response(ResponseCode::BADVERS, Vec::new(), Some(Edns::new()))).unwrap();
    assert_eq!((shown.rcode, shown.note.as_str()), (Rcode::BADVERS, ""));
    let shown = show(&response(ResponseCode::NXDomain, Vec::new(), None)).unwrap();
    assert_eq!((shown.rcode, shown.answers.len()), (Rcode::NXDOMAIN, 0));
}

#[test]
fn no_piece_of_a_response_is_taken_for_the_whole() {
    let whole = response(
        ResponseCode::NoError,
        vec![RData::SRV(SRV::new(0, 100, 80, name("a.b.")))],
        Some(Edns::new()),
    );
    assert!(show(&whole).is_some());
    for end in 0..whole.len() {
        assert_eq!(show(&whole[..end]), None, "{end} octets");
    }
}

#[test]
fn our_questions_are_read_by_us_and_by_others() {
    let asked: DomainName = "Web.shop".parse().unwrap();
    let query = question(7, &asked, RecordType::SRV);
    assert!(parse(&query).is_ok());
    let read = Message::from_vec(&query).unwrap();
    assert_eq!(read.queries[0].to_string(), "web.shop. IN SRV");
    assert!(read.metadata.recursion_desired && read.edns.is_some());
}
