//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`, deprecated and used by every runtime.

use std::net::IpAddr;

use super::failure::{CniFailure, code};

/// What the arguments say that matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `K8S_POD_NAMESPACE`.
    pub(crate) namespace: Option<String>,
    /// `K8S_POD_NAME`.
    pub(crate) name: Option<String>,
    /// `IP`, one or more separated by commas, with or without a prefix length.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Arguments {
    /// Reads them. An unknown key is an error unless `IgnoreUnknown` is given.
    pub(crate) fn parse(text: &str) -> Result<Self, CniFailure> {
        let mut arguments = Self::default();
        let mut unknown = None;
        let mut ignore_unknown = false;
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let parts: Vec<_> = pair.split('=').collect();
            let &[key, value] = parts.as_slice() else {
                return Err(wrong(format!("CNI_ARGS: invalid CNI_ARGS pair {pair:?}")));
            };
            match key {
                "IgnoreUnknown" => {
                    ignore_unknown = matches!(value.to_ascii_lowercase().as_str(), "1" | "true")
                }
                "K8S_POD_NAMESPACE" => arguments.namespace = Some(value.to_owned()),
                "K8S_POD_NAME" => arguments.name = Some(value.to_owned()),
                "K8S_POD_INFRA_CONTAINER_ID" | "K8S_POD_UID" => {}
                "IP" => arguments.addresses = addresses(value.split(','))?,
                "MAC" => {
                    let details = format!("MAC={value}: Weft gives each pod its hardware address");
                    return Err(CniFailure::new(code::FIELD, "CNI_ARGS: MAC can't be honoured", details));
                }
                _ => unknown = Some(key.to_owned()),
            }
        }
        match unknown {
            Some(key) if !ignore_unknown => {
                Err(wrong(format!("CNI_ARGS: unknown args [{key:?}] and IgnoreUnknown isn't set")))
            }
            Some(_) | None => Ok(arguments),
        }
    }
}

/// Addresses with or without a prefix length.
pub(crate) fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<IpAddr>, CniFailure> {
    let parse = |text: &str| {
        let address = text.split_once('/').map_or(text, |(address, _)| address).trim();
        let wrong = || {
            let message = format!("{text:?} isn't an IP address");
            CniFailure::new(
                code::CONFIG,
                message,
                "requested addresses are written as 10.1.2.3 or 10.1.2.3/32",
            )
        };
        address.parse().map_err(|_| wrong())
    };
    texts.map(parse).collect()
}

fn wrong(message: String) -> CniFailure {
    CniFailure::new(code::ENVIRONMENT, message, "CNI_ARGS are KEY=VALUE pairs separated by ';'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, &str, &str), &str>) {
        let got = Arguments::parse(text).map(|a| {
            let addresses: Vec<_> = a.addresses.iter().map(ToString::to_string).collect();
            (a.namespace.unwrap_or_default(), a.name.unwrap_or_default(), addresses.join(" "))
        });
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(got.map_err(|f| f.message), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn arguments_as_runtimes_send_them() {
        check("", Ok(("", "", "")));
        let kubelet = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u";
        check(kubelet, Ok(("shop", "web-0", "")));
        check("IgnoreUnknown=true;FOO=bar", Ok(("", "", "")));
        check("FOO=bar;IgnoreUnknown=1", Ok(("", "", "")));
        check("FOO=bar", Err(r#"CNI_ARGS: unknown args ["FOO"] and IgnoreUnknown isn't set"#));
        check(
            "IgnoreUnknown=0;FOO=bar",
            Err(r#"CNI_ARGS: unknown args ["FOO"] and IgnoreUnknown isn't set"#),
        );
        check("K8S_POD_NAME", Err(r#"CNI_ARGS: invalid CNI_ARGS pair "K8S_POD_NAME""#));
        check("A=B=C", Err(r#"CNI_ARGS: invalid CNI_ARGS pair "A=B=C""#));
        check("IP=10.1.0.7/32,fd00::7", Ok(("", "", "10.1.0.7 fd00::7")));
        check("IP=10.1.0", Err(r#""10.1.0" isn't an IP address"#));
        check("MAC=02:00:00:00:00:01", Err("CNI_ARGS: MAC can't be honoured"));
    }
}
