//! `weft dns NAME`: what a pod or a node gets for a name, asked of the node's own DNS as the pod's resolver would ask.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, USAGE};
use weft_model::Kind;
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::one,
    pod::{ask_node, local_namespace, named, unexpected},
};
use crate::{
    args::Dns,
    client::{LocalAgent, socket},
    fail::{Failure, Outcome},
    table::at,
};

/// Runs the command: 1 when nobody has a record of that name.
pub(crate) async fn run(args: &Dns, run: &Run) -> Outcome {
    let (name, types) = question(&args.name, &args.types);
    let lookup = v1::Lookup { from_pod: String::new(), name, types };
    let (asker, answer) = ask(args, lookup, run).await?;
    let value = value(&args.name, &asker, &answer);
    run.printer.value(&value, &screen(&value));
    let found = answer.tries.iter().any(|one| one.rcode == "NOERROR" && !one.answers.is_empty());
    if found { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

/// Name and types to ask for: of an address the name behind it.
fn question(name: &str, types: &[String]) -> (String, Vec<String>) {
    match name.parse::<IpAddr>() {
        Ok(address) if types.is_empty() => (reverse(address), vec!["PTR".to_owned()]),
        _ => (name.to_owned(), types.to_vec()),
    }
}

/// The name that a PTR record of an address has (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa."
        }
    }
}

/// Who asked, and what came: the agent of this machine needs no control plane.
async fn ask(args: &Dns, mut lookup: v1::Lookup, run: &Run) -> Outcome<(String, v1::LookupResult)> {
    let Some(pod) = &args.from else {
        return of_node(args, lookup, run).await;
    };
    let local = named(pod, &local_namespace(run))?;
    if let Ok(mut agent) = LocalAgent::open()
        && agent.has_pod(&local, run.global.timeout).await?
    {
        lookup.from_pod = local.to_string();
        let answer = agent.lookup(lookup, run.global.timeout).await?;
        return Ok((format!("pod {local}"), answer));
    }
    let session = run.session()?;
    let name = named(pod, session.namespace())?;
    let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
    let node = at(&value, "/spec/nodeName");
    lookup.from_pod = name.to_string();
    let answer = ask_node(&session, &node, ask::What::Lookup(lookup), None).await?;
    let answer_request::What::Lookup(answer) = answer else { return Err(unexpected(&node)) };
    Ok((format!("pod {name} on node {node}"), answer))
}

async fn of_node(args: &Dns, lookup: v1::Lookup, run: &Run) -> Outcome<(String, v1::LookupResult)> {
    if let Some(node) = &args.node {
        let answer = ask_node(&run.session()?, node, ask::What::Lookup(lookup), None).await?;
        let answer_request::What::Lookup(answer) = answer else { return Err(unexpected(node)) };
        return Ok((format!("node {node}"), answer));
    }
    let Ok(mut agent) = LocalAgent::open() else {
        let error = Error::new(&USAGE, "who asks? No weft-agent runs on this machine").field("--from");
        let example = format!("weft dns {} --from POD", args.name);
        return Err(error.try_this("name a pod, or a node with --node", example).into());
    };
    let answer = agent.lookup(lookup, run.global.timeout).await?;
    Ok(("this node".to_owned(), answer))
}

fn value(name: &str, asker: &str, answer: &v1::LookupResult) -> Value {
    json!({
        "kind": "Lookup",
        "name": name,
        "from": asker,
        "resolvConf": answer.resolv_conf,
        "tries": answer.tries.iter().map(try_value).collect::<Vec<_>>(),
    })
}

fn try_value(one: &v1::LookupTry) -> Value {
    let record = |record: &v1::LookupRecord| json!({"name": record.name, "type": record.r#type, "ttl": record.ttl, "data": record.data});
    json!({
        "name": one.name,
        "type": one.r#type,
        "rcode": one.rcode,
        "note": one.note,
        "answers": one.answers.iter().map(record).collect::<Vec<_>>(),
        "source": one.source,
        "revision": one.revision,
        "tookUs": one.took_us,
        "upstream": one.upstream.as_ref().and_then(socket).map(|upstream| upstream.to_string()),
        "ageS": one.age_s,
    })
}

/// A line per question, its records below it, and the verdict.
fn screen(value: &Value) -> String {
    let tries: &[Value] = value["tries"].as_array().map_or(&[], Vec::as_slice);
    let width = |pointer: &str| tries.iter().map(|one| at(one, pointer).len()).max().unwrap_or(0);
    let (names, types) = (width("/name"), width("/type"));
    let mut text = format!("{} asks for {}\n", at(value, "/from"), at(value, "/name"));
    for one in tries {
        let (name, kind) = (at(one, "/name"), at(one, "/type"));
        text += &format!("{name:<names$}  {kind:<types$}  {}\n", result(one));
        for record in one["answers"].as_array().into_iter().flatten() {
            let [owner, ttl, kind, data] =
                ["/name", "/ttl", "/type", "/data"].map(|pointer| at(record, pointer));
            text += &format!("  {owner}  {ttl}  {kind}  {data}\n");
        }
    }
    text + &verdict(value, tries)
}

/// `NXDOMAIN   zone, revision 812   0.04 ms`, `NOERROR   cache 192.0.2.53:53, 12 s old   0.02 ms`
fn result(one: &Value) -> String {
    let has_answers = one["answers"].as_array().is_some_and(|answers| !answers.is_empty());
    let code = match at(one, "/rcode").as_str() {
        "" => "no answer".to_owned(),
        "NOERROR" if !has_answers => "NODATA".to_owned(),
        code => code.to_owned(),
    };
    let source = match at(one, "/source").as_str() {
        "" => String::new(),
        source @ ("zone" | "reverse") => format!("   {source}, revision {}", at(one, "/revision")),
        source => format!("   {source}{}", origin(one)),
    };
    let note = match at(one, "/note").as_str() {
        "" => String::new(),
        note => format!("   {note}"),
    };
    let us = one["tookUs"].as_u64().unwrap_or(0);
    format!("{code:<9}{source}   {}.{:02} ms{note}", us / 1000, us % 1000 / 10)
}

/// ` 192.0.2.53:53, 12 s old`: the upstream that gave it, and for how long it has been kept.
fn origin(one: &Value) -> String {
    let upstream = match at(one, "/upstream").as_str() {
        "" => String::new(),
        upstream => format!(" {upstream}"),
    };
    match one["ageS"].as_u64() {
        Some(age) => format!("{upstream}, {age} s old"),
        None => upstream,
    }
}

fn verdict(value: &Value, tries: &[Value]) -> String {
    let is_hit = |one: &&Value| {
        at(one, "/rcode") == "NOERROR" && one["answers"].as_array().is_some_and(|answers| !answers.is_empty())
    };
    let asked = at(value, "/name");
    let whole = format!("{}.", asked.trim_end_matches('.'));
    match tries.iter().find(is_hit) {
        Some(hit) => {
            let name = at(hit, "/name");
            let alias = at(hit, "/answers/0/type") == "CNAME" && at(hit, "/answers/0/data") == whole;
            match name.strip_prefix(&whole).filter(|domain| !domain.is_empty()) {
                Some(_) if alias => "FOUND as it is: the search domains were left out\n".to_owned(),
                Some(domain) => format!("FOUND by search domain {}\n", domain.trim_end_matches('.')),
                None => "FOUND\n".to_owned(),
            }
        }
        None if tries.iter().any(|one| matches!(at(one, "/rcode").as_str(), "" | "SERVFAIL" | "REFUSED")) => {
            "NOT ANSWERED: a program sees a temporary failure\n".to_owned()
        }
        None => "NOT FOUND\n".to_owned(),
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
