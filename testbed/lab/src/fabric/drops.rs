//! Drops as a node's kernel counts them, exactly: a denial is proven by a number, not by waiting.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context;
use serde_json::Value;
use weft_model::Direction;

use super::{Fabric, Pod, on};
use crate::Result;

/// What a node has dropped since its tables were made. Packets, so what is sent again counts again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// By reason, such as `policy-ingress`.
    pub reasons: BTreeMap<String, u64>,
    /// What policies denied, by direction and address of the pod.
    pods: BTreeMap<(Direction, IpAddr), u64>,
}

impl Drops {
    /// What policies denied to an address of one of the node's pods; 0 for addresses that none of them has.
    pub fn at(&self, direction: Direction, address: IpAddr) -> u64 {
        self.pods.get(&(direction, address)).copied().unwrap_or(0)
    }

    /// What policies denied to a pod of the node, at all of its addresses.
    pub fn of(&self, direction: Direction, pod: &Pod) -> u64 {
        pod.addresses().iter().map(|address| self.at(direction, *address)).sum()
    }

    /// What was dropped for a reason.
    pub fn because(&self, reason: &str) -> u64 {
        self.reasons.get(reason).copied().unwrap_or(0)
    }

    /// What came since an earlier look.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let reasons = self
            .reasons
            .iter()
            .map(|(reason, packets)| (reason.clone(), packets - before.because(reason).min(*packets)));
        let pods = self.pods.iter().map(|((direction, address), packets)| {
            ((*direction, *address), packets - before.at(*direction, *address).min(*packets))
        });
        Self { reasons: reasons.collect(), pods: pods.collect() }
    }
}

impl Fabric {
    /// What a node has dropped so far. Some milliseconds: a process starts there and asks the kernel.
    pub fn drops(&self, node: &str) -> Result<Drops> {
        let seen = self.probe(on(node), &["drops"])?;
        let count = |value: &Value| value.as_u64().context("a number of packets");
        let reasons = seen["reasons"].as_object().context("no reasons")?.iter();
        let reasons =
            reasons.map(|(reason, packets)| Ok((reason.clone(), count(packets)?))).collect::<Result<_>>()?;
        let pod = |pod: &Value| {
            let direction = match pod["direction"].as_str() {
                Some("egress") => Direction::Egress,
                _ => Direction::Ingress,
            };
            let address = pod["address"].as_str().context("no address")?.parse()?;
            Ok(((direction, address), count(&pod["packets"])?))
        };
        let pods = seen["pods"].as_array().context("no pods")?.iter().map(pod).collect::<Result<_>>()?;
        Ok(Drops { reasons, pods })
    }
}
