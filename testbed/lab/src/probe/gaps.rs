//! Datagrams to a udp server at a fixed rate, each with its number: how long nothing came back.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Event, Stop, Target};
use crate::Result;

/// What became of one request.
struct Request {
    at: Instant,
    answered: bool,
}

/// Asks `rate` times a second until a signal comes, then waits for the last answer. A gap lasts from the first request that nobody
/// answered to the next one that somebody did.
pub(super) fn run(target: &Target, rate: u32, stop: &Stop) -> Result<Value> {
    let any: IpAddr = if target.address.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(SocketAddr::new(target.address, target.port))?;
    socket.set_nonblocking(true)?;
    let step = Duration::from_secs(1) / rate.max(1);
    let mut requests = Vec::<Request>::new();
    let mut buffer = [0; 2048];
    let mut next = Instant::now();
    let mut end: Option<Instant> = None;
    let over = |end: Instant, requests: &[Request]| {
        // Who answers the last one has answered those before it, or never will.
        Instant::now() >= end || requests.last().is_some_and(|last| last.answered)
    };
    while end.is_none_or(|end| !over(end, &requests)) {
        if end.is_none() && Instant::now() >= next {
            // What can't be sent is lost like what doesn't come back.
            let _ = socket.send(&u64::try_from(requests.len())?.to_be_bytes());
            requests.push(Request { at: Instant::now(), answered: false });
            next += step;
        }
        let wait = end.unwrap_or(next).saturating_duration_since(Instant::now());
        match stop.or_readable(&socket, wait)? {
            Event::Readable => {
                let answer = socket.recv(&mut buffer).ok().and_then(|length| number(&buffer[..length]));
                if let Some(request) = answer.and_then(|number| requests.get_mut(number)) {
                    request.answered = true;
                }
            }
            Event::Stop => end = Some(Instant::now() + Duration::from_millis(target.within)),
            Event::Time => {}
        }
    }
    let lost = requests.iter().filter(|request| !request.answered).count();
    let gap = longest_gap(&requests).as_millis();
    Ok(json!({
        "ok": lost < requests.len(), "sent": requests.len(), "lost": lost,
        "longest_gap_ms": u64::try_from(gap).unwrap_or(u64::MAX),
    }))
}

/// An answer is the client's address in a line, then what was sent.
fn number(answer: &[u8]) -> Option<usize> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let sent: &[u8; 8] = answer.get(end + 1..)?.first_chunk()?;
    usize::try_from(u64::from_be_bytes(*sent)).ok()
}

fn longest_gap(requests: &[Request]) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for request in requests {
        let begun = *since.get_or_insert(request.at);
        longest = longest.max(request.at.saturating_duration_since(begun));
        if request.answered {
            since = None;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lasts_from_the_first_lost_request_to_the_next_answered_one() {
        let began = Instant::now();
        let gap = |answers: &str| {
            let requests = answers.bytes().zip(0..).map(|(answer, n)| Request {
                at: began + Duration::from_millis(5 * n),
                answered: answer == b'+',
            });
            longest_gap(&requests.collect::<Vec<_>>()).as_millis()
        };
        for (answers, expected) in [("++++", 0), ("+-++", 5), ("+--+-+", 10), ("+---", 10), ("", 0)] {
            assert_eq!(gap(answers), expected, "{answers}");
        }
    }

    #[test]
    fn an_answer_bears_the_number_behind_the_clients_address() {
        assert_eq!(number(&[b"10.0.0.1\n".as_slice(), &7u64.to_be_bytes()].concat()), Some(7));
        assert_eq!(number(b"10.0.0.1\n123"), None);
    }
}
