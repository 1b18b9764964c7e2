//! Both ends of a flow: what policies say of it, and what this node's kernel holds.
//!
//! In: flows as they are behind services. Out: per flow what becomes of it at the sender's and at the receiver's end. The kernel's word
//! counts, where the pod is one of this node's; that of the policies everywhere else. Not here: deciding (weft-policy), the
//! questions that the rules ask (weft-plan).

use std::{net::IpAddr, sync::Arc, time::Instant};

use weft_errors::{Coded, Error, USAGE};
use weft_kernel::NftSocket;
use weft_model::{Direction, Family, NodeEgress, Protocol, resolver_addresses};
use weft_plan::{Facts, HeldPolicies, explain, own_addresses};
use weft_policy::{Explanation, Flow, Isolation, Reason, Transport};
use weft_proto::{convert::address_from_wire, v1};
use weft_view::View;

use crate::{inbox::Wish, limits, node::Node};

/// Both ends of a flow; `None` where no pod is at that end.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) egress: Option<v1::TraceEnd>,
    pub(super) ingress: Option<v1::TraceEnd>,
}

/// What is asked of the layer above IP.
pub(super) const fn transport(to: IpAddr, protocol: Protocol, port: u16) -> Transport {
    match (port, to) {
        (0, IpAddr::V4(_)) => Transport::echo(Family::V4),
        (0, IpAddr::V6(_)) => Transport::echo(Family::V6),
        _ => Transport::Port(protocol, port),
    }
}

/// What becomes of flows. Where the kernel differs from the policies, the loop that writes its tables gets its turn, and they are read again.
pub(super) fn judged(node: &Node, flows: &[Flow], deadline: Instant) -> Vec<Ends> {
    if flows.is_empty() {
        return Vec::new();
    }
    let first = Bench::of(node).judge(flows);
    let differs = |ends: &Ends| ends.egress.iter().chain(&ends.ingress).any(|end| !end.kernel.is_empty());
    if !first.iter().any(differs) {
        return first;
    }
    let ticket = node.inboxes.policies.poke(Wish::default());
    node.inboxes.policies.wait(ticket, deadline.min(Instant::now() + limits::TRACE_SETTLES));
    Bench::of(node).judge(flows)
}

/// Answers another node's question about pods of this one.
pub(crate) fn judge(node: &Node, asked: &v1::Judge, deadline: Instant) -> Result<v1::JudgeResult, Error> {
    if asked.flows.len() > limits::PING_TARGETS {
        let message = format!("at most {} flows can be asked for at once", limits::PING_TARGETS);
        return Err(Error::new(&USAGE, message).field("flows"));
    }
    let protocol = super::protocol(asked.protocol)?;
    let flow = |flow: &v1::JudgeFlow| -> Result<Flow, Error> {
        let address = |bytes| address_from_wire(bytes).map_err(|e| e.envelope());
        let (source, destination) = (address(&flow.source)?, address(&flow.destination)?);
        let port = super::port(flow.port)?;
        Ok(Flow::new(source, destination, transport(destination, protocol, port)))
    };
    let flows: Vec<Flow> = asked.flows.iter().map(flow).collect::<Result<_, _>>()?;
    let ends = judged(node, &flows, deadline).into_iter().map(|ends| ends.ingress.unwrap_or_default());
    Ok(v1::JudgeResult { ends: ends.collect() })
}

/// What is judged by.
struct Bench {
    view: Arc<View>,
    facts: Arc<Facts>,
    egress: NodeEgress,
    own: Vec<IpAddr>,
    /// `None`: the kernel can't be read.
    held: Option<HeldPolicies>,
}

impl Bench {
    fn of(node: &Node) -> Self {
        let (view, facts) = (node.view(), node.facts());
        let egress = view.fabric().map_or(NodeEgress::default(), |fabric| fabric.policy.node_egress);
        let read = NftSocket::open().and_then(|mut socket| socket.observe(&HeldPolicies::tables(egress)));
        let held = match read {
            Ok(observed) => Some(HeldPolicies::of(&observed, egress)),
            Err(error) => {
                tracing::warn!(%error, "the kernel's tables of policies can't be read for a trace");
                None
            }
        };
        let own = own_addresses(&view, &facts);
        Self { view, facts, egress, own, held }
    }

    fn judge(&self, flows: &[Flow]) -> Vec<Ends> {
        let both = |flow: &Flow| {
            let explanation = explain(&self.view, &self.facts, flow);
            let end = |direction| self.end(direction, flow, &explanation);
            Ends { egress: end(Direction::Egress), ingress: end(Direction::Ingress) }
        };
        flows.iter().map(both).collect()
    }

    fn end(&self, direction: Direction, flow: &Flow, explanation: &Explanation) -> Option<v1::TraceEnd> {
        let decision = &explanation.decision;
        let (own, other, reason) = match direction {
            Direction::Egress => (flow.source, flow.destination, &decision.egress),
            Direction::Ingress => (flow.destination, flow.source, &decision.ingress),
        };
        let is_here = self.facts.pods.values().any(|pod| pod.addresses.contains(&own));
        if !is_here && *reason == Reason::NoPod {
            return None;
        }
        let mut end = v1::TraceEnd {
            allows: reason.allows(),
            reason: reason.to_string(),
            closest: String::new(),
            policies: policies(reason),
            kernel: String::new(),
            node: String::new(),
            revision: self.view.revision().0,
        };
        let is_first = decision.denied().is_some_and(|(denied, _)| denied == direction);
        if let Some(closest) = explanation.closest.as_ref().filter(|_| is_first) {
            end.closest = closest.to_string();
        }
        let Some(held) = self.held.as_ref().filter(|_| is_here) else { return Some(end) };
        end.node = self.facts.node.to_string();
        let (allows, words) = if self.never_asks(direction, flow, other) {
            (true, "packets between a pod and its own node are not asked".to_owned())
        } else {
            let judgement = held.judge(direction, own, other, flow.transport);
            (judgement.allows(), judgement.to_string())
        };
        if allows != end.allows {
            (end.allows, end.kernel) = (allows, words);
        }
        Some(end)
    }

    /// Whether the rules let it by unseen: what a process of this node sends, and what a pod sends to it where the fabric says so.
    fn never_asks(&self, direction: Direction, flow: &Flow, other: IpAddr) -> bool {
        match direction {
            Direction::Ingress => flow.process && self.own.contains(&other),
            Direction::Egress => {
                let mut resolver = self.view.fabric().into_iter().flat_map(resolver_addresses);
                self.egress == NodeEgress::Allow
                    && (self.own.contains(&other) || resolver.any(|address| address == other))
            }
        }
    }
}

/// Policies that a reason names.
fn policies(reason: &Reason) -> Vec<String> {
    match reason {
        Reason::Allowed { policy, .. } => vec![policy.to_string()],
        Reason::Denied(Isolation::Policies(policies)) => policies.iter().map(ToString::to_string).collect(),
        Reason::Denied(Isolation::Default(_))
        | Reason::NoPod
        | Reason::SamePod
        | Reason::OwnNode
        | Reason::NotIsolated => Vec::new(),
    }
}
