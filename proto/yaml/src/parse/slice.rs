//! `discovery.k8s.io/v1 EndpointSlice`.

use serde_saphyr::Location;
use weft_model::{
    AddressType, Conditions, EndpointSlice, Hints, Name, NodeName, Object, ObjectUid, Revision,
    SliceEndpoint, SlicePort, WallTime,
};

use super::{
    meta::{metadata, object_name},
    service::{protocol, text_or_empty},
};
use crate::{
    read::{Fields, Reader},
    tree::Placed,
};

pub(super) fn read(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    at: Location,
    namespace: &str,
) -> Option<Object> {
    let mut meta = metadata(reader, &mut fields);
    let name = object_name(reader, &mut meta, at, namespace);
    if !meta.annotations.is_empty() {
        reader.note_ignored("metadata.annotations");
    }
    let address_type = match fields.take("addressType") {
        Some(value) => address_type(reader, value)?,
        None => {
            reader.invalid(at, "addressType", "must be given: IPv4, IPv6 or FQDN");
            return None;
        }
    };
    let ports = reader.each(fields.take("ports"), "ports", port);
    let endpoints = reader.each(fields.take("endpoints"), "endpoints", |reader, value, path| {
        endpoint(reader, value, path, address_type)
    });
    reader.done(fields);
    Some(Object::Slice(EndpointSlice {
        name: name?,
        uid: ObjectUid([0; 16]),
        labels: meta.labels,
        address_type,
        ports: ports?,
        endpoints: endpoints?,
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    }))
}

fn address_type(reader: &mut Reader<'_>, value: Placed) -> Option<AddressType> {
    let at = value.referenced;
    match reader.text(value, "addressType")?.as_str() {
        "IPv4" => Some(AddressType::V4),
        "IPv6" => Some(AddressType::V6),
        "FQDN" => Some(AddressType::Fqdn),
        other => {
            reader.invalid(at, "addressType", format!("unknown type {other:?}: use IPv4, IPv6, FQDN"));
            None
        }
    }
}

fn port(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<SlicePort> {
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let protocol = protocol(reader, fields.take("protocol"), &format!("{path}.protocol"));
    let port = match fields.take("port") {
        Some(value) => Some(reader.port(&value, &format!("{path}.port"))?),
        None => None,
    };
    let app_protocol = text_or_empty(reader, fields.take("appProtocol"), &format!("{path}.appProtocol"));
    reader.done(fields);
    Some(SlicePort { name: name?, protocol: protocol?, port, app_protocol: app_protocol? })
}

fn endpoint(reader: &mut Reader<'_>, value: Placed, path: &str, kind: AddressType) -> Option<SliceEndpoint> {
    let mut fields = reader.fields(value, path)?;
    let below = |key: &str| format!("{path}.{key}");
    let given = fields.take("addresses");
    let (addresses, fqdn) = match kind {
        AddressType::V4 | AddressType::V6 => (reader.addresses(given, &below("addresses")), Some(Vec::new())),
        AddressType::Fqdn => (
            Some(Vec::new()),
            reader.each(given, &below("addresses"), |reader, value, path| reader.text(value, path)),
        ),
    };
    let conditions = fields.take("conditions").map(|value| conditions(reader, value, &below("conditions")));
    let hostname = text_or_empty(reader, fields.take("hostname"), &below("hostname"));
    let node = match fields.take("nodeName") {
        Some(value) => Some(reader.parsed::<NodeName>(value, &below("nodeName"))?),
        None => None,
    };
    let zone = text_or_empty(reader, fields.take("zone"), &below("zone"));
    let hints = fields.take("hints").map(|value| hints(reader, value, &below("hints")));
    let pod = match fields.take("targetRef") {
        Some(value) => target(reader, value, &below("targetRef"))?,
        None => None,
    };
    reader.ignore(&mut fields, &["deprecatedTopology"]);
    reader.done(fields);
    Some(SliceEndpoint {
        addresses: addresses?,
        fqdn: fqdn?,
        conditions: conditions.unwrap_or_else(|| Some(Conditions::default()))?,
        hostname: hostname?,
        node,
        zone: zone?,
        hints: hints.unwrap_or_else(|| Some(Hints::default()))?,
        pod,
    })
}

fn conditions(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Conditions> {
    let mut fields = reader.fields(value, path)?;
    let mut flag = |reader: &mut Reader<'_>, key: &'static str| match fields.take(key) {
        Some(value) => reader.flag(&value, &format!("{path}.{key}")).map(Some),
        None => Some(None),
    };
    let (ready, serving, terminating) =
        (flag(reader, "ready"), flag(reader, "serving"), flag(reader, "terminating"));
    reader.done(fields);
    Some(Conditions { ready: ready?, serving: serving?, terminating: terminating? })
}

fn hints(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Hints> {
    let mut fields = reader.fields(value, path)?;
    let zones = reader.each(fields.take("forZones"), &format!("{path}.forZones"), |reader, value, path| {
        let name = one_name(reader, value, path)?;
        reader.text(name, &format!("{path}.name"))
    });
    let nodes = reader.each(fields.take("forNodes"), &format!("{path}.forNodes"), |reader, value, path| {
        let name = one_name(reader, value, path)?;
        reader.parsed::<NodeName>(name, &format!("{path}.name"))
    });
    reader.done(fields);
    Some(Hints { zones: zones?, nodes: nodes? })
}

/// `{name: …}`.
fn one_name(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Placed> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let name = fields.take("name");
    reader.done(fields);
    if name.is_none() {
        reader.invalid(at, &format!("{path}.name"), "must be given");
    }
    name
}

/// The pod of an endpoint; references to other kinds mean nothing here.
fn target(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Option<Name>> {
    let mut fields = reader.fields(value, path)?;
    let kind = text_or_empty(reader, fields.take("kind"), &format!("{path}.kind"))?;
    let name = fields.take("name");
    for known in ["namespace", "uid", "apiVersion", "resourceVersion", "fieldPath"] {
        fields.take(known);
    }
    reader.done(fields);
    match name {
        Some(name) if kind == "Pod" => reader.parsed::<Name>(name, &format!("{path}.name")).map(Some),
        Some(_) | None => Some(None),
    }
}
