//! `bench names`: how soon a change is in every node's answers, and what a hostile pod costs the others of its node.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Entry, Row};
use crate::checks::names::{Attack, Beside, DOMAIN, kind_of, rounds, servers};
use crate::checks::{Cast, eventually};
use crate::fabric::Background;
use crate::probe::Change;
use crate::{Fabric, Result};

/// Changes, each of which is looked for on every node.
const CHANGES: u16 = 250;
/// Changes per second: each is everywhere before the next one.
const RATE: f64 = 10.0;
/// A change that takes longer than this isn't waited for.
const LONGEST: Duration = Duration::from_secs(5);
/// Rounds with a hostile pod.
const ROUNDS: usize = 7;
/// Each part of a round.
const SPAN: Duration = Duration::from_secs(2);

/// Alone, beside the attack, beside its control.
const PARTS_OF_AN_ATTACK: usize = 3;

/// Its parts, which can be asked for alone.
pub(super) const PARTS: [Entry; 2] = [
    ("names/changes", "how soon a change is in every node's answers", 3, 3, |fabric, _| {
        changes(fabric, &Cast::attach(fabric)?)
    }),
    ("names/hostile", "a pod's answers beside a hostile pod", 3, 1, |fabric, _| {
        beside(fabric, &Cast::attach(fabric)?)
    }),
];

/// Measures.
pub(super) fn measure(fabric: &Fabric, _: Duration) -> Result<Vec<Row>> {
    let cast = Cast::attach(fabric)?;
    let mut rows = changes(fabric, &cast)?;
    rows.extend(beside(fabric, &cast)?);
    Ok(rows)
}

/// From the moment when a change is sent to the control plane, and from when it was stored, until a pod of each node is answered so.
fn changes(fabric: &Fabric, cast: &Cast) -> Result<Vec<Row>> {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: moved}\nspec: {clusterIP: None, ports: [{port: 80}]}\n";
    fabric.apply(&format!("{service}---\n{}", slice(0)))?;
    let (name, server) = (format!("moved.{DOMAIN}"), servers(fabric)?[0].to_string());
    let kind = kind_of(&[198, 18, 0, 1].into());
    // One pod of each node.
    let watchers = cast.all.iter().filter(|pod| pod.name() != cast.b.name());
    let watch = |pod| fabric.background(pod, &["dns-changes", &server, &name, "--type", kind], &[]);
    let watchers: Vec<Background> = watchers.map(|pod| watch(pod.place())).collect::<Result<_>>()?;
    let texts = vec![(1..=CHANGES).map(|number| Change::Apply(slice(number))).collect()];
    let within = Duration::from_secs_f64(f64::from(CHANGES) / RATE) * 2;
    let (told, _) = fabric.change_and_tell(&texts, RATE, within)?;
    let (mut from_sent, mut from_stored) =
        (Row::new("weft", "change_to_answer", "ms"), Row::new("weft", "stored_to_answer", "ms"));
    let mut stored = Row::new("weft", "store_change", "ms");
    for watcher in &watchers {
        let last = address(CHANGES);
        let seen = eventually(LONGEST, || {
            let lines = watcher.lines()?;
            let moments = lines
                .iter()
                .filter_map(|line| Some((line["data"][0].as_str()?.to_owned(), line["at_us"].as_f64()?)));
            let moments: BTreeMap<String, f64> = moments.collect();
            ensure!(moments.contains_key(&last), "the last change isn't answered");
            Ok(moments)
        })?;
        for (number, [sent, done]) in (1..).zip(told.iter().flatten()) {
            let at =
                seen.get(&address(number)).with_context(|| format!("change {number} was never answered"))?;
            from_sent.rounds.push((at - *sent as f64) / 1e3);
            from_stored.rounds.push((at - *done as f64) / 1e3);
        }
    }
    stored.rounds = told.iter().flatten().map(|[sent, done]| (done - sent) as f64 / 1e3).collect();
    watchers.into_iter().try_for_each(|watcher| watcher.stop().map(drop))?;
    fabric.erase(&format!("{service}---\n{}", slice(CHANGES)))?;
    let worst = from_sent.p99("change_to_answer_p99");
    let worst_stored = from_stored.p99("stored_to_answer_p99");
    Ok(vec![from_sent, worst, from_stored, worst_stored, stored])
}

/// The only endpoint of the service after so many changes.
fn address(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!("198.18.{high}.{low}")
}

fn slice(number: u16) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: moved-1, labels: {{kubernetes.io/service-name: \
         moved}}}}\naddressType: IPv4\nports: [{{port: 80}}]\nendpoints:\n- {{addresses: [{}]}}\n",
        address(number)
    )
}

/// A pod's answers alone, beside a hostile pod, and beside the same flood at a server of nothing: what the second is to the first, and
/// to the third, in the same round. The last is the server's part, the rest is what the flood costs the machine whoever it goes to.
fn beside(fabric: &Fabric, cast: &Cast) -> Result<Vec<Row>> {
    // The first one finds everything cold.
    rounds(fabric, cast, 1, SPAN / 4)?;
    let all = rounds(fabric, cast, ROUNDS, SPAN)?;
    let mut rows = vec![Row::new("weft", "p99_alone", "us"), Row::new("weft", "lost", "questions")];
    for parts in all.chunks(PARTS_OF_AN_ATTACK) {
        let p99 = |wanted: fn(Beside) -> Option<Attack>| {
            parts.iter().find_map(|part| Some((wanted(part.beside)?, part.p99))).context("a part is missing")
        };
        let (attack, names) = p99(|beside| match beside {
            Beside::Names(attack) => Some(attack),
            Beside::Nobody | Beside::Sink(_) => None,
        })?;
        let (_, sink) = p99(|beside| match beside {
            Beside::Sink(attack) => Some(attack),
            Beside::Nobody | Beside::Names(_) => None,
        })?;
        let alone = parts[0].p99;
        rows[0].rounds.push(alone);
        rows[1].rounds.extend(parts.iter().map(|part| part.lost));
        let name = attack.name().replace([' ', '-'], "_");
        let mut add = |metric: String, unit, value| match rows.iter_mut().find(|row| row.metric == metric) {
            Some(row) => row.rounds.push(value),
            None => rows.push(Row { rounds: vec![value], ..Row::new("weft", metric, unit) }),
        };
        add(format!("p99_beside_{name}"), "us", names);
        add(format!("p99_control_{name}"), "us", sink);
        add(format!("to_alone_{name}"), "x", names / alone);
        add(format!("control_to_alone_{name}"), "x", sink / alone);
        add(format!("to_control_{name}"), "x", names / sink);
    }
    Ok(rows)
}
