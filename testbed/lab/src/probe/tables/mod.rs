//! Loads the tables of many services into this machine's kernel and connects through them: ours, and those of kube-proxy's
//! nftables mode beside them. For `bench services`.

mod peer;
mod weft;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use super::connects::{at, times};
use crate::Result;

/// Connections that are timed, through and straight in turn, so that what else the machine does meets both alike.
const TURNS: u32 = 20;
const CONNECTIONS_PER_TURN: u32 = 100;
/// Services added one by one, to time one.
const MORE: u32 = 30;
/// Time for one connection.
const WITHIN: Duration = Duration::from_secs(5);

/// Endpoints of a service, by its number.
type Endpoints<'a> = &'a dyn Fn(u32) -> Vec<SocketAddr>;

/// Whose tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// The product's.
    Weft,
    /// The layout of kube-proxy's nftables mode: a chain per service port and per endpoint.
    KubeProxy,
}

/// The tables of one system.
trait Tables {
    /// Loads services `0..count`.
    fn load(&mut self, count: u32) -> Result;
    /// Loads one more.
    fn add(&mut self, number: u32) -> Result;
    /// Takes everything away.
    fn clear(&mut self) -> Result;
}

/// Loads `count` services in front of `backend`, adds some, and connects to one in their middle.
pub(super) fn run(system: System, count: u32, backend: SocketAddr) -> Result<Value> {
    ensure!(backend.is_ipv4(), "the bench works with IPv4");
    let endpoints = |number: u32| if number == count / 2 { vec![backend] } else { strangers(number) };
    let mut tables: Box<dyn Tables> = match system {
        System::Weft => Box::new(weft::Weft::new(&endpoints)?),
        System::KubeProxy => Box::new(peer::KubeProxy::new(&endpoints)),
    };
    tables.clear()?;
    let began = Instant::now();
    tables.load(count)?;
    let load = began.elapsed();
    let mut adds = Vec::new();
    for number in count..count + MORE {
        let began = Instant::now();
        tables.add(number)?;
        adds.push(began.elapsed());
    }
    adds.sort_unstable();
    let to = SocketAddr::new(address(count / 2), PORT);
    let (mut through, mut straight) = (Vec::new(), Vec::new());
    // The first ones wait for neighbours and fill caches.
    times(to, CONNECTIONS_PER_TURN, WITHIN)?;
    for _ in 0..TURNS {
        through.extend(times(to, CONNECTIONS_PER_TURN, WITHIN)?);
        straight.extend(times(backend, CONNECTIONS_PER_TURN, WITHIN)?);
    }
    through.sort_unstable();
    straight.sort_unstable();
    tables.clear()?;
    Ok(json!({
        "ok": true, "load_ms": load.as_secs_f64() * 1e3, "add_p50_ms": at(&adds, 50) / 1e3,
        "connect_p50_us": at(&through, 50), "connect_p99_us": at(&through, 99), "straight_p50_us": at(&straight, 50),
    }))
}

/// First port of every service; the second is the next.
const PORT: u16 = 80;

/// Virtual address of a service.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 112, 1, 0)) + number).into()
}

/// Endpoints of a service that nobody connects to: addresses of a pod range.
fn strangers(number: u32) -> Vec<SocketAddr> {
    let first = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + number * 3;
    (first..first + 3).map(|address| SocketAddr::new(Ipv4Addr::from(address).into(), 8080)).collect()
}
