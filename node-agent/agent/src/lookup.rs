//! What a pod or the node gets for a name, for `weft dns`: the node's own DNS is asked as the resolver there would ask.
//!
//! In: a name, as a program says it. Out: every question that follows from the resolv.conf, until one has an answer. Not here: the
//! order of questions (weft-plan), messages (weft-names), words for a terminal (`weft`).

use std::{net::IpAddr, time::Instant};

use weft_dns::node_resolv_conf;
use weft_errors::{DNS_UNREACHABLE, Error, OBJECT_INVALID, USAGE};
use weft_model::resolver_addresses;
use weft_names::{DomainName, RecordType, Shown, question, show};
use weft_plan::ResolvConf;
use weft_proto::{convert::address_to_wire, v1};

use crate::{attach::Engine, node::Node, ping::attached, setup::Setup};

/// Most types of one lookup.
const MOST_TYPES: usize = 8;

/// Who asks.
struct Asker {
    address: IpAddr,
    conf: ResolvConf,
}

/// Answers the question. Fails when the DNS of the node isn't there.
pub(crate) fn lookup(
    engine: &Engine,
    asked: &v1::Lookup,
    deadline: Instant,
) -> Result<v1::LookupResult, Error> {
    let node = engine.node();
    let types = types(&asked.types)?;
    let asker = asker(engine, &asked.from_pod)?;
    let mut result = v1::LookupResult { tries: Vec::new(), resolv_conf: asker.conf.to_string() };
    for name in asker.conf.tries(&asked.name) {
        let whole: DomainName = name
            .parse()
            .map_err(|error: weft_names::NameError| Error::new(&USAGE, error.to_string()).field("name"))?;
        let before = result.tries.len();
        for kind in &types {
            result.tries.push(one(node, &asker, &whole, *kind, deadline)?);
        }
        let new = result.tries.iter().skip(before);
        // A resolver gives up at a failure too: the name may exist there.
        if new.into_iter().any(|one| is_failure(one) || !one.answers.is_empty()) {
            break;
        }
    }
    Ok(result)
}

fn is_failure(one: &v1::LookupTry) -> bool {
    !matches!(one.rcode.as_str(), "NOERROR" | "NXDOMAIN")
}

fn types(asked: &[String]) -> Result<Vec<RecordType>, Error> {
    if asked.len() > MOST_TYPES {
        return Err(Error::new(&USAGE, format!("more than {MOST_TYPES} types at once")).field("types"));
    }
    if asked.is_empty() {
        return Ok(vec![RecordType::A, RecordType::AAAA]);
    }
    let read = |text: &String| text.parse().map_err(|why: String| Error::new(&USAGE, why).field("types"));
    asked.iter().map(read).collect()
}

fn asker(engine: &Engine, pod: &str) -> Result<Asker, Error> {
    let node = engine.node();
    let view = node.view();
    let none = |why: &str| Error::new(&DNS_UNREACHABLE, why.to_owned());
    let fabric = view.fabric().ok_or_else(|| none("this node knows no fabric yet"))?;
    let own = resolver_addresses(fabric).next();
    let own = own.ok_or_else(|| none("the fabric has no DNS: spec.dns.enabled is false"))?;
    if pod.is_empty() {
        return Ok(Asker { address: own, conf: node_resolv_conf() });
    }
    let holding = attached(node, pod)?;
    let recorded = engine.setups().read(&holding.attachment.container);
    let setup = recorded.unwrap_or_else(|| Setup::of(&view, &holding.pod, &node_resolv_conf()));
    let address = holding.addresses.first().copied();
    let address = address.ok_or_else(|| Error::new(&OBJECT_INVALID, format!("pod {pod} has no address")))?;
    Ok(Asker { address, conf: setup.resolv_conf })
}

fn one(
    node: &Node,
    asker: &Asker,
    name: &DomainName,
    kind: RecordType,
    deadline: Instant,
) -> Result<v1::LookupTry, Error> {
    // A part of it, so that the process says that nothing came before we think that it is silent.
    let left = deadline.saturating_duration_since(Instant::now()) * 9 / 10;
    let asked = v1::NamesQuestion {
        id: 0,
        from: address_to_wire(asker.address),
        query: question(0, name, kind).into(),
        timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
    };
    let answer = node.desk.ask(asked, deadline)?;
    let shown = show(&answer.response);
    let (rcode, note) = match &shown {
        Some(shown) => (shown.rcode.to_string(), shown.note.clone()),
        None => (String::new(), "no answer came in time".to_owned()),
    };
    Ok(v1::LookupTry {
        name: name.to_string(),
        r#type: kind.to_string(),
        rcode,
        note,
        answers: shown.map(records).unwrap_or_default(),
        source: answer.source,
        revision: answer.revision,
        took_us: answer.took_us,
        upstream: answer.upstream,
        age_s: answer.age_s,
    })
}

fn records(shown: Shown) -> Vec<v1::LookupRecord> {
    let record = |record: weft_names::ShownRecord| v1::LookupRecord {
        name: record.name,
        r#type: record.kind.to_string(),
        ttl: record.ttl,
        data: record.data,
    };
    shown.answers.into_iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_that_were_asked_for_or_addresses() {
        let check = |asked: &[&str], expected: Result<&str, &str>| {
            let asked: Vec<_> = asked.iter().map(|text| (*text).to_owned()).collect();
            let shown = types(&asked)
                .map(|types| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            match expected {
                Ok(expected) => assert_eq!(shown.unwrap(), expected),
                Err(why) => assert!(shown.unwrap_err().to_string().contains(why)),
            }
        };
        check(&[], Ok("A AAAA"));
        check(&["SRV", "TYPE65"], Ok("SRV HTTPS"));
        check(&["B"], Err("unknown"));
        check(&["A"; 9], Err("more than 8"));
    }
}
