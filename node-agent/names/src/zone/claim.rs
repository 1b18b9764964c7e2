//! The record of an address: which names claim it. PTR answers and pod records come from here.
//!
//! Several objects may claim one address, and two pods of one name and address may overlap for a moment, so claims are a multiset.

use std::net::IpAddr;

use weft_model::NamespaceName;

use super::{
    service::dashed,
    table::{Kind, begin, body},
};
use crate::message::push_label;

/// Who claims an address, in order of precedence: a service's own address is its alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Claimant {
    Service = 0,
    Endpoint = 1,
    Node = 2,
    Pod = 3,
}

/// A claim: the name without the cluster's domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) by: Claimant,
    pub(crate) name: Vec<u8>,
}

/// Key of an address.
pub(crate) fn address_key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// The name of a pod record, without the cluster's domain.
pub(crate) fn pod_name(address: IpAddr, namespace: &NamespaceName) -> Vec<u8> {
    let mut name = Vec::with_capacity(64);
    let labels = [dashed(address), namespace.as_str().to_owned(), "pod".to_owned()];
    labels.iter().for_each(|label| {
        push_label(&mut name, label.as_bytes());
    });
    name
}

/// The record of an address; `None` when nobody claims it.
pub(crate) fn encode(address: IpAddr, claims: &mut [Claim]) -> Option<Vec<u8>> {
    claims.sort();
    let mut record = begin(Kind::Address, &address_key(address));
    for claim in &*claims {
        record.push(claim.by as u8);
        record.push(u8::try_from(claim.name.len()).ok()?);
        record.extend_from_slice(&claim.name);
    }
    (!claims.is_empty()).then_some(record)
}

/// The claims in a record, in order, some perhaps twice.
pub(crate) fn read(record: &[u8]) -> impl Iterator<Item = (Claimant, &[u8])> + Clone {
    let mut rest = body(record);
    std::iter::from_fn(move || {
        let by = match rest.first()? {
            0 => Claimant::Service,
            1 => Claimant::Endpoint,
            2 => Claimant::Node,
            _ => Claimant::Pod,
        };
        let end = 2 + usize::from(*rest.get(1)?);
        let name = rest.get(2..end)?;
        rest = &rest[end..];
        Some((by, name))
    })
}

/// The names that a PTR answer gives: those of the strongest claimants, each once. Endpoints and nodes are alike.
pub(crate) fn names(record: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let class = |by: Claimant| if by == Claimant::Node { Claimant::Endpoint } else { by };
    let strongest = read(record).next().map(|(by, _)| class(by));
    let mut last: Option<&[u8]> = None;
    read(record).filter(move |(by, _)| Some(class(*by)) == strongest).map(|(_, name)| name).filter(
        move |name| {
            let is_new = last != Some(*name);
            last = Some(*name);
            is_new
        },
    )
}
