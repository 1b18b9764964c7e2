//! Connections of a health port: one short request, one answer, within a time.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use weft_model::Family;
use weft_rpc::{Places, Replaces};

use super::{
    PATIENCE, Purpose,
    answer::{World, answer},
};
use crate::{
    clock, limits,
    node::Node,
    states::{State, Subsystem},
};

/// Longest head of a request, bytes.
const HEAD_LIMIT: usize = 4096;

/// Answers until the port is closed. When all places are taken, the oldest caller of the address that has the most of them is hung
/// up on: a pod that opens many connections and says nothing keeps no balancer from its answer.
pub(super) async fn accept(
    listener: TcpListener,
    purpose: Purpose,
    node: Arc<Node>,
    places: Arc<Places>,
    close: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = close.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(place) = places.take(from.ip(), Replaces::Anybody) else { continue };
                let (node, purpose) = (Arc::clone(&node), purpose.clone());
                tokio::spawn(async move {
                    let served =
                        tokio::time::timeout(limits::HEALTH_DEADLINE, serve(stream, &node, &purpose));
                    tokio::select! {
                        () = place.lost().cancelled() => {}
                        answered = served => if let Ok(Err(error)) = answered {
                            tracing::debug!(%from, %error, "a health check broke off");
                        },
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a health check can't be accepted");
                // Out of descriptors, for example: the next call would fail at once, too.
                tokio::time::sleep(limits::ACCEPT_PAUSE_LONGEST).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, node: &Node, purpose: &Purpose) -> io::Result<()> {
    let asked: SocketAddr = stream.local_addr()?;
    let mut head = Vec::new();
    let whole = |head: &[u8]| head.windows(4).any(|end| end == b"\r\n\r\n");
    while !whole(&head) {
        if head.len() > HEAD_LIMIT || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let view = node.view();
    let family = Family::of(asked.ip().to_canonical());
    let world = World { view: &view, node: &node.name, healthy: is_healthy(node), family };
    stream.write_all(answer(world, purpose, &line).as_bytes()).await?;
    stream.shutdown().await
}

/// Whether what services need is in the kernel, and if something of it fails now, not for long.
fn is_healthy(node: &Node) -> bool {
    let (states, now) = (node.states.all(), clock::wall());
    let well = |state: &State| {
        let ill_for = now.0.saturating_sub(state.since.0);
        state.applied.is_some() && (state.error.is_none() || u128::from(ill_for) < PATIENCE.as_millis())
    };
    Subsystem::SERVICES.iter().all(|subsystem| states.get(subsystem).is_some_and(well))
}
