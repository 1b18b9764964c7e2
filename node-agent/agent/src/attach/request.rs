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
mod tests {
    use super::*;

    const ADD: &str = "ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/x CNI_IFNAME=eth0 CNI_PATH=/opt";
    const V1: &str = r#"{"cniVersion":"1.1.0","name":"weft"}"#;

    fn call(line: &str, config: &str) -> Checked {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default().to_owned();
        let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        Call { command, env: words.filter_map(pair).collect(), config: config.to_owned() }.check()
    }

    fn check(line: &str, config: &str, expected: &str) {
        let got = match call(line, config).1 {
            Ok(Request::Add(a)) => format!("add {} {} {}", a.id, a.pod, a.netns),
            Ok(Request::Check(a)) => format!("check {}", a.id),
            Ok(Request::Del(id)) => format!("del {id}"),
            Ok(Request::Status) => "status".to_owned(),
            Ok(Request::Version) => "version".to_owned(),
            Err(failure) => format!("{} {}", failure.code, failure.message),
        };
        assert_eq!(got, expected, "{line} {config}");
    }

    #[test]
    fn checks_come_in_the_order_of_skel() {
        check("FOO", "{", "4 unknown CNI_COMMAND: FOO");
        check(
            "ADD CNI_PATH=/opt",
            "{",
            "4 required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
        );
        let bad = "ADD CNI_CONTAINERID=-c CNI_NETNS=/x CNI_IFNAME=e/0 CNI_PATH=/opt";
        check(bad, "{", "6 the configuration on standard input can't be decoded");
        check(bad, r#"{"cniVersion":"9"}"#, "7 missing network name");
        check(bad, r#"{"cniVersion":"9","name":"w"}"#, r#"4 invalid characters in containerID "-c""#);
        check(
            "ADD CNI_CONTAINERID=c CNI_NETNS=/x CNI_IFNAME=e/0 CNI_PATH=/opt",
            r#"{"cniVersion":"9","name":"w"}"#,
            r#"4 invalid interface name "e/0""#,
        );
        check(ADD, r#"{"cniVersion":"9","name":"w"}"#, r#"1 cniVersion "9" isn't supported"#);
        check("VERSION", "not read", "version");
    }

    #[test]
    fn verbs_belong_to_versions() {
        let old = |version: &str| format!(r#"{{"cniVersion":"{version}","name":"w","prevResult":{{}}}}"#);
        check(&ADD.replace("ADD", "CHECK"), &old("0.3.1"), "1 CHECK isn't part of CNI 0.3.1");
        check(&ADD.replace("ADD", "CHECK"), &old("0.4.0"), "check c1:eth0");
        check(&ADD.replace("ADD", "CHECK"), V1, "7 CHECK needs prevResult");
        check("STATUS CNI_PATH=/opt", &old("1.0.0"), "1 STATUS isn't part of CNI 1.0.0");
        check("STATUS CNI_PATH=/opt", V1, "status");
        check("GC CNI_PATH=/opt", V1, "1 GC isn't supported yet");
        check(ADD, &old("1.0.0"), "2 prevResult can't be honoured");
        check("DEL CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/opt", &old("0.3.1"), "del c1:eth0");
    }

    #[test]
    fn del_needs_name_and_version_only() {
        let del = "DEL CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/opt";
        for extra in [
            r#""ipam":{"type":"host-local"}"#,
            r#""runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#,
            r#""runtimeConfig":{"bandwidth":{"ingressRate":1},"ips":7}"#,
            r#""args":{"cni":{"labels":[{"key":"-","value":"x"}],"ips":["no"]}}"#,
            r#""args":7,"runtimeConfig":"x""#,
        ] {
            let config = format!(r#"{{"cniVersion":"1.1.0","name":"weft",{extra}}}"#);
            check(del, &config, "del c1:eth0");
            assert!(call(ADD, &config).1.is_err(), "ADD refuses {extra}");
        }
        check(del, r#"{"cniVersion":"9","name":"w"}"#, r#"1 cniVersion "9" isn't supported"#);
        check(del, r#"{"cniVersion":"1.1.0"}"#, "7 missing network name");
        let arguments = format!("{del} CNI_ARGS=FOO=bar;MAC=x");
        check(&arguments, V1, "del c1:eth0");
    }

    #[test]
    fn a_pod_is_named_by_its_runtime_or_by_its_container() {
        check(ADD, V1, "add c1:eth0 default/pod-c1 /run/netns/x");
        let named = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0";
        check(&format!("{ADD} {named}"), V1, "add c1:eth0 shop/web-0 /run/netns/x");
        let long = ADD.replace("=c1", "=CNI_tool-0123456789abcdef");
        check(&long, V1, "add CNI_tool-0123456789abcdef:eth0 default/pod-cni-tool-012 /run/netns/x");
        check(
            &format!("{ADD} CNI_ARGS=K8S_POD_NAME=Web"),
            V1,
            r#"4 "Web" is not a valid name: only lower-case letters, digits and '-' are allowed"#,
        );
    }

    #[test]
    fn the_plugins_own_namespace_is_forbidden_unless_overridden() {
        let forbidden = |extra: &str| match call(&format!("{ADD} WEFT_PLUGIN_NETNS=4:7 {extra}"), V1).1 {
            Ok(Request::Add(attachment)) => attachment.forbidden_netns,
            other => panic!("{other:?}"),
        };
        assert_eq!(forbidden("").as_deref(), Some("4:7"));
        assert_eq!(forbidden("CNI_NETNS_OVERRIDE=0").as_deref(), Some("4:7"));
        assert_eq!(forbidden("CNI_NETNS_OVERRIDE=TRUE"), None);
    }

    #[test]
    fn addresses_of_a_result() {
        let result =
            serde_json::json!({"ips": [{"address": "10.1.0.7/32"}, {"address": "fd00::7/128"}, {"x": 1}]});
        assert_eq!(
            listed_addresses(&result),
            ["10.1.0.7".parse::<std::net::IpAddr>().unwrap(), "fd00::7".parse().unwrap()]
        );
    }
}
