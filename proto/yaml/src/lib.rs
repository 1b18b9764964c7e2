//! Kubernetes-style YAML and JSON to and from the model: strict, with line, column and field path in every error.
//!
//! In: text. Out: [`Draft`](weft_model::Draft)s, which the control plane defaults and validates. Not here: meaning, such as overlaps.

mod draft;
mod error;
mod parse;
mod print;
mod read;
mod time;
mod tree;

pub use draft::{Drafted, FieldPlaces, Named, Seen};
pub use error::{Error, Place};
pub use parse::{Options, Parsed, PolicyCase, cases, names, parse};
pub use print::{differences, list_value, object_value, to_yaml};
pub use time::{format_time, parse_time};
