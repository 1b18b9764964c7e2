//! What goes out comes back equal.

use proptest::{collection::vec, prelude::*};
use prost::Message;
use weft_model::{Item, ItemKey, Revision};

use super::strategies::{answer, command, item, object, record};
use crate::{
    codec::{
        decode_answer, decode_command, decode_record, decode_snapshot, encode_answer, encode_command,
        encode_record, encode_snapshot,
    },
    convert::{Frame, delta_frame, in_sync_frame, snapshot_frames},
    v1,
};

fn through_bytes(frame: &v1::WatchResponse) -> Frame {
    v1::WatchResponse::decode(frame.encode_to_vec().as_slice()).unwrap().try_into().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn commands_come_back_equal(command in command()) {
        prop_assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }

    #[test]
    fn answers_come_back_equal(answer in answer()) {
        prop_assert_eq!(decode_answer(&encode_answer(&answer)), Ok(answer));
    }

    #[test]
    fn records_and_snapshots_come_back_equal(records in vec(record(), 0..5)) {
        for record in &records {
            prop_assert_eq!(&decode_record(&encode_record(record)).unwrap(), record);
        }
        prop_assert_eq!(decode_snapshot(&encode_snapshot(&records)), Ok(records));
    }

    #[test]
    fn objects_and_items_come_back_equal(object in object(), item in item()) {
        prop_assert_eq!(weft_model::Object::try_from(v1::Object::from(&object)), Ok(object));
        let key = item.key();
        prop_assert_eq!(ItemKey::try_from(v1::ItemKey::from(&key)), Ok(key));
        prop_assert_eq!(Item::try_from(v1::Item::from(&item)), Ok(item));
    }

    #[test]
    fn frames_come_back_equal(items in vec(item(), 0..5), revision: u64, part in 1..4usize) {
        let revision = Revision(revision);
        let keys: Vec<_> = items.iter().map(Item::key).collect();
        prop_assert_eq!(
            through_bytes(&delta_frame(revision, &items, &keys)),
            Frame::Delta { revision, upserts: items.clone(), deletes: keys }
        );
        prop_assert_eq!(through_bytes(&in_sync_frame(revision)), Frame::InSync(revision));
        let parts: Vec<_> = snapshot_frames(revision, &items, part).iter().map(through_bytes).collect();
        let mut together = Vec::new();
        for (index, frame) in parts.iter().enumerate() {
            let Frame::Snapshot { first, last, items, .. } = frame else { panic!("{frame:?}") };
            prop_assert_eq!((*first, *last), (index == 0, index == parts.len() - 1));
            together.extend(items.iter().cloned());
        }
        prop_assert_eq!(together, items);
    }
}

#[test]
fn an_error_envelope_comes_back_equal() {
    let error = weft_errors::Error::new(&weft_errors::RANGE_OVERLAP, "pod range 10.0.0.0/8 overlaps a route")
        .object("fabric", "", "main")
        .field("spec.ranges.pods[0]")
        .because("node n1 has 10.1.0.0/16")
        .try_this("choose another", "weft explain W2203");
    assert_eq!(weft_errors::Error::from(v1::Error::from(&error)), error);
    let bare = weft_errors::Error::new(&weft_errors::INTERNAL, "x");
    assert_eq!(weft_errors::Error::from(v1::Error::from(&bare)), bare);
}
