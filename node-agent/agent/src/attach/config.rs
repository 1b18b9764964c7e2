//! The configuration on standard input: shape by serde, meaning here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use weft_model::{Labels, MAX_LABELS, check_label};

use super::{
    arguments::addresses,
    failure::{CniFailure, code},
    version::Version,
};

/// What every verb needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    cni_version: String,
    #[serde(default)]
    name: String,
}

/// The other keys that mean something here; a runtime may send more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rest {
    #[serde(default)]
    ipam: Option<Value>,
    #[serde(default)]
    prev_result: Option<Value>,
    #[serde(default)]
    runtime_config: BTreeMap<String, Value>,
    #[serde(default)]
    args: Args,
}

#[derive(Debug, Default, Deserialize)]
struct Args {
    #[serde(default)]
    cni: CniArgs,
}

#[derive(Debug, Default, Deserialize)]
struct CniArgs {
    #[serde(default)]
    labels: Vec<LabelPair>,
    #[serde(default)]
    ips: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct LabelPair {
    key: String,
    value: String,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Version of the protocol.
    pub(crate) version: Version,
    /// Name of the network.
    pub(crate) network: String,
    /// Labels from `args.cni.labels`.
    pub(crate) labels: Labels,
    /// Addresses from `runtimeConfig.ips`, else from `args.cni.ips`.
    pub(crate) addresses: Vec<std::net::IpAddr>,
    /// The result of the plugin before, or of the ADD that a CHECK is about.
    pub(crate) previous: Option<Value>,
}

/// A configuration whose name is known to be good; its version isn't looked at yet (order of libcni's skel).
///
/// DEL needs no more of it: what ADD refused must still be possible to remove.
#[derive(Debug)]
pub(crate) struct Named {
    head: Head,
    whole: Value,
}

impl Named {
    /// Parses, and checks the name.
    pub(crate) fn parse(text: &str) -> Result<Self, CniFailure> {
        let whole: Value = serde_json::from_str(text).map_err(undecodable)?;
        if !whole.is_object() {
            return Err(undecodable("it isn't an object"));
        }
        let head = Head::deserialize(&whole).map_err(undecodable)?;
        let details = "a name begins with a letter or digit and goes on with these, '_', '.' or '-'";
        if head.name.is_empty() {
            return Err(CniFailure::new(code::CONFIG, "missing network name", details));
        }
        if !is_cni_name(&head.name) {
            let message = format!("invalid characters in network name {:?}", head.name);
            return Err(CniFailure::new(code::CONFIG, message, details));
        }
        Ok(Self { head, whole })
    }

    /// The version in which to answer, where it is one of ours.
    pub(crate) fn version(&self) -> Option<Version> {
        Version::parse(&self.head.cni_version)
    }

    /// The version, checked.
    pub(crate) fn checked_version(&self) -> Result<Version, CniFailure> {
        self.version().ok_or_else(|| {
            let message = format!("cniVersion {:?} isn't supported", self.head.cni_version);
            CniFailure::new(code::VERSION, message, "supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0")
        })
    }

    /// Checks all the rest.
    pub(crate) fn checked(self) -> Result<Config, CniFailure> {
        let version = self.checked_version()?;
        let Rest { ipam, prev_result, runtime_config, args } =
            serde_json::from_value(self.whole).map_err(undecodable)?;
        if ipam.is_some_and(|ipam| ipam != Value::Object(serde_json::Map::new())) {
            let details = "Weft gives out addresses itself, from the blocks of its node: remove the key ipam";
            return Err(CniFailure::new(code::FIELD, "ipam can't be honoured", details));
        }
        refuse_capabilities(&runtime_config)?;
        let requested = match runtime_config.get("ips") {
            Some(ips) => texts(ips)?,
            None => args.cni.ips,
        };
        let labels = labels(args.cni.labels)?;
        let addresses = addresses(requested.iter().map(String::as_str))?;
        Ok(Config { version, network: self.head.name, labels, addresses, previous: prev_result })
    }
}

fn undecodable(why: impl ToString) -> CniFailure {
    CniFailure::new(code::DECODE, "the configuration on standard input can't be decoded", why.to_string())
}

/// The control plane would refuse what breaks the rule, and the pod would never be known to anybody else.
fn labels(pairs: Vec<LabelPair>) -> Result<Labels, CniFailure> {
    let wrong = |message: String, details: &str| CniFailure::new(code::CONFIG, message, details);
    let labels: Labels = pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
    if labels.len() > MAX_LABELS {
        let message =
            format!("args.cni.labels has {} labels, at most {MAX_LABELS} are allowed", labels.len());
        return Err(wrong(message, "give the pod fewer labels"));
    }
    for (key, value) in &labels {
        check_label(key, value).map_err(|error| {
            wrong(format!("args.cni.labels: {error}"), "labels are as Kubernetes has them")
        })?;
    }
    Ok(labels)
}

/// Names of networks and containers (CNI 1.1.0 section 1): `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`.
pub(crate) fn is_cni_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.bytes().all(inside)
}

/// Capabilities that would change what the pod gets and that aren't there yet; empty ones ask for nothing.
fn refuse_capabilities(runtime: &BTreeMap<String, Value>) -> Result<(), CniFailure> {
    for key in ["bandwidth", "mac", "ipRanges", "infinibandGUID", "deviceID"] {
        if let Some(value) = runtime.get(key).filter(|value| !is_empty(value)) {
            let message = format!("runtimeConfig.{key} can't be honoured");
            return Err(CniFailure::new(code::FIELD, message, format!("{key}={value}")));
        }
    }
    let Some(Value::Array(mappings)) = runtime.get("portMappings") else { return Ok(()) };
    match mappings.iter().find(|mapping| host_port(mapping) != 0) {
        Some(mapping) => {
            let message = "runtimeConfig.portMappings can't be honoured";
            Err(CniFailure::new(code::FIELD, message, format!("portMappings={mapping}")))
        }
        None => Ok(()),
    }
}

/// The host's port of a mapping; keys are matched without case, as go-cni sends `HostPort`.
fn host_port(mapping: &Value) -> u64 {
    let fields = mapping.as_object();
    let found = fields.and_then(|fields| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case("hostPort")));
    found.and_then(|(_, value)| value.as_u64()).unwrap_or(0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn texts(value: &Value) -> Result<Vec<String>, CniFailure> {
    serde_json::from_value(value.clone()).map_err(|error| {
        CniFailure::new(code::DECODE, "runtimeConfig.ips isn't a list of texts", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str =
        "1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

    /// `code message` of the refusal, or what was understood.
    fn check(text: &str, expected: &str) {
        let got = match Named::parse(text).and_then(Named::checked) {
            Ok(config) => {
                let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
                let labels: Vec<_> = config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let previous = if config.previous.is_some() { " previous" } else { "" };
                let version = config.version.as_str();
                format!(
                    "{version} {} [{}] [{}]{previous}",
                    config.network,
                    addresses.join(" "),
                    labels.join(" ")
                )
            }
            Err(failure) => format!("{} {}", failure.code, failure.message),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn configurations_are_read_or_refused_with_their_code() {
        check(r#"{"cniVersion":"1.1.0","name":"weft","type":"weft-cni"}"#, "1.1.0 weft [] []");
        check(
            r#"{"cniVersion":"0.3.1","name":"a.b-c_d","capabilities":{"ips":true},"x":1}"#,
            "0.3.1 a.b-c_d [] []",
        );
        check("{", "6 the configuration on standard input can't be decoded");
        check("[]", "6 the configuration on standard input can't be decoded");
        check(r#"{"cniVersion":"1.1.0"}"#, "7 missing network name");
        check(r#"{"cniVersion":"9.9.9"}"#, "7 missing network name");
        check(r#"{"cniVersion":"1.1.0","name":"a b"}"#, r#"7 invalid characters in network name "a b""#);
        check(r#"{"cniVersion":"0.2.0","name":"weft"}"#, r#"1 cniVersion "0.2.0" isn't supported"#);
        check(r#"{"name":"weft"}"#, r#"1 cniVersion "" isn't supported"#);
        check(
            r#"{"cniVersion":"1.0.0","name":"w","ipam":{"type":"host-local"}}"#,
            "2 ipam can't be honoured",
        );
        check(r#"{"cniVersion":"1.0.0","name":"w","ipam":{},"prevResult":{}}"#, "1.0.0 w [] [] previous");
    }

    #[test]
    fn what_the_runtime_adds_is_taken_or_refused_never_forgotten() {
        let with = |extra: &str| format!(r#"{{"cniVersion":"1.0.0","name":"w",{extra}}}"#);
        check(
            &with(r#""runtimeConfig":{"ips":["10.1.0.3/24"]},"args":{"cni":{"ips":["10.1.0.9"]}}"#),
            "1.0.0 w [10.1.0.3] []",
        );
        check(
            &with(r#""args":{"cni":{"ips":["fd00::9"],"labels":[{"key":"app","value":"web"}]}}"#),
            "1.0.0 w [fd00::9] [app=web]",
        );
        check(
            &with(r#""args":{"cni":{"labels":[{"key":"app","value":"a b"}]}}"#),
            &format!(r#"7 args.cni.labels: value "a b" of label "app" isn't valid: {WORD}"#),
        );
        check(&with(r#""runtimeConfig":{"ips":"10.1.0.3"}"#), "6 runtimeConfig.ips isn't a list of texts");
        check(
            &with(
                r#""runtimeConfig":{"portMappings":[{"HostPort":0,"ContainerPort":80}],"dns":{"servers":[]}}"#,
            ),
            "1.0.0 w [] []",
        );
        check(
            &with(r#""runtimeConfig":{"portMappings":[{"HostPort":8080,"ContainerPort":80}]}"#),
            "2 runtimeConfig.portMappings can't be honoured",
        );
        check(
            &with(r#""runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#),
            "2 runtimeConfig.portMappings can't be honoured",
        );
        check(
            &with(r#""runtimeConfig":{"bandwidth":{"ingressRate":1}}"#),
            "2 runtimeConfig.bandwidth can't be honoured",
        );
        check(&with(r#""runtimeConfig":{"bandwidth":{},"mac":""}"#), "1.0.0 w [] []");
        check(
            &with(r#""runtimeConfig":{"mac":"02:00:00:00:00:01"}"#),
            "2 runtimeConfig.mac can't be honoured",
        );
    }
}
