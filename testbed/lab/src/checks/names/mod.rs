//! Names, asked with real packets: while everything changes, next to hostile pods, behind a lying upstream.

mod churn;
mod hostile;
mod ledger;
mod lies;
mod show;
mod walk;

use std::net::IpAddr;

use anyhow::Context;
use serde_json::Value;

pub use churn::{Load as ChurnLoad, Names, late_is_noticed};
pub use hostile::{Attack, attacked};
pub(crate) use hostile::{Beside, rounds};
pub use lies::lied_to;
pub use show::{fetched, process_dies};
pub use walk::walked;

use crate::protocol::Place;
use crate::{Fabric, Result};

/// What names of services of the namespace that tests use end in.
pub const DOMAIN: &str = "default.svc.cluster.local";

/// Asks; the document of the probe, whatever it says.
pub fn ask(fabric: &Fabric, place: &Place, server: IpAddr, rest: &[&str]) -> Result<Value> {
    let server = server.to_string();
    fabric.probe(place.clone(), &[&["dns", server.as_str()], rest].concat())
}

/// Data of the answer's records of a type, sorted.
pub fn data(seen: &Value, kind: &str) -> Vec<String> {
    let records = seen["answers"].as_array().into_iter().flatten();
    let of_kind = records.filter(|record| record["type"] == kind);
    let mut data: Vec<_> = of_kind.filter_map(|record| Some(record["data"].as_str()?.to_owned())).collect();
    data.sort();
    data
}

/// Addresses of a service.
pub fn cluster_addresses(fabric: &Fabric, service: &str) -> Result<Vec<IpAddr>> {
    let seen = fabric.weft_json(&["get", "service", service])?;
    let all = seen["spec"]["clusterIPs"].as_array().into_iter().flatten();
    Ok(all.filter_map(|address| address.as_str()?.parse().ok()).collect())
}

/// Addresses at which pods may ask, from the ranges of the fabric.
pub fn servers(fabric: &Fabric) -> Result<Vec<IpAddr>> {
    let mut servers = Vec::new();
    for tenth in in_service_ranges(fabric, 10)? {
        servers.push(tenth);
        servers.push(if tenth.is_ipv4() { "169.254.1.53" } else { "fd5a:7e53::53" }.parse()?);
    }
    Ok(servers)
}

/// The address at a position of each range of services.
pub(crate) fn in_service_ranges(fabric: &Fabric, position: u32) -> Result<Vec<IpAddr>> {
    let seen = fabric.weft_json(&["get", "fabric"])?;
    let spec = if seen["items"].is_array() { &seen["items"][0]["spec"] } else { &seen["spec"] };
    let ranges = spec["ranges"]["services"].as_array().context("no ranges of services")?;
    let address = |range: &str| -> Result<IpAddr> {
        Ok(match range.split('/').next().unwrap_or_default().parse()? {
            IpAddr::V4(first) => IpAddr::V4((u32::from(first) + position).into()),
            IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(position)).into()),
        })
    };
    ranges.iter().filter_map(Value::as_str).map(address).collect()
}

/// Type of the records that hold an address.
pub fn kind_of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "A" } else { "AAAA" }
}

/// Those of a type, sorted as text.
pub fn of_kind(all: &[IpAddr], kind: &str) -> Vec<String> {
    let mut some: Vec<_> = all.iter().filter(|a| kind_of(a) == kind).map(ToString::to_string).collect();
    some.sort();
    some
}

/// Whom foreign names are asked of; nobody: the node's own servers.
pub fn forward_to(fabric: &Fabric, servers: &[IpAddr]) -> Result {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    fabric.apply(&format!(
        "apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {{name: main}}\nspec: {{dns: {{upstreams: [{}]}}}}\n",
        servers.join(", ")
    ))
}

/// A service with an address of each family, which checks ask for.
pub const WEB: &str = "names-web.default.svc.cluster.local";

/// It, as people write it.
pub const WEB_SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: names-web, namespace: default}\nspec:\n  \
                               ipFamilyPolicy: PreferDualStack\n  ports: [{name: http, port: 80}]\n";
