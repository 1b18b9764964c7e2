//! What every service of a replica shares.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tonic::{Request, Status};
use weft_errors::{Coded, Error, INTERNAL};
use weft_model::{Action, ClientId, Command, ReplicaId, Sequence, Stamp, WallTime};
use weft_proto::{convert::Mutation, v1};
use weft_trust::Authority;

use crate::{
    ask::Asks,
    events::Events,
    handle::{Applied, ReplicaHandle},
    limits::{ANSWER_MARGIN, CALL, WAIT_MOST},
    peers::Peers,
    pulses::PulseBoard,
    sync::{Fanout, Reports},
};

/// One replica's services work on this.
pub(crate) struct Context {
    /// The replica task.
    pub(crate) handle: ReplicaHandle,
    /// The other replicas.
    pub(crate) peers: Peers,
    /// The stream of items.
    pub(crate) fanout: Arc<Fanout>,
    /// What agents said last.
    pub(crate) reports: Arc<Reports>,
    /// Signs of life of nodes.
    pub(crate) pulses: PulseBoard,
    /// What happened.
    pub(crate) events: Arc<Events>,
    /// Questions to agents.
    pub(crate) asks: Asks,
    /// The certificate authority.
    pub(crate) authority: Arc<Authority>,
    /// This replica.
    pub(crate) id: ReplicaId,
    /// Name of its machine.
    pub(crate) name: weft_model::ReplicaName,
    /// Where it serves.
    pub(crate) listen: SocketAddr,
}

impl Context {
    /// Proposes an action under the caller's mutation id, or under a fresh one when it gave none.
    pub(crate) async fn propose(
        &self,
        mutation: Option<v1::MutationId>,
        action: Action,
        deadline: Instant,
    ) -> Result<Applied, Error> {
        let stamp = stamp()?;
        let (client, sequence) = match mutation {
            Some(wire) => {
                let mutation = Mutation::try_from(wire).map_err(|e| e.envelope())?;
                (mutation.client, mutation.sequence)
            }
            // Nobody can repeat a call without an id, so one that nobody else uses is right.
            None => (ClientId(random()?), Sequence(1)),
        };
        self.handle.propose(Command { client, sequence, stamp, action }, deadline).await
    }
}

/// Time and chance for a command.
pub(crate) fn stamp() -> Result<Stamp, Error> {
    Ok(Stamp { time: wall_time(), random: random()? })
}

/// Wall time now.
pub(crate) fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Random bytes of the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(&INTERNAL, format!("the kernel gave no random bytes: {e}")))?;
    Ok(bytes)
}

/// When a call has to be answered: a little before its own deadline (`grpc-timeout`), else after a default time. The
/// caller then hears why it has to go without, instead of giving up by itself.
pub(crate) fn deadline<T>(request: &Request<T>) -> Instant {
    let time = timeout(request).unwrap_or(CALL).min(WAIT_MOST);
    Instant::now() + time - ANSWER_MARGIN.min(time / 8)
}

/// The `grpc-timeout` of a request (gRPC over HTTP/2: at most eight digits and a unit).
fn timeout<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.checked_mul(3_600)?)),
        "M" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// An error as a status: the envelope travels in the details.
pub(crate) fn refuse(error: Error) -> Status {
    weft_rpc::status_of(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `grpc-timeout` and how long the call may take at most.
    fn check(text: &str, expected: Duration) {
        let mut request = Request::new(());
        request.metadata_mut().insert("grpc-timeout", text.parse().unwrap());
        let left = deadline(&request).duration_since(Instant::now());
        assert!(left <= expected && left + Duration::from_secs(1) > expected, "{text}: {left:?}");
    }

    #[test]
    fn a_call_has_the_time_it_asks_for_and_never_for_ever() {
        check("5S", Duration::from_secs(5));
        check("1500m", Duration::from_millis(1_500));
        check("2M", Duration::from_mins(2));
        check("99999999H", WAIT_MOST);
        check("18446744073709551615S", WAIT_MOST);
        check("soon", CALL);
    }
}
