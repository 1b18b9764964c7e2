//! `weft policy`: questions that the evaluator answers, of a cluster or of files alone.

use serde_json::{Value, json};
use weft_errors::{Coded, Error, ExitCode, USAGE};
use weft_model::{Family, NamespaceName};
use weft_policy::{Case, Closest, Decision, Flow, Matrix, Outcome as Found, Transport, Verdict, World};
use weft_yaml::PolicyCase;

use super::{
    super::{Run, apply, delete::first_of},
    ends::{self, Asked, asked},
    held,
    world::{Known, known},
};
use crate::{
    args::{Destination, Policy},
    fail::{Failure, Outcome},
    table::count,
};

/// Runs the subcommand.
pub(crate) async fn run(args: Policy, run: &Run) -> Outcome {
    match args {
        Policy::Matrix { port, label, whereof } => {
            let known = known(&whereof.files, run).await?;
            let (value, text) = matrix(&known, port, label.as_deref())?;
            run.printer.value(&value, &text);
            Ok(())
        }
        Policy::Why { from, to, whereof } => {
            let known = known(&whereof.files, run).await?;
            let (value, text, allowed) = why(&known, &from, &to)?;
            run.printer.value(&value, &text);
            yes(allowed)
        }
        Policy::Lint { whereof } => {
            let known = known(&whereof.files, run).await?;
            let (value, text) = lint(&known);
            run.printer.value(&value, &text);
            yes(value["warnings"].as_array().is_some_and(Vec::is_empty))
        }
        Policy::Test { filename, whereof } => {
            let mut cases = Vec::new();
            for file in apply::files(&filename)? {
                cases.extend(weft_yaml::cases(&file.text, &file.file).map_err(first_of)?);
            }
            let known = known(&whereof.files, run).await?;
            let (value, text) = test(&known, &cases)?;
            run.printer.value(&value, &text);
            yes(value["failed"] == json!(0))
        }
    }
}

/// An answer that is no has its own exit status.
fn yes(answer: bool) -> Outcome {
    if answer { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

fn matrix(known: &Known, port: Option<Transport>, label: Option<&str>) -> Outcome<(Value, String)> {
    let matrix = Matrix::of(&known.world);
    let folded = match label {
        None => matrix.by_namespace(),
        Some(key) => {
            let bad = |e: &dyn std::fmt::Display| Failure::from(Error::new(&USAGE, e.to_string()));
            matrix.by_label(&NamespaceName::new(known.namespace.as_str()).map_err(|e| bad(&e))?, key)
        }
    };
    let cell = |from: usize, to: usize| match (folded.cell(from, to), port) {
        (None, _) => String::new(),
        (Some(share), Some(port)) => share.at(port).to_owned(),
        (Some(share), None) => share.to_string(),
    };
    let places = 0..folded.names.len();
    let rows: Vec<Vec<String>> =
        places.clone().map(|from| places.clone().map(|to| cell(from, to)).collect()).collect();
    let first = folded.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(9);
    let mut text = format!("{:first$}", "FROM \\ TO");
    folded.names.iter().for_each(|name| text += &format!("  {name}"));
    text.push('\n');
    for (name, row) in folded.names.iter().zip(&rows) {
        let cells = row.iter().zip(&folded.names).map(|(cell, head)| {
            let width = head.chars().count();
            format!("  {cell:width$}")
        });
        text += format!("{name:first$}{}", cells.collect::<String>()).trim_end();
        text.push('\n');
    }
    let what = port.map_or_else(|| "everything".to_owned(), |port| port.to_string());
    text += &format!("A all may ({what}), p some or some of it, - none; {}\n", known.source);
    let value = json!({
        "kind": "PolicyMatrix",
        "port": port.map(|port| port.to_string()),
        "names": folded.names,
        "rows": rows,
        "source": known.source,
    });
    Ok((value, text))
}

fn why(known: &Known, from: &str, to: &Destination) -> Outcome<(Value, String, bool)> {
    let transport = to.port.map_or(Transport::echo(Family::V4), |port| Transport::Port(to.protocol, port));
    let asked = asked(from, &to.to, transport, Verdict::Allow, known)?;
    let mut all: Vec<Verdicts> = Vec::new();
    for one in &asked {
        all.push(Verdicts::of(&known.world, one)?);
    }
    let allowed = all.iter().filter(|one| one.allows()).count();
    let mut text = String::new();
    let by_service = ends::service(&to.to, known)?;
    if let Some(service) = &by_service {
        let word = match allowed {
            0 => "DENIED".to_owned(),
            all if all == asked.len() => "allowed".to_owned(),
            some => format!("PARTLY: {some} of {} backends", asked.len()),
        };
        text += &format!("{from} -> svc/{service} {transport}   {word}; judged by who is behind it:\n\n");
    }
    let blocks: Vec<String> = all.iter().map(Verdicts::text).collect();
    text += &blocks.join("\n");
    let flows = || all.iter().flat_map(|one| &one.kinds).flat_map(|(flows, ..)| flows);
    let closed = held::closed(&known.world, flows());
    let doubts = held::doubts(&known.world, &known.unheld, flows());
    closed.iter().chain(&doubts).for_each(|line| text += &format!("{line}\n"));
    let results: Vec<Value> = all.iter().flat_map(Verdicts::values).collect();
    let first = results.iter().find(|one| one["verdict"] == json!("deny")).or(results.first());
    let mut value = first.cloned().unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("kind".to_owned(), json!("PolicyVerdict"));
        map.insert("service".to_owned(), json!(by_service.map(|name| name.to_string())));
        map.insert("source".to_owned(), json!(known.source));
        map.insert("results".to_owned(), json!(results));
        map.insert("closed".to_owned(), json!(closed));
        map.insert("doubts".to_owned(), json!(doubts));
    }
    Ok((value, format!("{text}{}\n", known.source), allowed == asked.len() && closed.is_empty()))
}

/// What becomes of flows to one end, those together that meet the same at both ends.
struct Verdicts {
    from: String,
    to: String,
    kinds: Vec<(Vec<Flow>, Decision, Option<Closest>)>,
}

impl Verdicts {
    fn of(world: &World, asked: &Asked) -> Outcome<Self> {
        let nobody = |why: String| {
            let error = Error::new(&USAGE, why).try_this("list what there is", "weft get pods -A");
            Failure::from(error)
        };
        let from = asked.cases.first().map(|case| case.from.to_string()).unwrap_or_default();
        let mut kinds: Vec<(Vec<Flow>, Decision, Option<Closest>)> = Vec::new();
        for case in &asked.cases {
            for flow in world.flows(case).map_err(nobody)? {
                let (decision, closest) = world.explain(&flow);
                match kinds.iter_mut().find(|(_, known, near)| *known == decision && *near == closest) {
                    Some((flows, ..)) => flows.push(flow),
                    None => kinds.push((vec![flow], decision, closest)),
                }
            }
        }
        if kinds.is_empty() {
            return Err(nobody(format!("{from} and {} have no family in common", asked.to)));
        }
        Ok(Self { from, to: asked.to.clone(), kinds })
    }

    fn allows(&self) -> bool {
        self.kinds.iter().all(|(_, decision, _)| decision.verdict.allows())
    }

    fn text(&self) -> String {
        let word = |allows| if allows { "allowed" } else { "DENIED" };
        let mut text = String::new();
        for (flows, decision, closest) in &self.kinds {
            let example = flows.first().map(ToString::to_string).unwrap_or_default();
            let example = match flows.len() {
                1 | 2 => example,
                more => format!("{more} flows, for example {example}"),
            };
            let (from, to) = (&self.from, &self.to);
            let verdict = word(decision.verdict.allows());
            text += &format!("{from} -> {to}   {verdict}  {} ({example})\n", families(flows).join(" and "));
            for (head, reason) in [("egress", &decision.egress), ("ingress", &decision.ingress)] {
                text += &format!("{head:8}{:8}  {reason}\n", word(reason.allows()));
            }
            if let Some(closest) = closest {
                text += &format!("{closest}\n");
            }
        }
        text
    }

    fn values(&self) -> Vec<Value> {
        let value = |(flows, decision, closest): &(Vec<Flow>, Decision, Option<Closest>)| {
            let flow = flows.first();
            json!({
                "from": self.from,
                "to": self.to,
                "port": flow.map(|flow| flow.transport.to_string()),
                "families": families(flows),
                "flows": flows.len(),
                "flow": flow.map(ToString::to_string),
                "verdict": decision.verdict.to_string(),
                "egress": {"allows": decision.egress.allows(), "reason": decision.egress.to_string()},
                "ingress": {"allows": decision.ingress.allows(), "reason": decision.ingress.to_string()},
                "closest": closest.as_ref().map(ToString::to_string),
            })
        };
        self.kinds.iter().map(value).collect()
    }
}

/// Families of flows, in words.
fn families(flows: &[Flow]) -> Vec<&'static str> {
    let has = |family| flows.iter().any(|flow| Family::of(flow.source) == family);
    [(Family::V4, "IPv4"), (Family::V6, "IPv6")]
        .into_iter()
        .filter(|(family, _)| has(*family))
        .map(|(_, word)| word)
        .collect()
}

fn lint(known: &Known) -> (Value, String) {
    let warnings = known.world.lint();
    let mut text = String::new();
    let mut rows = Vec::new();
    for warning in &warnings {
        let policy = warning.policy().map(ToString::to_string).unwrap_or_default();
        let (code, field) = (warning.code().to_string(), warning.field());
        let subject = warning.subject();
        let place = [subject.as_str(), field].into_iter().filter(|word| !word.is_empty());
        let place = place.collect::<Vec<_>>().join(" ");
        text += &format!("{code}  {place}: {warning}\n");
        let message = warning.to_string();
        rows.push(
            json!({"code": code, "policy": policy, "about": subject, "field": field, "message": message}),
        );
    }
    let policies = count(known.world.policies().count(), "policy").replace("policys", "policies");
    text += &format!("{policies}, {}; {}\n", count(warnings.len(), "warning"), known.source);
    (json!({"kind": "PolicyLint", "warnings": rows, "source": known.source}), text)
}

fn test(known: &Known, cases: &[PolicyCase]) -> Outcome<(Value, String)> {
    let mut rows = Vec::new();
    let (mut text, mut failed) = (String::new(), 0_u64);
    for written in cases {
        let at = |failure: Failure| match failure {
            Failure::Error(mut error) => {
                if error.field.is_empty() {
                    error.field = written.place.to_string();
                }
                Failure::Error(error)
            }
            Failure::Answer(code) => Failure::Answer(code),
        };
        let transport = written.port.parse::<Transport>();
        let transport = transport.map_err(|why| at(Failure::from(Error::new(&USAGE, why))))?;
        let expect = Verdict::of(written.allowed);
        let asked = asked(&written.from, &written.to, transport, expect, known).map_err(at)?;
        let place = &written.place;
        let case = format!("{} -> {} {transport}: {expect}", written.from, written.to);
        // Of a service each backend is asked; the first that fails tells.
        let why = asked.iter().find_map(|one| {
            let failing = one.cases.iter().find_map(|case| fails(&known.world, case))?;
            Some(if asked.len() > 1 { format!("{}: {failing}", one.to) } else { failing })
        });
        if let Some(why) = &why {
            failed += 1;
            text += &format!("FAILED  {case}\n        {place}: {why}\n");
        }
        rows.push(json!({"case": case, "place": place.to_string(), "holds": why.is_none(), "why": why}));
    }
    text += &format!("{}, {failed} failed; {}\n", count(cases.len(), "case"), known.source);
    let value = json!({"kind": "PolicyTest", "cases": rows, "failed": failed, "source": known.source});
    Ok((value, text))
}

/// Why a case doesn't hold; `None` if it does.
fn fails(world: &World, case: &Case) -> Option<String> {
    match world.run(case) {
        Found::Holds { .. } => None,
        Found::Fails { flow, decision, closest } => {
            let closest = closest.map_or(String::new(), |closest| format!("; {closest}"));
            let reasons = format!("egress: {}; ingress: {}{closest}", decision.egress, decision.ingress);
            Some(format!("is {} ({flow}): {reasons}", decision.verdict))
        }
        Found::Unasked(why) => Some(format!("can't be asked: {why}")),
    }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
