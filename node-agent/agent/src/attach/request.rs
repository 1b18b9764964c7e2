//! One call of a container runtime, checked in the order of libcni's skel.
//!
//! In: the frame's JSON. Out: [`Request`] or a failure with its code. Not here: anything that needs the node's state.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use weft_model::{AttachmentId, Name, NamespaceName, PodName};

use super::{
    arguments::Arguments,
    config::{Config, Named, is_cni_name},
    failure::{CniFailure, code},
    version::Version,
};

/// The body of a request frame.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    /// CNI_COMMAND.
    pub(crate) command: String,
    /// All CNI_* variables, and the plugin's own namespace.
    pub(crate) env: BTreeMap<String, String>,
    /// Standard input.
    pub(crate) config: String,
}

/// A checked call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    /// Attach.
    Add(Attachment),
    /// Detach.
    Del(AttachmentId),
    /// Compare with what is.
    Check(Attachment),
    /// Ready for ADD?
    Status,
    /// Which versions?
    Version,
}

/// What ADD and CHECK are about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    /// The key.
    pub(crate) id: AttachmentId,
    /// CNI_NETNS.
    pub(crate) netns: String,
    /// Namespace and name of the pod.
    pub(crate) pod: PodName,
    /// The configuration, with requested addresses of CNI_ARGS where it had none itself.
    pub(crate) config: Config,
    /// Device and inode of the plugin's own namespace, unless CNI_NETNS_OVERRIDE is set: the pod's must be another.
    pub(crate) forbidden_netns: Option<String>,
}

/// Outcome of the check, with the version in which to answer.
pub(crate) type Checked = (Option<Version>, Result<Request, CniFailure>);

impl Call {
    /// Checks everything about the call itself.
    pub(crate) fn check(self) -> Checked {
        if self.command == "VERSION" {
            return (None, Ok(Request::Version));
        }
        if let Err(failure) = self.check_environment() {
            return (None, Err(failure));
        }
        match Named::parse(&self.config) {
            Err(failure) => (None, Err(failure)),
            Ok(named) => (named.version(), self.check_rest(named)),
        }
    }

    fn value(&self, name: &str) -> &str {
        self.env.get(name).map_or("", String::as_str)
    }

    fn check_environment(&self) -> Result<(), CniFailure> {
        let required: &[&str] = match self.command.as_str() {
            "ADD" | "CHECK" => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            "DEL" => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            "STATUS" | "GC" => &["CNI_PATH"],
            _ => {
                let message = format!("unknown CNI_COMMAND: {}", self.command);
                return Err(CniFailure::new(
                    code::ENVIRONMENT,
                    message,
                    "known are ADD, DEL, CHECK, GC, STATUS and VERSION",
                ));
            }
        };
        let missing: Vec<_> = required.iter().copied().filter(|name| self.value(name).is_empty()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("required env variables [{}] missing", missing.join(","));
        Err(CniFailure::new(code::ENVIRONMENT, message, format!("CNI_COMMAND={} needs them", self.command)))
    }

    fn check_rest(&self, named: Named) -> Result<Request, CniFailure> {
        let id = match self.command.as_str() {
            "STATUS" | "GC" => None,
            _ => Some(self.attachment()?),
        };
        if let ("DEL", Some(id)) = (self.command.as_str(), &id) {
            named.checked_version()?;
            return Ok(Request::Del(id.clone()));
        }
        let config = named.checked()?;
        let refuse = |least: &str| {
            let message = format!("{} isn't part of CNI {}", self.command, config.version.as_str());
            Err(CniFailure::new(
                code::VERSION,
                message,
                format!("the configuration must be of version {least} or later"),
            ))
        };
        match (self.command.as_str(), id) {
            ("ADD", Some(_)) if config.previous.is_some() => {
                let details = "chaining isn't supported yet: weft-cni must be the first plugin of the list";
                Err(CniFailure::new(code::FIELD, "prevResult can't be honoured", details))
            }
            ("ADD", Some(id)) => Ok(Request::Add(self.pod(id, config)?)),
            ("CHECK", Some(_)) if config.version < Version::V0_4_0 => refuse("0.4.0"),
            ("CHECK", Some(id)) => match config.previous {
                Some(_) => Ok(Request::Check(self.pod(id, config)?)),
                None => Err(CniFailure::new(
                    code::CONFIG,
                    "CHECK needs prevResult",
                    "the runtime passes the result of ADD",
                )),
            },
            ("STATUS", _) if config.version < Version::V1_1_0 => refuse("1.1.0"),
            ("STATUS", _) => Ok(Request::Status),
            _ => {
                let details = "the list says disableGC; removed pods are known by DEL";
                Err(CniFailure::new(code::VERSION, format!("{} isn't supported yet", self.command), details))
            }
        }
    }

    fn attachment(&self) -> Result<AttachmentId, CniFailure> {
        let (container, interface) = (self.value("CNI_CONTAINERID"), self.value("CNI_IFNAME"));
        let wrong =
            |message: String, details: &str| Err(CniFailure::new(code::ENVIRONMENT, message, details));
        if !is_cni_name(container) {
            return wrong(
                format!("invalid characters in containerID {container:?}"),
                "it begins with a letter or digit and goes on with these, '_', '.' or '-'",
            );
        }
        let bad = |c: char| matches!(c, '/' | ':') || c.is_whitespace();
        if interface.len() > 15 || matches!(interface, "." | "..") || interface.contains(bad) {
            return wrong(
                format!("invalid interface name {interface:?}"),
                "it has at most 15 bytes, no '/', ':' or white space, and isn't '.' or '..'",
            );
        }
        Ok(AttachmentId { container: container.to_owned(), interface: interface.to_owned() })
    }

    fn pod(&self, id: AttachmentId, mut config: Config) -> Result<Attachment, CniFailure> {
        let arguments = Arguments::parse(self.value("CNI_ARGS"))?;
        if config.addresses.is_empty() {
            config.addresses = arguments.addresses;
        }
        let wrong = |error: weft_model::NameError| {
            CniFailure::new(
                code::ENVIRONMENT,
                error.to_string(),
                "CNI_ARGS carries K8S_POD_NAMESPACE and K8S_POD_NAME",
            )
        };
        let namespace = arguments.namespace.unwrap_or_else(|| "default".to_owned());
        let name = arguments.name.unwrap_or_else(|| name_from(&id.container));
        let pod = PodName {
            namespace: NamespaceName::new(namespace).map_err(wrong)?,
            name: Name::new(name).map_err(wrong)?,
        };
        let any_netns =
            matches!(self.value("CNI_NETNS_OVERRIDE").to_ascii_lowercase().as_str(), "1" | "true");
        let own = self.env.get("WEFT_PLUGIN_NETNS").filter(|_| !any_netns).cloned();
        Ok(Attachment { id, netns: self.value("CNI_NETNS").to_owned(), pod, config, forbidden_netns: own })
    }
}

/// A pod's name for a container without one: from the first 12 characters of its id, as docker abbreviates it.
fn name_from(container: &str) -> String {
    let short = container
        .chars()
        .take(12)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    format!("pod-{}", short.collect::<String>().trim_end_matches('-'))
}

/// Addresses that a result lists, without prefix lengths.
pub(crate) fn listed_addresses(result: &Value) -> Vec<std::net::IpAddr> {
    let ips = result.get("ips").and_then(Value::as_array);
    let address = |ip: &Value| {
        let text = ip.get("address")?.as_str()?;
        text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
    };
    ips.into_iter().flatten().filter_map(address).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
