//! Signs of life to the control plane: while load balancers have addresses, as often as they depend on this node.
//!
//! In: the View, whether services are in the kernel. Out: a stream to the replica that is followed. A node that couldn't serve an
//! address gives none, so that none comes to it. An agent that stops says that it comes back. Not here: what follows from
//! silence (weft-core).

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use weft_plan::{AWAKE_RESTART, Rhythm, rhythm};
use weft_proto::v1;
use weft_rpc::{Channel, error_of};
use weft_view::View;

use crate::{limits, node::Node, states::Subsystem};

/// Gives them until the process stops.
pub(crate) async fn give(node: Arc<Node>, channel: Channel, stop: CancellationToken) {
    let mut need = Need::default();
    loop {
        let pause = if node.is_connected() && need.rhythm(&node).is_some() {
            stream(&node, &mut need, &channel, &stop).await;
            limits::RECONNECT_FIRST
        } else {
            limits::PULSE_LOOK
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = node.wakes.pulse.notified(), if pause == limits::PULSE_LOOK => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How often signs of life are needed, by the View that it was last computed from.
#[derive(Default)]
struct Need {
    view: Option<Arc<View>>,
    rhythm: Option<Rhythm>,
}

impl Need {
    /// The rhythm now; `None`: nobody needs to know, or this node couldn't answer for anything.
    fn rhythm(&mut self, node: &Node) -> Option<Rhythm> {
        let view = node.view();
        if !self.view.as_ref().is_some_and(|known| Arc::ptr_eq(known, &view)) {
            self.rhythm = rhythm(&view, &node.name);
            self.view = Some(view);
        }
        let serves =
            || node.states.all().get(&Subsystem::Services).is_some_and(|state| state.applied.is_some());
        let has_link = || node.facts().underlay.as_ref().is_some_and(|underlay| underlay.mac.is_some());
        self.rhythm.filter(|_| serves() && has_link())
    }
}

/// One stream, until it breaks or there is nothing more to say.
async fn stream(node: &Node, need: &mut Need, channel: &Channel, stop: &CancellationToken) {
    let (pulses, sent) = mpsc::channel(limits::PULSES);
    let mut client = channel.sync();
    let call = client.pulse(ReceiverStream::new(sent));
    tokio::pin!(call);
    tokio::select! {
        ended = &mut call => {
            if let Err(status) = ended {
                tracing::debug!(error = %error_of(&status), "signs of life don't reach a replica");
            }
            return;
        }
        () = beat(node, need, pulses, stop) => {}
    }
    // What was said last arrives when the replica has closed the stream too.
    drop(tokio::time::timeout(limits::PULSE_LAST, call).await);
}

/// Speaks until the process stops or nobody needs to know any more.
async fn beat(
    node: &Node,
    need: &mut Need,
    pulses: mpsc::Sender<v1::PulseRequest>,
    stop: &CancellationToken,
) {
    let mut next = Instant::now();
    while let Some(rhythm) = need.rhythm(node) {
        next = next.min(Instant::now() + rhythm.every);
        let now = Instant::now();
        if now >= next {
            // Full: the connection stands still, and what waits there is old enough.
            let _ = pulses.try_send(request(rhythm.lasts, false));
            next = now + rhythm.every;
        }
        tokio::select! {
            () = stop.cancelled() => {
                let _ = pulses.try_send(request(AWAKE_RESTART, true));
                return;
            }
            // The rhythm may quicken.
            () = node.wakes.pulse.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn request(lasts: Duration, away: bool) -> v1::PulseRequest {
    v1::PulseRequest { lasts_ms: u32::try_from(lasts.as_millis()).unwrap_or(u32::MAX), away }
}
