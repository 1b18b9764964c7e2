//! Labels and short texts, with the limits that Kubernetes has for labels.

use std::{collections::BTreeMap, net::IpAddr};

use weft_model::{Labels, check_label, is_link_local, ownership::CLOUD_METADATA};

use super::Problems;
use crate::{Error, limits};

/// At most 64 labels, each key and value as Kubernetes wants them.
pub(crate) fn check_labels(kind: &'static str, name: &str, labels: &Labels) -> Result<(), Error> {
    if labels.len() > limits::MAX_LABELS {
        let name = name.to_owned();
        return Err(Error::TooLarge { kind, name, what: "labels", limit: limits::MAX_LABELS });
    }
    for (key, value) in labels {
        check_label(key, value).map_err(|error| {
            Error::invalid(kind, name, format!("metadata.labels[{key}]"), error.to_string())
        })?;
    }
    Ok(())
}

/// A text that is shown and stored but has no structure: 1 to 253 printable ASCII characters without space.
pub(crate) fn check_text(kind: &'static str, name: &str, field: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() || text.len() > limits::MAX_TEXT || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let why = format!("{field} must be 1 to {} printable characters without spaces", limits::MAX_TEXT);
        return Err(Error::invalid(kind, name, field, why));
    }
    Ok(())
}

/// Labels and annotations of an object, every problem of them.
pub(crate) fn check_metadata(
    labels: &Labels,
    annotations: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    if labels.len() > limits::MAX_LABELS {
        problems.too_many("metadata.labels", labels.len(), limits::MAX_LABELS);
    }
    for (key, value) in labels {
        if let Err(error) = check_label(key, value) {
            problems.invalid(format!("metadata.labels[{key}]"), value, &error.to_string());
        }
    }
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > limits::MAX_ANNOTATION_BYTES {
        let why = format!("must have at most {} bytes", limits::MAX_ANNOTATION_BYTES);
        problems.invalid("metadata.annotations", format!("{bytes} bytes"), &why);
    }
    // Unlike labels, their names may have capital letters before the slash.
    for key in annotations.keys() {
        problems.qualified(format!("metadata.annotations[{key}]"), &key.to_ascii_lowercase());
    }
}

/// Why packets of a service can't go to an address, or come to it (`ValidateNonSpecialIP` of Kubernetes, and more).
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if is_link_local(address) {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if address.is_multicast() {
        Some("may not be in the multicast range (224.0.0.0/4, ff00::/8)")
    } else if matches!(address, IpAddr::V4(address) if address.octets()[0] >= 240 || address.octets()[0] == 0)
    {
        Some("may not be in a reserved range (0.0.0.0/8, 240.0.0.0/4)")
    } else if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
        Some("must not be an IPv4-mapped IPv6 address")
    } else if CLOUD_METADATA.contains(&address) {
        Some("may not be where a cloud hands out its machines' credentials")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use weft_errors::{Coded, OBJECT_INVALID, TOO_LARGE};

    use super::*;

    #[test]
    fn labels_are_checked_as_kubernetes_does() {
        let check = |key: &str, value: &str| {
            check_labels("pod", "shop/web", &[(key.to_owned(), value.to_owned())].into())
                .map_err(|e| e.code())
        };
        for (key, value, good) in [
            ("app", "web", true),
            ("app.kubernetes.io/name", "weft-ingress", true),
            ("zone", "", true),
            ("a_b.c-d", "X1", true),
            ("", "web", false),
            ("app", "-web", false),
            ("Not A Name/app", "web", false),
            ("/app", "web", false),
            ("a/b/c", "web", false),
            (&"x".repeat(64), "web", false),
        ] {
            assert_eq!(check(key, value), if good { Ok(()) } else { Err(&OBJECT_INVALID) }, "{key}={value}");
        }
        let many: Labels = (0..65).map(|n| (format!("l{n}"), String::new())).collect();
        assert_eq!(check_labels("pod", "p", &many).map_err(|e| e.code()), Err(&TOO_LARGE));
    }
}
