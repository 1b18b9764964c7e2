//! `metadata` of the kinds of Kubernetes.

use std::collections::BTreeMap;

use serde_saphyr::Location;
use weft_model::{Kind, Name, NamespaceName, ObjectName};

use crate::{
    Named, Seen,
    read::{Fields, Reader},
    tree::{Placed, Tree},
};

/// What servers write: accepted and left alone, so that `get -o yaml` of either side feeds back.
const SERVED: &[&str] =
    &["generation", "creationTimestamp", "managedFields", "selfLink", "deletionGracePeriodSeconds"];
/// What Kubernetes knows and means nothing here.
const IGNORED: &[&str] = &["ownerReferences", "finalizers", "generateName"];

/// The parts of `metadata` that mean something.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) name: Option<Placed>,
    pub(super) namespace: Option<Placed>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) deleted: bool,
}

/// Takes `metadata` out of an object.
pub(super) fn metadata(reader: &mut Reader<'_>, fields: &mut Fields) -> Metadata {
    let Some(mut meta) = fields.take("metadata").and_then(|value| reader.fields(value, "metadata")) else {
        return Metadata::default();
    };
    let mut texts = |reader: &mut Reader<'_>, key: &'static str| {
        let value = meta.take(key);
        value.and_then(|value| reader.texts(value, &format!("metadata.{key}"))).unwrap_or_default()
    };
    let (labels, annotations) = (texts(reader, "labels"), texts(reader, "annotations"));
    let read = Metadata {
        name: meta.take("name"),
        namespace: meta.take("namespace"),
        labels,
        annotations,
        deleted: meta.take_silently("deletionTimestamp"),
    };
    let mut one = |reader: &mut Reader<'_>, key: &'static str| {
        let text = meta.take(key).and_then(|value| reader.text(value, &format!("metadata.{key}")));
        text.filter(|text| !text.is_empty())
    };
    let seen = Seen { version: one(reader, "resourceVersion"), uid: one(reader, "uid") };
    reader.note_seen(seen);
    for served in SERVED {
        meta.take_silently(served);
    }
    reader.ignore(&mut meta, IGNORED);
    reader.done(meta);
    read
}

/// The name of an object without a namespace.
pub(super) fn name<T: std::str::FromStr>(
    reader: &mut Reader<'_>,
    given: Option<Placed>,
    at: Location,
) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let Some(name) = given else {
        reader.invalid(at, "metadata.name", "must be given");
        return None;
    };
    reader.parsed(name, "metadata.name")
}

/// Namespace and name of an object; without a namespace it is in `otherwise`.
pub(super) fn object_name(
    reader: &mut Reader<'_>,
    meta: &mut Metadata,
    at: Location,
    otherwise: &str,
) -> Option<ObjectName> {
    let namespace = match meta.namespace.take() {
        Some(namespace) => reader.parsed::<NamespaceName>(namespace, "metadata.namespace"),
        None => match NamespaceName::new(otherwise) {
            Ok(namespace) => Some(namespace),
            Err(why) => {
                reader.invalid(at, "metadata.namespace", why.to_string());
                None
            }
        },
    };
    let name = name::<Name>(reader, meta.name.take(), at);
    Some(ObjectName { namespace: namespace?, name: name? })
}

/// Refuses a namespace on kinds that have none.
pub(super) fn without_namespace(reader: &mut Reader<'_>, meta: &Metadata, kind: &str) {
    if let Some(namespace) = &meta.namespace {
        reader.invalid(namespace.referenced, "metadata.namespace", format!("a {kind} is in no namespace"));
    }
}

/// Kind, namespace and name of an object whose other fields don't matter.
pub(super) fn named(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    at: Location,
    kind: Kind,
    otherwise: &str,
) -> Option<Named> {
    let place = reader.place(at);
    let mut meta = metadata(reader, &mut fields);
    // Nobody is told what has no effect on a thing that goes.
    reader.ignored();
    let (namespace, name) = match kind {
        Kind::Service | Kind::Slice | Kind::PodSpec | Kind::NetworkPolicy => {
            let name = object_name(reader, &mut meta, at, otherwise)?;
            (name.namespace.to_string(), name.name.to_string())
        }
        Kind::Fabric => (String::new(), "main".to_owned()),
        Kind::Node | Kind::Pod | Kind::Lease | Kind::Member | Kind::Namespace | Kind::Pool | Kind::Owner => {
            (String::new(), name::<Name>(reader, meta.name, at)?.to_string())
        }
    };
    Some(Named { place, kind, namespace, name })
}

/// The name of an object of any kind, for messages; empty when it has none.
pub(super) fn name_of(mut fields: Fields) -> String {
    let Some(Placed { value: Tree::Map(entries), .. }) = fields.take("metadata") else {
        return String::new();
    };
    let name = entries.into_iter().find(|(key, _)| key.value == "name").map(|(_, value)| value.value);
    if let Some(Tree::Text(name)) = name { name } else { String::new() }
}
