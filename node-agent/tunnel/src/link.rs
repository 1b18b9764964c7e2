//! The TUN device as the engine reads and writes it: a batch of packets per wake-up, one packet per write.
//!
//! In: an attached [`Tun`]. Out: the engine's `IpSend` and `IpRecv`. Not here: making the device, addresses.

use std::{io, os::fd::OwnedFd, sync::Arc};

use gotatun::{
    packet::{Ip, Packet, PacketBufPool},
    tun::{IpRecv, IpSend, MtuWatcher},
};
use rustix::io::Errno;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};
use weft_kernel::{Tun, TunError, link_mtu};

use crate::{Error, limits};

/// The device, shared by the engine's reader and writer.
pub(crate) struct TunLink {
    fd: Arc<AsyncFd<OwnedFd>>,
    mtu: watch::Receiver<u16>,
    batch: Vec<Packet<Ip>>,
}

impl Clone for TunLink {
    fn clone(&self) -> Self {
        Self { fd: Arc::clone(&self.fd), mtu: self.mtu.clone(), batch: Vec::with_capacity(limits::TUN_BATCH) }
    }
}

#[allow(
    deprecated,
    reason = "the safe constructor is deprecated because a type might change its descriptor; OwnedFd never does"
)]
fn on_reactor(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE.add(Interest::ERROR))
}

/// Keeps the MTU current and notices that the device has gone.
pub(crate) struct LinkWatch {
    device: String,
    mtu: watch::Sender<u16>,
}

impl TunLink {
    /// Puts the device on the runtime's reactor.
    pub(crate) fn new(tun: Tun) -> Result<(Self, LinkWatch), Error> {
        let device = tun.name().to_owned();
        let mtu = current_mtu(&device)?.ok_or_else(|| Error::DeviceGone { device: device.clone() })?;
        let (sender, receiver) = watch::channel(mtu);
        let watch = LinkWatch { device: device.clone(), mtu: sender };
        let fd = on_reactor(tun.into_fd()).map_err(|e| Error::Engine { device, why: e.to_string() })?;
        let link = Self { fd: Arc::new(fd), mtu: receiver, batch: Vec::with_capacity(limits::TUN_BATCH) };
        Ok((link, watch))
    }

    /// Reads what is there without waiting; stops at the batch's end.
    fn fill(&mut self, pool: &mut PacketBufPool) -> io::Result<()> {
        while self.batch.len() < limits::TUN_BATCH {
            let mut packet = pool.get();
            match rustix::io::read(self.fd.get_ref(), &mut packet[..]) {
                Ok(length) => {
                    packet.truncate(length);
                    // What isn't IP can't come from a TUN device without headers; it would be dropped further on.
                    self.batch.extend(packet.try_into_ip().ok());
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(_) if !self.batch.is_empty() => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl IpRecv for TunLink {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        self.batch.clear();
        let fd = Arc::clone(&self.fd);
        loop {
            let mut first = pool.get();
            // Errors count as readiness: a deleted device reports nothing else.
            let mut ready = fd.ready(Interest::READABLE.add(Interest::ERROR)).await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut first[..])?));
            let Ok(length) = read else { continue };
            let length = length?;
            first.truncate(length);
            self.batch.extend(first.try_into_ip().ok());
            self.fill(pool)?;
            if !self.batch.is_empty() {
                return Ok(self.batch.drain(..));
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.clone().into()
    }
}

impl IpSend for TunLink {
    /// Never waits: a device takes a packet at once or not at all, and a link that is down must not hold the engine.
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        match rustix::io::write(self.fd.get_ref(), &packet.into_bytes()) {
            Err(errno @ (Errno::BADF | Errno::BADFD | Errno::NODEV)) => Err(errno.into()),
            // EIO: the link is down; EINVAL: the kernel doesn't take this packet; no memory: as on any full link.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl LinkWatch {
    /// What an engine that can't go on means: its device has gone, or its socket fails.
    pub(crate) fn why_failed(&self) -> Error {
        let device = self.device.clone();
        match current_mtu(&device) {
            Ok(Some(_)) => {
                Error::Engine { device, why: "its device or socket can't be used any more".to_owned() }
            }
            Ok(None) => Error::DeviceGone { device },
            Err(error) => error.into(),
        }
    }

    /// Runs until the device has gone; cancel-safe.
    pub(crate) async fn gone(&mut self) -> Error {
        let mut tick = tokio::time::interval(limits::MTU_POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match current_mtu(&self.device) {
                Ok(Some(mtu)) => {
                    let changed = self.mtu.send_if_modified(|now| std::mem::replace(now, mtu) != mtu);
                    if changed && mtu > limits::MAX_MTU {
                        tracing::warn!(
                            mtu,
                            largest = limits::MAX_MTU,
                            "packets beyond the largest MTU are cut"
                        );
                    }
                }
                Ok(None) => return Error::DeviceGone { device: self.device.clone() },
                Err(error) => return error.into(),
            }
        }
    }
}

fn current_mtu(device: &str) -> Result<Option<u16>, TunError> {
    Ok(link_mtu(device)?.map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX)))
}
