//! The life of the tunnel process: wait for the device, load, serve, stop.
//!
//! One task owns engine, table and file; connections send it their requests.

use std::path::{Path, PathBuf};

use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use weft_kernel::{Tun, TunError};
use zeroize::Zeroizing;

use crate::{
    Error,
    engine::{Engine, EngineError},
    limits,
    link::{LinkWatch, TunLink},
    server::{Call, Server, done_text, errno_text},
    store,
    table::Table,
    uapi::{Request, Set},
};

/// Where a tunnel finds its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelOptions {
    /// Name of the TUN device: `weft0` or `weft1`.
    pub device: String,
    /// File of the last configuration, 0600: `/run/weft/tunnel/weft0.conf`. Its directory is made 0700.
    pub config_path: PathBuf,
    /// The UAPI socket, 0600: `/var/run/wireguard/weft0.sock`.
    pub uapi_path: PathBuf,
}

impl TunnelOptions {
    /// The fixed places of a device.
    pub fn of_device(device: &str) -> Self {
        Self {
            device: device.to_owned(),
            config_path: Path::new(weft_model::ownership::run::TUNNEL_DIR).join(format!("{device}.conf")),
            uapi_path: Path::new("/var/run/wireguard").join(format!("{device}.sock")),
        }
    }
}

/// Runs the tunnel of a device until `shutdown`, or until it can't go on; its init then starts it again.
///
/// Tells the service manager that it is ready at once, also while it waits for the device: on a node whose kernel has
/// WireGuard no TUN device ever comes, and the link of that name is the kernel's. Needs a tokio runtime with time and IO; more than one worker thread for speed.
pub async fn run(options: TunnelOptions, shutdown: CancellationToken) -> Result<(), Error> {
    weft_process::notify_ready();
    let Some(tun) = shutdown.run_until_cancelled(attach(&options.device)).await else { return Ok(()) };
    let (link, mut watch) = TunLink::new(tun?)?;
    let mut tunnel = Tunnel::start(options, link).await?;
    let server = Server::bind(&tunnel.options.uapi_path)?;
    let (calls, mut inbox) = mpsc::channel(limits::REQUESTS);
    let stop = shutdown.child_token();
    let serving = tokio::spawn(server.serve(calls, stop.clone()));
    tracing::info!(device = tunnel.options.device, peers = tunnel.table.peers().len(), "tunnel is serving");
    let ended = tunnel.answer_calls(&mut inbox, &mut watch, &shutdown).await;
    weft_process::notify_stopping();
    stop.cancel();
    // Connections that still wait get their answer from the closed inbox.
    drop(inbox);
    if timeout(limits::STOP, serving).await.is_err() {
        tracing::warn!("a connection hangs and is dropped");
    }
    tunnel.finish().await;
    ended
}

/// Kind of the links that the kernel's own WireGuard serves.
const KERNEL_KIND: &str = "wireguard";

/// Whether that may pass by itself: the agent makes the device, another tunnel ends, or the kernel serves the device
/// for as long as its link is there.
fn may_pass(error: &TunError) -> bool {
    match error {
        TunError::Missing { .. } | TunError::Busy { .. } => true,
        TunError::Foreign { kind, .. } => kind == KERNEL_KIND,
        TunError::Name { .. } | TunError::Unavailable { .. } | TunError::Refused { .. } => false,
    }
}

/// Waits until the agent has made the device and nobody else is attached.
async fn attach(device: &str) -> Result<Tun, Error> {
    let mut pause = limits::DEVICE_WAIT_FIRST;
    let mut said: Option<Instant> = None;
    loop {
        let error = match Tun::attach(device) {
            Ok(tun) => return Ok(tun),
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(error.into()),
        };
        if said.is_none_or(|at| at.elapsed() >= limits::DEVICE_WAIT_LOG) {
            tracing::info!(device, reason = %error, "waiting for the device");
            said = Some(Instant::now());
        }
        sleep(pause).await;
        pause = (pause * 2).min(limits::DEVICE_WAIT_MAX);
    }
}

struct Tunnel {
    options: TunnelOptions,
    engine: Engine,
    table: Table,
}

impl Tunnel {
    /// Starts the engine with the stored configuration.
    async fn start(options: TunnelOptions, link: TunLink) -> Result<Self, Error> {
        let mut table = store::load(&options.config_path)?;
        let mut engine = Engine::new(link);
        match engine.change(&Table::default(), &table).await {
            Ok(port) => table.listen_port = port,
            Err(error) => return Err(Error::Engine { device: options.device, why: error.to_string() }),
        }
        Ok(Self { options, engine, table })
    }

    async fn answer_calls(
        &mut self,
        inbox: &mut mpsc::Receiver<Call>,
        watch: &mut LinkWatch,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut look = interval(limits::FILE_LOOK);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = look.tick() => self.keep_file().await,
                gone = watch.gone() => return Err(gone),
                () = self.engine.failed() => return Err(watch.why_failed()),
                call = inbox.recv() => {
                    let Some(call) = call else { return Ok(()) };
                    let answer = match call.request {
                        Request::Get => self.table.to_get_text(&self.engine.status().await),
                        Request::Set(set) => self.set(&set).await,
                    };
                    // Who asked may have gone meanwhile; what was done stays done.
                    let _ = call.answer.send(answer);
                }
            }
        }
    }

    /// Changes the engine, then the file, and only then says that it is done.
    async fn set(&mut self, set: &Set) -> Zeroizing<String> {
        let mut before = self.table.clone();
        before.learn_endpoints(&self.engine.status().await);
        let mut after = before.clone();
        after.apply(set);
        match self.engine.change(&before, &after).await {
            Ok(port) => after.listen_port = port,
            Err(error) => {
                tracing::warn!(%error, "the engine refused a change");
                self.table = before;
                return errno_text(match error {
                    EngineError::PortInUse { .. } => rustix::io::Errno::ADDRINUSE,
                    EngineError::Other(_) => rustix::io::Errno::IO,
                });
            }
        }
        self.table = after;
        match self.save().await {
            Ok(()) => done_text(),
            Err(error) => {
                tracing::error!(%error, "the configuration can't be stored");
                errno_text(rustix::io::Errno::IO)
            }
        }
    }

    /// Stores the configuration anew when somebody deleted the file: without it a restart would wait for the agent.
    async fn keep_file(&self) {
        let gone = matches!(tokio::fs::try_exists(&self.options.config_path).await, Ok(false));
        if gone && self.table != Table::default() {
            match self.save().await {
                Ok(()) => tracing::warn!("the stored configuration was gone and has been stored again"),
                Err(error) => {
                    tracing::warn!(%error, "the stored configuration is gone and can't be stored yet")
                }
            }
        }
    }

    /// Away from the workers: it waits for the disk.
    async fn save(&self) -> Result<(), Error> {
        let (path, table) = (self.options.config_path.clone(), self.table.clone());
        let device = self.options.device.clone();
        tokio::task::spawn_blocking(move || store::save(&path, &table))
            .await
            .unwrap_or_else(|e| Err(Error::Engine { device, why: format!("storing panicked: {e}") }))
    }

    async fn finish(&mut self) {
        self.table.learn_endpoints(&self.engine.status().await);
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "the last endpoints can't be stored");
        }
        self.engine.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_the_kernels_own_wireguard_it_waits_and_a_foreign_link_is_an_error() {
        let name = || "weft0".to_owned();
        let foreign = |kind: &str| TunError::Foreign { name: name(), kind: kind.to_owned() };
        for (error, waits) in [
            (TunError::Missing { name: name() }, true),
            (TunError::Busy { name: name() }, true),
            (foreign("wireguard"), true),
            (foreign("veth"), false),
            (foreign(""), false),
            (TunError::Name { name: name() }, false),
        ] {
            assert_eq!(may_pass(&error), waits, "{error}");
        }
    }
}
