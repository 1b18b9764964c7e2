//! Names as Kubernetes writes them. A copy of a name costs nothing: each is kept in many places.

use std::{fmt, str::FromStr, sync::Arc};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid name: {why}")]
pub struct NameError {
    /// The refused text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A DNS label (RFC 1123): 1 to 63 of `a-z 0-9 -`, not beginning or ending with `-`.
fn label(text: &str) -> Result<(), NameError> {
    if text.len() > 63 {
        return Err(NameError { text: text.to_owned(), why: "it has more than 63 characters" });
    }
    part_of(text, text)
}

/// One or more of `a-z 0-9 -`, not beginning or ending with `-`, as a part of a name.
fn part_of(text: &str, name: &str) -> Result<(), NameError> {
    let bad = |why| Err(NameError { text: name.to_owned(), why });
    if text.is_empty() {
        return bad("it is empty");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return bad("only lower-case letters, digits and '-' are allowed");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return bad("it may not begin or end with '-'");
    }
    Ok(())
}

/// A DNS subdomain (RFC 1123): labels joined by dots, at most 253 characters.
fn subdomain(text: &str) -> Result<(), NameError> {
    object(text)?;
    text.split('.')
        .try_for_each(|part| label(part).map_err(|e| NameError { text: text.to_owned(), why: e.why }))
}

/// What Kubernetes calls a DNS subdomain: each part as in [`subdomain`], but only the whole has a limit.
fn object(text: &str) -> Result<(), NameError> {
    if text.len() > 253 {
        return Err(NameError { text: text.to_owned(), why: "it has more than 253 characters" });
    }
    text.split('.').try_for_each(|part| part_of(part, text))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident by $check:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    )*};
}

names! {
    /// Name of a node.
    NodeName by subdomain;
    /// Name of a control-plane replica.
    ReplicaName by subdomain;
    /// A domain, whose labels DNS can carry.
    DomainName by subdomain;
    /// Name of a namespace.
    NamespaceName by label;
    /// Name of an object within its namespace: as Kubernetes' objects, so a part may be longer than a DNS label.
    Name by object;
}

/// Namespace and name of an object; prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The name within it.
    pub name: Name,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    /// Reads `namespace/name`; a bare name is in namespace `default`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        Ok(Self { namespace: NamespaceName::new(namespace)?, name: Name::new(name)? })
    }
}

/// Namespace and name of a pod.
pub type PodName = ObjectName;

/// Namespace and name of a service.
pub type ServiceName = ObjectName;

/// One attachment of a container to a network: (container id, interface name), the key of CNI 1.1.0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentId {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.container, self.interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for (text, good) in [
            ("a", true),
            ("web-0", true),
            ("node-1.example", true),
            ("", false),
            ("Web", false),
            ("-a", false),
            ("a-", false),
            ("a..b", false),
            ("a_b", false),
            (&"x".repeat(64), false),
            ("ä", false),
        ] {
            assert_eq!(NodeName::new(text).is_ok(), good, "{text:?}");
        }
        assert!(NamespaceName::new("a.b").is_err(), "a namespace is one label");
        for (text, good) in [
            (&*"x".repeat(64), true),
            (&"x".repeat(253), true),
            (&"x".repeat(254), false),
            (&format!("{}.-a", "x".repeat(64)), false),
            ("", false),
        ] {
            assert_eq!(Name::new(text).is_ok(), good, "{text:?}, as Kubernetes");
        }
        assert_eq!("web".parse::<PodName>().unwrap().to_string(), "default/web");
        assert_eq!("shop/web".parse::<PodName>().unwrap().to_string(), "shop/web");
    }
}
