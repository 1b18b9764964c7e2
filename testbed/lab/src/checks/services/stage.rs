//! Pods and services that the checks of this folder play with.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::checks::{Cast, HTTP, SERVERS, works};
use crate::fabric::Pod;
use crate::protocol::Place;
use crate::{Fabric, Result};

/// Two backends on the first node, one on the second, and services in front of them.
pub struct Stage<'a> {
    /// Where it stands.
    pub(super) fabric: &'a Fabric,
    /// The clients.
    pub(super) cast: &'a Cast,
    /// Backend on the first node, the only one of services `one-*`.
    pub(super) one: Pod,
    /// Backend on the second node.
    pub(super) two: Pod,
}

/// One service as it was stored.
pub(super) struct Stored(Value);

/// The services, by name: all select `stage=both` or `stage=one`; families as many as the fabric has.
const SERVICES: [(&str, &str, &str); 7] = [
    ("both", "both", "type: NodePort"),
    ("one", "one", "type: NodePort"),
    ("one-outside", "one", "type: NodePort, externalTrafficPolicy: Local"),
    ("one-inside", "one", "type: ClusterIP, internalTrafficPolicy: Local"),
    ("alone", "one", "type: ClusterIP"),
    ("sticky", "both", "type: ClusterIP, sessionAffinity: ClientIP"),
    ("nobody", "nobody", "type: NodePort"),
];

impl<'a> Stage<'a> {
    /// Attaches the backends and applies the services; returns when every node has them in its kernel.
    pub fn set(fabric: &'a Fabric, cast: &'a Cast) -> Result<Self> {
        let backend = |node: &str, name: &str| {
            let labels = [("stage", "yes"), ("one", if name == "one" { "yes" } else { "no" })];
            fabric.labelled_pod(node, name, &labels, &SERVERS)
        };
        let one = backend(cast.a.node(), "one")?;
        let two = backend(cast.c.node(), "two")?;
        let text: Vec<String> = SERVICES.iter().map(|(name, who, rest)| manifest(name, who, rest)).collect();
        fabric.apply(&text.join("---\n"))?;
        let stage = Self { fabric, cast, one, two };
        stage.wait_for("both", 2)?;
        stage.wait_for("one", 1)?;
        Ok(stage)
    }

    /// Takes services and backends away.
    pub fn strike(self) -> Result {
        for (name, _, _) in SERVICES {
            self.fabric.weft(&["delete", "service", name])?.success("weft delete service")?;
        }
        self.fabric.detach(&self.one)?;
        self.fabric.detach(&self.two)
    }

    /// A service as it was stored.
    pub(super) fn service(&self, name: &str) -> Result<Stored> {
        self.fabric.weft_json(&["get", "service", name]).map(Stored)
    }

    /// Waits until every node has the present state in its kernel, and `name` so many ready endpoints in each family.
    pub(super) fn wait_for(&self, name: &str, ready: usize) -> Result {
        self.wait_for_ready(name, ready * self.one.addresses().len())
    }

    /// As [`Stage::wait_for`], of all families together.
    pub(super) fn wait_for_ready(&self, name: &str, ready: usize) -> Result {
        crate::checks::eventually(std::time::Duration::from_secs(5), || {
            let item = self.fabric.weft_json(&["get", "endpoints", name])?;
            let listed = item["endpoints"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|endpoint| endpoint["ready"] == true).count());
            ensure!(listed == ready, "{name} has {listed} endpoints: {item}");
            Ok(())
        })?;
        self.fabric.settle()
    }

    /// The mesh address of a node, in the family of `like`: the source where a service has to translate it.
    pub(super) fn mesh(&self, node: &str, like: IpAddr) -> Result<IpAddr> {
        let node = self.fabric.weft_json(&["get", "node", node])?;
        let all = node["status"]["mesh"].as_array().cloned().unwrap_or_default();
        let mut addresses = all.iter().filter_map(|a| a.as_str()?.parse::<IpAddr>().ok());
        addresses
            .find(|a| a.is_ipv4() == like.is_ipv4())
            .with_context(|| format!("no mesh address in {node}"))
    }

    /// Asks over HTTP: which pod answered, and which client it saw.
    pub(super) fn ask(&self, from: &Place, address: IpAddr, port: &str) -> Result<(String, IpAddr)> {
        let seen = works(self.fabric, from, &["http", &address.to_string(), port])?;
        let text = |key: &str| seen["body"][key].as_str().map(str::to_owned);
        let pod = text("pod").with_context(|| format!("who answered? {seen}"))?;
        let client = text("client").with_context(|| format!("no client in {seen}"))?;
        Ok((pod, client.parse()?))
    }
}

impl Stored {
    /// Its virtual addresses.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>> {
        let all = self.0["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
        let all: Vec<IpAddr> = all.iter().filter_map(|a| a.as_str()?.parse().ok()).collect();
        ensure!(!all.is_empty(), "no address in {}", self.0);
        Ok(all)
    }

    /// The node port of the port of this name.
    pub(super) fn node_port(&self, name: &str) -> Result<String> {
        let ports = self.0["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let port = ports.iter().find(|port| port["name"] == name).map(|port| port["nodePort"].to_string());
        port.with_context(|| format!("no node port {name} in {}", self.0))
    }
}

fn manifest(name: &str, who: &str, rest: &str) -> String {
    let selector = match who {
        "both" => "{ stage: \"yes\" }",
        "one" => "{ one: \"yes\" }",
        _ => "{ stage: nobody }",
    };
    let rest = rest.replace(", ", "\n  ");
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  {rest}\n  ipFamilyPolicy: PreferDualStack\n  \
         selector: {selector}\n  ports:\n  - {{ name: http, port: {HTTP} }}\n  - {{ name: tcp, port: 9000 }}\n  \
         - {{ name: udp, port: 9001, protocol: UDP }}\n"
    )
}
