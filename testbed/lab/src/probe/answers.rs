//! The same names asked over and over, over UDP and TCP at the same time: every answer with its moments.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::prctl::set_timerslack;
use serde_json::{Value, json};

use super::dns::{Question, read};
use super::{Event, Stop, now_us, print};
use crate::Result;
use crate::wait::pass;

/// A question without an answer after this is lost.
const LOST: Duration = Duration::from_secs(3);
/// Questions of one TCP connection.
const PER_CONNECTION: usize = 50;
/// Failures that are told in words; the others are counted.
const MOST_TOLD: usize = 10;

/// Whom, for what.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The server.
    server: IpAddr,
    /// Names.
    #[arg(required = true)]
    names: Vec<Name>,
    /// Types of records, each asked of each name.
    #[arg(long, value_delimiter = ',', default_value = "A")]
    types: Vec<RecordType>,
    /// Milliseconds that it rests after each answer.
    #[arg(long, default_value_t = 2)]
    rest: u64,
}

/// What one thread saw.
#[derive(Default)]
struct Seen {
    /// Place of the question, moments of question and answer, place of what was answered.
    all: Vec<(usize, u64, u64, usize)>,
    states: Vec<Value>,
    known: BTreeMap<String, usize>,
    failed: u64,
    told: Vec<String>,
}

/// Asks until a signal comes. Answers are numbers (place of the name, of the type, 1 for TCP, when asked, when answered, place of what
/// was answered), and what was answered stands once.
pub(super) fn run(plan: &Plan, stop: &Stop) -> Result<Value> {
    let end = AtomicBool::new(false);
    let questions: Vec<Question> = plan
        .names
        .iter()
        .flat_map(|name| plan.types.iter().map(|kind| Question::new(plan.server, name.clone(), *kind)))
        .collect();
    let seen = std::thread::scope(|scope| -> Result<[Seen; 2]> {
        let threads = [false, true].map(|tcp| {
            let (questions, end) = (&questions, &end);
            scope.spawn(move || watch(questions, tcp, Duration::from_millis(plan.rest), end))
        });
        stop.wait()?;
        end.store(true, Ordering::Relaxed);
        let [udp, tcp] = threads.map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked")));
        Ok([udp?, tcp?])
    })?;
    let (mut all, mut states, mut failed, mut told) = (Vec::new(), Vec::new(), 0, Vec::new());
    for (tcp, seen) in seen.into_iter().enumerate() {
        let (first, types) = (states.len(), plan.types.len());
        let row = |(question, sent, received, state): (usize, u64, u64, usize)| {
            json!([question / types, question % types, tcp, sent, received, first + state])
        };
        all.extend(seen.all.into_iter().map(row));
        states.extend(seen.states);
        failed += seen.failed;
        told.extend(seen.told);
    }
    Ok(json!({"ok": failed == 0, "failed": failed, "told": told, "states": states, "answers": all}))
}

/// Asks one question after the other; failures are noted, and don't end it.
fn watch(questions: &[Question], tcp: bool, rest: Duration, end: &AtomicBool) -> Seen {
    let (mut seen, mut connection, mut number) = (Seen::default(), None, 0_u16);
    for place in (0..questions.len()).cycle() {
        if end.load(Ordering::Relaxed) {
            break;
        }
        number = number.wrapping_add(1);
        let question = &questions[place];
        let answer =
            if tcp { by_stream(question, number, &mut connection) } else { by_datagram(question, number) };
        match answer {
            Ok((sent, received, answer)) => {
                let state = state(&answer);
                let next = seen.states.len();
                let state_place = *seen.known.entry(state.to_string()).or_insert(next);
                if state_place == next {
                    seen.states.push(state);
                }
                seen.all.push((place, sent, received, state_place));
            }
            Err(error) => {
                connection = None;
                seen.failed += 1;
                if seen.told.len() < MOST_TOLD {
                    seen.told.push(format!("{question}, {}: {error:#}", if tcp { "TCP" } else { "UDP" }));
                }
            }
        }
        pass(rest);
    }
    seen
}

fn by_datagram(question: &Question, number: u16) -> Result<(u64, u64, Value)> {
    let socket = question.socket()?;
    socket.set_read_timeout(Some(LOST))?;
    let query = question.message(number)?;
    let mut buffer = [0; 4096];
    let sent = now_us();
    socket.send(&query)?;
    let length = socket.recv(&mut buffer)?;
    let received = now_us();
    Ok((sent, received, read(&buffer[..length], number..=number)?))
}

/// In the connection that is there, or in a new one.
fn by_stream(
    question: &Question,
    number: u16,
    connection: &mut Option<(TcpStream, usize)>,
) -> Result<(u64, u64, Value)> {
    if connection.as_ref().is_none_or(|(_, asked)| *asked >= PER_CONNECTION) {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(question.server, question.port), LOST)?;
        stream.set_read_timeout(Some(LOST))?;
        stream.set_nodelay(true)?;
        *connection = Some((stream, 0));
    }
    let (stream, asked) = connection.as_mut().context("no connection")?;
    *asked += 1;
    let query = question.message(number)?;
    let length = u16::try_from(query.len())?.to_be_bytes();
    let sent = now_us();
    stream.write_all(&[&length[..], &query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    let received = now_us();
    let seen = read(&answer, number..=number)?;
    ensure!(seen["tc"] == false, "cut, over TCP");
    Ok((sent, received, seen))
}

/// Whom, for what, once.
#[derive(Clone, Debug, clap::Args)]
pub struct Each {
    /// The server.
    server: IpAddr,
    /// Names with types of records: `NAME/TYPE`.
    #[arg(required = true)]
    questions: Vec<String>,
}

/// Each question over UDP and over TCP: both answers, in the order of the questions.
pub(super) fn each(plan: &Each) -> Result<Value> {
    let (mut all, mut connection) = (Vec::new(), None);
    for (number, text) in (1..).zip(&plan.questions) {
        let (name, kind) = text.rsplit_once('/').with_context(|| format!("no type in {text:?}"))?;
        let question = Question::new(plan.server, Name::from_ascii(name)?, kind.parse()?);
        let (_, _, by_datagram) = by_datagram(&question, number).with_context(|| text.clone())?;
        let (_, _, by_stream) =
            by_stream(&question, number, &mut connection).with_context(|| text.clone())?;
        all.push([by_datagram, by_stream]);
    }
    Ok(json!({"ok": true, "answers": all}))
}

/// One name over and over until a signal comes: a line for each answer that differs from the one before; `ready` behind the first one.
pub(super) fn changes(question: &Question, stop: &Stop) -> Result<Value> {
    /// Between two questions: what is measured is not finer than this.
    const REST: Duration = Duration::from_micros(300);
    set_timerslack(1)?;
    let (mut last, mut number) = (Value::Null, 0_u16);
    loop {
        number = number.wrapping_add(1);
        let (_, at, answer) = by_datagram(question, number)?;
        let state = state(&answer);
        if state != last {
            print(&json!({"at_us": at, "data": state["data"]}))?;
            if last.is_null() {
                print(&json!("ready"))?;
            }
            last = state;
        }
        if stop.or_any(&[], REST)? == Event::Stop {
            return Ok(json!({"ok": true}));
        }
    }
}

/// What an answer says: its code, data in order, and the longest time for which it counts.
fn state(answer: &Value) -> Value {
    let records = || answer["answers"].as_array().into_iter().flatten();
    let mut data: Vec<&str> = records().filter_map(|record| record["data"].as_str()).collect();
    data.sort_unstable();
    let ttl = records().filter_map(|record| record["ttl"].as_u64()).max();
    json!({"rcode": answer["rcode"], "data": data, "ttl": ttl})
}
