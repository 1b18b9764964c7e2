//! `weft get KIND [NAME]`: objects that the control plane keeps, and the items it derived for nodes.

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, NOT_FOUND, UNKNOWN_KIND, USAGE};
use weft_model::{Item, Kind};
use weft_proto::v1;

use super::Run;
use crate::{
    args::Get,
    client::{Session, now_ms, object},
    fail::{Failure, Outcome},
    table::{Column, at, column, joined, labels, span, wide},
};

/// What `get` can show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// An object of the store.
    Object(Kind),
    /// Derived peers.
    Peers,
    /// Derived routes.
    Routes,
}

/// Words of each kind, short and plural forms included.
const WORDS: &[(&[&str], Shown)] = &[
    (&["nodes", "node", "no"], Shown::Object(Kind::Node)),
    (&["pods", "pod", "po"], Shown::Object(Kind::Pod)),
    (&["blocks", "block", "leases", "lease"], Shown::Object(Kind::Lease)),
    (&["members", "member", "replicas", "replica"], Shown::Object(Kind::Member)),
    (&["fabric", "fabrics", "fab"], Shown::Object(Kind::Fabric)),
    (&["peers", "peer"], Shown::Peers),
    (&["routes", "route"], Shown::Routes),
];

impl Shown {
    /// The kind in the store; peers and routes have none.
    pub(crate) fn object_kind(self, word: &str) -> Outcome<Kind> {
        match self {
            Self::Object(kind) => Ok(kind),
            Self::Peers | Self::Routes => Err(Failure::new(
                &USAGE,
                format!("{word} are derived; they can only be listed with weft get"),
            )),
        }
    }
}

/// The kind of a word, with a suggestion for an unknown one.
pub(crate) fn kind_of(word: &str) -> Outcome<Shown> {
    let lower = word.to_lowercase();
    if let Some((_, shown)) = WORDS.iter().find(|(words, _)| words.contains(&lower.as_str())) {
        return Ok(*shown);
    }
    let all = || WORDS.iter().flat_map(|(words, _)| words.iter().copied());
    let near = all().map(|known| (strsim::levenshtein(known, &lower), known)).filter(|(d, _)| *d <= 2).min();
    let hint = near.map_or_else(
        || "nodes pods blocks members fabric peers routes".to_owned(),
        |(_, known)| format!("weft get {known}"),
    );
    Err(Error::new(&UNKNOWN_KIND, format!("{word:?} is no kind")).try_this("one of the kinds", hint).into())
}

/// Runs the command.
pub(crate) async fn run(args: &Get, run: &Run) -> Outcome {
    let shown = kind_of(&args.kind)?;
    let session = run.session()?;
    if args.watch {
        return watch(args, shown.object_kind(&args.kind)?, &session, run).await;
    }
    let whole = match (shown, &args.name) {
        (Shown::Object(kind), Some(name)) => {
            let (value, _) = one(&session, kind, name).await?;
            run.printer.list(&json!({"items": [value.clone()]}), columns(shown));
            return expect(args, 1);
        }
        (Shown::Object(kind), None) => {
            objects(&session, kind, namespace(args, kind, &session), &args.selector).await?
        }
        (Shown::Peers | Shown::Routes, name) => items(&session, shown, name.as_deref()).await?,
    };
    let count = whole.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    if count == 0 {
        let place = match shown {
            Shown::Object(Kind::Pod) if !args.all_namespaces => {
                format!(" in namespace {}", session.namespace())
            }
            Shown::Object(_) | Shown::Peers | Shown::Routes => String::new(),
        };
        run.printer.note(&format!("No {}{place}.", args.kind));
    }
    run.printer.list(&whole, columns(shown));
    expect(args, count)
}

fn namespace<'a>(args: &Get, kind: Kind, session: &'a Session) -> &'a str {
    if args.all_namespaces || kind != Kind::Pod { "" } else { session.namespace() }
}

fn expect(args: &Get, count: usize) -> Outcome {
    match args.expect {
        Some(expected) if !expected.holds(count) => Err(Failure::Answer(ExitCode::No)),
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
    let request = v1::ListRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: namespace.to_owned(),
        selector: selector.to_owned(),
        stale: session.stale(),
    };
    let answer =
        session.admin()?.list(session.request(request)).await.map_err(|s| session.failure(s))?.into_inner();
    let mut values = Vec::with_capacity(answer.objects.len());
    for wire in answer.objects {
        values.push(weft_yaml::object_value(&object(Some(wire))?));
    }
    Ok(weft_yaml::list_value(values, answer.revision))
}

/// One object and the revision it was read at.
pub(crate) async fn one(session: &Session, kind: Kind, name: &str) -> Outcome<(Value, u64)> {
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) if kind == Kind::Pod => (namespace, name),
        Some(_) | None => (session.namespace(), name),
    };
    let request = v1::GetRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: if kind == Kind::Pod { namespace.to_owned() } else { String::new() },
        name: name.to_owned(),
        stale: session.stale(),
    };
    let answer =
        session.admin()?.get(session.request(request)).await.map_err(|s| session.failure(s))?.into_inner();
    Ok((weft_yaml::object_value(&object(answer.object)?), answer.revision))
}

/// Peers or routes as every agent holds them.
async fn items(session: &Session, shown: Shown, name: Option<&str>) -> Outcome<Value> {
    let request = v1::ItemsRequest { stale: session.stale() };
    let part = session
        .admin()?
        .items(session.request(request))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner()
        .snapshot
        .unwrap_or_default();
    let mut values = Vec::new();
    for wire in part.items {
        let item = Item::try_from(wire).map_err(|e| Failure::of(&e))?;
        let value = match (shown, item) {
            (Shown::Peers, Item::Peer(peer)) => json!({
                "kind": "Peer",
                "metadata": {"name": peer.node.as_str()},
                "endpoint": peer.endpoint.map(|e| e.to_string()),
                "mesh": peer.mesh.iter().map(|(_, a)| a.to_string()).collect::<Vec<_>>(),
                "underlay": peer.underlay.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "allowed": peer.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "key": peer.wireguard_key.is_some(),
            }),
            (Shown::Routes, Item::Route(route)) => json!({
                "kind": "Route",
                "metadata": {"name": route.block.to_string()},
                "node": route.node.as_str(),
                "epoch": route.epoch.0,
            }),
            (
                Shown::Peers | Shown::Routes | Shown::Object(_),
                Item::Fabric(_) | Item::Peer(_) | Item::Route(_),
            ) => continue,
        };
        if name.is_none_or(|name| at(&value, "/metadata/name") == name) {
            values.push(value);
        }
    }
    if let (Some(name), true) = (name, values.is_empty()) {
        return Err(Error::new(&NOT_FOUND, format!("{name:?} is not among them")).into());
    }
    Ok(weft_yaml::list_value(values, part.revision))
}

/// Prints a row per change until interrupted or out of time.
async fn watch(args: &Get, kind: Kind, session: &Session, run: &Run) -> Outcome {
    let request = v1::WatchObjectsRequest {
        kind: v1::Kind::from(kind).into(),
        namespace: namespace(args, kind, session).to_owned(),
        selector: args.selector.clone(),
    };
    // A watch has no deadline of its own: it goes on until interrupted.
    let mut stream =
        session.admin()?.watch_objects(request).await.map_err(|s| session.failure(s))?.into_inner();
    let mut first = true;
    while let Some(change) = stream.message().await.map_err(|s| session.failure(s))? {
        if change.object.is_none() {
            continue;
        }
        let mut value = weft_yaml::object_value(&object(change.object)?);
        if let Value::Object(map) = &mut value {
            map.insert("deleted".to_owned(), json!(change.deleted));
        }
        if run.printer.json() {
            crate::output::out(&value.to_string());
            continue;
        }
        let mut printer = run.printer;
        printer.no_headers = !std::mem::take(&mut first) || run.printer.no_headers;
        if change.deleted {
            crate::output::out(&format!("{}   deleted", at(&value, "/metadata/name")));
        } else {
            printer.list(&json!({"items": [value]}), columns(Shown::Object(kind)));
        }
    }
    Ok(())
}

/// Columns of a kind.
pub(crate) fn columns(shown: Shown) -> &'static [Column] {
    const NAME: Column = column("NAME", |v| at(v, "/metadata/name"));
    const AGE: Column = column("AGE", age);
    const NODES: &[Column] = &[
        NAME,
        column("STATE", |v| at(v, "/status/state")),
        column("MESH", |v| joined(v, "/status/mesh")),
        column("UNDERLAY", |v| joined(v, "/status/underlay")),
        wide("ENDPOINT", |v| at(v, "/status/endpoint")),
        wide("LABELS", labels),
        AGE,
    ];
    const PODS: &[Column] = &[
        wide("NAMESPACE", |v| at(v, "/metadata/namespace")),
        NAME,
        column("READY", |v| at(v, "/status/ready")),
        column("ADDRESSES", |v| joined(v, "/status/podIPs")),
        column("NODE", |v| at(v, "/spec/nodeName")),
        wide("PHASE", |v| at(v, "/status/phase")),
        wide("LABELS", labels),
        AGE,
    ];
    const BLOCKS: &[Column] = &[
        column("BLOCK", |v| at(v, "/metadata/name")),
        column("NODE", |v| at(v, "/status/node")),
        column("EPOCH", |v| at(v, "/status/epoch")),
        AGE,
    ];
    const MEMBERS: &[Column] = &[
        column("ID", |v| at(v, "/status/id")),
        NAME,
        column("ADDRESS", |v| at(v, "/status/address")),
        column("ROLE", |v| at(v, "/status/role")),
    ];
    const FABRICS: &[Column] = &[
        NAME,
        column("FAMILIES", |v| at(v, "/spec/families")),
        column("OVERLAY", |v| at(v, "/spec/overlay")),
        column("PODS", |v| joined(v, "/spec/ranges/pods")),
        column("SERVICES", |v| joined(v, "/spec/ranges/services")),
        column("NODES", |v| joined(v, "/spec/ranges/nodes")),
    ];
    const PEERS: &[Column] = &[
        NAME,
        column("ENDPOINT", |v| at(v, "/endpoint")),
        column("MESH", |v| joined(v, "/mesh")),
        wide("UNDERLAY", |v| joined(v, "/underlay")),
        column("ALLOWED", |v| joined(v, "/allowed")),
    ];
    const ROUTES: &[Column] = &[
        column("BLOCK", |v| at(v, "/metadata/name")),
        column("NODE", |v| at(v, "/node")),
        column("EPOCH", |v| at(v, "/epoch")),
    ];
    match shown {
        Shown::Object(Kind::Node) => NODES,
        Shown::Object(Kind::Pod) => PODS,
        Shown::Object(Kind::Lease) => BLOCKS,
        Shown::Object(Kind::Member) => MEMBERS,
        Shown::Object(Kind::Fabric) => FABRICS,
        Shown::Peers => PEERS,
        Shown::Routes => ROUTES,
    }
}

/// Age of an object by its creation time (RFC 3339, as printed by weft-yaml).
fn age(value: &Value) -> String {
    let text = at(value, "/metadata/creationTimestamp");
    weft_yaml::parse_time(&text).map(|ms| span(now_ms().saturating_sub(ms) / 1000)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_short_and_plural_words_and_unknown_ones_a_hint() {
        for (word, kind) in
            [("no", Kind::Node), ("Pods", Kind::Pod), ("po", Kind::Pod), ("fab", Kind::Fabric)]
        {
            assert!(kind_of(word).is_ok_and(|shown| shown == Shown::Object(kind)), "{word}");
        }
        let Err(Failure::Error(error)) = kind_of("podz") else { panic!("podz is no kind") };
        assert!(error.to_string().contains("weft get pod"), "{error}");
    }
}
