//! What the DNS process said, and what is to be said of it.

use std::{
    io,
    net::SocketAddr,
    os::{fd::BorrowedFd, unix::net::UnixStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weft_dns::{Socket, frame};
use weft_errors::{DNS_NO_UPSTREAM, DNS_STUB_DOMAIN, DNS_UPSTREAM_LOOP, DNS_UPSTREAM_UNREACHABLE, Error};
use weft_plan::Finding;
use weft_proto::v1::{self, NamesProblemKind, names_order::Order};

/// The way to one DNS process; frames of several senders don't mix.
#[derive(Clone, Debug)]
pub(super) struct Line(Arc<Mutex<UnixStream>>);

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Sends an order and descriptors with it.
    pub(super) fn send(&self, order: Order, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame::send(&stream, &v1::NamesOrder { order: Some(order) }, descriptors)
    }

    /// Hangs up.
    pub(super) fn cut(&self) {
        // One that is closed already is fine.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(std::net::Shutdown::Both);
    }
}

/// What came from a DNS process.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A process has come.
    Hello { link: u64, pid: u32, line: Line, offered: Vec<Socket> },
    /// It says how it is.
    State { link: u64, state: Box<v1::NamesState> },
    /// It is gone.
    Gone { link: u64 },
}

/// What came, and how names are served.
#[derive(Debug, Default)]
pub(crate) struct Post(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    arrivals: Vec<Arrival>,
    state: Option<v1::NamesState>,
    trouble: Option<Error>,
}

impl Post {
    /// What `weft check` says.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let shared = self.lock();
        let trouble =
            shared.trouble.iter().map(|error| finding("dns", false, &error.message, Some(error.clone())));
        let Some(state) = &shared.state else { return trouble.collect() };
        let problems = state.troubles.iter().map(problem);
        let numbers = finding("dns answers", true, &numbers(state), None);
        trouble.chain([numbers]).chain(problems).chain(state.upstreams.iter().filter_map(upstream)).collect()
    }

    /// What the DNS process counts; `None` while none answers.
    pub(crate) fn state(&self) -> Option<v1::NamesState> {
        self.lock().state.clone()
    }

    pub(super) fn arrive(&self, arrival: Arrival) {
        self.lock().arrivals.push(arrival);
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.lock().arrivals)
    }

    pub(super) fn note(&self, state: Option<v1::NamesState>, trouble: Option<Error>) {
        let mut shared = self.lock();
        (shared.state, shared.trouble) = (state, trouble);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many there were, and how fast 99 of 100 of them.
fn numbers(state: &v1::NamesState) -> String {
    let answers: u64 = state.latencies.iter().sum();
    if answers == 0 {
        return format!("none yet, at revision {}", state.revision);
    }
    let mut left = answers - answers / 100;
    let class = state.latencies.iter().position(|count| {
        left = left.saturating_sub(*count);
        left == 0
    });
    let micros = 1_u64 << class.unwrap_or(0).min(63);
    format!(
        "{answers} so far, 99 of 100 within {micros} µs; {} names cached, at revision {}",
        state.cached, state.revision
    )
}

fn finding(name: &str, ok: bool, detail: &str, error: Option<Error>) -> Finding {
    Finding { name: name.to_owned(), detail: detail.to_owned(), ok, error }
}

/// A setting that is left out.
fn problem(problem: &v1::NamesProblem) -> Finding {
    let code = match problem.kind() {
        NamesProblemKind::OwnAddress => Some(&DNS_UPSTREAM_LOOP),
        NamesProblemKind::NoServer if !problem.servers.is_empty() => Some(&DNS_UPSTREAM_LOOP),
        NamesProblemKind::NoServer => Some(&DNS_NO_UPSTREAM),
        NamesProblemKind::Domain | NamesProblemKind::OwnDomain => Some(&DNS_STUB_DOMAIN),
        // Of a later release: its words say enough.
        NamesProblemKind::Unspecified => None,
    };
    let error = code.map(|code| Error::new(code, problem.message.clone()));
    finding("dns settings", false, &problem.message, error)
}

fn upstream(state: &v1::NamesUpstream) -> Option<Finding> {
    let server: SocketAddr = state.address.clone()?.try_into().ok()?;
    let name = format!("dns upstream {server}");
    if state.r#loop {
        let message = format!("{server} asks this node's DNS what it is asked, so it is left out");
        let error = Error::new(&DNS_UPSTREAM_LOOP, message.clone());
        return Some(finding(&name, false, &message, Some(error)));
    }
    if state.down {
        let message = format!("{server} left {} questions unanswered", state.errors);
        let error = Error::new(&DNS_UPSTREAM_UNREACHABLE, message.clone());
        return Some(finding(&name, false, &message, Some(error)));
    }
    let detail = match state.answers {
        0 => "not asked yet".to_owned(),
        answers => format!("answers within {} ms, {answers} so far", state.round_trip_ms.max(1)),
    };
    Some(finding(&name, true, &detail, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_that_fail_and_settings_that_are_left_out_are_found() {
        let upstream = |down| v1::NamesUpstream {
            address: Some((&"192.0.2.1:53".parse::<SocketAddr>().unwrap()).into()),
            down,
            ..v1::NamesUpstream::default()
        };
        let trouble = |kind: NamesProblemKind, servers: usize| v1::NamesProblem {
            kind: kind.into(),
            servers: vec![v1::SocketAddress::default(); servers],
            ..v1::NamesProblem::default()
        };
        let looping = v1::NamesUpstream { r#loop: true, ..upstream(true) };
        let state = v1::NamesState {
            upstreams: vec![upstream(true), upstream(false), looping],
            troubles: vec![
                trouble(NamesProblemKind::OwnAddress, 1),
                trouble(NamesProblemKind::NoServer, 2),
                trouble(NamesProblemKind::NoServer, 0),
                trouble(NamesProblemKind::Domain, 0),
                trouble(NamesProblemKind::OwnDomain, 0),
            ],
            ..v1::NamesState::default()
        };
        let post = Post::default();
        post.note(Some(state), None);
        let shown = |finding: Finding| {
            let code = finding.error.map_or(0, |error| error.registered().number);
            (finding.name, finding.ok, code)
        };
        let found: Vec<_> = post.findings().into_iter().map(shown).collect();
        let (settings, server) = ("dns settings", "dns upstream 192.0.2.1:53");
        let expected = [
            ("dns answers", true, 0),
            (settings, false, DNS_UPSTREAM_LOOP.number),
            (settings, false, DNS_UPSTREAM_LOOP.number),
            (settings, false, DNS_NO_UPSTREAM.number),
            (settings, false, DNS_STUB_DOMAIN.number),
            (settings, false, DNS_STUB_DOMAIN.number),
            (server, false, DNS_UPSTREAM_UNREACHABLE.number),
            (server, true, 0),
            (server, false, DNS_UPSTREAM_LOOP.number),
        ];
        assert_eq!(found, expected.map(|(name, ok, code)| (name.to_owned(), ok, code)));
        let mut state = v1::NamesState { revision: 7, ..v1::NamesState::default() };
        assert_eq!(numbers(&state), "none yet, at revision 7");
        state.latencies = vec![0, 0, 90, 8, 0, 2];
        assert_eq!(numbers(&state), "100 so far, 99 of 100 within 32 µs; 0 names cached, at revision 7");
        state.latencies = vec![0, 0, 150, 48, 0, 2];
        assert!(numbers(&state).contains("within 8 µs"), "{}", numbers(&state));
        post.note(None, Some(Error::new(&DNS_UPSTREAM_UNREACHABLE, "x")));
        assert_eq!(post.findings().len(), 1, "nothing is known of upstreams without a process");
    }
}
