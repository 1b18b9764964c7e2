//! UDP sockets of the mesh with large buffers.

use std::io;

use gotatun::udp::{
    UdpTransportFactory, UdpTransportFactoryParams,
    socket::{UdpSocket, UdpSocketFactory},
};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Instant, sleep};

use crate::limits;

/// Binds one socket for both families of the underlay.
pub(crate) struct MeshSockets;

impl UdpTransportFactory for MeshSockets {
    type Send = UdpSocket;
    type Recv = UdpSocket;

    async fn bind(&mut self, params: &UdpTransportFactoryParams) -> io::Result<(UdpSocket, UdpSocket)> {
        let give_up = Instant::now() + limits::BIND_PATIENCE;
        let (sender, receiver) = loop {
            match UdpSocketFactory::default().bind(params).await {
                // The engine's own socket of a moment ago closes when its aborted tasks have been dropped.
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                    sleep(limits::BIND_RETRY).await;
                }
                other => break other?,
            }
        };
        enlarge(&sender);
        Ok((sender, receiver))
    }
}

/// Beyond the machine's limit where the process may, up to it otherwise; small buffers only cost speed.
fn enlarge(socket: &UdpSocket) {
    let size = limits::SOCKET_BUFFER_BYTES;
    let receive = setsockopt(socket, sockopt::RcvBufForce, &size)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &size));
    let send = setsockopt(socket, sockopt::SndBufForce, &size)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &size));
    if let Err(errno) = receive.and(send) {
        tracing::debug!(%errno, "socket buffers stay as the system made them");
    }
}
