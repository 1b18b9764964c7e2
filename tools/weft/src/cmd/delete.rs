//! `weft delete KIND NAME…` and `weft delete -f FILE`: all of it goes, or nothing.

use serde_json::{Value, json};
use weft_errors::Error;
use weft_model::Kind;
use weft_proto::v1;
use weft_yaml::Options;

use super::{
    Run, apply, change,
    get::suggest,
    kinds::{has_namespace, kind_of, split_name},
};
use crate::{
    args::Delete,
    client::Session,
    fail::{Failure, Outcome},
    table::count,
};

/// Runs the command.
pub(crate) async fn run(args: &Delete, run: &Run) -> Outcome {
    let session = run.session()?;
    let wanted = match &args.kind {
        Some(word) => typed(word, &args.name, &session)?,
        None => written(args, &session)?,
    };
    let Some((first, more)) = wanted.split_first() else {
        run.printer.note("Nothing is named.");
        return Ok(());
    };
    let dry_run = args.dry_run.is_some();
    if let Some(what) = destroys(&wanted, &session).filter(|_| !dry_run) {
        session.confirm(&what, args.yes)?;
    }
    let request = v1::DeleteRequest {
        mutation: Some(session.mutation()),
        kind: first.kind,
        namespace: first.namespace.clone(),
        name: first.name.clone(),
        more: more.to_vec(),
        ignore_missing: args.ignore_not_found,
        dry_run,
        tell_changes: true,
    };
    let answer = session.call(request, |mut admin, request| async move { admin.delete(request).await }).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) if more.is_empty() => {
            return Err(suggest(&session, failure, kind(first), &first.name).await);
        }
        Err(failure) => return Err(failure),
    };
    let policy = answer.policy_change.as_ref();
    let told = policy.map(if dry_run { change::before } else { change::after }).unwrap_or_default();
    let row = |gone| row(gone, answer.revision, !dry_run, policy);
    let items: Vec<Value> = answer.removed.iter().map(row).collect();
    if items.is_empty() {
        run.printer.note("Nothing of it was there.");
    }
    let verb = if dry_run { "would be deleted" } else { "deleted" };
    let mut text: String = answer.removed.iter().map(|gone| format!("{}   {verb}\n", path(gone))).collect();
    text += &told;
    text += &match dry_run {
        true => format!("dry run at revision {}: nothing was deleted", answer.revision),
        false => format!("revision {}", answer.revision),
    };
    match items.as_slice() {
        [one] => run.printer.value(one, &text),
        several => run.printer.value(&weft_yaml::list_value(several.to_vec(), answer.revision), &text),
    }
    Ok(())
}

/// What was typed: a kind and names.
fn typed(word: &str, names: &[String], session: &Session) -> Outcome<Vec<v1::ObjectRef>> {
    let kind = kind_of(word)?.object_kind(word)?;
    let reference = |name: &String| {
        let (namespace, name) = split_name(kind, name, session.namespace());
        reference(kind, namespace, name)
    };
    Ok(names.iter().map(reference).collect())
}

/// What files name; their other fields don't matter.
fn written(args: &Delete, session: &Session) -> Outcome<Vec<v1::ObjectRef>> {
    let mut wanted = Vec::new();
    // A kind that isn't served can't be here.
    let options = Options { namespace: session.namespace(), skip_unknown: args.ignore_not_found };
    for file in apply::files(&args.filename)? {
        let named = weft_yaml::names(&file.text, &file.file, &options).map_err(first_of)?;
        wanted.extend(named.iter().map(|named| reference(named.kind, &named.namespace, &named.name)));
    }
    Ok(wanted)
}

/// The first problem, with the others as its causes.
pub(super) fn first_of(problems: Vec<weft_yaml::Error>) -> Failure {
    let mut problems = problems.iter();
    let first = problems.next().map(weft_errors::Coded::envelope);
    let first =
        first.unwrap_or_else(|| Error::new(&weft_errors::INTERNAL, "a text was refused without a reason"));
    problems.fold(first, |error, other| error.because(format!("also: {other}"))).into()
}

/// What must be confirmed: more than one object, or one that takes others with it.
fn destroys(wanted: &[v1::ObjectRef], session: &Session) -> Option<String> {
    match wanted {
        [one] => match kind(one) {
            Kind::Node => Some(format!("remove node {} for good: its pods lose their network", one.name)),
            Kind::Namespace => Some(format!("delete namespace {} with everything in it", one.name)),
            _ if session.is_protected() => Some(format!("delete {}", path(one))),
            Kind::Fabric
            | Kind::Pod
            | Kind::Lease
            | Kind::Member
            | Kind::Service
            | Kind::Slice
            | Kind::PodSpec
            | Kind::Pool
            | Kind::Owner
            | Kind::NetworkPolicy => None,
        },
        several => {
            let spaces = several.iter().filter(|one| kind(one) == Kind::Namespace).count();
            let with = match spaces {
                0 => String::new(),
                1 => ", a namespace with everything in it among them".to_owned(),
                n => format!(", {n} namespaces with everything in them among them"),
            };
            Some(format!("delete {}{with}", count(several.len(), "object")))
        }
    }
}

fn reference(kind: Kind, namespace: &str, name: &str) -> v1::ObjectRef {
    let namespace = if has_namespace(kind) { namespace.to_owned() } else { String::new() };
    v1::ObjectRef { kind: v1::Kind::from(kind).into(), namespace, name: name.to_owned() }
}

fn kind(reference: &v1::ObjectRef) -> Kind {
    // What we made ourselves, or the server repeats, has a kind.
    weft_proto::convert::kind_from_wire("kind", reference.kind).unwrap_or(Kind::Fabric)
}

/// `service/shop/web`.
fn path(reference: &v1::ObjectRef) -> String {
    let kind = kind(reference);
    // People wrote it as a Pod.
    let word = if kind == Kind::PodSpec { "pod".to_owned() } else { kind.to_string() };
    match reference.namespace.as_str() {
        "" => format!("{word}/{}", reference.name),
        namespace => format!("{word}/{namespace}/{}", reference.name),
    }
}

fn row(reference: &v1::ObjectRef, revision: u64, deleted: bool, policy: Option<&v1::PolicyChange>) -> Value {
    let mut metadata = serde_json::Map::new();
    metadata.insert("name".to_owned(), json!(reference.name));
    if !reference.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(reference.namespace));
    }
    let mut row = json!({
        "kind": kind(reference).to_string(), "metadata": metadata, "deleted": deleted, "revision": revision,
    });
    if let (Value::Object(map), Some(policy)) = (&mut row, policy) {
        map.insert("policyChange".to_owned(), change::value(policy));
    }
    row
}
