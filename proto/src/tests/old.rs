//! Bytes of a version before services: what they don't say has its default.

use prost::Message;
use weft_model::{DEFAULT_NODE_PORT_RANGE, DnsSettings, Object, PodDns, PodSpec, PolicySettings, Record};

use crate::codec::decode_record;

/// A field with bytes, as the old encoder wrote it.
fn bytes(tag: u32, inside: &[u8], into: &mut Vec<u8>) {
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, into);
    prost::encoding::encode_varint(inside.len() as u64, into);
    into.extend_from_slice(inside);
}

/// A field with a number.
fn number(tag: u32, value: u64, into: &mut Vec<u8>) {
    prost::encoding::encode_key(tag, prost::encoding::WireType::Varint, into);
    prost::encoding::encode_varint(value, into);
}

/// `Record { object: Object { TAG: inside } }`.
fn stored(tag: u32, inside: &[u8]) -> Object {
    let (mut object, mut record) = (Vec::new(), Vec::new());
    bytes(tag, inside, &mut object);
    bytes(2, &object, &mut record);
    let Ok(Record::Object(object)) = decode_record(&record) else { panic!("{record:?}") };
    object
}

#[test]
fn a_fabric_of_before_has_the_node_ports_of_kubernetes() {
    let mut fabric = Vec::new();
    number(1, 1, &mut fabric);
    bytes(2, &[], &mut fabric);
    number(3, 24, &mut fabric);
    number(4, 1, &mut fabric);
    bytes(5, b"cluster.local", &mut fabric);
    let Object::Fabric(fabric) = stored(1, &fabric) else { panic!("it is one") };
    assert_eq!(fabric.node_port_range, DEFAULT_NODE_PORT_RANGE);
    assert!(fabric.node_port_addresses.is_empty() && fabric.external_ip_ranges.is_empty());
    assert_eq!(fabric.dns, DnsSettings::default());
    assert_eq!(fabric.policy, PolicySettings::default());
}

#[test]
fn what_people_said_of_a_pod_before_names_is_asked_for_as_usual() {
    let (mut name, mut spec) = (Vec::new(), Vec::new());
    bytes(1, b"shop", &mut name);
    bytes(2, b"web-0", &mut name);
    bytes(1, &name, &mut spec);
    let spec = crate::v1::PodSpec::decode(spec.as_slice()).unwrap();
    let spec = PodSpec::try_from(spec).unwrap();
    assert_eq!((spec.dns, spec.service_links), (PodDns::default(), true));
}

#[test]
fn a_pod_of_before_is_not_about_to_end() {
    let mut pod = Vec::new();
    bytes(1, &[7; 16], &mut pod);
    bytes(2, b"shop", &mut pod);
    bytes(3, b"web-0", &mut pod);
    bytes(5, b"n1", &mut pod);
    number(11, 1, &mut pod);
    let Object::Pod(pod) = stored(3, &pod) else { panic!("it is one") };
    assert!(pod.ready && !pod.terminating);
}

#[test]
fn a_range_of_ports_that_ends_before_it_begins_is_refused() {
    let wire = crate::v1::PortRange { first: 30_000, last: 29_999 };
    let fabric = crate::v1::Fabric {
        families: 1,
        ranges: Some(crate::v1::FabricRanges::default()),
        overlay: 1,
        node_port_range: Some(wire),
        ..crate::v1::Fabric::default()
    };
    let fabric = crate::v1::Fabric::decode(fabric.encode_to_vec().as_slice()).unwrap();
    let error = weft_model::Fabric::try_from(fabric).unwrap_err();
    assert_eq!(error.to_string(), "node_port_range: it ends at 29999, before its beginning 30000");
}
