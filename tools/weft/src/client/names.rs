//! What the DNS of a node counts, as a value and as text.

use serde_json::{Map, Value, json};
use weft_proto::v1;

use super::socket;
use crate::table::{Style, at, column, render};

/// What the DNS of a node says of itself, as a value.
pub(super) fn names_value(names: &v1::NamesState) -> Value {
    let upstream = |upstream: &v1::NamesUpstream| {
        let state = match (upstream.r#loop, upstream.down) {
            (true, _) => "loop",
            (false, true) => "down",
            (false, false) if upstream.answers == 0 => "unknown",
            (false, false) => "up",
        };
        json!({
            "address": upstream.address.as_ref().and_then(socket).map(|address| address.to_string()),
            "domain": upstream.domain,
            "state": state,
            "asked": upstream.asked,
            "answered": upstream.answers,
            "failed": upstream.errors,
            "rttMs": (upstream.answers > 0).then_some(upstream.round_trip_ms),
        })
    };
    let mut cache = counts(&names.cache);
    cache.insert("entries".to_owned(), json!(names.cached));
    cache.insert("octets".to_owned(), json!(names.cache_bytes));
    json!({
        "revision": names.revision,
        "serving": names.serving,
        "queries": {"type": counts(&names.types), "zone": counts(&names.zones)},
        "answers": {"code": counts(&names.rcodes), "source": counts(&names.sources)},
        "latency": names.latencies.iter().enumerate().map(latency).collect::<Vec<_>>(),
        "cache": cache,
        "limited": counts(&names.limited),
        "upstreams": names.upstreams.iter().map(upstream).collect::<Vec<_>>(),
        "connections": names.connections,
        "events": counts(&names.events),
        "problems": names.troubles.iter().map(|trouble| json!(trouble.message)).collect::<Vec<_>>(),
    })
}

fn counts(counts: &[v1::NamesCount]) -> Map<String, Value> {
    counts.iter().map(|count| (count.name.clone(), json!(count.count))).collect()
}

/// Answers that took less than so many microseconds, and not less than half of it.
fn latency((class, answers): (usize, &u64)) -> Value {
    json!({"belowUs": 1_u64 << class.min(63), "answers": answers})
}

/// Counts of several nodes together.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// Answers.
    pub(crate) all: u64,
    /// Of these, `SERVFAIL`: a name that nobody could be asked about, or nobody told.
    failed: u64,
    /// By class of their time.
    classes: Vec<u64>,
}

impl Answers {
    /// Adds those of one node.
    pub(crate) fn add(&mut self, names: &Value) {
        let code = names.pointer("/answers/code").and_then(Value::as_object);
        for (code, number) in code.into_iter().flatten() {
            let number = number.as_u64().unwrap_or(0);
            self.all += number;
            self.failed += if code == "SERVFAIL" { number } else { 0 };
        }
        for (class, latency) in names["latency"].as_array().into_iter().flatten().enumerate() {
            if self.classes.len() <= class {
                self.classes.resize(class + 1, 0);
            }
            self.classes[class] += latency["answers"].as_u64().unwrap_or(0);
        }
    }

    /// `99.98 % answered, p99 64 µs`; nothing while nothing was asked.
    pub(crate) fn text(&self) -> String {
        if self.all == 0 {
            return String::new();
        }
        // Rounded down: one failure is never 100 %.
        let hundredths = (self.all - self.failed) * 10_000 / self.all;
        format!("{}.{:02} % answered, p99 {}", hundredths / 100, hundredths % 100, self.p99())
    }

    /// Time within which 99 of 100 were answered.
    fn p99(&self) -> String {
        let all: u64 = self.classes.iter().sum();
        let mut left = all - all / 100;
        let class = self.classes.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        match 1_u64 << class.unwrap_or(0).min(63) {
            us if us < 1000 => format!("{us} µs"),
            us => format!("{} ms", us.div_ceil(1000)),
        }
    }
}

/// Lines about the DNS of a node: numbers that aren't zero, and its upstreams.
pub(crate) fn names_text(names: &Value) -> String {
    if names.is_null() {
        return String::new();
    }
    let mut answers = Answers::default();
    answers.add(names);
    if answers.all == 0 {
        return "Names       nothing asked yet\n".to_owned() + &upstreams(names);
    }
    let line = |label: &str, pointer: &str| {
        let parts = parts(names.pointer(pointer));
        if parts.is_empty() { String::new() } else { format!("  {label:<9} {parts}\n") }
    };
    let mut text = format!("Names       {} answers, {}\n", answers.all, answers.text());
    for (label, pointer) in [
        ("types", "/queries/type"),
        ("zones", "/queries/zone"),
        ("codes", "/answers/code"),
        ("from", "/answers/source"),
        ("cache", "/cache"),
        ("limited", "/limited"),
    ] {
        text += &line(label, pointer);
    }
    text + &upstreams(names)
}

/// `A 12, AAAA 9`: those that aren't zero.
fn parts(counts: Option<&Value>) -> String {
    let counts = counts.and_then(Value::as_object).into_iter().flatten();
    let some = counts.filter(|(_, number)| number.as_u64().is_some_and(|number| number > 0));
    some.map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>().join(", ")
}

fn upstreams(names: &Value) -> String {
    let all = names["upstreams"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return String::new();
    }
    let rtt = |u: &Value| u["rttMs"].as_u64().map_or(String::new(), |ms| format!("{} ms", ms.max(1)));
    let columns = [
        column("UPSTREAM", |u| at(u, "/address")),
        column("DOMAIN", |u| at(u, "/domain")),
        column("STATE", |u| at(u, "/state")),
        column("ASKED", |u| at(u, "/asked")),
        column("ANSWERED", |u| at(u, "/answered")),
        column("FAILED", |u| at(u, "/failed")),
        column("RTT", rtt),
    ];
    render(&columns, all, Style::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(list: &[(&str, u64)]) -> Vec<v1::NamesCount> {
        list.iter().map(|(name, count)| v1::NamesCount { name: (*name).to_owned(), count: *count }).collect()
    }

    fn state() -> v1::NamesState {
        let server: std::net::SocketAddr = "192.0.2.53:53".parse().unwrap();
        v1::NamesState {
            types: counted(&[("A", 60), ("AAAA", 40), ("TXT", 0)]),
            zones: counted(&[("cluster", 90), ("foreign", 10)]),
            rcodes: counted(&[("NOERROR", 99), ("SERVFAIL", 1)]),
            latencies: vec![0, 0, 90, 8, 0, 0, 0, 0, 0, 0, 0, 2],
            cache: counted(&[("hits", 4), ("misses", 6)]),
            limited: counted(&[("rate", 0)]),
            upstreams: vec![v1::NamesUpstream {
                address: Some((&server).into()),
                answers: 5,
                asked: 6,
                errors: 1,
                round_trip_ms: 12,
                domain: ".".to_owned(),
                ..v1::NamesUpstream::default()
            }],
            ..v1::NamesState::default()
        }
    }

    #[test]
    fn numbers_are_shown_where_there_are_any() {
        assert_eq!(names_text(&Value::Null), "");
        assert_eq!(names_text(&names_value(&v1::NamesState::default())), "Names       nothing asked yet\n");
        let text = names_text(&names_value(&state()));
        let expected = "Names       100 answers, 99.00 % answered, p99 3 ms\n\
            \x20 types     A 60, AAAA 40\n\
            \x20 zones     cluster 90, foreign 10\n\
            \x20 codes     NOERROR 99, SERVFAIL 1\n\
            \x20 cache     hits 4, misses 6\n\
            UPSTREAM       DOMAIN  STATE  ASKED  ANSWERED  FAILED  RTT\n\
            192.0.2.53:53  .       up     6      5         1       12 ms\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn nodes_are_added_up() {
        let mut answers = Answers::default();
        assert_eq!(answers.text(), "");
        answers.add(&names_value(&state()));
        answers.add(&names_value(&v1::NamesState {
            rcodes: counted(&[("NOERROR", 99_900)]),
            latencies: vec![0, 0, 99_900],
            ..v1::NamesState::default()
        }));
        assert_eq!(answers.text(), "99.99 % answered, p99 4 µs");
    }
}
