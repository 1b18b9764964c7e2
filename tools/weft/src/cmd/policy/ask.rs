//! `weft policy`: questions that the evaluator answers, of a cluster or of files alone.

use serde_json::{Value, json};
use weft_errors::{Coded, Error, ExitCode, USAGE};
use weft_model::{Family, LabelSelector, NamespaceName};
use weft_policy::{Case, CaseEnd, Matrix, Outcome as Found, Transport, Verdict, World};
use weft_yaml::PolicyCase;

use super::{
    super::{Run, apply, delete::first_of},
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
    let case = Case { from: end(from, known)?, to: end(&to.to, known)?, transport, expect: Verdict::Allow };
    let (value, text, allowed) = told(&known.world, &case)?;
    Ok((value, format!("{text}{}\n", known.source), allowed))
}

/// What became of a case that shall be allowed.
fn told(world: &World, case: &Case) -> Outcome<(Value, String, bool)> {
    let (flow, decision, closest) = match world.run(case) {
        Found::Holds { flow, decision } => (flow, decision, None),
        Found::Fails { flow, decision, closest } => (flow, decision, closest),
        Found::Unasked(why) => {
            let error = Error::new(&USAGE, why).try_this("list what there is", "weft get pods -A");
            return Err(error.into());
        }
    };
    let word = |allows| if allows { "allowed" } else { "DENIED" };
    let mut text = format!(
        "{} -> {} {}   {} ({flow})\n",
        case.from,
        case.to,
        case.transport,
        word(decision.verdict.allows())
    );
    for (head, reason) in [("egress", &decision.egress), ("ingress", &decision.ingress)] {
        text += &format!("{head:8}{:8}  {reason}\n", word(reason.allows()));
    }
    if let Some(closest) = &closest {
        text += &format!("{closest}\n");
    }
    let value = json!({
        "kind": "PolicyVerdict",
        "from": case.from.to_string(),
        "to": case.to.to_string(),
        "port": case.transport.to_string(),
        "flow": flow.to_string(),
        "verdict": decision.verdict.to_string(),
        "egress": {"allows": decision.egress.allows(), "reason": decision.egress.to_string()},
        "ingress": {"allows": decision.ingress.allows(), "reason": decision.ingress.to_string()},
        "closest": closest.map(|closest| closest.to_string()),
    });
    Ok((value, text, decision.verdict.allows()))
}

fn lint(known: &Known) -> (Value, String) {
    let warnings = known.world.lint();
    let mut text = String::new();
    let mut rows = Vec::new();
    for warning in &warnings {
        let policy = warning.policy().map(ToString::to_string).unwrap_or_default();
        let (code, field) = (warning.code().to_string(), warning.field());
        let place = [policy.as_str(), field].into_iter().filter(|word| !word.is_empty());
        let place = place.collect::<Vec<_>>().join(" ");
        text += &format!("{code}  {place}: {warning}\n");
        rows.push(json!({"code": code, "policy": policy, "field": field, "message": warning.to_string()}));
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
        let case = Case {
            from: end(&written.from, known).map_err(at)?,
            to: end(&written.to, known).map_err(at)?,
            transport,
            expect: Verdict::of(written.allowed),
        };
        let place = &written.place;
        let why = match known.world.run(&case) {
            Found::Holds { .. } => None,
            Found::Fails { flow, decision, closest } => {
                let closest = closest.map_or(String::new(), |closest| format!("; {closest}"));
                let reasons = format!("egress: {}; ingress: {}{closest}", decision.egress, decision.ingress);
                Some(format!("{} ({flow}): {reasons}", decision.verdict))
            }
            Found::Unasked(why) => Some(why),
        };
        if let Some(why) = &why {
            failed += 1;
            text += &format!("FAILED  {case}\n        {place}: is {why}\n");
        }
        rows.push(
            json!({"case": case.to_string(), "place": place.to_string(), "holds": why.is_none(), "why": why}),
        );
    }
    text += &format!("{}, {failed} failed; {}\n", count(cases.len(), "case"), known.source);
    let value = json!({"kind": "PolicyTest", "cases": rows, "failed": failed, "source": known.source});
    Ok((value, text))
}

/// Who is meant: `pod/NAMESPACE/NAME`, `NAMESPACE/NAME`, `NAME`, `namespace/NAMESPACE[/KEY=VALUE,…]`, `node/NAME`, an
/// address.
fn end(text: &str, known: &Known) -> Outcome<CaseEnd> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::from(
            Error::new(&USAGE, format!("{text:?} is nobody: {why}"))
                .try_this("write pod/NAMESPACE/NAME, namespace/NAMESPACE, node/NAME or an address", ""),
        )
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

#[cfg(test)]
mod tests {
    use weft_model::Protocol;
    use weft_yaml::Options;

    use super::{super::world::of_drafts, *};

    const FILE: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop, labels: {app: web}}, spec: {}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: shop, labels: {app: db}}, spec: {}}
---
{apiVersion: v1, kind: Pod, metadata: {name: job, namespace: dev}, spec: {}}
";

    fn known() -> Known {
        let parsed = weft_yaml::parse(FILE, "f", &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        let drafts = parsed.objects.into_iter().map(|object| object.draft).collect();
        Known { world: of_drafts(drafts), source: "of files".to_owned(), namespace: "shop".to_owned() }
    }

    fn to(text: &str, port: u16) -> Destination {
        Destination { to: text.to_owned(), port: Some(port), protocol: Protocol::Tcp }
    }

    #[test]
    fn the_rule_that_decides_is_told() {
        let known = known();
        let (_, text, allowed) = why(&known, "web-0", &to("db-0", 5432)).ok().unwrap();
        assert!(allowed && text.contains("ingress allowed   networkpolicy shop/db rule 1"), "{text}");
        let (value, text, allowed) = why(&known, "dev/job", &to("pod/shop/db-0", 5432)).ok().unwrap();
        assert!(!allowed && text.contains("isolated by shop/db; no rule matches"), "{text}");
        assert_eq!(value["verdict"], json!("deny"));
        let closest = value["closest"].as_str().unwrap_or_default();
        assert!(closest.starts_with("closest: networkpolicy shop/db rule 1: "), "{closest}");
        assert!(why(&known, "web-9", &to("db-0", 5432)).is_err(), "nobody of that name");
        assert!(why(&known, "namespace/shop/x", &to("db-0", 5432)).is_err(), "no label");
    }

    #[test]
    fn a_matrix_is_by_namespace_or_label() {
        let known = known();
        let (value, text) = matrix(&known, None, None).ok().unwrap();
        assert_eq!(value["names"], json!(["(outside)", "dev", "shop"]));
        assert_eq!(value["rows"][1], json!(["A", "", "p"]), "{text}");
        let port = Some(Transport::Port(Protocol::Tcp, 5432));
        let (value, text) = matrix(&known, port, Some("app")).ok().unwrap();
        let names: Vec<&str> = value["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
        assert_eq!(value["rows"][place("web")][place("db")], json!("A"), "{text}");
        assert_eq!(value["rows"][place("(other namespaces)")][place("db")], json!("-"), "{text}");
        assert!(text.starts_with("FROM \\ TO"), "{text}");
    }

    #[test]
    fn cases_that_fail_are_told_with_their_place() {
        let known = known();
        let cases = weft_yaml::cases(
            "- {from: pod/shop/web-0, to: pod/shop/db-0, port: 5432/tcp, expect: allow}\n\
             - {from: namespace/dev, to: namespace/shop/app=db, port: 5432/tcp, expect: deny}\n\
             - {from: 192.0.2.1, to: pod/shop/db-0, port: 80, expect: allow}\n",
            "cases.yaml",
        );
        let (value, text) = test(&known, &cases.unwrap()).ok().unwrap();
        assert_eq!(value["failed"], json!(1), "{text}");
        assert!(text.contains("cases.yaml:3:3: is deny"), "{text}");
        let bad = weft_yaml::cases("- {from: a, to: b, port: tcp, expect: deny}", "cases.yaml").unwrap();
        let Err(Failure::Error(error)) = test(&known, &bad) else { panic!("tcp is no port") };
        assert!(error.field.contains("cases.yaml:1:3"), "{error}");
    }

    #[test]
    fn policies_that_select_nobody_are_told() {
        let text = FILE.replace("app: db}}\n", "app: dbb}}\n");
        let parsed = weft_yaml::parse(&text, "f", &Options::default()).unwrap();
        let drafts = parsed.objects.into_iter().map(|object| object.draft).collect();
        let (value, text) = lint(&Known { world: of_drafts(drafts), ..known() });
        assert_eq!(value["warnings"][0]["code"], json!("W6101"), "{text}");
        assert!(text.contains("shop/db spec.podSelector: no pod of namespace shop is selected"), "{text}");
        assert_eq!(lint(&known()).0["warnings"], json!([]));
    }
}
