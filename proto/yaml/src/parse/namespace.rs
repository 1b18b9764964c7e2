//! `v1 Namespace`.

use serde_saphyr::Location;
use weft_model::{Namespace, Object, Revision, WallTime};

use super::meta::{metadata, name, without_namespace};
use crate::read::{Fields, Reader};

pub(super) fn read(reader: &mut Reader<'_>, mut fields: Fields, at: Location) -> Option<Object> {
    let meta = metadata(reader, &mut fields);
    without_namespace(reader, &meta, "Namespace");
    if !meta.annotations.is_empty() {
        reader.note_ignored("metadata.annotations");
    }
    // `spec.finalizers` and `status.phase` are written by Kubernetes itself.
    fields.take("spec");
    fields.take("status");
    reader.done(fields);
    let name = name(reader, meta.name, at)?;
    Some(Object::Namespace(Namespace {
        name,
        labels: meta.labels,
        created: WallTime(0),
        revision: Revision(0),
    }))
}
