//! One round over the endpoints: the first replica that proves who it is wins.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use weft_model::Holder;

use super::{Connected, Shared};
use crate::{
    Attempt, Error,
    breakable::Breakable,
    limits::USER_TIMEOUT,
    tls::{Refused, client_config},
};

/// Each endpoint gets so long, TCP and TLS together.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(4);

/// The next endpoint is tried after so long without an answer of the last (RFC 8305 in spirit).
const STAGGER: Duration = Duration::from_millis(300);

/// Pauses after rounds in which no endpoint worked.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Connects to one of the endpoints; at most about 4 s + 0.3 s per endpoint.
pub(super) async fn connect(shared: &Shared) -> Result<Breakable<Stream, ()>, Error> {
    let not_before = shared.place().not_before;
    if let Some(not_before) = not_before {
        tokio::time::sleep_until(not_before).await;
    }
    let endpoints = shared.endpoints.load_full();
    let first = shared.place().preferred % endpoints.len();
    match round(shared, &endpoints, first).await {
        Ok((index, stream, holder)) => {
            let kill = CancellationToken::new();
            let mut place = shared.place();
            place.preferred = index;
            place.connected =
                endpoints.get(index).map(|endpoint| Connected { endpoint: endpoint.clone(), holder });
            place.kill = kill.clone();
            place.failed_rounds = 0;
            place.not_before = None;
            Ok(Breakable::new(stream, kill.cancelled_owned(), io::ErrorKind::ConnectionAborted, ()))
        }
        Err(failures) => {
            let mut place = shared.place();
            place.connected = None;
            let pause = FIRST_PAUSE.saturating_mul(1 << place.failed_rounds.min(10)).min(LONGEST_PAUSE);
            place.failed_rounds += 1;
            place.not_before = Some(Instant::now() + pause);
            Err(together(failures))
        }
    }
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// Tries the endpoints from `first` on, a further one each time that one fails or is slow.
async fn round(
    shared: &Shared,
    endpoints: &[String],
    first: usize,
) -> Result<(usize, Stream, Holder), Vec<Error>> {
    let count = endpoints.len();
    let mut waiting = (0..count).map(|offset| (first + offset) % count);
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(index) = waiting.next() {
            let endpoint = &endpoints[index];
            running.push(async move { (index, attempt(shared, endpoint).await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some((index, result)) = running.next() => match result {
                Ok((stream, holder)) => return Ok((index, stream, holder)),
                Err(error) => failures.push(error),
            },
            () = tokio::time::sleep(STAGGER), if more => {}
            else => return Err(failures),
        }
        if running.is_empty() && !more {
            return Err(failures);
        }
    }
}

async fn attempt(shared: &Shared, endpoint: &str) -> Result<(Stream, Holder), Error> {
    let unreachable =
        |why: String| Error::Unreachable { attempts: vec![Attempt { endpoint: endpoint.to_owned(), why }] };
    match tokio::time::timeout(ATTEMPT_LIMIT, shake_hands(shared, endpoint)).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(Failure::Io(error))) => Err(unreachable(error.to_string())),
        Ok(Err(Failure::Ours(error))) => Err(error),
        Err(_elapsed) => Err(unreachable(format!("no answer within {} s", ATTEMPT_LIMIT.as_secs()))),
    }
}

enum Failure {
    Io(io::Error),
    Ours(Error),
}

async fn shake_hands(shared: &Shared, endpoint: &str) -> Result<(Stream, Holder), Failure> {
    let tcp = TcpStream::connect(endpoint).await.map_err(Failure::Io)?;
    tune(&tcp).map_err(Failure::Io)?;
    let identity = shared.identity.as_ref().map(crate::SharedIdentity::current);
    let (config, check) =
        client_config(&shared.trust, shared.replica, identity.as_deref()).map_err(Failure::Ours)?;
    // The name is not sent (no SNI) and not compared: the certificate names the replica by URI.
    let name = ServerName::try_from("weft").map_err(|error| Failure::Ours(Error::tls(error)))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    let endpoint = endpoint.to_owned();
    match (shaken, check.verdict()) {
        (_, Some(Err(Refused::Pin { expected, found }))) => {
            Err(Failure::Ours(Error::AuthorityMismatch { endpoint, expected, found }))
        }
        (_, Some(Err(Refused::Because(why)))) => Err(Failure::Ours(Error::ServerRefused { endpoint, why })),
        (Ok(stream), Some(Ok(holder))) => Ok((stream, holder)),
        (Ok(_), None) => {
            Err(Failure::Ours(Error::ServerRefused { endpoint, why: "it showed no certificate".into() }))
        }
        (Err(error), _) => Err(Failure::Io(error)),
    }
}

/// One error of many: an untrusted server is worth more words than an unreachable one.
fn together(failures: Vec<Error>) -> Error {
    let mut attempts = Vec::new();
    for failure in failures {
        let Error::Unreachable { attempts: more } = failure else { return failure };
        attempts.extend(more);
    }
    Error::Unreachable { attempts }
}

/// Socket options of both ends: no delay, and an end to bytes that nobody acknowledges.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT))
}
