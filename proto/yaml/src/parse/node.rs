//! `weft.io/v1 Node`: people write its labels.

use serde_saphyr::Location;
use weft_model::NodeDraft;

use super::meta::{metadata, name};
use crate::read::{Fields, Reader};

pub(super) fn read(reader: &mut Reader<'_>, mut fields: Fields, at: Location) -> Option<NodeDraft> {
    let meta = metadata(reader, &mut fields);
    reader.ignore(&mut fields, &["spec"]);
    fields.take("status");
    reader.done(fields);
    let name = name(reader, meta.name, at)?;
    Some(NodeDraft { name, labels: meta.labels })
}
