//! Torn tails are cut, damage in the middle is told, every entry survives its bytes.

use proptest::prelude::*;
use weft_model::{AttachmentId, Epoch, PodUid, Probe, ProbeHandler, Probes, WallTime};

use super::*;
use crate::{BlockState, BootId, Holding, Origin, Serving, Uptime};

fn attachment(n: u32) -> AttachmentId {
    AttachmentId { container: format!("container-{n}"), interface: "eth0".to_owned() }
}

fn holding(n: u32) -> Holding {
    Holding {
        attachment: attachment(n),
        uid: PodUid([7; 16]),
        pod: format!("shop/web-{n}").parse().unwrap(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        addresses: vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        netns: "/run/netns/web".to_owned(),
        link: "wv01020304".to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1440,
        origin: if n.is_multiple_of(2) { Origin::Weft } else { Origin::Cni { network: "weft".to_owned() } },
        created: WallTime(1_700_000_000_000),
        attached: n.is_multiple_of(3),
        serving: Serving::default(),
    }
}

fn one_of_each() -> Vec<Entry> {
    let block = "10.1.0.0/24".parse().unwrap();
    let state = BlockState::Withdrawn;
    vec![
        Entry::Boot { boot: BootId([3; 16]), at: Uptime(5) },
        Entry::Block { block, epoch: Epoch(9), state, fresh: 17 },
        Entry::Block {
            block: "fd00::/64".parse().unwrap(),
            epoch: Epoch(9),
            state: BlockState::Open,
            fresh: u128::MAX,
        },
        Entry::Hold(Box::new(holding(1))),
        Entry::Hold(Box::new(holding(2))),
        Entry::Attached { attachment: attachment(1) },
        Entry::Release { attachment: attachment(2), at: Uptime(77) },
        Entry::Rest { address: "fd00::5".parse().unwrap(), since: Uptime(78) },
        Entry::Probed { attachment: attachment(1), probes: Box::new(probes()) },
        Entry::Probed { attachment: attachment(1), probes: Box::new(Probes { readiness: None, ..probes() }) },
        Entry::Judged { attachment: attachment(1), ready: false },
        Entry::Judged { attachment: attachment(1), ready: true },
        Entry::Draining { attachment: attachment(1), until: Uptime(90_000) },
        Entry::BlockGone { block },
    ]
}

fn probes() -> Probes {
    let probe = |handler, failure_threshold| Probe {
        handler,
        initial_delay_ms: 1,
        period_ms: 10_000,
        timeout_ms: 1000,
        success_threshold: 2,
        failure_threshold,
    };
    let http = ProbeHandler::Http {
        port: 8080,
        path: "/ready?x".to_owned(),
        tls: true,
        host: "web".to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())],
    };
    let grpc = ProbeHandler::Grpc { port: 50051, service: "shop".to_owned() };
    Probes { readiness: Some(probe(http, 3)), startup: Some(probe(grpc, u32::MAX)) }
}

/// Bytes of the entries and where each record begins, the end last.
fn written(entries: &[Entry]) -> (Vec<u8>, Vec<usize>) {
    let (mut journal, mut bytes) = Journal::create(&[]);
    let mut starts = vec![bytes.len()];
    for entry in entries {
        journal.append(entry, &mut bytes);
        starts.push(bytes.len());
    }
    (bytes, starts)
}

#[test]
fn every_entry_survives_its_bytes_also_before_preallocated_zeros() {
    let entries = one_of_each();
    let (mut bytes, starts) = written(&entries);
    for zeros in [0, 1, 4096] {
        bytes.resize(starts[starts.len() - 1] + zeros, 0);
        let scan = Journal::scan(&bytes).unwrap();
        assert_eq!((scan.entries, scan.torn, scan.damage), (entries.clone(), 0, None));
        assert_eq!(
            (scan.end, scan.journal.next),
            (starts[starts.len() - 1] as u64, entries.len() as u64 + 1)
        );
    }
}

#[test]
fn an_empty_file_is_a_new_journal_and_a_strange_one_is_refused() {
    assert_eq!(Journal::scan(&[]).unwrap().entries, []);
    for (bytes, why) in [
        (&b"WEFT"[..], "the file's header is cut"),
        (b"#!/bin/sh\nexit 0\n", "the file isn't an allocation journal"),
        (b"WEFTIPAM\x01\0\0\0\0\0\0\0", "the checksum of the file's header is wrong"),
    ] {
        assert_eq!(Journal::scan(bytes), Err(Error::Corrupt { offset: 0, why }));
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_else_is_lost() {
    let entries = one_of_each();
    let (bytes, starts) = written(&entries);
    let last = starts[starts.len() - 2];
    for cut in last + 1..bytes.len() {
        for zeros in [0, 64] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            let scan = Journal::scan(&torn).unwrap();
            assert_eq!(scan.damage, None, "cut at {cut}");
            assert_eq!(scan.entries, entries[..entries.len() - 1], "cut at {cut}");
            assert_eq!(scan.end, last as u64);
        }
    }
}

#[test]
fn a_damaged_byte_in_the_middle_is_told_with_its_offset_and_the_rest_is_salvaged() {
    let entries = one_of_each();
    let (bytes, starts) = written(&entries);
    let (begin, end) = (starts[3], starts[4]);
    for position in begin..end {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x40;
        let scan = Journal::scan(&damaged).unwrap();
        let damage = scan.damage.expect("told");
        assert!(
            matches!(damage.error, Error::Corrupt { offset, .. } if offset == begin as u64),
            "{position}"
        );
        assert_eq!(
            (scan.entries, damage.salvaged),
            (entries[..3].to_vec(), entries[4..].to_vec()),
            "{position}"
        );
    }
}

#[test]
fn a_record_of_a_newer_version_is_damage_even_at_the_end() {
    let (mut bytes, starts) = written(&one_of_each());
    let (payload, number) = ([9, 9, 9], starts.len() as u64);
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(checksum(number, &payload).to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(payload);
    let damage = Journal::scan(&bytes).unwrap().damage.unwrap();
    assert!(matches!(damage.error, Error::Corrupt { why: "its format is of a newer version", .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_reader_panic(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..600) {
        let (mut bytes, _) = written(&one_of_each());
        let at = at.min(bytes.len());
        bytes.splice(at.., noise.clone());
        let _ = Journal::scan(&bytes);
        let _ = codec::decode(&noise);
    }
}
