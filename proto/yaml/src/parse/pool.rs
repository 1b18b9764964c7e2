//! `weft.io/v1 LoadBalancerPool`.

use serde_saphyr::Location;
use weft_model::{IpMode, LoadBalancerPool, Object, Revision};

use super::meta::{metadata, name, without_namespace};
use crate::{
    read::{Fields, Reader},
    tree::Placed,
};

pub(super) fn read(reader: &mut Reader<'_>, mut fields: Fields, at: Location) -> Option<Object> {
    let meta = metadata(reader, &mut fields);
    without_namespace(reader, &meta, "LoadBalancerPool");
    if !meta.labels.is_empty() {
        reader.note_ignored("metadata.labels");
    }
    fields.take("status");
    let spec = fields.take("spec").and_then(|value| reader.fields(value, "spec"));
    reader.done(fields);
    let name = name(reader, meta.name, at);
    let Some(mut spec) = spec else {
        reader.invalid(at, "spec.ranges", "must be given: the addresses that the pool gives out");
        return None;
    };
    let ranges = spec.take("ranges").and_then(|value| reader.ranges(value, "spec.ranges"));
    let mut flag = |reader: &mut Reader<'_>, key: &'static str| {
        spec.take(key).map_or(Some(true), |value| reader.flag(&value, &format!("spec.{key}")))
    };
    let (automatic, announce) = (flag(reader, "automatic"), flag(reader, "announce"));
    let mode = spec.take("ipMode").map_or(Some(IpMode::Vip), |value| ip_mode(reader, value));
    let nodes = spec.take("nodeSelector");
    let nodes = nodes.map_or_else(|| Some(Default::default()), |v| reader.texts(v, "spec.nodeSelector"));
    reader.done(spec);
    Some(Object::Pool(LoadBalancerPool {
        name: name?,
        ranges: ranges.unwrap_or_default(),
        automatic: automatic?,
        announce: announce?,
        mode: mode?,
        nodes: nodes?,
        generation: 0,
        revision: Revision(0),
    }))
}

fn ip_mode(reader: &mut Reader<'_>, value: Placed) -> Option<IpMode> {
    let at = value.referenced;
    match reader.text(value, "spec.ipMode")?.as_str() {
        "VIP" => Some(IpMode::Vip),
        "Proxy" => Some(IpMode::Proxy),
        other => {
            reader.invalid(at, "spec.ipMode", format!("unknown mode {other:?}: use VIP, Proxy"));
            None
        }
    }
}
