//! Events: what happened to objects, as the asked replica remembers it.

use serde_json::{Value, json};
use weft_errors::{Error, USAGE};
use weft_model::Kind;
use weft_proto::v1;

use crate::{
    client::{Session, time},
    fail::{Failure, Outcome},
    output::items,
    table::{Column, at, column},
};

/// Events of objects of a kind, a namespace and a name, in order of time; empty words don't narrow.
pub(super) async fn list(
    session: &Session,
    kind: Option<Kind>,
    namespace: &str,
    name: &str,
) -> Outcome<Value> {
    let kind = kind.map_or(v1::Kind::Unspecified, v1::Kind::from).into();
    let request = v1::EventsRequest { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let answer =
        session.call(request, |mut admin, request| async move { admin.events(request).await }).await?;
    let values: Vec<Value> = answer.events.iter().map(value).collect();
    let mut whole = weft_yaml::list_value(values, 0);
    if let Value::Object(map) = &mut whole {
        // There is no revision of what was never stored; instead, how far the memory goes back.
        map.insert("metadata".to_owned(), json!({"since": time(answer.since_ms)}));
    }
    Ok(whole)
}

/// Events are asked for by what they are about.
pub(super) fn nameless(name: &str) -> Failure {
    let error = Error::new(&USAGE, "events have no names").field("NAME");
    error
        .try_this("those of a service or a node are shown with it", format!("weft describe svc {name}"))
        .into()
}

fn value(event: &v1::Event) -> Value {
    // One of a later release stays without a word.
    let known = [Kind::Service, Kind::Node].into_iter().find(|kind| v1::Kind::from(*kind) == event.kind());
    let kind = known.map(|kind| kind.to_string()).unwrap_or_default();
    json!({
        "kind": "Event",
        "firstTimestamp": time(event.first_ms),
        "lastTimestamp": time(event.last_ms),
        "count": event.count,
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "involvedObject": {"kind": kind, "namespace": event.namespace, "name": event.name},
        "message": event.message,
        "revision": event.revision,
    })
}

/// `TIME LEVEL REASON OBJECT MESSAGE (xN)`.
pub(super) fn columns() -> Vec<Column> {
    vec![
        column("TIME", |e| at(e, "/lastTimestamp")),
        column("LEVEL", |e| at(e, "/type")),
        column("REASON", |e| at(e, "/reason")),
        column("OBJECT", object),
        column("MESSAGE", message),
    ]
}

fn object(event: &Value) -> String {
    let of = |key: &str| at(event, &format!("/involvedObject/{key}"));
    let words = [of("kind"), of("namespace"), of("name")];
    words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join("/")
}

fn message(event: &Value) -> String {
    let times = match event["count"].as_u64() {
        Some(count) if count > 1 => format!(" (x{count})"),
        Some(_) | None => String::new(),
    };
    format!("{}{times}", at(event, "/message"))
}

/// Lines for the screen of one object; empty when nothing happened.
pub(super) fn lines(list: &Value) -> String {
    let line = |event: &Value| {
        format!(
            "  {}  {}  {}  {}\n",
            at(event, "/lastTimestamp"),
            at(event, "/type"),
            at(event, "/reason"),
            message(event)
        )
    };
    items(list).iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Style, render};

    #[test]
    fn a_row_tells_when_what_of_whom_and_how_often() {
        let event = v1::Event {
            first_ms: 1_700_000_000_000,
            last_ms: 1_700_000_060_000,
            count: 3,
            warning: true,
            reason: "NobodyReady".to_owned(),
            kind: v1::Kind::Service.into(),
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
            message: "0 of 2 backends ready".to_owned(),
            revision: 7,
        };
        let text = render(&columns(), &[value(&event)], Style { wide: false, no_headers: true });
        assert_eq!(
            text,
            "2023-11-14T22:14:20Z  Warning  NobodyReady  service/shop/cart  0 of 2 backends ready (x3)\n"
        );
        let of_node = v1::Event {
            kind: v1::Kind::Node.into(),
            namespace: String::new(),
            name: "n1".to_owned(),
            ..event.clone()
        };
        assert_eq!(object(&value(&of_node)), "node/n1");
        let whole = weft_yaml::list_value(vec![value(&event)], 0);
        assert_eq!(
            lines(&whole),
            "  2023-11-14T22:14:20Z  Warning  NobodyReady  0 of 2 backends ready (x3)\n"
        );
    }
}
