//! How commands and rows become bytes: given by the driver, so that this crate needs no wire format of its own.

use bytes::Bytes;
use weft_model::{Command, Record};

/// Encoding of what goes through the log and into the state store.
///
/// Both encoders must be deterministic and both decoders must invert them: every replica decodes the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// Bytes of a command.
    pub encode_command: fn(&Command) -> Bytes,
    /// The command of those bytes, or why they are none.
    pub decode_command: fn(&[u8]) -> Result<Command, String>,
    /// Bytes of a row of the applied state.
    pub encode_record: fn(&Record) -> Bytes,
    /// The row of those bytes, or why they are none.
    pub decode_record: fn(&[u8]) -> Result<Record, String>,
}
