//! The last View on disk: an agent that starts without a control plane serves what it knew.
//!
//! Format: SHA-256 of the rest, then the frames of a snapshot as the stream carries them, each with its length (varint).

use std::path::Path;

use prost::Message;
use sha2::{Digest, Sha256};
use weft_errors::{Coded, Error, FILE_UNREADABLE};
use weft_model::Item;
use weft_proto::{
    convert::{Frame, snapshot_part},
    v1::WatchResponse,
};
use weft_view::{Update, View};

use crate::limits;

const HASH: usize = 32;

/// Writes the View so that after a crash the old or the new one is there.
pub(crate) fn save(path: &Path, view: &View) -> Result<(), Error> {
    weft_process::durable_replace(path, &encode(view), weft_process::MODE_PRIVATE).map_err(|e| e.envelope())
}

/// The stored View, not in sync; an empty one when there is none.
///
/// Fails when the file is there and can't be used: the caller begins without and says so.
pub(crate) fn load(path: &Path) -> Result<View, Error> {
    match weft_process::read_limited(path, limits::VIEW_MAX) {
        Ok(bytes) => decode(&bytes).map_err(|why| {
            let message = "the stored view of the fabric can't be used";
            Error::new(&FILE_UNREADABLE, message)
                .object("file", "", path.display())
                .because(why)
                .try_this("nothing must be done; the control plane sends a new one", "")
        }),
        Err(error) if error.is_missing_file() => Ok(View::default()),
        Err(error) => Err(error.envelope()),
    }
}

/// Part by part: a copy of the whole View would need several times the memory of the file.
fn encode(view: &View) -> Vec<u8> {
    let (mut bytes, mut items) = (vec![0; HASH], view.items().peekable());
    let mut first = true;
    loop {
        let part: Vec<Item> = items.by_ref().take(limits::VIEW_ITEMS_PER_FRAME).collect();
        let last = items.peek().is_none();
        bytes.extend(snapshot_part(view.revision(), first, last, &part).encode_length_delimited_to_vec());
        if last {
            break;
        }
        first = false;
    }
    let hash = Sha256::digest(&bytes[HASH..]);
    bytes[..HASH].copy_from_slice(&hash);
    bytes
}

fn decode(bytes: &[u8]) -> Result<View, String> {
    let (hash, mut body) = bytes.split_at_checked(HASH).ok_or("the file is cut")?;
    if Sha256::digest(body).as_slice() != hash {
        return Err("its checksum is wrong".to_owned());
    }
    let mut view = View::default();
    while !body.is_empty() {
        let wire = WatchResponse::decode_length_delimited(&mut body).map_err(|e| e.to_string())?;
        let Frame::Snapshot { revision, first, last, items } =
            wire.try_into().map_err(|e: weft_proto::convert::ShapeError| e.to_string())?
        else {
            return Err("a frame isn't part of a snapshot".to_owned());
        };
        view.fold(Update::SnapshotPart { revision, first, last, items }).map_err(|e| e.to_string())?;
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use weft_model::{Epoch, NodeName, Revision, RouteItem};

    use super::*;

    #[test]
    fn a_view_survives_its_file_and_a_damaged_file_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("view");
        assert_eq!(load(&path).unwrap(), View::default());
        let route = |n: u32| RouteItem {
            block: format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap(),
            node: NodeName::new("n1").unwrap(),
            epoch: Epoch(n.into()),
        };
        let view = View::restored(Revision(77), (0..1500).map(|n| Item::Route(route(n))));
        save(&path, &view).unwrap();
        assert_eq!(load(&path).unwrap(), view);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(load(&path).unwrap_err().cause, ["its checksum is wrong"]);
    }
}
