//! The wire contract: generated protobuf types and their conversions.
