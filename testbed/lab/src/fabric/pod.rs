//! Pods: network namespaces attached by the real `weft-cni`, as a container runtime does it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::bringup::read_json;
use super::{Background, COMMAND, Fabric, on};
use crate::client::Output;
use crate::launch::own_program;
use crate::protocol::{Place, PodRecord, Request};
use crate::{Refusal, Result, topology};

/// A pod of the lab.
#[derive(Clone, Debug)]
pub struct Pod {
    /// What the lab knows of it.
    pub record: PodRecord,
}

impl Pod {
    /// Its addresses, the primary first.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.record.addresses
    }
    /// Inside it.
    pub fn place(&self) -> Place {
        Place::Pod(self.record.node.clone(), self.record.netns.clone())
    }
    /// Name of the pod.
    pub fn name(&self) -> &str {
        &self.record.name
    }
    /// The node it is attached on.
    pub fn node(&self) -> &str {
        &self.record.node
    }
}

impl Fabric {
    /// Attaches a pod and starts its servers.
    pub fn attach(&self, wanted: &topology::Pod) -> Result<Pod> {
        let netns = format!("{}.{}", wanted.namespace, wanted.name);
        if self.pods()?.iter().any(|p| p.record.netns == netns && p.record.node == wanted.node) {
            bail!(Refusal::Usage(format!(
                "there is a pod {}/{} on {} already",
                wanted.namespace, wanted.name, wanted.node
            )));
        }
        let mut record = PodRecord {
            name: wanted.name.clone(),
            namespace: wanted.namespace.clone(),
            node: wanted.node.clone(),
            netns,
            container: format!("lab-{:016x}", RandomState::new().build_hasher().finish()),
            addresses: Vec::new(),
        };
        let path = netns_path(&record);
        self.inside(&record.node, &["netns-add", &path])?.success("make the pod's namespace")?;
        let labels: Vec<Value> = wanted.labels.iter().map(|(k, v)| json!({"key": k, "value": v})).collect();
        let result = match self.cni("ADD", &record, &labels).and_then(|output| output.success("weft-cni ADD"))
        {
            Ok(text) => read_json("weft-cni", &text)?,
            Err(e) => {
                // As a runtime does after a failed ADD.
                let _ = self.cni("DEL", &record, &labels);
                self.inside(&record.node, &["netns-remove", &path])?;
                return Err(
                    e.context(format!("attach {}/{} on {}", record.namespace, record.name, record.node))
                );
            }
        };
        let ips = result["ips"].as_array().cloned().unwrap_or_default();
        let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
        record.addresses = ips.iter().filter_map(address).collect();
        if record.addresses.is_empty() {
            bail!("weft-cni ADD gave no address: {result}");
        }
        let conf = resolv_conf(&result["dns"]);
        self.told(&record.node, &["resolv-conf", &record.netns], conf)?
            .success("write the pod's resolv.conf")?;
        self.client.call(&Request::PodAdded(record.clone()))?;
        let pod = Pod { record };
        if !wanted.serve.is_empty() {
            self.serve_in(&pod, &wanted.serve.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(pod)
    }

    /// Attaches the pod `name` on `node` with servers, in namespace `default`.
    pub fn pod(&self, node: &str, name: &str, serve: &[&str]) -> Result<Pod> {
        self.labelled_pod(node, name, &[], serve)
    }

    /// As [`Fabric::pod`], with labels.
    pub fn labelled_pod(
        &self,
        node: &str,
        name: &str,
        labels: &[(&str, &str)],
        serve: &[&str],
    ) -> Result<Pod> {
        self.attach(&topology::Pod {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            node: node.to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            serve: serve.iter().map(|s| (*s).to_owned()).collect(),
        })
    }

    /// Starts servers in a pod; returns when they listen.
    pub fn serve_in(&self, pod: &Pod, what: &[&str]) -> Result<Background> {
        let arguments: Vec<&str> = std::iter::once("serve").chain(what.iter().copied()).collect();
        self.background(pod.place(), &arguments, &[("WEFT_LAB_POD", &pod.record.name)])
    }

    /// Detaches a pod: DEL, then its namespace goes.
    pub fn detach(&self, pod: &Pod) -> Result {
        let record = &pod.record;
        self.cni("DEL", record, &[])?.success("weft-cni DEL")?;
        self.inside(&record.node, &["netns-remove", &netns_path(record)])?
            .success("remove the pod's namespace")?;
        self.client.call(&Request::PodRemoved(record.namespace.clone(), record.name.clone())).map(drop)
    }

    /// The pods attached by the lab.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.client.describe()?.pods.into_iter().map(|record| Pod { record }).collect())
    }

    /// One call of the plugin on the pod's node, with the conflist that the agent wrote there.
    pub fn cni(&self, verb: &str, record: &PodRecord, labels: &[Value]) -> Result<Output> {
        let config = self.cni_config(&record.node, labels)?;
        let program = self.cni_program();
        let folder =
            self.product.cni.parent().context("weft-cni lies nowhere")?.to_string_lossy().into_owned();
        let arguments =
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", record.namespace, record.name);
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &record.container),
            ("CNI_NETNS", &netns_path(record)),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", &folder),
            ("CNI_ARGS", &arguments),
        ];
        self.client.run_with(on(&record.node), &[&program], &env, Some(config), COMMAND)
    }

    /// File of `weftd`.
    pub fn weftd_program(&self) -> String {
        self.product.weftd.to_string_lossy().into_owned()
    }

    /// File of `weft`.
    pub fn weft_program(&self) -> String {
        self.product.weft.to_string_lossy().into_owned()
    }

    /// File of the agent.
    pub fn agent_program(&self) -> String {
        self.product.agent.to_string_lossy().into_owned()
    }

    /// File of the plugin.
    pub fn cni_program(&self) -> String {
        self.product.cni.to_string_lossy().into_owned()
    }

    /// What a runtime gives the plugin on standard input: the plugin's object with version and name of the list.
    pub fn cni_config(&self, node: &str, labels: &[Value]) -> Result<String> {
        let path = self.client.layout().disk(node).join("etc-cni/net.d/10-weft.conflist");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let list = read_json("the conflist", &text)?;
        let mut config = list["plugins"][0].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["name"] = list["name"].clone();
        if !labels.is_empty() {
            config["args"] = json!({"cni": {"labels": labels}});
        }
        Ok(config.to_string())
    }

    fn inside(&self, machine: &str, role: &[&str]) -> Result<Output> {
        self.told(machine, role, String::new())
    }

    fn told(&self, machine: &str, role: &[&str], input: String) -> Result<Output> {
        let program = own_program()?.to_string_lossy().into_owned();
        let argv: Vec<&str> = [program.as_str(), "inside"].into_iter().chain(role.iter().copied()).collect();
        self.client.run_with(on(machine), &argv, &[], Some(input), COMMAND)
    }
}

/// The file that a runtime makes of `dns` of a result of CNI.
fn resolv_conf(dns: &Value) -> String {
    let words = |key: &str| -> Vec<&str> {
        dns[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let line = |name: &str, words: Vec<&str>| match words.as_slice() {
        [] => String::new(),
        words => format!("{name} {}\n", words.join(" ")),
    };
    let servers: String =
        words("nameservers").iter().map(|server| format!("nameserver {server}\n")).collect();
    servers + &line("search", words("search")) + &line("options", words("options"))
}

fn netns_path(record: &PodRecord) -> String {
    format!("/run/netns/{}", record.netns)
}
