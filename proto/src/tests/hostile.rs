//! Bytes of strangers: never a panic, never a stack overflow, and errors that name the field.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use prost::Message;
use weft_model::{AddressRange, Node, Object, Pod};

use super::strategies::{command, object};
use crate::{
    codec::{decode_answer, decode_command, decode_record, decode_snapshot, encode_command},
    convert::Frame,
    v1,
};

/// Feeds bytes to every decoder that network or disk bytes can reach.
fn check(bytes: &[u8]) -> bool {
    let wire = [
        v1::WatchResponse::decode(bytes).map(|frame| Frame::try_from(frame).is_ok()).unwrap_or(false),
        v1::RaftMessage::decode(bytes).is_ok(),
        v1::SnapshotChunk::decode(bytes).is_ok(),
        v1::JoinRequest::decode(bytes).is_ok(),
        v1::RenewRequest::decode(bytes).is_ok(),
        v1::ApplyRequest::decode(bytes).is_ok(),
        v1::ReportRequest::decode(bytes).is_ok(),
        v1::AnswerRequest::decode(bytes).is_ok(),
        v1::PublishPodsRequest::decode(bytes).is_ok(),
        v1::Error::decode(bytes).is_ok(),
        v1::Object::decode(bytes).map(|object| Object::try_from(object).is_ok()).unwrap_or(false),
        v1::Pod::decode(bytes).map(|pod| Pod::try_from(pod).is_ok()).unwrap_or(false),
    ];
    let own = [
        decode_command(bytes).is_ok(),
        decode_answer(bytes).is_ok(),
        decode_record(bytes).is_ok(),
        decode_snapshot(bytes).is_ok(),
    ];
    wire.into_iter().chain(own).any(|read| read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn damaged_commands_do_no_harm(command in command(), at: prop::sample::Index, value: u8) {
        let mut bytes = encode_command(&command).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        check(&bytes);
        bytes.truncate(at);
        check(&bytes);
    }

    #[test]
    fn damaged_objects_do_no_harm(object in object(), at: prop::sample::Index, value: u8) {
        let mut bytes = v1::Object::from(&object).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        check(&bytes);
    }
}

#[test]
fn a_million_nested_groups_are_an_error_everywhere() {
    // Field 1000, wire type 3 (start group): unknown to every message.
    let start: &[u8] = &[0xc3, 0x3e];
    assert!(!check(&start.repeat(1_000_000)));
    // The same inside a known field: the node of an object (messages with bytes in field 2 may take them unread).
    let mut nested = Vec::new();
    prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut nested);
    prost::encoding::encode_varint(2_000_000, &mut nested);
    nested.extend(start.repeat(1_000_000));
    check(&nested);
    assert!(v1::Object::decode(nested.as_slice()).is_err());
}

#[test]
fn errors_name_the_path_of_the_field() {
    let range = |address: &[u8], prefix| v1::Range { address: Bytes::copy_from_slice(address), prefix };
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1];
    for (wire, message) in [
        (range(&[10, 0, 0], 8), "address: an address has 4 or 16 bytes and this one has 3"),
        (range(&[10, 0, 0, 0], 33), "prefix: 33 is too long for 10.0.0.0"),
        (range(&[10, 0, 0, 0], 300), "prefix: 300 is too long for 10.0.0.0"),
        (range(&[10, 1, 0, 0], 8), "10.1.0.0/8 has host bits set; the range that holds it is 10.0.0.0/8"),
        (range(&mapped, 128), "address: ::ffff:10.0.0.1 is an IPv4-mapped address; write it as IPv4"),
    ] {
        assert_eq!(AddressRange::try_from(wire).unwrap_err().to_string(), message);
    }
    let node = v1::Node { facts: Some(v1::NodeFacts::default()), name: "n1".into(), ..v1::Node::default() };
    assert_eq!(Node::try_from(node.clone()).unwrap_err().field, "uid");
    let mut host_bits = node;
    host_bits.uid = Bytes::from_static(&[0; 16]);
    if let Some(facts) = &mut host_bits.facts {
        facts.host_routes = vec![range(&[10, 0, 0, 0], 8), range(&[1], 8)];
    }
    let object = v1::Object { kind: Some(v1::object::Kind::Node(host_bits)) };
    assert_eq!(Object::try_from(object).unwrap_err().field, "node.facts.host_routes[1].address");
    assert_eq!(Object::try_from(v1::Object::default()).unwrap_err().to_string(), "kind: it is missing");
}
