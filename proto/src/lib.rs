//! The wire contract of Weft: types generated from `weft/**/*.proto`, and conversions to and from `weft-model`.
//!
//! Inwards conversions check shape and name the field; meaning is checked by the pure crates.

pub mod codec;
pub mod convert;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code; every message and field is documented in the .proto files"
)]
mod generated {
    // The modules mirror the protobuf packages: generated code refers from one to the other by `super`.
    pub mod v1 {
        tonic::include_proto!("weft.v1");
    }
    pub mod internal {
        pub mod v1 {
            tonic::include_proto!("weft.internal.v1");
        }
    }
}

/// What replicas write to their log and state (package `weft.internal.v1`).
pub use generated::internal::v1 as internal;
pub use generated::v1;

/// The encoded descriptor set of all files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
