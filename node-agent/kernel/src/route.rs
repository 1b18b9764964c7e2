//! Executor of the route subject: routes and rules that bear our protocol number, and whatever stands in our tables.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

use std::collections::BTreeMap;

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteProtocol, RouteType},
    rule::{RuleAction as Action, RuleAttribute, RuleMessage},
};
use nix::errno::Errno;
use weft_model::{Family, ownership::ROUTE_PROTOCOL};
use weft_plan::{
    Executor, Failure, ForeignRoute, OWN_TABLES, Path, Route, RouteKey, RouteStep, RouteValue, Rule,
    RuleAction, Step,
};

use crate::{
    attach::{index_of, is_gone},
    error::{Error, Refusal},
    netlink::Netlink,
    observe::{RouteFacts, route_facts},
    request::{Existing, Request, RouteEntry},
};

/// Reads and writes routes and rules of the namespace that it was opened in.
#[derive(Debug)]
pub struct RouteExecutor {
    netlink: Netlink,
}

impl RouteExecutor {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// What the refusal of a step means; most are resolved without another request.
    fn settle(&mut self, step: &RouteStep, refusal: Refusal) -> Result<(), Error> {
        match (step, refusal.errno) {
            (Step::Delete { .. }, errno) if is_gone(errno) => Ok(()),
            // An equal rule of ours: the kernel compares all of it, protocol included.
            (Step::Put { key: RouteKey::Rule(_), .. }, Errno::EEXIST) => Ok(()),
            (Step::Put { key: key @ RouteKey::Route { .. }, value, .. }, Errno::EEXIST) => {
                self.take_own_place(key, value)
            }
            (_, _) => Err(refusal.into()),
        }
    }

    /// A route of this destination is there: ours is replaced, another's only in a table of ours.
    fn take_own_place(&mut self, key: &RouteKey, value: &RouteValue) -> Result<(), Error> {
        let in_own_table = matches!(key, RouteKey::Route { table, .. } if OWN_TABLES.contains(table));
        if !in_own_table {
            let (ours, _) = self.own_routes()?;
            if !ours.iter().any(|(found, _)| found == key) {
                return Err(Error::RouteTaken { route: key.to_string() });
            }
        }
        match put_request(key, value, Existing::Replace)? {
            Some(request) => self.netlink.one(request).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Routes that bear our protocol number, and how many of them have a form we don't make.
    fn own_routes(&mut self) -> Result<(Vec<(RouteKey, RouteValue)>, usize), Error> {
        let mut seen = Vec::new();
        let mut odd = 0;
        let mut names = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            let found = self.netlink.dump(&Request::routes_of_protocol(family, ROUTE_PROTOCOL))?;
            for route in found.into_iter().filter_map(|m| route_facts(family, m)) {
                // Local ones are held addresses (held.rs), another subject's.
                let ours = route.protocol == RouteProtocol::Other(ROUTE_PROTOCOL);
                if !ours || route.kind == RouteType::Local {
                    continue;
                }
                match route_entry(route, &mut names) {
                    Some(entry) => seen.push(entry),
                    None => odd += 1,
                }
            }
        }
        Ok((seen, odd))
    }

    /// What others put into tables of ours.
    fn foreign_routes(&mut self, seen: &mut Vec<(RouteKey, RouteValue)>) -> Result<(), Error> {
        for (family, table) in [Family::V4, Family::V6].into_iter().flat_map(|f| OWN_TABLES.map(|t| (f, t))) {
            let found = match self.netlink.dump(&Request::routes_of_table(family, table)) {
                Ok(found) => found,
                // The kernel makes a table with its first route.
                Err(error) if error.errno() == Some(Errno::ENOENT) => continue,
                Err(error) => return Err(error),
            };
            for route in found.into_iter().filter_map(|message| route_facts(family, message)) {
                let protocol = u8::from(route.protocol);
                if route.table == table && protocol != ROUTE_PROTOCOL {
                    let RouteFacts { destination, metric, .. } = route;
                    let foreign = ForeignRoute { table, destination, protocol, metric };
                    tracing::warn!(%destination, table, protocol, "a route of somebody else stands in a table of ours");
                    seen.push((RouteKey::Foreign(foreign), RouteValue::Foreign));
                }
            }
        }
        Ok(())
    }
}

impl Executor<Route> for RouteExecutor {
    type Error = Error;

    fn observe(&mut self, _wanted: &[&RouteKey]) -> Result<Vec<(RouteKey, RouteValue)>, Error> {
        let (mut seen, odd) = self.own_routes()?;
        if odd > 0 {
            tracing::warn!(odd, "routes bear our protocol number but have a form that we don't make");
        }
        self.foreign_routes(&mut seen)?;
        for family in [Family::V4, Family::V6] {
            let rules = self.netlink.dump(&Request::rules(family))?;
            let ours = rules.into_iter().filter_map(|message| own_rule(family, message));
            seen.extend(ours.map(|rule| (RouteKey::Rule(rule), RouteValue::Rule)));
        }
        Ok(seen)
    }

    fn execute(&mut self, steps: &[RouteStep]) -> Result<(), Vec<Failure<Error>>> {
        let mut failures = Vec::new();
        let mut sent = Vec::new();
        let mut requests = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            match request(step) {
                Ok(Some(request)) => {
                    sent.push(place);
                    requests.push(request);
                }
                Ok(None) => {}
                Err(error) => failures.push(Failure { step: place, error }),
            }
        }
        match self.netlink.batch(&requests) {
            Ok(answers) => {
                for (place, answer) in sent.into_iter().zip(answers) {
                    let outcome = answer.map(|_| ()).or_else(|refusal| self.settle(&steps[place], refusal));
                    failures.extend(outcome.err().map(|error| Failure { step: place, error }));
                }
            }
            Err(error) => {
                // Some may have been done; all are tried again, which does no harm.
                let what = error.to_string();
                let again = |place| Failure { step: place, error: lost(&what) };
                failures.extend(sent.iter().skip(1).map(|place| again(*place)));
                failures.extend(sent.first().map(|place| Failure { step: *place, error }));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }
}

fn lost(what: &str) -> Error {
    Error::socket("a batch of requests", crate::error::Area::Route, std::io::Error::other(what.to_owned()))
}

fn request(step: &RouteStep) -> Result<Option<Request>, Error> {
    match step {
        Step::Put { key, value, was } => {
            let existing = if was.is_some() { Existing::Replace } else { Existing::Refuse };
            put_request(key, value, existing)
        }
        Step::Delete { key: RouteKey::Foreign(foreign), .. } => Ok(Some(Request::delete_foreign(foreign))),
        Step::Delete { key: RouteKey::Rule(rule), .. } => Ok(Some(Request::delete_rule(rule))),
        Step::Delete { key: RouteKey::Route { table, destination }, .. } => {
            Ok(Some(Request::delete_route(*table, *destination)))
        }
    }
}

/// The request that makes an object so; `None` where key and value don't belong together, which the subject never yields.
fn put_request(key: &RouteKey, value: &RouteValue, existing: Existing) -> Result<Option<Request>, Error> {
    match (key, value) {
        (RouteKey::Rule(rule), RouteValue::Rule) => Ok(Some(Request::add_rule(rule))),
        (RouteKey::Route { table, destination }, RouteValue::Route { path, source, mtu }) => {
            let (link, gateway) = match path {
                Path::Unreachable => (None, None),
                Path::Device(device) => (Some(index_of(device)?), None),
                Path::Gateway { device, address } => (Some(index_of(device)?), Some(*address)),
            };
            let mut entry = RouteEntry::new(*table, *destination, link);
            entry.gateway = gateway;
            entry.onlink = gateway.is_some();
            entry.source = *source;
            entry.mtu = *mtu;
            Ok(Some(Request::put_route(&entry, existing)))
        }
        (RouteKey::Rule(_) | RouteKey::Route { .. } | RouteKey::Foreign(_), _) => Ok(None),
    }
}

fn route_entry(route: RouteFacts, names: &mut BTreeMap<u32, String>) -> Option<(RouteKey, RouteValue)> {
    let key = RouteKey::Route { table: route.table, destination: route.destination };
    let path = match route.kind {
        RouteType::Unreachable => Path::Unreachable,
        RouteType::Unicast => {
            let index = route.link?;
            let device = names.entry(index).or_insert_with(|| name_of(index)).clone();
            match route.gateway {
                Some(address) => Path::Gateway { device, address },
                None => Path::Device(device),
            }
        }
        _ => return None,
    };
    Some((key, RouteValue::Route { path, source: route.source, mtu: route.mtu }))
}

/// Name of a link; a link that has just gone has none, and then its routes are going too.
fn name_of(index: u32) -> String {
    nix::net::if_::if_indextoname(index)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_else(|_| format!("#{index}"))
}

fn own_rule(family: Family, message: RouteNetlinkMessage) -> Option<Rule> {
    let RouteNetlinkMessage::NewRule(message) = message else { return None };
    let ours = RuleAttribute::Protocol(RouteProtocol::Other(ROUTE_PROTOCOL));
    message.attributes.contains(&ours).then(|| read_rule(family, &message))?
}

fn read_rule(family: Family, message: &RuleMessage) -> Option<Rule> {
    let mut table = u32::from(message.header.table);
    let mut priority = 0;
    let mut interface = None;
    let mut mark = 0;
    let mut mask = None;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(t) => table = *t,
            RuleAttribute::Priority(p) => priority = *p,
            RuleAttribute::Iifname(name) => interface = Some(name.clone()),
            RuleAttribute::FwMark(m) => mark = *m,
            RuleAttribute::FwMask(m) => mask = Some(*m),
            _ => {}
        }
    }
    let action = match message.header.action {
        Action::ToTable => RuleAction::Lookup(table),
        Action::Unreachable => RuleAction::Unreachable,
        _ => return None,
    };
    Some(Rule { family, priority, interface, mark: mask.map(|mask| (mark, mask)), action })
}
