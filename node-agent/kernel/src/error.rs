//! Errors of this crate: what was tried, on which object, and the kernel's own words.

use std::{io, path::PathBuf};

use nix::errno::Errno;
use weft_errors::{Code, Coded, LINK_FAILED, NAMESPACE_FAILED, NFT_FAILED, ROUTE_FAILED, SYSCTL_FAILED};

use crate::raw::Failed;

/// What kind of object an operation was about: decides the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Links and addresses.
    Link,
    /// Routes, rules, neighbours, probes.
    Route,
    /// Entries of connection tracking.
    Connection,
}

/// The kernel refused one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {}{}", errno.desc(), words(.message.as_deref()))]
pub struct Refusal {
    /// What was tried, with the object: `add link wv1a2b3c4d`.
    pub what: String,
    /// Kind of object.
    pub area: Area,
    /// Error number.
    pub errno: Errno,
    /// The kernel's extended acknowledgement (NETLINK_EXT_ACK), where it gave one.
    pub message: Option<String>,
}

fn words(message: Option<&str>) -> String {
    message.map(|m| format!(" ({m})")).unwrap_or_default()
}

/// What can go wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A socket call failed.
    #[error("{what} failed")]
    Socket {
        /// The call, in words.
        what: &'static str,
        /// Kind of object it served.
        area: Area,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel did not answer in time.
    #[error("the kernel did not answer within {seconds} s to: {what}")]
    Deadline {
        /// What was asked.
        what: String,
        /// The time limit.
        seconds: u64,
    },
    /// A dump was interrupted by changes again and again.
    #[error("{what} kept changing while it was read ({tries} tries)")]
    Unsteady {
        /// What was read.
        what: String,
        /// How often it was tried.
        tries: u32,
    },
    /// A network namespace can't be used.
    #[error("network namespace {}: {why}", path.display())]
    Namespace {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
        /// The call's error, if one failed.
        #[source]
        source: Option<io::Error>,
    },
    /// A setting can't be read or written.
    #[error("setting {setting} can't be {action}")]
    Setting {
        /// The setting as sysctl writes it.
        setting: String,
        /// `read`, `set to 1`.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The name of a link is taken by something that isn't this pod's.
    #[error("the link name {name} is taken")]
    NameTaken {
        /// The name, on the node's side.
        name: String,
    },
    /// The pod's namespace has an interface of that name already.
    #[error("the namespace has an interface {interface} already")]
    InterfaceTaken {
        /// The name in the pod.
        interface: String,
    },
    /// A link that steps rely on isn't there.
    #[error("there is no link {name}")]
    NoLink {
        /// The name.
        name: String,
    },
    /// A pod's link is gone: it must be attached anew, which needs the pod's namespace.
    #[error("the link {name} of a pod is gone")]
    PortGone {
        /// The name on the node's side.
        name: String,
    },
    /// A route that isn't ours stands where ours must be.
    #[error("{route} is taken by a route that isn't Weft's")]
    RouteTaken {
        /// The route.
        route: String,
    },
}

impl Error {
    /// The error number, where the kernel refused.
    pub const fn errno(&self) -> Option<Errno> {
        if let Self::Refused(refusal) = self { Some(refusal.errno) } else { None }
    }

    /// A netlink socket that failed while it worked on an area.
    pub(crate) const fn of(area: Area) -> impl Fn(Failed) -> Self {
        move |Failed { what, source }| Self::Socket { what, area, source }
    }

    pub(crate) fn socket(what: &'static str, area: Area, source: io::Error) -> Self {
        Self::Socket { what, area, source }
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Refused(Refusal { area: Area::Link, .. })
            | Self::Socket { area: Area::Link, .. }
            | Self::Deadline { .. }
            | Self::Unsteady { .. }
            | Self::NameTaken { .. }
            | Self::InterfaceTaken { .. }
            | Self::NoLink { .. }
            | Self::PortGone { .. } => &LINK_FAILED,
            Self::Refused(Refusal { area: Area::Route, .. })
            | Self::Socket { area: Area::Route, .. }
            | Self::RouteTaken { .. } => &ROUTE_FAILED,
            Self::Refused(Refusal { area: Area::Connection, .. })
            | Self::Socket { area: Area::Connection, .. } => &NFT_FAILED,
            Self::Namespace { .. } => &NAMESPACE_FAILED,
            Self::Setting { .. } => &SYSCTL_FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &Error, code: &str, text: &str) {
        let envelope = error.envelope();
        assert_eq!((envelope.code.as_str(), envelope.message.as_str()), (code, text));
        assert!(!envelope.remedy.is_empty());
    }

    #[test]
    fn errors_name_object_cause_and_code() {
        let refused = |what: &str, area, errno, message: Option<&str>| {
            Error::from(Refusal { what: what.to_owned(), area, errno, message: message.map(str::to_owned) })
        };
        let taken = refused("add link weftbr0", Area::Link, Errno::EEXIST, None);
        check(&taken, "W4001", "add link weftbr0: File exists");
        let source = Some("Invalid prefsrc address");
        let route = refused("add route 10.1.2.0/24 in table 8701", Area::Route, Errno::EINVAL, source);
        let text = "add route 10.1.2.0/24 in table 8701: Invalid argument (Invalid prefsrc address)";
        check(&route, "W4002", text);
        let setting = Error::Setting {
            setting: "net.ipv4.ip_forward".to_owned(),
            action: "set to 1".to_owned(),
            source: io::Error::from_raw_os_error(libc::EROFS),
        };
        check(&setting, "W4004", "setting net.ipv4.ip_forward can't be set to 1");
        assert_eq!(setting.envelope().cause, ["Read-only file system (os error 30)"]);
        let path = PathBuf::from("/run/netns/x");
        let gone = Error::Namespace { path, why: "can't be opened", source: None };
        check(&gone, "W4005", "network namespace /run/netns/x: can't be opened");
        let taken = Error::RouteTaken { route: "route 10.1.0.0/16 in main".to_owned() };
        check(&taken, "W4002", "route 10.1.0.0/16 in main is taken by a route that isn't Weft's");
        check(&Error::PortGone { name: "wv01".to_owned() }, "W4001", "the link wv01 of a pod is gone");
    }
}
