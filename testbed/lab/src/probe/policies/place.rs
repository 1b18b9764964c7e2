//! A node with two pods, of this process alone: a bridge, a veth for each, and packets between them by the forward hook, as on a node.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use weft_kernel::{Namespace, NftSocket, write_setting};
use weft_model::ownership::{BRIDGE, MARK_ROUTABLE};
use weft_model::resolver_addresses;
use weft_plan::{GuardInput, Ruleset, Setting};

use super::super::bench_node::{fabric, nft};
use super::cluster::{CLIENT, PORTS, SERVER, address, local_pod};
use crate::Result;
use crate::probe::bulk;

/// The pods' gateway.
const GATEWAY: &str = "169.254.1.1";
/// Where the last octet of a connection that ended is waited for.
const LINGER: Duration = Duration::from_secs(5);

/// The two pods; the server serves for as long as the process lives.
pub(super) struct Pair {
    /// The one that asks.
    pub(super) client: Namespace,
    server: Namespace,
}

impl Pair {
    /// Makes the node out of the calling thread's namespace, which is left; with all rules of a node's guard, or with what policies need of
    /// it alone.
    pub(super) fn make(guard: bool) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("a namespace of its own")?;
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("link set {BRIDGE} address 02:57:00:00:00:01 up"))?;
        ip(&format!("address add {GATEWAY}/32 dev {BRIDGE}"))?;
        for (setting, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/weftbr0/send_redirects", "0"),
            ("ipv4/conf/all/rp_filter", "0"),
        ] {
            write_setting(&Setting::new(setting), value).map_err(|e| anyhow!("{setting}: {e}"))?;
        }
        if guard {
            put_guard()?;
        } else {
            mark_only()?;
        }
        let (client, server) = (pod(CLIENT)?, pod(SERVER)?);
        let pair = Self { client, server };
        pair.serve()?;
        Ok(pair)
    }

    /// Connections, each with an octet as its greeting, and bytes.
    fn serve(&self) -> Result {
        let [greeting, bytes] = PORTS;
        let listen = |port| -> Result<TcpListener> {
            let bind = || TcpListener::bind(SocketAddr::new(address(SERVER), port));
            Ok(self.server.run(bind).map_err(|e| anyhow!("{e}"))??)
        };
        let (greets, takes) = (listen(greeting)?, listen(bytes)?);
        std::thread::Builder::new().spawn(move || {
            while let Ok((mut stream, _)) = greets.accept() {
                let _ = stream.set_read_timeout(Some(LINGER));
                // The client hangs up by a reset.
                let _ = stream.write_all(b"!").and_then(|()| stream.read(&mut [0]));
            }
        })?;
        std::thread::Builder::new().spawn(move || {
            while let Ok((stream, from)) = takes.accept() {
                if let Err(error) = bulk::serve(stream, from) {
                    eprintln!("{error:#}");
                }
            }
        })?;
        Ok(())
    }
}

/// The mark without which policies leave a packet to the guard.
fn mark_only() -> Result {
    nft(&format!(
        "table inet bench {{ chain marks {{ type filter hook prerouting priority mangle; iifname \"{BRIDGE}\" meta mark set \
             {MARK_ROUTABLE:#x}; }}; }}\n"
    ))
}

/// The guard as the agent puts it in place.
fn put_guard() -> Result {
    let pods = [CLIENT, SERVER].map(local_pod);
    let fabric = fabric()?;
    let input = GuardInput {
        families: fabric.families,
        resolver: resolver_addresses(&fabric).collect(),
        ranges: fabric.ranges,
        masquerade_exceptions: Vec::new(),
        replicas: Vec::new(),
        pods: pods.iter().flatten().map(Into::into).collect(),
        peers_underlay: Vec::new(),
        uplinks: Vec::new(),
        owners: Vec::new(),
    };
    let ruleset = Ruleset::new(fabric.overlay);
    let mut socket = NftSocket::open().context("open nf_tables")?;
    for batch in ruleset.full(&ruleset.elements(&input)) {
        socket.commit(&batch).context("the guard")?;
    }
    Ok(())
}

fn pod(number: u32) -> Result<Namespace> {
    let (local, own) = (local_pod(number)?, address(number));
    let made = std::thread::Builder::new().spawn(|| -> Result<Namespace> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Namespace::current().map_err(|e| anyhow!("{e}"))
    })?;
    let space = made.join().map_err(|_| anyhow!("the thread of a namespace panicked"))??;
    let mac = local.mac.map(|byte| format!("{byte:02x}")).join(":");
    let (link, path) = (local.link, format!("/proc/{}/fd/{}", std::process::id(), space.as_fd().as_raw_fd()));
    ip(&format!("link add {link} type veth peer name eth0 address {mac} netns {path}"))?;
    ip(&format!("link set {link} master {BRIDGE} up"))?;
    ip(&format!("route add {own}/32 dev {BRIDGE}"))?;
    space.run(|| inside(own)).map_err(|e| anyhow!("{e}"))??;
    Ok(space)
}

fn inside(own: IpAddr) -> Result {
    ip("link set lo up")?;
    ip("link set eth0 up")?;
    ip(&format!("address add {own}/32 dev eth0"))?;
    ip(&format!("route add {GATEWAY}/32 dev eth0"))?;
    ip(&format!("route add default via {GATEWAY}"))
}

fn ip(arguments: &str) -> Result {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().context("start ip")?;
    ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
