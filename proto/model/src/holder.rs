//! Who a certificate speaks for, and the hash that pins its authority.

use std::{fmt, str::FromStr};

use crate::{ClusterId, Name, NodeName, NodeUid, ReplicaId, ReplicaName, Role};

/// Scheme of the URI that names the holder (subjectAltName of its certificate, RFC 5280 section 4.2.1.6).
const SCHEME: &str = "weft://";

/// The holder of a certificate.
///
/// Prints and reads as the URI `weft://CLUSTER/ROLE/NAME/ID`: a replica's id is its Raft id, a node's is its uid, people
/// have none. One text per holder: what [`FromStr`] takes is exactly what [`fmt::Display`] gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The cluster whose authority vouches for it.
    pub cluster: ClusterId,
    /// What it is in that cluster.
    pub part: Part,
}

/// What a holder is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A replica of the control plane.
    Replica {
        /// Name of its machine.
        name: ReplicaName,
        /// Its Raft id.
        id: ReplicaId,
    },
    /// A node's agent.
    Node {
        /// Name of the node.
        name: NodeName,
        /// Identity of this membership.
        uid: NodeUid,
    },
    /// Somebody who may change everything.
    Admin {
        /// Name of the person or program.
        name: Name,
    },
    /// Somebody who may read.
    Viewer {
        /// Name of the person or program.
        name: Name,
    },
}

impl Part {
    /// The role it has.
    pub const fn role(&self) -> Role {
        match self {
            Self::Replica { .. } => Role::Replica,
            Self::Node { .. } => Role::Node,
            Self::Admin { .. } => Role::Admin,
            Self::Viewer { .. } => Role::Viewer,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Replica { name, .. } => name.as_str(),
            Self::Node { name, .. } => name.as_str(),
            Self::Admin { name } | Self::Viewer { name } => name.as_str(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.part.role(), self.part.name())?;
        match &self.part {
            Part::Replica { id, .. } => write!(f, "/{id}"),
            Part::Node { uid, .. } => write!(f, "/{uid}"),
            Part::Admin { .. } | Part::Viewer { .. } => Ok(()),
        }
    }
}

impl FromStr for Holder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &dyn fmt::Display| format!("{text:?} names no holder of a certificate: {why}");
        let path = text.strip_prefix(SCHEME).ok_or_else(|| bad(&"it doesn't begin with weft://"))?;
        let mut parts = path.split('/');
        let mut next = || parts.next().ok_or_else(|| bad(&"a part is missing"));
        let cluster = next()?.parse().map_err(|why| bad(&why))?;
        let role: Role = next()?.parse().map_err(|why: String| bad(&why))?;
        let name = next()?;
        let part = match role {
            Role::Replica => Part::Replica {
                name: ReplicaName::new(name).map_err(|why| bad(&why))?,
                id: next()?.parse().map(ReplicaId).map_err(|why| bad(&why))?,
            },
            Role::Node => Part::Node {
                name: NodeName::new(name).map_err(|why| bad(&why))?,
                uid: next()?.parse().map_err(|why| bad(&why))?,
            },
            Role::Admin => Part::Admin { name: Name::new(name).map_err(|why| bad(&why))? },
            Role::Viewer => Part::Viewer { name: Name::new(name).map_err(|why| bad(&why))? },
        };
        let holder = Self { cluster, part };
        if parts.next().is_some() || holder.to_string() != text {
            return Err(bad(&"it is not in the one form that holders are written in"));
        }
        Ok(holder)
    }
}

/// SHA-256 of the authority's certificate (DER); prints as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityHash(pub [u8; 32]);

impl fmt::Display for AuthorityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuthorityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuthorityHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not sha256: and 64 hexadecimal digits");
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn holders_are_read_as_they_are_written_and_in_no_other_form() {
        for (path, good) in [
            ("replica/cp-1/7", true),
            ("node/n1.example/ffeeddccbbaa99887766554433221100", true),
            ("admin/alice", true),
            ("viewer/grafana", true),
            ("replica/cp-1", false),
            ("replica/cp-1/007", false),
            ("replica/cp-1/7/", false),
            ("node/n1/7", false),
            ("node/n1/FFEEDDCCBBAA99887766554433221100", false),
            ("admin/alice/1", false),
            ("admin/Alice", false),
            ("root/alice", false),
            ("admin", false),
        ] {
            let text = format!("weft://{CLUSTER}/{path}");
            let read = text.parse::<Holder>();
            assert_eq!(read.is_ok(), good, "{text}: {read:?}");
            if let Ok(holder) = read {
                assert_eq!(holder.to_string(), text);
            }
        }
        assert!(format!("https://{CLUSTER}/admin/alice").parse::<Holder>().is_err());
    }

    #[test]
    fn authority_hashes_are_read_as_they_are_written() {
        let hash = AuthorityHash([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "sha256:", "sha1:ab", &hash.to_string()[7..], &format!("{hash}0"), "sha256:é"] {
            assert!(text.parse::<AuthorityHash>().is_err(), "{text}");
        }
    }
}
