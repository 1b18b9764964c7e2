//! How commands and rows become bytes in the log, the state and snapshots: weft-proto's encoding, for weft-raft.

use weft_proto::codec::{decode_command, decode_record, encode_command, encode_record};
use weft_raft::Codec;

/// The encoding that all replicas use.
pub const fn codec() -> Codec {
    Codec {
        encode_command,
        decode_command: |bytes| decode_command(bytes).map_err(|e| e.to_string()),
        encode_record,
        decode_record: |bytes| decode_record(bytes).map_err(|e| e.to_string()),
    }
}
