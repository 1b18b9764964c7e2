//! A shop in plain Kubernetes YAML (`testbed/topologies/shop`): applied unchanged, a service of every type, and each answers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::checks::{Cast, eventually, same_family, works, works_as};
use crate::fabric::{Pod, on};
use crate::layout::workspace;
use crate::topology::Topology;
use crate::{Fabric, Result};

/// Its pods in this fabric.
pub struct Shop<'a> {
    fabric: &'a Fabric,
    cast: &'a Cast,
    /// What this value attached; those of the fabric's own topology stay.
    own: Vec<Pod>,
}

/// Connections after which each of two backends has answered, but once in 10^9 runs.
const TRIES: usize = 30;
/// Within this probes say yes and everything is announced.
const READY: Duration = Duration::from_secs(10);

impl<'a> Shop<'a> {
    /// Applies the manifests as they are and attaches the pods, unless the fabric's topology has done so.
    pub fn open(fabric: &'a Fabric, cast: &'a Cast) -> Result<Self> {
        let shop = Topology::read(&workspace().join("testbed/topologies/shop.toml"))?;
        let mut own = Vec::new();
        if fabric.topology().apply.files.is_empty() {
            for file in &shop.apply.files {
                fabric.apply(&std::fs::read_to_string(file)?)?;
            }
            own = shop.pod.iter().map(|pod| fabric.attach(pod)).collect::<Result<_>>()?;
        }
        let shop = Self { fabric, cast, own };
        for (name, ready) in [("front", 4), ("api", 4), ("cache", 2), ("db", 1), ("stats", 2), ("payment", 1)]
        {
            eventually(READY, || shop.is_ready(name, ready))?;
        }
        fabric.settle()?;
        Ok(shop)
    }

    /// Takes away what [`Shop::open`] brought.
    pub fn close(self) -> Result {
        if self.own.is_empty() {
            return Ok(());
        }
        self.own.iter().try_for_each(|pod| self.fabric.detach(pod))?;
        self.fabric.weft(&["delete", "namespace", "shop", "--yes"])?.success("weft delete namespace")?;
        self.fabric.weft(&["delete", "lbpool", "switch", "--yes"])?.success("weft delete lbpool").map(drop)
    }

    fn is_ready(&self, name: &str, ready: usize) -> Result {
        let found = self.fabric.weft_json(&["get", "endpoints", name, "-n", "shop"])?;
        let all = found["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
        let number = all.iter().filter(|endpoint| endpoint["ready"] == true).count();
        ensure!(number == ready, "{name} has {number} ready endpoints instead of {ready}: {found}");
        Ok(())
    }

    fn service(&self, name: &str) -> Result<Value> {
        self.fabric.weft_json(&["get", "service", name, "-n", "shop"])
    }

    fn cluster_addresses(&self, name: &str) -> Result<Vec<IpAddr>> {
        let service = self.service(name)?;
        let all = addresses(&service["spec"]["clusterIPs"], |value| value.as_str());
        ensure!(!all.is_empty(), "no address in {service}");
        Ok(all)
    }

    /// Pods that answered over HTTP.
    fn answers(&self, from: &crate::protocol::Place, to: IpAddr, port: &str) -> Result<BTreeSet<String>> {
        let mut pods = BTreeSet::new();
        for _ in 0..TRIES {
            let seen = works(self.fabric, from, &["http", &to.to_string(), port])?;
            let pod = seen["body"]["pod"].as_str().with_context(|| format!("who answered? {seen}"))?;
            pods.insert(pod.to_owned());
            if pods.len() == 2 {
                break;
            }
        }
        Ok(pods)
    }

    fn both(&self, from: &crate::protocol::Place, to: IpAddr, port: &str, names: [&str; 2]) -> Result {
        let pods = self.answers(from, to, port)?;
        ensure!(
            pods == names.map(str::to_owned).into(),
            "{pods:?} answered at {to}:{port} instead of {names:?}"
        );
        Ok(())
    }
}

/// Customers reach the front end by its own address and by every node's port, pods by its virtual address; each of both families.
pub fn front(shop: &Shop<'_>) -> Result<String> {
    let outside = on(&shop.fabric.outside());
    let service = shop.service("front")?;
    let given = addresses(&service["status"]["loadBalancer"]["ingress"], |value| value["ip"].as_str());
    ensure!(given.len() == 2, "no load-balancer address of each family in {service}");
    for address in &given {
        eventually(READY, || shop.both(&outside, *address, "80", ["front-0", "front-1"]))?;
    }
    let port = service["spec"]["ports"][0]["nodePort"].to_string();
    let mut nodes = 0;
    for node in shop.fabric.nodes()? {
        for address in shop.fabric.machine(&node)?.addresses() {
            shop.both(&outside, address, &port, ["front-0", "front-1"])?;
            nodes += 1;
        }
    }
    for address in shop.cluster_addresses("front")? {
        shop.both(&shop.cast.c.place(), address, "80", ["front-0", "front-1"])?;
    }
    let given: Vec<String> = given.iter().map(ToString::to_string).collect();
    Ok(format!(
        "from outside at {} and at {nodes} node addresses, port {port}; from pods",
        given.join(" and ")
    ))
}

/// One port name, another number on each pod: both answer behind one port.
pub fn api(shop: &Shop<'_>) -> Result<String> {
    for address in shop.cluster_addresses("api")? {
        shop.both(&shop.cast.a.place(), address, "80", ["api-0", "api-1"])?;
    }
    Ok("port 80 leads to 8080 of one pod and 8081 of the other".to_owned())
}

/// A client stays with its shard, which connection tracking shows; another shard serves somebody else or nobody.
pub fn cache(shop: &Shop<'_>) -> Result<String> {
    let mut shards = Vec::new();
    for pod in [&shop.cast.a, &shop.cast.c] {
        let mut met = BTreeSet::new();
        for _ in 0..5 {
            let told = traced(shop.fabric, pod, "cache.shop:6379")?;
            let backend = told["paths"][0]["probe"]["backend"].as_str().map(str::to_owned);
            met.insert(backend.with_context(|| format!("no backend in {told}"))?);
        }
        ensure!(met.len() == 1, "{} met {met:?}", pod.name());
        shards.extend(met);
    }
    Ok(format!(
        "5 connections each stay: {} -> {}, {} -> {}",
        shop.cast.a.name(),
        shards[0],
        shop.cast.c.name(),
        shards[1]
    ))
}

/// What has no address of its own: the database's name leads to its pod, mail is an alias, statistics are taken on every node by UDP.
pub fn others(shop: &Shop<'_>) -> Result<String> {
    let told = traced(shop.fabric, &shop.cast.a, "db.shop:5432")?;
    ensure!(told["paths"][0]["fate"] == "Straight" && told["paths"][0]["service"].is_null(), "{told}");
    let alias = shop.fabric.weft_json(&["trace", shop.cast.a.name(), "mail.shop:25"])?;
    ensure!(alias["alias"] == "smtp.example.com", "{alias}");
    let mut places = 0;
    for node in shop.fabric.nodes()? {
        for address in shop.fabric.machine(&node)?.addresses().into_iter().filter(IpAddr::is_ipv4) {
            works(shop.fabric, &on(&shop.fabric.outside()), &["udp", &address.to_string(), "30125"])?;
            places += 1;
        }
    }
    Ok(format!("db leads to its pod, mail is an alias, stats are taken at {places} node addresses by UDP"))
}

/// The payment gateway is a machine outside, written by hand; it sees the node as its client.
pub fn payment(shop: &Shop<'_>) -> Result<String> {
    let outside = shop.fabric.outside();
    let server = shop.fabric.background(on(&outside), &["serve", "tcp:9000"], &[])?;
    let seen = (|| {
        let address = shop.cluster_addresses("payment")?[0];
        let node = shop.fabric.machine(shop.cast.a.node())?;
        let source = node.addresses().into_iter().find(|a| a.is_ipv4() == address.is_ipv4());
        let source = source.context("the node has no address of the family")?;
        same_family(&shop.cast.a, address)?;
        works_as(shop.fabric, &shop.cast.a.place(), &["tcp", &address.to_string(), "443"], source)?;
        Ok(format!("{address}:443 leads to {outside}, which sees {source}"))
    })();
    server.stop().ok();
    seen
}

/// What `weft trace --probe` tells of a pod's packet; it must agree and get there.
fn traced(fabric: &Fabric, pod: &Pod, to: &str) -> Result<Value> {
    let told = fabric.weft_json(&["trace", pod.name(), to, "--probe"])?;
    let paths = told["paths"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(!paths.is_empty() && paths.iter().all(|path| path["probe"]["agrees"] == true), "{told}");
    Ok(told)
}

fn addresses(list: &Value, text: impl Fn(&Value) -> Option<&str>) -> Vec<IpAddr> {
    let all = list.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(|value| text(value)?.parse().ok()).collect()
}
