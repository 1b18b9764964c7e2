//! What is a query, what is told of what isn't, against another library.

use hickory_proto::{
    op::{Message, Query as Asked},
    rr::{Name, RecordType as Kind},
};
use proptest::prelude::*;

use super::*;
use crate::fixture::query as plain;

const FORMERR: Result<(), Reject> = Err(Reject::Refuse { rcode: Rcode::FORMERR });
const NOTIMP: Result<(), Reject> = Err(Reject::Refuse { rcode: Rcode::NOTIMP });
const BADVERS: Result<(), Reject> = Err(Reject::Refuse { rcode: Rcode::BADVERS });
const DROP: Result<(), Reject> = Err(Reject::Drop);

fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut query = plain("www.example.com", RecordType::A, true);
    change(&mut query);
    query
}

/// With an OPT record: size, version, flags, options.
fn opt(size: u16, version: u8, flags: u8, options: &[u8]) -> Vec<u8> {
    with(|query| {
        query[11] = 1;
        query.extend([0, 0, 41]);
        query.extend(size.to_be_bytes());
        query.extend([0, version, flags, 0, 0, u8::try_from(options.len()).unwrap()]);
        query.extend(options);
    })
}

#[test]
fn what_isnt_a_query_is_refused_or_dropped_as_the_rfcs_say() {
    let check = |what: &str, query: &[u8], expected: Result<(), Reject>| {
        assert_eq!(parse(query).map(|_| ()), expected, "{what}");
    };
    check("a query", &with(|_| ()), Ok(()));
    check("nothing", &[], DROP);
    check("eleven octets", &with(|q| q.truncate(11)), DROP);
    check("an answer", &with(|q| q[2] |= 0x80), DROP);
    for opcode in 1..16 {
        check("another opcode", &with(|q| q[2] |= opcode << 3), NOTIMP);
    }
    check(
        "no question",
        &with(|q| {
            q[5] = 0;
            q.truncate(12);
        }),
        FORMERR,
    );
    check("a question that isn't counted", &with(|q| q[5] = 0), FORMERR);
    check("two questions", &with(|q| q[5] = 2), FORMERR);
    check("256 questions", &with(|q| q[4] = 1), FORMERR);
    check("answers in it", &with(|q| q[7] = 1), FORMERR);
    check("authority in it", &with(|q| q[9] = 1), FORMERR);
    check("octets behind it", &with(|q| q.push(0)), FORMERR);
    check("an additional record that isn't there", &with(|q| q[11] = 1), FORMERR);
    check("two additional records", &with(|q| q[11] = 2), FORMERR);
    check(
        "a pointer",
        &with(|q| {
            q.splice(12..29, [0xc0, 12]);
        }),
        FORMERR,
    );
    check("a label of 64", &with(|q| q[12] = 64), FORMERR);
    check("a label type of old", &with(|q| q[12] = 0x41), FORMERR);
    let long = |labels: &[usize]| {
        let name = labels.iter().map(|length| "a".repeat(*length)).collect::<Vec<_>>().join(".");
        plain(&name, RecordType::A, true)
    };
    check("a name of 255 octets", &long(&[63, 63, 63, 61]), Ok(()));
    check("a name of 256 octets", &long(&[63, 63, 63, 62]), FORMERR);
    check("127 labels", &long(&[1; 127]), Ok(()));
    check("128 labels", &long(&[1; 128]), FORMERR);
    check("EDNS", &opt(1232, 0, 0, &[]), Ok(()));
    check("EDNS with options", &opt(1232, 0, 0x80, &[0, 10, 0, 2, 1, 2, 0, 12, 0, 0]), Ok(()));
    check("EDNS with a cut option", &opt(1232, 0, 0, &[0, 10, 0, 3, 1, 2]), FORMERR);
    check("EDNS with half an option", &opt(1232, 0, 0, &[0, 10, 0]), FORMERR);
    check("EDNS of another version", &opt(1232, 1, 0, &[]), BADVERS);
    check(
        "EDNS twice",
        &{
            let mut q = opt(512, 0, 0, &[]);
            q[11] = 2;
            q.extend([0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
            q
        },
        FORMERR,
    );
    check(
        "octets behind EDNS",
        &{
            let mut q = opt(512, 0, 0, &[]);
            q.push(0);
            q
        },
        FORMERR,
    );
    check(
        "an OPT with an owner",
        &with(|q| {
            q[11] = 1;
            q.extend([1, b'x', 0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
        }),
        FORMERR,
    );
    check(
        "another additional record",
        &with(|q| {
            q[11] = 1;
            q.extend([0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0]);
        }),
        FORMERR,
    );
}

#[test]
fn what_a_query_says_is_read() {
    let bytes = opt(4096, 0, 0x80, &[]);
    let query = parse(&bytes).unwrap();
    assert_eq!((query.id, query.kind, query.class), (0xabcd, RecordType::A, 1));
    assert_eq!(query.edns, Some(Edns { size: 4096, dnssec_ok: true }));
    assert!(query.is_recursive() && query.wants_signatures() && !query.is_unchecked());
    assert_eq!(query.question, &bytes[12..33]);
    let mixed = plain("wWw.ExamPle.cOm", RecordType::AAAA, false);
    let query = parse(&mixed).unwrap();
    assert_eq!((query.name, query.is_recursive()), (&b"\x03wWw\x07ExamPle\x03cOm\0"[..], false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_bring_the_parser_down(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(query) = parse(&bytes) {
            prop_assert!(query.name.len() <= 255 && query.question.len() == query.name.len() + 4);
        }
    }

    #[test]
    fn a_query_that_is_cut_or_changed_is_never_read_as_more_than_it_is(
        options in prop::collection::vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut query = opt(1232, 0, 0, &options);
        for (at, octet) in changes {
            let at = at.index(query.len());
            query[at] = octet;
        }
        let cut = cut.index(query.len());
        let is_read = |bytes: &[u8]| parse(bytes).is_ok();
        prop_assert!(!is_read(&query[..cut]) || !is_read(&query), "both the whole and a part of it");
    }

    #[test]
    fn what_another_library_writes_is_read_as_it_was_meant(
        labels in prop::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..8),
        kind in 1_u16..300,
        id in any::<u16>(),
    ) {
        let kind = Kind::from(kind);
        let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
        let mut message = Message::query();
        message.metadata.id = id;
        message.add_query(Asked::query(name, kind));
        let bytes = message.to_vec().unwrap();
        let query = parse(&bytes).unwrap();
        prop_assert_eq!((query.id, query.kind.0), (id, u16::from(kind)));
        let read: Vec<_> = super::super::name::labels(query.name).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(read, labels.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }
}
