//! What can be wrong with a node's plan, in words that lead to a remedy.

use std::net::IpAddr;

use weft_errors::{Code, Coded, MTU_TOO_SMALL, ROUTED_IMPOSSIBLE, UNDERLAY_UNKNOWN};
use weft_model::{Family, NodeName};

/// A host or fabric that can't be planned for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configured underlay interface does not exist.
    #[error("the underlay interface {interface} does not exist on this host")]
    NoSuchInterface {
        /// As configured.
        interface: String,
    },
    /// The underlay interface has no address that others can reach.
    #[error("the underlay interface {interface} has no global address")]
    NoAddress {
        /// The interface.
        interface: String,
    },
    /// The configured underlay address is on no interface.
    #[error("the underlay address {address} is on none of this host's interfaces")]
    NoSuchAddress {
        /// As configured.
        address: IpAddr,
    },
    /// Nothing is configured and there is no default route to learn from.
    #[error("no underlay is configured and this host has no default route")]
    NoDefaultRoute,
    /// The underlay leaves less than IPv6 needs.
    #[error(
        "the underlay's MTU {underlay} leaves {left} bytes to pods, but IPv6 needs 1280 (RFC 8200 section 5)"
    )]
    MtuTooSmall {
        /// MTU of the underlay, bytes.
        underlay: u32,
        /// What is left for a pod's packet, bytes.
        left: u32,
    },
    /// Mode routed without an underlay address of a family of the pods.
    #[error(
        "mode routed: node {node} has no {family} underlay address on this link, so its {family} pods can't be reached"
    )]
    NotRoutable {
        /// The node.
        node: NodeName,
        /// The family without a next hop.
        family: Family,
    },
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::NoSuchInterface { .. }
            | Self::NoAddress { .. }
            | Self::NoSuchAddress { .. }
            | Self::NoDefaultRoute => &UNDERLAY_UNKNOWN,
            Self::MtuTooSmall { .. } => &MTU_TOO_SMALL,
            Self::NotRoutable { .. } => &ROUTED_IMPOSSIBLE,
        }
    }

    fn envelope(&self) -> weft_errors::Error {
        let error = weft_errors::Error::new(self.code(), self.to_string());
        match self {
            Self::NoSuchInterface { .. } | Self::NoAddress { .. } => {
                error.object("file", "", "agent.toml").field("underlay.interface")
            }
            Self::NoSuchAddress { .. } => error.object("file", "", "agent.toml").field("underlay.address"),
            Self::NoDefaultRoute => error.object("file", "", "agent.toml").field("underlay"),
            Self::MtuTooSmall { .. } => error.object("fabric", "", "main"),
            Self::NotRoutable { node, .. } => error.object("node", "", node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_their_code_and_place() {
        let interface = || "eth7".to_owned();
        let node = || NodeName::new("n2").unwrap();
        for (error, code, place) in [
            (Error::NoSuchInterface { interface: interface() }, "W4102", "underlay.interface"),
            (Error::NoAddress { interface: interface() }, "W4102", "underlay.interface"),
            (Error::NoSuchAddress { address: [10, 0, 0, 1].into() }, "W4102", "underlay.address"),
            (Error::NoDefaultRoute, "W4102", "underlay"),
            (Error::MtuTooSmall { underlay: 1300, left: 1240 }, "W4104", ""),
            (Error::NotRoutable { node: node(), family: Family::V6 }, "W4103", ""),
        ] {
            let envelope = error.envelope();
            assert_eq!((envelope.code.as_str(), envelope.field.as_str()), (code, place), "{error}");
            assert!(envelope.object.is_some() && !envelope.remedy.is_empty(), "{error}");
        }
    }
}
