//! Who is meant by the words of a question: pods, nodes, addresses, and services, which stand for those behind them.

use std::{collections::BTreeMap, net::IpAddr};

use weft_errors::{Error, USAGE};
use weft_model::{LabelSelector, ServiceName};
use weft_policy::{Case, CaseEnd, Transport, Verdict};

use super::{super::trace::service_name, world::Known};
use crate::fail::{Failure, Outcome};

/// One whom a question is about, with the cases that answer it: one, or per family one where a service leads to addresses.
pub(super) struct Asked {
    /// Who, and at which port.
    pub(super) to: String,
    /// The cases.
    pub(super) cases: Vec<Case>,
}

/// What a question is about: one end, or each of those behind a service.
pub(super) fn asked(
    from: &str,
    to: &str,
    transport: Transport,
    expect: Verdict,
    known: &Known,
) -> Outcome<Vec<Asked>> {
    if service(from, known)?.is_some() {
        let error = Error::new(&USAGE, format!("{from:?} is a service, and begins nothing"));
        return Err(error.try_this("write one of its pods", "weft get pods -A").into());
    }
    let from = end(from, known)?;
    let Some(name) = service(to, known)? else {
        let to = end(to, known)?;
        let label = format!("{to} {transport}");
        return Ok(vec![Asked { to: label, cases: vec![Case { from, to, transport, expect }] }]);
    };
    let mut all: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for socket in known.services.behind(&name, transport)? {
        let of_backend = match transport {
            Transport::Port(protocol, _) => Transport::Port(protocol, socket.port()),
            Transport::Other(number) => Transport::Other(number),
        };
        let pod = known.world.pod_at(socket.ip()).map(|(name, _)| format!("pod/{name}"));
        let label = format!("{} {of_backend}", pod.unwrap_or_else(|| socket.ip().to_string()));
        let to = CaseEnd::Address(socket.ip());
        all.entry(label).or_default().push(Case { from: from.clone(), to, transport: of_backend, expect });
    }
    Ok(all.into_iter().map(|(to, cases)| Asked { to, cases }).collect())
}

/// The service that is meant: `svc/NAMESPACE/NAME`, `svc/NAME`, or `NAME.NAMESPACE` as in DNS, unless a pod has that name.
pub(super) fn service(text: &str, known: &Known) -> Outcome<Option<ServiceName>> {
    let bad = |why: &dyn std::fmt::Display| {
        let error = Error::new(&USAGE, format!("{text:?} is no service: {why}"));
        Failure::from(error.try_this("write svc/NAMESPACE/NAME, or NAME.NAMESPACE", ""))
    };
    if let Some(rest) = text.strip_prefix("svc/").or_else(|| text.strip_prefix("service/")) {
        let whole = if rest.contains('/') { rest.to_owned() } else { format!("{}/{rest}", known.namespace) };
        return whole.parse().map(Some).map_err(|e| bad(&e));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let Some((name, namespace)) = service_name(text) else { return Ok(None) };
    let Ok(service) = format!("{namespace}/{name}").parse::<ServiceName>() else { return Ok(None) };
    let pod = format!("{}/{text}", known.namespace).parse().ok();
    let is_pod = pod.is_some_and(|pod| known.world.pod(&pod).is_some());
    Ok((known.services.has(&service) || !is_pod).then_some(service))
}

/// Who is meant: `pod/NAMESPACE/NAME`, `NAMESPACE/NAME`, `NAME`, `namespace/NAMESPACE[/KEY=VALUE,…]`, `node/NAME`, an
/// address.
fn end(text: &str, known: &Known) -> Outcome<CaseEnd> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::from(Error::new(&USAGE, format!("{text:?} is nobody: {why}")).try_this(
            "write pod/NAMESPACE/NAME, svc/NAMESPACE/NAME, namespace/NAMESPACE, node/NAME or an address",
            "",
        ))
    };
    if let Ok(address) = text.parse() {
        return Ok(CaseEnd::Address(address));
    }
    if let Some(name) = text.strip_prefix("node/") {
        return name.parse().map(CaseEnd::Node).map_err(|e| bad(&e));
    }
    if let Some(rest) = text.strip_prefix("namespace/") {
        let (namespace, pairs) = rest.split_once('/').unwrap_or((rest, ""));
        let mut labels = LabelSelector::default();
        for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| bad(&"labels are KEY=VALUE"))?;
            labels.labels.insert(key.to_owned(), value.to_owned());
        }
        let namespace = namespace.parse().map_err(|e| bad(&e))?;
        return Ok(CaseEnd::Pods { namespace, labels });
    }
    let name = text.strip_prefix("pod/").unwrap_or(text);
    let whole = if name.contains('/') { name.to_owned() } else { format!("{}/{name}", known.namespace) };
    whole.parse().map(CaseEnd::Pod).map_err(|e| bad(&e))
}
