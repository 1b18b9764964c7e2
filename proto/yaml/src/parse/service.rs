//! `v1 Service`, with Kubernetes' defaults. What needs the state (addresses, node ports) is left to be given out.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_saphyr::Location;
use weft_model::{
    AddressRange, ClientAffinity, ClusterAddresses, Family, LOAD_BALANCER_IPS, Object, ObjectUid, Protocol,
    Revision, Service, ServicePort, ServiceSpec, TargetPort, TrafficDistribution, WallTime,
};

use super::meta::{Metadata, metadata, object_name};
use crate::{
    read::{Fields, Reader},
    tree::{Placed, Tree},
};

/// Seconds that a client keeps its endpoint when nothing else is said.
const AFFINITY_SECONDS: u32 = 10_800;

pub(super) fn read(
    reader: &mut Reader<'_>,
    mut fields: Fields,
    at: Location,
    namespace: &str,
) -> Option<Object> {
    let mut meta = metadata(reader, &mut fields);
    let name = object_name(reader, &mut meta, at, namespace);
    fields.take("status");
    let spec = fields.take("spec").and_then(|value| reader.fields(value, "spec"));
    reader.done(fields);
    let Some(spec) = spec else {
        reader.invalid(at, "spec", "must be given");
        return None;
    };
    let spec = read_spec(reader, spec, &meta, at)?;
    let Metadata { labels, annotations, .. } = meta;
    Some(Object::Service(Service {
        name: name?,
        uid: ObjectUid([0; 16]),
        labels,
        annotations,
        spec,
        load_balancer: Vec::new(),
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    }))
}

/// A word of an enum; absent: its default.
fn word<T: std::str::FromStr + Default>(reader: &mut Reader<'_>, spec: &mut Fields, key: &'static str) -> T
where
    T::Err: std::fmt::Display,
{
    let value = spec.take(key);
    value.and_then(|value| reader.parsed(value, &format!("spec.{key}"))).unwrap_or_default()
}

fn flag(reader: &mut Reader<'_>, spec: &mut Fields, key: &'static str, otherwise: bool) -> bool {
    let value = spec.take(key);
    value.and_then(|value| reader.flag(&value, &format!("spec.{key}"))).unwrap_or(otherwise)
}

fn read_spec(
    reader: &mut Reader<'_>,
    mut spec: Fields,
    meta: &Metadata,
    at: Location,
) -> Option<ServiceSpec> {
    let selector = spec.take("selector").and_then(|value| reader.texts(value, "spec.selector"));
    let load_balancer_ip = spec.take("loadBalancerIP");
    let class = spec.take("loadBalancerClass").and_then(|v| reader.text(v, "spec.loadBalancerClass"));
    let health = spec.take("healthCheckNodePort");
    let external_name = spec.take("externalName").and_then(|v| reader.text(v, "spec.externalName"));
    let policy = spec.take("ipFamilyPolicy").and_then(|v| reader.parsed(v, "spec.ipFamilyPolicy"));
    let read = ServiceSpec {
        kind: word(reader, &mut spec, "type"),
        selector: selector.unwrap_or_default(),
        addresses: addresses(reader, &mut spec)?,
        families: reader.each(spec.take("ipFamilies"), "spec.ipFamilies", family)?,
        family_policy: policy,
        ports: reader.each(spec.take("ports"), "spec.ports", port)?,
        external_ips: reader.addresses(spec.take("externalIPs"), "spec.externalIPs")?,
        external_name: external_name.unwrap_or_default(),
        affinity: affinity(reader, &mut spec),
        external_policy: word(reader, &mut spec, "externalTrafficPolicy"),
        internal_policy: word(reader, &mut spec, "internalTrafficPolicy"),
        health_check_node_port: health
            .and_then(|value| reader.port_or_none(&value, "spec.healthCheckNodePort"))
            .unwrap_or_default(),
        publish_not_ready: flag(reader, &mut spec, "publishNotReadyAddresses", false),
        allocate_node_ports: flag(reader, &mut spec, "allocateLoadBalancerNodePorts", true),
        load_balancer_ips: wanted_ips(reader, load_balancer_ip, meta, at)?,
        load_balancer_class: class,
        source_ranges: reader.each(
            spec.take("loadBalancerSourceRanges"),
            "spec.loadBalancerSourceRanges",
            source_range,
        )?,
        distribution: spec.take("trafficDistribution").and_then(|value| distribution(reader, value)),
    };
    reader.done(spec);
    Some(read)
}

/// `clusterIP` and `clusterIPs`: the first of the list is the single one.
fn addresses(reader: &mut Reader<'_>, spec: &mut Fields) -> Option<ClusterAddresses> {
    let single = spec.take("clusterIP");
    let list = spec.take("clusterIPs");
    let at = list.as_ref().or(single.as_ref()).map(|value| value.referenced);
    let single = match single {
        Some(value) => Some(reader.text(value, "spec.clusterIP")?).filter(|text| !text.is_empty()),
        None => None,
    };
    let mut texts = reader.each(list, "spec.clusterIPs", |reader, value, path| reader.text(value, path))?;
    let Some(at) = at else { return Some(ClusterAddresses::Wanted) };
    match (&single, texts.first()) {
        (Some(single), None) => texts.push(single.clone()),
        (Some(single), Some(first)) if single != first => {
            reader.invalid(at, "spec.clusterIPs[0]", format!("must be the same as clusterIP, {single}"));
            return None;
        }
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
    if texts.is_empty() {
        return Some(ClusterAddresses::Wanted);
    }
    if texts.iter().any(|text| text == "None") {
        if texts.len() > 1 {
            reader.invalid(at, "spec.clusterIPs", "None stands alone: a headless service has no address");
            return None;
        }
        return Some(ClusterAddresses::None);
    }
    let mut given: Vec<IpAddr> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = if single.is_some() && index == 0 {
            "spec.clusterIP".to_owned()
        } else {
            format!("spec.clusterIPs[{index}]")
        };
        match text.parse::<IpAddr>() {
            Ok(address) if !is_mapped(address) => given.push(address),
            Ok(_) | Err(_) => {
                let what = format!("{text:?} is neither an address such as 10.112.0.9 or fd5a::9 nor None");
                reader.invalid(at, &path, what);
            }
        }
    }
    (given.len() == texts.len()).then_some(ClusterAddresses::Given(given))
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn family(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Family> {
    let at = value.referenced;
    match reader.text(value, path)?.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        other => {
            reader.invalid(at, path, format!("unknown family {other:?}: use IPv4, IPv6"));
            None
        }
    }
}

/// A transport protocol; absent: TCP.
pub(super) fn protocol(reader: &mut Reader<'_>, value: Option<Placed>, path: &str) -> Option<Protocol> {
    let Some(value) = value else { return Some(Protocol::Tcp) };
    let at = value.referenced;
    match reader.text(value, path)?.as_str() {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        other => {
            reader.invalid(at, path, format!("unknown protocol {other:?}: use TCP, UDP, SCTP"));
            None
        }
    }
}

/// Text that may be absent: then it is empty.
pub(super) fn text_or_empty(reader: &mut Reader<'_>, value: Option<Placed>, path: &str) -> Option<String> {
    value.map_or_else(|| Some(String::new()), |value| reader.text(value, path))
}

fn port(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<ServicePort> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let name = text_or_empty(reader, fields.take("name"), &format!("{path}.name"));
    let protocol = protocol(reader, fields.take("protocol"), &format!("{path}.protocol"));
    let number = match fields.take("port") {
        Some(value) => reader.port(&value, &format!("{path}.port")),
        None => {
            reader.invalid(at, &format!("{path}.port"), "must be given");
            None
        }
    };
    let target = fields.take("targetPort").map(|v| target(reader, v, &format!("{path}.targetPort")));
    let node_port = fields.take("nodePort");
    let node_port =
        node_port.map_or(Some(0), |value| reader.port_or_none(&value, &format!("{path}.nodePort")));
    let app_protocol = text_or_empty(reader, fields.take("appProtocol"), &format!("{path}.appProtocol"));
    reader.done(fields);
    let port = number?;
    Some(ServicePort {
        name: name?,
        protocol: protocol?,
        port,
        target: match target {
            Some(target) => target?.unwrap_or(TargetPort::Number(port)),
            None => TargetPort::Number(port),
        },
        node_port: node_port?,
        app_protocol: app_protocol?,
    })
}

/// A number or a name; `Some(None)` for 0 and the empty name, which mean the service's own port.
fn target(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<Option<TargetPort>> {
    if let Tree::Text(name) = &value.value {
        return Some((!name.is_empty()).then(|| TargetPort::Name(name.clone())));
    }
    let number = reader.port_or_none(&value, path)?;
    Some((number != 0).then_some(TargetPort::Number(number)))
}

/// `sessionAffinity` and its configuration.
fn affinity(reader: &mut Reader<'_>, spec: &mut Fields) -> Option<ClientAffinity> {
    let kind = spec.take("sessionAffinity");
    let kind_at = kind.as_ref().map(|value| value.referenced);
    let kind = kind.and_then(|value| reader.text(value, "spec.sessionAffinity"));
    let config = spec.take("sessionAffinityConfig");
    let config_at = config.as_ref().map(|value| value.referenced);
    let seconds = config.and_then(|value| timeout(reader, value));
    match (kind.as_deref(), config_at) {
        (Some("ClientIP"), _) => {
            Some(ClientAffinity { timeout_seconds: seconds.unwrap_or(AFFINITY_SECONDS) })
        }
        (Some("None") | None, None) => None,
        (Some("None") | None, Some(at)) => {
            let what = "means something only with sessionAffinity: ClientIP";
            reader.invalid(at, "spec.sessionAffinityConfig", what);
            None
        }
        (Some(other), _) => {
            if let Some(at) = kind_at {
                let what = format!("unknown affinity {other:?}: use None, ClientIP");
                reader.invalid(at, "spec.sessionAffinity", what);
            }
            None
        }
    }
}

fn timeout(reader: &mut Reader<'_>, config: Placed) -> Option<u32> {
    let path = "spec.sessionAffinityConfig";
    let mut config = reader.fields(config, path)?;
    let client = config.take("clientIP");
    reader.done(config);
    let path = format!("{path}.clientIP");
    let mut client = reader.fields(client?, &path)?;
    let seconds = client.take("timeoutSeconds");
    reader.done(client);
    reader.number(&seconds?, &format!("{path}.timeoutSeconds"), 1, 86_400)
}

/// Wanted load-balancer addresses: the annotation holds a list, the older field one address.
fn wanted_ips(
    reader: &mut Reader<'_>,
    field: Option<Placed>,
    meta: &Metadata,
    at: Location,
) -> Option<Vec<IpAddr>> {
    let field_at = field.as_ref().map(|value| value.referenced);
    let field = match field {
        // An empty text is what Kubernetes prints for "none".
        Some(value) if value.value == Tree::Text(String::new()) => None,
        Some(value) => Some(reader.address(value, "spec.loadBalancerIP")?),
        None => None,
    };
    let Some(text) = meta.annotations.get(LOAD_BALANCER_IPS) else {
        return Some(field.into_iter().collect());
    };
    let path = format!("metadata.annotations.{LOAD_BALANCER_IPS}");
    let mut list = Vec::new();
    for word in text.split(',').map(str::trim) {
        match word.parse::<IpAddr>() {
            Ok(address) if !is_mapped(address) => list.push(address),
            Ok(_) | Err(_) => {
                let what = format!("{word:?} is not an address; write addresses joined by commas");
                reader.invalid(at, &path, what);
                return None;
            }
        }
    }
    if let (Some(address), Some(at)) = (field, field_at)
        && !list.contains(&address)
    {
        let what = format!("{address} isn't among those of annotation {LOAD_BALANCER_IPS}");
        reader.invalid(at, "spec.loadBalancerIP", what);
    }
    Some(list)
}

/// A range of clients. Bits beyond the prefix are cleared, as Kubernetes takes them.
fn source_range(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<AddressRange> {
    let at = value.referenced;
    let text = reader.text(value, path)?;
    let net = text.trim().parse::<IpNet>().ok().map(|net| net.trunc());
    let range = net.and_then(|net| AddressRange::new(net).ok());
    if range.is_none() {
        reader.invalid(at, path, format!("{text:?} is not a range such as 192.0.2.0/24 or 2001:db8::/64"));
    }
    range
}

/// `PreferClose` is the older name of `PreferSameZone` (KEP 3015).
fn distribution(reader: &mut Reader<'_>, value: Placed) -> Option<TrafficDistribution> {
    if matches!(&value.value, Tree::Text(text) if text == "PreferClose") {
        return Some(TrafficDistribution::PreferSameZone);
    }
    reader.parsed(value, "spec.trafficDistribution")
}
