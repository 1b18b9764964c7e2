//! Requests about policy rules.

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction as Action, RuleAttribute, RuleMessage},
};
use weft_model::{Family, ownership::ROUTE_PROTOCOL};
use weft_plan::{Rule, RuleAction};

use super::{Existing, Request, route::address_family};

impl Request {
    /// All rules of a family: the kernel has no filter for them.
    pub(crate) fn rules(family: Family) -> Self {
        let mut message = RuleMessage::default();
        message.header.family = address_family(family);
        Self::new(RouteNetlinkMessage::GetRule(message), 0, format!("list {family} rules"))
    }

    /// Adds a rule; it bears our protocol number. An equal one refuses it with EEXIST.
    pub(crate) fn add_rule(rule: &Rule) -> Self {
        let message = RouteNetlinkMessage::NewRule(rule_message(rule));
        Self::new(message, Existing::Refuse.flags(), format!("add {rule}"))
    }

    /// Removes a rule of ours: the protocol number must match.
    pub(crate) fn delete_rule(rule: &Rule) -> Self {
        Self::new(RouteNetlinkMessage::DelRule(rule_message(rule)), 0, format!("delete {rule}"))
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = address_family(rule.family);
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL)),
    ];
    message.header.action = match rule.action {
        RuleAction::Lookup(table) => {
            message.attributes.push(RuleAttribute::Table(table));
            Action::ToTable
        }
        RuleAction::Unreachable => Action::Unreachable,
    };
    message.attributes.extend(rule.interface.clone().map(RuleAttribute::Iifname));
    if let Some((mark, mask)) = rule.mark {
        message.attributes.push(RuleAttribute::FwMark(mark));
        message.attributes.push(RuleAttribute::FwMask(mask));
    }
    message
}
