//! How replies end when they don't fit, and what stands in their headers.

use hickory_proto::op::{Message, ResponseCode};
use weft_model::{Families, Item};

use super::*;
use crate::{
    RecordType, Source,
    fixture::{World, endpoint, fabric, query, service},
    message::parse,
};

/// A headless service of `count` endpoints.
fn crowd(count: u8) -> World {
    let mut item = service("shop/crowd", "", "a/tcp:1");
    item.endpoints = (0..count).map(|at| endpoint(&format!("10.128.1.{at} - - 80"), None)).collect();
    World::new([Item::Fabric(fabric(Families::V4)), Item::Service(item)])
}

fn with_edns(mut query: Vec<u8>, size: u16, dnssec_ok: bool) -> Vec<u8> {
    let [high, low] = size.to_be_bytes();
    query[11] = 1;
    query.extend([0, 0, 41, high, low, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    query
}

#[test]
fn answers_fit_into_what_the_client_takes() {
    let check = |kind: RecordType, name: &str, size: Option<u16>, most: usize, truncated: bool| {
        let mut world = crowd(100);
        let plain = query(name, kind, true);
        let query = size.map_or(plain.clone(), |size| with_edns(plain.clone(), size, false));
        let (bytes, _) = world.send(&query).unwrap();
        let message = Message::from_vec(&bytes).unwrap();
        assert!(bytes.len() <= most && bytes.len() + 70 > most.min(1232), "{size:?}: {}", bytes.len());
        assert_eq!(message.metadata.truncation, truncated, "{size:?}");
        assert_eq!(message.edns.is_some(), size.is_some(), "an OPT for an OPT");
        assert_eq!(message.edns.as_ref().map_or(1232, |edns| edns.max_payload()), 1232);
        assert!(!message.answers.is_empty(), "clients that don't heed TC get what fits");
    };
    let name = "crowd.shop.svc.cluster.local";
    check(RecordType::A, name, None, 512, true);
    check(RecordType::A, name, Some(0), 512, true);
    check(RecordType::A, name, Some(600), 600, true);
    check(RecordType::A, name, Some(1232), 1232, true);
    check(RecordType::A, name, Some(4096), 1232, true);
    check(RecordType::A, name, Some(u16::MAX), 1232, true);
    check(RecordType::SRV, "_a._tcp.crowd.shop.svc.cluster.local", Some(1232), 1232, true);
    let mut world = crowd(20);
    let (bytes, _) = world.send(&query(name, RecordType::A, true)).unwrap();
    assert!(!Message::from_vec(&bytes).unwrap().metadata.truncation && bytes.len() == 12 + 34 + 20 * 16);
}

#[test]
fn each_truncated_answer_begins_elsewhere_and_has_none_twice() {
    let mut world = crowd(100);
    let query = query("crowd.shop.svc.cluster.local", RecordType::A, true);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (bytes, source) = world.send(&query).unwrap();
        assert_eq!(source, Source::Zone);
        let message = Message::from_vec(&bytes).unwrap();
        let one: std::collections::BTreeSet<_> =
            message.answers.iter().map(|record| record.to_string()).collect();
        assert_eq!(one.len(), message.answers.len());
        seen.extend(one);
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn additional_records_are_left_out_without_truncation() {
    let mut world = crowd(7);
    let query = query("_a._tcp.crowd.shop.svc.cluster.local", RecordType::SRV, true);
    let (bytes, _) = world.send(&query).unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert!(!message.metadata.truncation && message.answers.len() == 7 && message.additionals.len() < 7);
}

#[test]
fn headers_repeat_what_they_must_and_claim_nothing() {
    let mut world = crowd(1);
    let mut asked = with_edns(query("Crowd.SHOP.svc.cluster.local", RecordType::A, true), 1232, true);
    asked[3] |= 0x30; // AD and CD
    let (bytes, _) = world.send(&asked).unwrap();
    assert_eq!(bytes[12..46], asked[12..46], "the question to the letter");
    let message = Message::from_vec(&bytes).unwrap();
    let header = &message.metadata;
    assert_eq!(header.id, 0xabcd);
    assert!(header.recursion_desired && header.recursion_available && header.checking_disabled);
    assert!(!header.authentic_data, "nothing is validated here");
    assert!(message.edns.as_ref().unwrap().flags().dnssec_ok);
    let (bytes, _) = world.send(&query("crowd.shop.svc.cluster.local", RecordType::A, false)).unwrap();
    assert!(!Message::from_vec(&bytes).unwrap().metadata.recursion_desired);
}

#[test]
fn what_cant_be_read_gets_its_header_back() {
    let mut world = crowd(1);
    let check = |world: &mut World, query: &[u8], code: ResponseCode, length: usize| {
        let (bytes, source) = world.send(query).unwrap();
        assert_eq!((bytes.len(), source), (length, Source::Own));
        let message = Message::from_vec(&bytes).unwrap();
        let high = message.edns.as_ref().map_or(0, |edns| edns.rcode_high());
        assert_eq!((message.metadata.response_code, message.metadata.id), (code, 0xabcd));
        assert_eq!(high, if length > 12 { 1 } else { 0 });
    };
    let good = query("crowd.shop.svc.cluster.local", RecordType::A, true);
    check(&mut world, &good[..20], ResponseCode::FormErr, 12);
    check(&mut world, &[&good[..2], &[0x28], &good[3..]].concat(), ResponseCode::NotImp, 12);
    let mut version = with_edns(good.clone(), 1232, false);
    let at = version.len() - 5;
    version[at] = 1;
    // Code 16 is BADVERS in OPT records, and BADSIG for the other library.
    check(&mut world, &version, ResponseCode::BADSIG, 23);
    assert!(
        world.send(&good[..11]).is_none()
            && world.send(&[&good[..2], &[0x81], &good[3..]].concat()).is_none()
    );
    assert!(parse(&good).is_ok());
}

#[test]
fn what_isnt_served_is_refused_with_a_reason() {
    let mut world = crowd(1);
    let name = "crowd.shop.svc.cluster.local";
    for kind in [250, 251, 252, 253, 254, 0, 41, 128] {
        let (bytes, _) = world.send(&with_edns(query(name, RecordType(kind), true), 1232, false)).unwrap();
        assert_eq!(bytes[3] & 15, 5, "type {kind}");
        assert_eq!(bytes[bytes.len() - 6..], [0, 15, 0, 2, 0, 21]);
    }
    let mut chaos = query("version.bind", RecordType::TXT, true);
    let at = chaos.len() - 1;
    chaos[at] = 3;
    assert_eq!(world.send(&chaos).unwrap().0[3] & 15, 5);
    let (bytes, _) =
        world.send(&with_edns(query("www.example.com", RecordType::A, false), 1232, false)).unwrap();
    assert_eq!(
        (bytes[3] & 15, &bytes[bytes.len() - 2..]),
        (5, &[0, 20][..]),
        "no recursion, no looking into the cache"
    );
    assert_eq!(UDP_MAX, 1232);
}
