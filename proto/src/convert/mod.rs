//! Conversions between wire and model, one file per kind.
//!
//! Inwards (`TryFrom<v1::X> for model::X`) they check shape and name the field; outwards (`From<&model::X> for v1::X`)
//! they can't fail. What values mean together is checked by the pure crates.

mod address;
mod answer;
mod choice;
mod command;
mod dns;
mod endpoint;
mod error;
mod fabric;
mod frame;
mod item;
mod lease;
mod member;
mod name;
mod namespace;
mod node;
mod object;
mod owner;
mod pod;
mod policy;
mod pool;
mod probe;
mod record;
mod role;
mod service;
mod shape;

pub use address::{
    address_from_wire, address_to_wire, addresses_from_wire, addresses_to_wire, mesh_from_wire, mesh_to_wire,
    ranges_from_wire, ranges_to_wire, socket_from_wire,
};
pub use answer::{AnswerResult, change_to_wire};
pub(crate) use answer::{answer_from_wire, answer_to_wire};
pub use fabric::{families_from_wire, family_from_wire, overlay_from_wire};
pub use frame::{Frame, delta_frame, in_sync_frame, snapshot_frames, snapshot_part};
pub use object::{kind_from_wire, objects_from_wire};
pub(crate) use record::records_from_wire;
pub use role::role_from_wire;
pub use shape::{
    Mutation, ShapeError, Within, client_from_wire, cluster_from_wire, node_uid_from_wire, required,
};
