//! `networking.k8s.io/v1 NetworkPolicy`, with Kubernetes' defaults.
//!
//! An absent selector and `null` are the same: not set. `{}` is a selector that selects all. A list's entry must be there:
//! `ingress: [null]` would mean "from anybody" to Kubernetes and is refused here. What a field may hold is asked of the
//! nouns themselves, so that the control plane says the same.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_saphyr::Location;
use weft_model::{
    AddressRange, FieldProblem, LabelOperator, LabelRequirement, LabelSelector, MAX_POLICY_RULES,
    NetworkPolicy, Object, ObjectUid, PolicyPeer, PolicyPort, PolicyRule, PolicySpec, PortMatch, Revision,
    WallTime,
};

use super::{
    meta::{Metadata, metadata, object_name},
    service::protocol,
};
use crate::{
    read::{Fields, Reader},
    tree::{Placed, Tree},
};

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
    let spec = read_spec(reader, spec)?;
    let Metadata { labels, annotations, .. } = meta;
    Some(Object::NetworkPolicy(NetworkPolicy {
        name: name?,
        uid: ObjectUid([0; 16]),
        labels,
        annotations,
        spec,
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    }))
}

fn read_spec(reader: &mut Reader<'_>, mut spec: Fields) -> Option<PolicySpec> {
    let pods = match spec.take("podSelector") {
        Some(value) => selector(reader, value, "spec.podSelector"),
        None => Some(LabelSelector::default()),
    };
    let types = spec.take("policyTypes");
    let ingress = rules(reader, spec.take("ingress"), "spec.ingress", "from");
    let egress_given = spec.take("egress");
    let has_egress =
        matches!(&egress_given, Some(Placed { value: Tree::List(list), .. }) if !list.is_empty());
    let egress = rules(reader, egress_given, "spec.egress", "to");
    reader.done(spec);
    let (isolates_ingress, isolates_egress) = directions(reader, types, has_egress)?;
    Some(PolicySpec { pods: pods?, isolates_ingress, isolates_egress, ingress: ingress?, egress: egress? })
}

/// `policyTypes`. None at all, or an empty list: Ingress always, Egress if there is an egress rule.
fn directions(reader: &mut Reader<'_>, types: Option<Placed>, has_egress: bool) -> Option<(bool, bool)> {
    let read = reader.each(types, "spec.policyTypes", |reader, value, path| {
        let at = value.referenced;
        match reader.text(value, path)?.as_str() {
            "Ingress" => Some(true),
            "Egress" => Some(false),
            other => {
                reader.invalid(at, path, format!("unknown type {other:?}: use Ingress, Egress"));
                None
            }
        }
    })?;
    Some(if read.is_empty() { (true, has_egress) } else { (read.contains(&true), read.contains(&false)) })
}

/// The rules of a direction; its peers stand under `peers`: `from` or `to`.
fn rules(
    reader: &mut Reader<'_>,
    value: Option<Placed>,
    path: &str,
    peers: &'static str,
) -> Option<Vec<PolicyRule>> {
    let at = value.as_ref().map(|value| value.referenced);
    let rules = reader.each(value, path, |reader, value, path| rule(reader, value, path, peers))?;
    if let Some(at) = at.filter(|_| rules.len() > MAX_POLICY_RULES) {
        let what = format!("Too many: {}: must have at most {MAX_POLICY_RULES} items", rules.len());
        reader.invalid(at, path, what);
    }
    Some(rules)
}

fn rule(reader: &mut Reader<'_>, value: Placed, path: &str, peers: &'static str) -> Option<PolicyRule> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let (peers_path, ports_path) = (format!("{path}.{peers}"), format!("{path}.ports"));
    let peers = reader.each(fields.take(peers), &peers_path, peer);
    let ports = reader.each(fields.take("ports"), &ports_path, port);
    reader.done(fields);
    let rule = PolicyRule { peers: peers?, ports: ports? };
    told(reader, at, rule.too_many(&peers_path, &ports_path));
    Some(rule)
}

fn peer(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<PolicyPeer> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let mut part = |reader: &mut Reader<'_>, key: &'static str| {
        let value = fields.take(key);
        value.map_or(Some(None), |value| selector(reader, value, &format!("{path}.{key}")).map(Some))
    };
    let (pods, namespaces) = (part(reader, "podSelector"), part(reader, "namespaceSelector"));
    let block = fields.take("ipBlock");
    reader.done(fields);
    let is_pods = pods != Some(None) || namespaces != Some(None);
    let Some(block) = block else {
        let peer = PolicyPeer::Pods { namespaces: namespaces?, pods: pods? };
        // What is wrong with its selectors is told already, where they stand.
        if !is_pods {
            told(reader, at, peer.problems(path));
        }
        return Some(peer);
    };
    if is_pods {
        let what = "may not be combined with podSelector or namespaceSelector: write two peers";
        reader.invalid(block.referenced, &format!("{path}.ipBlock"), what);
    }
    ip_block(reader, block, path)
}

fn ip_block(reader: &mut Reader<'_>, value: Placed, peer: &str) -> Option<PolicyPeer> {
    let at = value.referenced;
    let path = format!("{peer}.ipBlock");
    let mut fields = reader.fields(value, &path)?;
    let range = match fields.take("cidr") {
        Some(value) => cidr(reader, value, &format!("{path}.cidr")),
        None => {
            reader.invalid(at, &format!("{path}.cidr"), "must be given");
            None
        }
    };
    let mut places = Vec::new();
    let except = reader.each(fields.take("except"), &format!("{path}.except"), |reader, value, path| {
        places.push((path.to_owned(), value.referenced));
        cidr(reader, value, path)
    });
    reader.done(fields);
    let block = PolicyPeer::Block { range: range?, except: except? };
    for problem in block.problems(peer) {
        let place = places.iter().find(|(path, _)| *path == problem.field).map_or(at, |(_, at)| *at);
        reader.invalid(place, &problem.field, problem.why);
    }
    Some(block)
}

/// A range of addresses. Bits beyond the prefix are cleared, as Kubernetes takes them.
fn cidr(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<AddressRange> {
    let at = value.referenced;
    let text = reader.text(value, path)?;
    let range = text.parse::<IpNet>().ok().and_then(|net| AddressRange::new(net.trunc()).ok());
    if range.is_none() {
        reader.invalid(at, path, format!("{text:?} is not a range such as 192.0.2.0/24 or 2001:db8::/64"));
    }
    range
}

fn port(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<PolicyPort> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let protocol = protocol(reader, fields.take("protocol"), &format!("{path}.protocol"));
    let number_path = format!("{path}.port");
    let first = match fields.take("port") {
        None => Some(PortMatch::Any),
        Some(Placed { value: Tree::Text(name), .. }) => Some(PortMatch::Name(name)),
        Some(value) => reader.port(&value, &number_path).map(|number| PortMatch::Numbers(number, number)),
    };
    let end_path = format!("{path}.endPort");
    let end = fields.take("endPort");
    reader.done(fields);
    let end_at = end.as_ref().map(|value| value.referenced);
    let end = end.map(|value| reader.port(&value, &end_path));
    let port = match (first?, end) {
        (port, None) => port,
        (PortMatch::Numbers(first, _), Some(last)) => PortMatch::Numbers(first, last?),
        (PortMatch::Any, Some(_)) => {
            reader.invalid(end_at.unwrap_or(at), &end_path, "means something only together with port");
            return None;
        }
        (PortMatch::Name(name), Some(_)) => {
            let what = format!("means something only with a numeric port, and {name:?} is a name");
            reader.invalid(end_at.unwrap_or(at), &end_path, what);
            return None;
        }
    };
    let port = PolicyPort { protocol: protocol?, port };
    told(reader, at, port.problems(path));
    Some(port)
}

fn selector(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<LabelSelector> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let labels = fields.take("matchLabels");
    let labels_at = labels.as_ref().map_or(at, |value| value.referenced);
    let labels = match labels {
        Some(value) => reader.texts(value, &format!("{path}.matchLabels")),
        None => Some(Default::default()),
    };
    let mut places = Vec::new();
    let list = format!("{path}.matchExpressions");
    let expressions = reader.each(fields.take("matchExpressions"), &list, |reader, value, path| {
        places.push(value.referenced);
        requirement(reader, value, path)
    });
    reader.done(fields);
    let selector = LabelSelector { labels: labels?, expressions: expressions? };
    for problem in selector.problems(path) {
        // `…matchExpressions[2].values` stands where its requirement begins.
        let index = problem
            .field
            .strip_prefix(&list)
            .and_then(|rest| rest.strip_prefix('[')?.split_once(']')?.0.parse::<usize>().ok());
        let place = index.and_then(|index| places.get(index)).copied().unwrap_or(labels_at);
        reader.invalid(place, &problem.field, problem.why);
    }
    Some(selector)
}

fn requirement(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<LabelRequirement> {
    let at = value.referenced;
    let mut fields = reader.fields(value, path)?;
    let mut needed = |reader: &mut Reader<'_>, key: &'static str| {
        let path = format!("{path}.{key}");
        let Some(value) = fields.take(key) else {
            reader.invalid(at, &path, "must be given");
            return None;
        };
        let at = value.referenced;
        reader.text(value, &path).map(|text| (text, at))
    };
    let key = needed(reader, "key");
    let operator = needed(reader, "operator").and_then(|(word, at)| match word.as_str() {
        "In" => Some(LabelOperator::In),
        "NotIn" => Some(LabelOperator::NotIn),
        "Exists" => Some(LabelOperator::Exists),
        "DoesNotExist" => Some(LabelOperator::DoesNotExist),
        other => {
            let what = format!("unknown operator {other:?}: use In, NotIn, Exists, DoesNotExist");
            reader.invalid(at, &format!("{path}.operator"), what);
            None
        }
    });
    let values = reader.each(fields.take("values"), &format!("{path}.values"), Reader::text);
    reader.done(fields);
    let values: BTreeSet<String> = values?.into_iter().collect();
    Some(LabelRequirement { key: key?.0, operator: operator?, values })
}

/// Passes on what a part found wrong with itself.
fn told(reader: &mut Reader<'_>, at: Location, problems: Vec<FieldProblem>) {
    for problem in problems {
        reader.invalid(at, &problem.field, problem.why);
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
