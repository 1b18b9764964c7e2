//! The loop of the mesh device: makes it, keeps its key, port and peers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_kernel::{PortHolder, TunEnsured};
use weft_mesh::{Backend, Mesh};
use weft_model::{
    Overlay, Revision,
    ownership::{MESH_DEVICES, MESH_PORTS},
};
use weft_plan::{DeviceState, LocalDevice, PortUse, desired_device, peer_steps};
use weft_view::View;

use crate::{
    backoff::Backoff,
    clock,
    inbox::{Outcome, Ticket, Wish, Work},
    limits,
    node::{MeshSeen, Node},
    states::Subsystem,
};

use super::sweep;

/// Counters, endpoints and ages of handshakes are read this often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// While a peer has never answered they are read this often: a tunnel that comes up shall show.
const LOOK_FOR_FIRST: Duration = Duration::from_secs(2);

/// The loop.
pub(crate) struct MeshLoop {
    node: Arc<Node>,
    mesh: Mesh,
    backend: Option<Backend>,
    backoff: Backoff,
    next: Instant,
    /// When the TUN device was made.
    made_at: Option<Instant>,
}

impl MeshLoop {
    /// A loop that hasn't looked yet.
    pub(crate) fn new(node: Arc<Node>, mesh: Mesh) -> Self {
        let backoff = Backoff::new(limits::RETRY_FIRST, limits::RETRY_LONGEST);
        Self { node, mesh, backend: None, backoff, next: Instant::now(), made_at: None }
    }

    /// Works until the process stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let mut work = Work::Wish(Wish::everything(), Ticket::default());
        loop {
            let ticket = match work {
                Work::Stop => return Ok(()),
                Work::Nothing => None,
                Work::Wish(_, ticket) => Some(ticket),
            };
            let view = node.view();
            let result = self.pass(&view);
            self.look_around(result.is_err());
            let outcome = self.settle(view.revision(), result);
            if let Some(ticket) = ticket {
                node.inboxes.mesh.done(ticket, outcome);
            }
            work = node.inboxes.mesh.take(self.next);
        }
    }

    /// What `weft check` says of the engine and its ports. The userspace tunnel is this same program in another process.
    fn look_around(&self, failed: bool) {
        // What was seen of a device that can't be asked any more says nothing.
        let seen = self.node.mesh_seen().filter(|_| !failed);
        let listens = seen.map_or(0, |seen| seen.state.listen_port);
        let own = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        let mesh_ports = MESH_PORTS.map(|port| match weft_kernel::udp_port_holder(port) {
            _ if port == listens => PortUse::Ours,
            None => PortUse::Free,
            Some(PortHolder { process: Some((_, name)) }) if name == own.trim() => PortUse::Ours,
            Some(holder) => PortUse::Other(holder.to_string()),
        });
        let in_kernel = self.backend.map(|backend| backend == Backend::Kernel);
        self.node.change_surroundings(|around| {
            around.mesh_ports = mesh_ports;
            around.mesh_in_kernel = in_kernel.or(around.mesh_in_kernel);
        });
    }

    fn settle(&mut self, revision: Revision, result: Result<(), Error>) -> Outcome {
        match result {
            Ok(()) => {
                self.backoff.reset();
                let seen = self.node.mesh_seen();
                self.next = Instant::now() + seen.map_or(LOOK_EVERY, |seen| look_after(&seen.state));
                self.node.states.well(Subsystem::Mesh, revision, clock::wall());
                Outcome::default()
            }
            Err(error) if self.made_at.is_some_and(|at| at.elapsed() < limits::TUNNEL_GRACE) => {
                // The tunnel process waits for its device and is about to attach to it.
                self.next = Instant::now() + limits::RETRY_FIRST / 2;
                Outcome { other: Some(error), ..Outcome::default() }
            }
            Err(error) => {
                self.next = Instant::now() + self.backoff.next(clock::chance());
                self.node.states.failed(Subsystem::Mesh, error.clone(), clock::wall());
                Outcome { other: Some(error), ..Outcome::default() }
            }
        }
    }

    fn pass(&mut self, view: &View) -> Result<(), Error> {
        let Some(fabric) = view.fabric().filter(|fabric| fabric.overlay == Overlay::Wireguard) else {
            return Ok(());
        };
        self.ensure_device(self.node.facts().mesh_mtu(fabric))?;
        let [listen_port, _] = MESH_PORTS;
        let local = LocalDevice { name: self.mesh.name().to_owned(), key: self.node.mesh_key, listen_port };
        let desired = desired_device(&self.node.name, &local, view.peers()).map_err(|e| e.envelope())?;
        let mut state = self.mesh.observe().map_err(|e| self.lost(&e))?;
        let steps = peer_steps(&state, &desired, sweep(view));
        if !steps.is_empty() {
            for step in &steps {
                tracing::debug!(device = self.mesh.name(), revision = view.revision().0, %step, "execute");
            }
            state = self.mesh.execute(&steps).map_err(|e| self.lost(&e))?;
        }
        let in_kernel = self.backend == Some(Backend::Kernel);
        self.node.set_mesh_seen(MeshSeen { state, at: Instant::now(), in_kernel });
        Ok(())
    }

    /// The device exists, is up, and has its MTU; the other loops learn of it.
    fn ensure_device(&mut self, mtu: u32) -> Result<(), Error> {
        let name = self.mesh.name().to_owned();
        let devices = weft_kernel::read_mesh_devices().map_err(|e| e.envelope())?;
        let ready = devices.iter().any(|device| device.name == name && device.up && device.mtu == mtu);
        if self.backend.is_none() || !ready {
            // One under another name has the port still.
            for renamed in weft_kernel::remove_renamed_mesh_devices().map_err(|e| e.envelope())? {
                tracing::warn!(device = name, renamed, "a mesh device that somebody renamed was removed");
            }
            self.backend = Some(self.prepare(&name)?);
            weft_kernel::configure_mesh_device(&name, mtu).map_err(|e| e.envelope())?;
        }
        let devices = weft_kernel::read_mesh_devices().map_err(|e| e.envelope())?;
        self.node.change_facts(|facts| facts.mesh = devices);
        Ok(())
    }

    fn prepare(&mut self, name: &str) -> Result<Backend, Error> {
        let backend = self.mesh.prepare().map_err(|e| e.envelope())?;
        if backend == Backend::Userspace {
            let ensured = weft_kernel::ensure_tun(name, None).map_err(|e| e.envelope())?;
            if ensured == TunEnsured::Created {
                self.made_at = Some(Instant::now());
                tracing::info!(device = name, "the built-in tunnel is used: made its TUN device");
            }
        }
        Ok(backend)
    }

    /// The device may be gone: it is prepared anew next time.
    fn lost(&mut self, error: &weft_mesh::Error) -> Error {
        if matches!(error, weft_mesh::Error::Missing { .. }) {
            self.backend = None;
        }
        error.envelope()
    }
}

/// When a device in this state is looked at again.
fn look_after(state: &DeviceState) -> Duration {
    let waits = state.peers.values().any(|peer| peer.endpoint.is_some() && peer.handshake_age.is_none());
    if waits { LOOK_FOR_FIRST } else { LOOK_EVERY }
}

/// Name of the mesh device that is used: the first; the second is for key rotation.
pub(crate) const fn device() -> &'static str {
    let [name, _] = MESH_DEVICES;
    name
}

#[cfg(test)]
mod tests {
    use weft_model::WireguardKey;
    use weft_plan::PeerState;

    use super::*;

    #[test]
    fn a_tunnel_that_was_never_up_is_looked_at_sooner() {
        let check = |endpoint: Option<&str>, age: Option<u64>, expected| {
            let peer = PeerState {
                endpoint: endpoint.map(|text| text.parse().unwrap()),
                handshake_age: age.map(Duration::from_secs),
                ..PeerState::default()
            };
            let state =
                DeviceState { peers: [(WireguardKey([1; 32]), peer)].into(), ..DeviceState::default() };
            assert_eq!(look_after(&state), expected, "{endpoint:?} {age:?}");
        };
        check(Some("192.0.2.1:51820"), None, LOOK_FOR_FIRST);
        check(Some("192.0.2.1:51820"), Some(900), LOOK_EVERY);
        check(None, None, LOOK_EVERY);
    }
}
