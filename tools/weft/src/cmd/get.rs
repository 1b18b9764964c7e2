//! `weft get KIND [NAME]`: objects that the control plane keeps, and the items it derived for nodes.

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, NOT_FOUND, Remedy};
use weft_model::{Item, Kind, Object};
use weft_proto::v1;

use super::{
    Run,
    columns::columns,
    defaults, did_you_mean, endpoints, events,
    kinds::{Shown, has_namespace, kind_of, split_name},
    local, policy,
};
use crate::{
    args::{Expect, Get},
    client::{Session, object},
    fail::{Failure, Outcome},
    output::items as items_of,
    table::{Table, at},
};

/// Runs the command.
pub(crate) async fn run(args: &Get, run: &Run) -> Outcome {
    let shown = kind_of(&args.kind)?;
    let plain = args.name.is_none() && !args.watch && args.selector.is_empty();
    if shown == Shown::Object(Kind::Pod)
        && plain
        && let Some(here) = local::answer(false, run).await?
    {
        return local::pods(here, args.all_namespaces, run);
    }
    let session = run.session()?;
    if args.watch {
        return watch(args, shown.object_kind(&args.kind)?, &session, run).await;
    }
    let columns = columns(shown, args.all_namespaces);
    if let Some(name) = &args.name {
        let value = match shown {
            Shown::Object(Kind::NetworkPolicy) => policy::one(&session, name).await?.0,
            Shown::Object(Kind::Namespace) => defaults::one(&session, name).await?,
            Shown::Object(kind) => one(&session, kind, name).await?.0,
            Shown::Events => return Err(events::nameless(name)),
            Shown::Endpoints | Shown::Peers | Shown::Routes => derived_one(&session, shown, name).await?,
        };
        run.printer.object(&value, &columns);
        return expect(args.expect, 1, shown, run);
    }
    let mut closed = None;
    let whole = match shown {
        Shown::Object(kind) => {
            let namespace = namespace(kind, args.all_namespaces, &session);
            if kind == Kind::NetworkPolicy {
                closed = defaults::closed(&session, namespace).await?;
                policy::list(&session, namespace, &args.selector).await?
            } else if kind == Kind::Namespace {
                defaults::list(&session, &args.selector).await?
            } else {
                objects(&session, kind, namespace, &args.selector).await?
            }
        }
        Shown::Events => {
            let namespace = if args.all_namespaces { "" } else { session.namespace() };
            events::list(&session, None, namespace, "").await?
        }
        Shown::Endpoints | Shown::Peers | Shown::Routes => {
            let namespace = if args.all_namespaces { "" } else { session.namespace() };
            derived(&session, shown, namespace, "").await?
        }
    };
    let number = items_of(&whole).len();
    if number == 0 {
        run.printer.note(&nothing(shown, args.all_namespaces, &args.selector, &session));
    }
    run.printer.list(&whole, &columns);
    closed.iter().for_each(|sentence| run.printer.note(sentence));
    expect(args.expect, number, shown, run)
}

/// Lists objects of a kind, for `weft node list` and its likes.
pub(crate) async fn list(kind: Kind, all_namespaces: bool, selector: &str, run: &Run) -> Outcome {
    if kind == Kind::Pod
        && selector.is_empty()
        && let Some(here) = local::answer(false, run).await?
    {
        return local::pods(here, all_namespaces, run);
    }
    let session = run.session()?;
    let whole = objects(&session, kind, namespace(kind, all_namespaces, &session), selector).await?;
    let shown = Shown::Object(kind);
    if items_of(&whole).is_empty() {
        run.printer.note(&nothing(shown, all_namespaces, selector, &session));
    }
    run.printer.list(&whole, &columns(shown, all_namespaces));
    Ok(())
}

/// `No pods with app=web in namespace shop.`
fn nothing(shown: Shown, all_namespaces: bool, selector: &str, session: &Session) -> String {
    let with = if selector.is_empty() { String::new() } else { format!(" with {selector}") };
    let place = match shown {
        shown if shown.has_namespace() && !all_namespaces => format!(" in namespace {}", session.namespace()),
        Shown::Object(_) | Shown::Endpoints | Shown::Peers | Shown::Routes | Shown::Events => String::new(),
    };
    format!("No {}{with}{place}.", shown.plural())
}

fn namespace(kind: Kind, all_namespaces: bool, session: &Session) -> &str {
    if all_namespaces || !has_namespace(kind) { "" } else { session.namespace() }
}

fn expect(expected: Option<Expect>, number: usize, shown: Shown, run: &Run) -> Outcome {
    match expected {
        Some(expected) if !expected.holds(number) => {
            let there = if number == 1 { shown.singular() } else { shown.plural() };
            run.printer.note(&format!("expected {expected}, there are {number} {there}"));
            Err(Failure::Answer(ExitCode::No))
        }
        Some(_) | None => Ok(()),
    }
}

/// All objects of a kind as a list value.
pub(crate) async fn objects(
    session: &Session,
    kind: Kind,
    namespace: &str,
    selector: &str,
) -> Outcome<Value> {
    let (objects, revision) = typed(session, kind, namespace, selector).await?;
    Ok(weft_yaml::list_value(objects.iter().map(weft_yaml::object_value).collect(), revision))
}

/// All objects of a kind, and the revision they were read at.
pub(crate) async fn typed(
    session: &Session,
    kind: Kind,
    namespace: &str,
    selector: &str,
) -> Outcome<(Vec<Object>, u64)> {
    let request = v1::ListRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: namespace.to_owned(),
        selector: selector.to_owned(),
        stale: session.stale(),
    };
    let answer = session.call(request, |mut admin, request| async move { admin.list(request).await }).await?;
    let objects = answer.objects.into_iter().map(|wire| object(Some(wire)));
    Ok((objects.collect::<Outcome<_>>()?, answer.revision))
}

/// One object and the revision it was read at; a missing one comes with the name that may have been meant.
pub(crate) async fn one(session: &Session, kind: Kind, name: &str) -> Outcome<(Value, u64)> {
    let (object, revision) = one_object(session, kind, name).await?;
    Ok((weft_yaml::object_value(&object), revision))
}

/// As `one`, not yet a value.
pub(crate) async fn one_object(session: &Session, kind: Kind, name: &str) -> Outcome<(Object, u64)> {
    let (namespace, name) = split_name(kind, name, session.namespace());
    let request = v1::GetRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        stale: session.stale(),
    };
    let answer = session.call(request, |mut admin, request| async move { admin.get(request).await }).await;
    match answer {
        Ok(answer) => Ok((object(answer.object)?, answer.revision)),
        Err(failure) => Err(suggest(session, failure, kind, name).await),
    }
}

/// Adds to a "not found" which object may have been meant: of that name elsewhere, or spelt alike.
pub(crate) async fn suggest(session: &Session, failure: Failure, kind: Kind, name: &str) -> Failure {
    let Failure::Error(error) = failure else { return failure };
    if error.registered() != &NOT_FOUND {
        return Failure::Error(error);
    }
    let Ok(whole) = objects(session, kind, "", "").await else { return Failure::Error(error) };
    let known = |value: &Value| (at(value, "/metadata/namespace"), at(value, "/metadata/name"));
    let known: Vec<(String, String)> = items_of(&whole).iter().map(known).collect();
    let elsewhere = known.iter().find(|(namespace, known)| !namespace.is_empty() && known == name);
    let mut error = *error;
    if let Some((namespace, name)) = elsewhere {
        let text = format!("there is one in namespace {namespace}");
        error.remedy.insert(0, Remedy { text, command: format!("weft get {kind} {name} -n {namespace}") });
        return error.into();
    }
    did_you_mean(error, name, known.iter().map(|(_, name)| name.as_str())).into()
}

/// Items of a kind as every agent holds them, with the revision they are of; an empty name means all.
pub(crate) async fn items(
    session: &Session,
    kind: v1::ItemKind,
    namespace: &str,
    name: &str,
) -> Outcome<(Vec<Item>, u64)> {
    let request = v1::ItemsRequest {
        stale: session.stale(),
        kind: kind.into(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let answer =
        session.call(request, |mut admin, request| async move { admin.items(request).await }).await?;
    let part = answer.snapshot.unwrap_or_default();
    let items = part.items.into_iter().map(|wire| Item::try_from(wire).map_err(|e| Failure::of(&e)));
    Ok((items.collect::<Outcome<_>>()?, part.revision))
}

/// Endpoints, peers or routes as every agent holds them.
async fn derived(session: &Session, shown: Shown, namespace: &str, name: &str) -> Outcome<Value> {
    let (kind, namespace) = match shown {
        Shown::Endpoints => (v1::ItemKind::Service, namespace),
        Shown::Peers => (v1::ItemKind::Peer, ""),
        Shown::Routes | Shown::Events | Shown::Object(_) => (v1::ItemKind::Route, ""),
    };
    let (items, revision) = items(session, kind, namespace, name).await?;
    let mut values: Vec<Value> = items.iter().filter_map(|item| item_value(shown, item)).collect();
    if shown == Shown::Endpoints && !values.is_empty() {
        let silent = endpoints::silent_nodes(&objects(session, Kind::Node, "", "").await?);
        values.iter_mut().for_each(|value| endpoints::heed_silence(value, &silent));
    }
    Ok(weft_yaml::list_value(values, revision))
}

async fn derived_one(session: &Session, shown: Shown, word: &str) -> Outcome<Value> {
    let (namespace, name) = match word.split_once('/') {
        Some((namespace, name)) if shown == Shown::Endpoints => (namespace, name),
        Some(_) | None => (session.namespace(), word),
    };
    let whole = derived(session, shown, namespace, "").await?;
    let all = items_of(&whole);
    if let Some(value) = all.iter().find(|value| at(value, "/metadata/name") == name) {
        return Ok(value.clone());
    }
    let noun = shown.singular();
    let error = Error::new(&NOT_FOUND, format!("{noun} {name:?} doesn't exist"))
        .object(noun, "", name)
        .try_this("list what there is", format!("weft get {}", shown.plural()));
    let names: Vec<String> = all.iter().map(|value| at(value, "/metadata/name")).collect();
    Err(did_you_mean(error, name, names.iter().map(String::as_str)).into())
}

fn item_value(shown: Shown, item: &Item) -> Option<Value> {
    match (shown, item) {
        (Shown::Endpoints, Item::Service(service)) => Some(endpoints::value(service)),
        (Shown::Peers, Item::Peer(peer)) => Some(json!({
            "kind": "Peer",
            "metadata": {"name": peer.node.as_str()},
            "endpoint": peer.endpoint.map(|e| e.to_string()),
            "mesh": peer.mesh.iter().map(|(_, a)| a.to_string()).collect::<Vec<_>>(),
            "underlay": peer.underlay.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "allowed": peer.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "key": peer.wireguard_key.is_some(),
            "zone": peer.zone,
        })),
        (Shown::Routes, Item::Route(route)) => Some(json!({
            "kind": "Route",
            "metadata": {"name": route.block.to_string()},
            "node": route.node.as_str(),
            "epoch": route.epoch.0,
        })),
        (
            Shown::Endpoints | Shown::Peers | Shown::Routes | Shown::Events | Shown::Object(_),
            Item::Fabric(_)
            | Item::Peer(_)
            | Item::Route(_)
            | Item::Service(_)
            | Item::Probe(_)
            | Item::Owner(_)
            | Item::Pod(_)
            | Item::Setup(_)
            | Item::Policy(_)
            | Item::Namespace(_)
            | Item::Identity(_),
        ) => None,
    }
}

/// Prints a row per change until interrupted.
async fn watch(args: &Get, kind: Kind, session: &Session, run: &Run) -> Outcome {
    let request = v1::WatchObjectsRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: namespace(kind, args.all_namespaces, session).to_owned(),
        selector: args.selector.clone(),
    };
    // A watch has no deadline of its own: it goes on until interrupted.
    let failed = |status| Failure::from(weft_rpc::error_of(&status));
    let mut stream = session.streams().watch_objects(request).await.map_err(failed)?.into_inner();
    let columns = columns(Shown::Object(kind), args.all_namespaces);
    let mut table = Table::new(&columns, run.printer.style());
    while let Some(change) = stream.message().await.map_err(failed)? {
        if change.object.is_none() {
            continue;
        }
        let mut value = weft_yaml::object_value(&object(change.object)?);
        if args.name.as_ref().is_some_and(|name| *name != at(&value, "/metadata/name")) {
            continue;
        }
        if let Value::Object(map) = &mut value {
            map.insert("deleted".to_owned(), json!(change.deleted));
        }
        run.printer.change(&value, change.deleted, &mut table);
    }
    Ok(())
}
