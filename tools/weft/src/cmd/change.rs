//! What a change opens and closes, and which live connections it ends, as a value and as lines.

use std::net::SocketAddr;

use serde_json::{Value, json};
use weft_proto::v1;

use crate::{
    client::address,
    table::{at, count, joined},
};

/// Connections that lines name before a change is made.
const ROWS: usize = 20;
/// The same when it has been made.
const ROWS_DONE: usize = 5;

/// A change as a value.
pub(crate) fn value(change: &v1::PolicyChange) -> Value {
    let shift = |shift: &v1::PolicyShift| {
        json!({
            "from": shift.from,
            "to": shift.to,
            "opens": word(&shift.opens),
            "closes": word(&shift.closes),
            "family": word(&shift.family),
            "fromPods": shift.from_pods,
            "toPods": shift.to_pods,
        })
    };
    json!({
        "shifts": change.shifts.iter().map(shift).collect::<Vec<_>>(),
        "shiftsTotal": change.shifts_total,
        "live": change.live.as_ref().map(live),
        "untold": word(&change.untold),
    })
}

fn word(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn live(live: &v1::LiveCuts) -> Value {
    let cut = |cut: &v1::LiveCut| {
        json!({
            "node": cut.node,
            "from": word(&cut.from),
            "fromAddress": address(&cut.from_address).map(|address| address.to_string()),
            "fromPort": if cut.from_port == 0 { Value::Null } else { json!(cut.from_port) },
            "to": word(&cut.to),
            "toAddress": address(&cut.to_address).map(|address| address.to_string()),
            "toPort": cut.to_port,
            "protocol": protocol(cut.protocol),
            "connections": cut.count,
        })
    };
    let unasked = |node: &v1::UnaskedNode| json!({"node": node.node, "why": node.why});
    json!({
        "connections": live.total,
        "cuts": live.cuts.iter().map(cut).collect::<Vec<_>>(),
        "asked": live.asked,
        "unasked": live.unasked.iter().map(unasked).collect::<Vec<_>>(),
        "untold": word(&live.untold),
    })
}

fn protocol(number: u32) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// What a change would do, line by line.
pub(crate) fn before(change: &v1::PolicyChange) -> String {
    let value = value(change);
    let mut text = String::new();
    let shifts = list(&value, "/shifts");
    for shift in shifts {
        for verb in ["opens", "closes"] {
            let what = at(shift, &format!("/{verb}"));
            if !what.is_empty() {
                let (from, to) = (joined(shift, "/from"), joined(shift, "/to"));
                let family = match at(shift, "/family").as_str() {
                    "" => String::new(),
                    family => format!(" ({family} alone)"),
                };
                text += &format!("{verb:7} {from} -> {to}: {what}{family}\n");
            }
        }
    }
    let total = usize::try_from(change.shifts_total).unwrap_or(usize::MAX);
    if total > shifts.len() {
        text += &format!("        and {} more\n", total - shifts.len());
    }
    text + &rest(&value, ROWS, "would be")
}

/// What a change that was made did, in few lines; nothing where it cut nothing and everything is known.
pub(crate) fn after(change: &v1::PolicyChange) -> String {
    let value = value(change);
    let known = at(&value, "/live/connections") == "0" && list(&value, "/live/unasked").is_empty();
    if known && at(&value, "/live/untold").is_empty() {
        String::new()
    } else {
        rest(&value, ROWS_DONE, "are")
    }
}

/// Live connections, and what isn't known.
fn rest(value: &Value, rows: usize, verb: &str) -> String {
    let mut text = String::new();
    if let Some(why) = value["untold"].as_str() {
        text += &format!("unknown what opens and closes: {why}\n");
    }
    let live = &value["live"];
    if live.is_null() {
        return text;
    }
    if let Some(why) = live["untold"].as_str() {
        return text + &format!("unknown which live connections {verb} cut: {why}\n");
    }
    let total = usize::try_from(live["connections"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let verb = if total == 1 && verb == "are" { "is" } else { verb };
    // Nodes that weren't asked may have more.
    let whole = list(live, "/unasked").is_empty();
    let number = match (total, whole) {
        (0, true) => "no live connection".to_owned(),
        (0, false) => "no live connection that is known".to_owned(),
        (_, true) => count(total, "live connection"),
        (_, false) => format!("at least {}", count(total, "live connection")),
    };
    let asked = count(list(live, "/asked").len(), "node");
    text += &format!("{number} {verb} cut ({asked} asked)\n");
    let cuts = list(live, "/cuts");
    cuts.iter().take(rows).for_each(|cut| text += &format!("  {}\n", row(cut)));
    let shown: u64 = cuts.iter().take(rows).filter_map(|cut| cut["connections"].as_u64()).sum();
    let more = total.saturating_sub(usize::try_from(shown).unwrap_or(usize::MAX));
    if more > 0 {
        text += &format!("  and {more} more\n");
    }
    for node in list(live, "/unasked") {
        text += &format!("node {} wasn't asked: {}\n", at(node, "/node"), at(node, "/why"));
    }
    text
}

/// `shop/web-0 10.128.0.3:41022 -> shop/db-0 10.128.1.4:5432 tcp, on n1`.
fn row(cut: &Value) -> String {
    let end = |name: &str, address: &str, port: &str| {
        let (name, port) = (at(cut, name), cut.pointer(port).and_then(Value::as_u64).unwrap_or(0));
        let place = match at(cut, address).parse() {
            Ok(address) if port > 0 => {
                SocketAddr::new(address, u16::try_from(port).unwrap_or_default()).to_string()
            }
            Ok(address) => address.to_string(),
            Err(_) => String::new(),
        };
        [name, place].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let number = usize::try_from(cut["connections"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let times = if number == 1 { String::new() } else { format!(", {}", count(number, "connection")) };
    format!(
        "{} -> {} {}{times}, on {}",
        end("/from", "/fromAddress", "/fromPort"),
        end("/to", "/toAddress", "/toPort"),
        at(cut, "/protocol"),
        at(cut, "/node")
    )
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bytes_of;

    fn cut(from: &str, from_port: u32, count: u64) -> v1::LiveCut {
        v1::LiveCut {
            node: "n1".to_owned(),
            from: from.to_owned(),
            from_address: bytes_of("10.128.0.3".parse().unwrap()),
            from_port,
            to: "shop/db-0".to_owned(),
            to_address: bytes_of("fd5a::4".parse().unwrap()),
            to_port: 5432,
            protocol: 6,
            count,
        }
    }

    fn change() -> v1::PolicyChange {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let shift = v1::PolicyShift {
            from: words(&["namespace dev (3 pods)", "outside"]),
            to: words(&["shop/db-0"]),
            closes: "all but 5432/tcp".to_owned(),
            ..v1::PolicyShift::default()
        };
        let other = v1::PolicyShift {
            opens: "80/tcp".to_owned(),
            closes: String::new(),
            family: "IPv6".to_owned(),
            ..shift.clone()
        };
        let live = v1::LiveCuts {
            total: 8,
            cuts: vec![cut("shop/web-0", 41022, 1), cut("", 0, 6)],
            asked: words(&["n1"]),
            unasked: vec![v1::UnaskedNode { node: "n2".to_owned(), why: "it is away".to_owned() }],
            untold: String::new(),
        };
        v1::PolicyChange {
            shifts: vec![shift, other],
            shifts_total: 3,
            live: Some(live),
            untold: String::new(),
        }
    }

    #[test]
    fn a_change_is_told_before_and_after() {
        let rows = "  shop/web-0 10.128.0.3:41022 -> shop/db-0 [fd5a::4]:5432 tcp, on n1\n\
                    \u{20} 10.128.0.3 -> shop/db-0 [fd5a::4]:5432 tcp, 6 connections, on n1\n\
                    \u{20} and 1 more\nnode n2 wasn't asked: it is away\n";
        assert_eq!(
            before(&change()),
            format!(
                "closes  namespace dev (3 pods), outside -> shop/db-0: all but 5432/tcp\n\
                 opens   namespace dev (3 pods), outside -> shop/db-0: 80/tcp (IPv6 alone)\n\
                 \u{20}       and 1 more\nat least 8 live connections would be cut (1 node asked)\n{rows}"
            )
        );
        assert_eq!(after(&change()), format!("at least 8 live connections are cut (1 node asked)\n{rows}"));
        let one = v1::LiveCuts { total: 1, ..v1::LiveCuts::default() };
        let one = v1::PolicyChange { live: Some(one), ..v1::PolicyChange::default() };
        assert!(after(&one).starts_with("1 live connection is cut"), "{}", after(&one));
    }

    #[test]
    fn what_isnt_known_is_said_and_what_does_nothing_isnt() {
        let none = v1::PolicyChange { live: Some(v1::LiveCuts::default()), ..change() };
        assert!(
            after(&none).is_empty()
                && before(&none).ends_with("no live connection would be cut (0 nodes asked)\n")
        );
        let opens = v1::PolicyChange { live: None, ..change() };
        assert!(after(&opens).is_empty() && !before(&opens).contains("live"));
        let untold = v1::PolicyChange { untold: "too many".to_owned(), ..v1::PolicyChange::default() };
        assert_eq!(after(&untold), "unknown what opens and closes: too many\n");
        let live = v1::LiveCuts { untold: "too many".to_owned(), ..v1::LiveCuts::default() };
        let untold = v1::PolicyChange { live: Some(live), ..v1::PolicyChange::default() };
        assert_eq!(before(&untold), "unknown which live connections would be cut: too many\n");
    }
}
