//! `weft.io/v1 Node`: people write its labels.

use serde_saphyr::Location;

use super::meta::{metadata, name};
use crate::{
    NodeDraft, Place,
    read::{Fields, Reader},
};

pub(super) fn read(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    at: Location,
    place: Place,
) -> Option<NodeDraft> {
    let meta = metadata(reader, &mut fields);
    reader.ignore(&mut fields, &["spec"]);
    fields.take("status");
    reader.done(fields);
    let name = name(reader, meta.name, at)?;
    Some(NodeDraft { place, name, labels: meta.labels })
}
