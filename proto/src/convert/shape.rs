//! What inwards conversions share: the error, field paths, ids of fixed length.

use std::fmt;

use bytes::Bytes;
use weft_errors::{Code, Coded, OBJECT_INVALID};
use weft_model::{ClientId, ClusterId, NodeUid, ObjectUid, PodUid, Sequence};

use crate::v1;

/// A message whose shape is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", if field.is_empty() { String::new() } else { format!("{field}: ") }, why)]
pub struct ShapeError {
    /// Path of the field: `fabric.ranges.pods[0].prefix`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl ShapeError {
    /// An error about the value itself; [`Within`] adds where it stands.
    pub fn new(why: impl fmt::Display) -> Self {
        Self { field: String::new(), why: why.to_string() }
    }
}

impl Coded for ShapeError {
    fn code(&self) -> &'static Code {
        &OBJECT_INVALID
    }

    fn envelope(&self) -> weft_errors::Error {
        weft_errors::Error::new(self.code(), self.why.clone()).field(self.field.clone())
    }
}

/// Adds the place to an error on its way out.
pub trait Within<T> {
    /// Puts a field name before the path.
    fn within(self, field: &str) -> Result<T, ShapeError>;
}

impl<T, E: IntoShape> Within<T> for Result<T, E> {
    fn within(self, field: &str) -> Result<T, ShapeError> {
        self.map_err(|error| {
            let mut error = error.into_shape();
            let dot = if error.field.is_empty() || error.field.starts_with('[') { "" } else { "." };
            error.field = format!("{field}{dot}{}", error.field);
            error
        })
    }
}

/// Errors of the nouns become shape errors here.
pub trait IntoShape {
    /// The same as a shape error.
    fn into_shape(self) -> ShapeError;
}

impl IntoShape for ShapeError {
    fn into_shape(self) -> ShapeError {
        self
    }
}

impl IntoShape for weft_model::NameError {
    fn into_shape(self) -> ShapeError {
        ShapeError::new(self)
    }
}

impl IntoShape for weft_model::RangeError {
    fn into_shape(self) -> ShapeError {
        ShapeError::new(self)
    }
}

/// A message field that must be there, converted.
pub fn required<W, M>(field: &str, value: Option<W>) -> Result<M, ShapeError>
where
    M: TryFrom<W, Error = ShapeError>,
{
    value.ok_or_else(missing).and_then(M::try_from).within(field)
}

/// A message field that may be absent, converted.
pub(super) fn optional<W, M>(field: &str, value: Option<W>) -> Result<Option<M>, ShapeError>
where
    M: TryFrom<W, Error = ShapeError>,
{
    value.map(M::try_from).transpose().within(field)
}

/// A repeated field, converted; an error names the element.
pub(super) fn list<W, M>(field: &str, values: Vec<W>) -> Result<Vec<M>, ShapeError>
where
    M: TryFrom<W, Error = ShapeError>,
{
    list_by(field, values, M::try_from)
}

/// [`list`] with a function instead of a conversion.
pub(super) fn list_by<W, M>(
    field: &str,
    values: Vec<W>,
    convert: impl Fn(W) -> Result<M, ShapeError>,
) -> Result<Vec<M>, ShapeError> {
    let mut out = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        out.push(convert(value).within(&format!("{field}[{index}]"))?);
    }
    Ok(out)
}

pub(super) fn missing() -> ShapeError {
    ShapeError::new("it is missing")
}

/// Bytes of exactly `N`.
pub(super) fn exactly<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], ShapeError> {
    bytes
        .try_into()
        .map_err(|_| ShapeError::new(format!("it must be {N} bytes and is {}", bytes.len())))
        .within(field)
}

/// Bytes of exactly `N`, or none.
pub(super) fn exactly_or_none<const N: usize>(
    field: &str,
    bytes: &[u8],
) -> Result<Option<[u8; N]>, ShapeError> {
    if bytes.is_empty() { Ok(None) } else { exactly(field, bytes).map(Some) }
}

pub(super) fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A cluster's identity.
pub fn cluster_from_wire(field: &str, bytes: &[u8]) -> Result<ClusterId, ShapeError> {
    exactly(field, bytes).map(ClusterId)
}

/// A node's identity.
pub fn node_uid_from_wire(field: &str, bytes: &[u8]) -> Result<NodeUid, ShapeError> {
    exactly(field, bytes).map(NodeUid)
}

pub(super) fn pod_uid_from_wire(field: &str, bytes: &[u8]) -> Result<PodUid, ShapeError> {
    exactly(field, bytes).map(PodUid)
}

pub(super) fn object_uid_from_wire(field: &str, bytes: &[u8]) -> Result<ObjectUid, ShapeError> {
    exactly(field, bytes).map(ObjectUid)
}

/// A client's identity.
pub fn client_from_wire(field: &str, bytes: &[u8]) -> Result<ClientId, ShapeError> {
    exactly(field, bytes).map(ClientId)
}

/// Which mutation of which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The client.
    pub client: ClientId,
    /// Its sequence, from 1.
    pub sequence: Sequence,
}

impl TryFrom<v1::MutationId> for Mutation {
    type Error = ShapeError;

    fn try_from(wire: v1::MutationId) -> Result<Self, ShapeError> {
        if wire.sequence == 0 {
            return Err(ShapeError::new("it must be at least 1")).within("sequence");
        }
        Ok(Self { client: client_from_wire("client", &wire.client)?, sequence: Sequence(wire.sequence) })
    }
}

impl From<Mutation> for v1::MutationId {
    fn from(mutation: Mutation) -> Self {
        Self { client: copied(&mutation.client.0), sequence: mutation.sequence.0 }
    }
}
