//! Numbers and ids that must never be mixed up.

use std::{fmt, str::FromStr};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The next number.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    )*};
}

numbers! {
    /// Revision of the store: the Raft log index of the change (etcd's term). Starts at 1; 0 means "nothing yet".
    Revision;
    /// Index of an entry in the Raft log.
    LogIndex;
    /// Term of the Raft algorithm.
    Term;
    /// Epoch of a block lease; rises each time the block is granted.
    Epoch;
    /// Sequence number of a client's mutation (exactly-once) or of a node's publications.
    Sequence;
    /// Raft id of a replica; never reused, never 0.
    ReplicaId;
    /// Wall time, milliseconds since 1970-01-01T00:00:00Z. Data inside commands; safety never compares it across machines.
    WallTime;
}

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bad = || format!("{text:?} is not 32 hexadecimal digits");
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(bad());
                }
                let mut bytes = [0; 16];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
                }
                Ok(Self(bytes))
            }
        }
    )*};
}

hex_ids! {
    /// Identity of a cluster: random, made by `weft init`. Messages of another cluster are refused.
    ClusterId;
    /// Identity of one membership of a node: random, made at join. Its certificate carries it.
    NodeUid;
    /// Identity of one life of a pod: random, made by the node at attach. Two pods of one name differ by it.
    PodUid;
    /// Identity of one life of an object that people wrote: random, made when it is created.
    ObjectUid;
    /// Identity of a client of the API; with a [`Sequence`] it names one mutation.
    ClientId;
}
