//! What goes through the Raft log, and what the replicas keep because of it.
//!
//! A command carries its time, ids and random bytes with it: applying it reads no clock and no chance.

use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr};

use crate::{
    AddressRange, Block, BlockLease, ClientId, ClusterId, Epoch, Fabric, Family, Labels, LogIndex, Member,
    Node, NodeName, NodeUid, Object, Pod, PodUid, ReplicaId, ReplicaName, Revision, Sequence, Term, WallTime,
    WireguardKey,
};

/// Part that a certificate or token gives to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A control-plane replica.
    Replica,
    /// A node agent.
    Node,
    /// May change everything through `Admin`.
    Admin,
    /// May read everything but secrets through `Admin`.
    Viewer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replica => "replica",
            Self::Node => "node",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Replica, Self::Node, Self::Admin, Self::Viewer]
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or_else(|| format!("unknown role {text:?}: use node, replica, admin or viewer"))
    }
}

/// Time and chance of a command, taken by the replica that accepted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Wall time at that replica.
    pub time: WallTime,
    /// Random bytes, for ids made while applying.
    pub random: [u8; 16],
}

/// One mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who asks; with `sequence` it is applied exactly once.
    pub client: ClientId,
    /// Rises with each new mutation of the client; a repeated one gets the stored answer.
    pub sequence: Sequence,
    /// Time and chance.
    pub stamp: Stamp,
    /// What to do.
    pub action: Action,
}

/// A join token as it is stored: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Public part, for lists and revocation.
    pub id: String,
    /// SHA-256 of the whole token text.
    pub hash: [u8; 32],
    /// What its holder becomes.
    pub role: Role,
    /// When it stops to work.
    pub expires: WallTime,
    /// Who used it; a token works once.
    pub used_by: Option<String>,
    /// Revision of the last change.
    pub revision: Revision,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Public key of its mesh device.
    pub wireguard_key: Option<WireguardKey>,
    /// Where its mesh device listens.
    pub endpoint: Option<SocketAddr>,
    /// Its underlay addresses, that of `endpoint` first.
    pub underlay: Vec<IpAddr>,
    /// MAC of its uplink.
    pub uplink_mac: Option<[u8; 6]>,
    /// Routes of the machine outside the fabric (connected and static ones, without default routes).
    pub host_routes: Vec<AddressRange>,
}

/// What the leader heard, or didn't hear, of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSilence {
    /// The node.
    pub node: NodeName,
    /// Its membership.
    pub uid: NodeUid,
    /// Since when nothing was heard of it; `None`: it was heard again.
    pub since: Option<WallTime>,
}

/// Pods of one node, as published by its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// The node.
    pub node: NodeName,
    /// Its membership.
    pub uid: NodeUid,
    /// Whether `upserts` is everything the node has: others of this node go.
    pub complete: bool,
    /// Pods that came or changed.
    pub upserts: Vec<Pod>,
    /// Pods that went.
    pub deletes: Vec<PodUid>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The first entry of a cluster: its identity, fabric and first replica.
    Found {
        /// Identity of the cluster.
        cluster: ClusterId,
        /// The fabric, already defaulted and validated.
        fabric: Fabric,
        /// The first replica, a voter.
        member: Member,
    },
    /// Objects that people wrote (Fabric ranges, Node labels): all or nothing.
    Write {
        /// The whole objects.
        objects: Vec<Object>,
    },
    /// Objects that people wrote and don't want any more: all or nothing. Deleting what isn't there is an error.
    Delete {
        /// Their keys.
        keys: Vec<crate::Key>,
    },
    /// The leader decided which nodes answer for load-balancer addresses.
    AssignOwners {
        /// The owners that changed; `epoch` and `revision` are made while applying.
        owners: Vec<crate::AddressOwner>,
    },
    /// The leader found nodes silent, or heard them again.
    NoteSilence {
        /// The nodes for which that changed.
        nodes: Vec<NodeSilence>,
    },
    /// Stores a join token.
    CreateToken {
        /// The token.
        token: Token,
    },
    /// Makes a token useless.
    RevokeToken {
        /// Its public part.
        id: String,
    },
    /// A node joins by a token: gets mesh addresses and its first blocks.
    JoinNode {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// Name it wants.
        name: NodeName,
        /// Identity made for this membership.
        uid: NodeUid,
        /// Labels from its configuration.
        labels: Labels,
        /// What it says of itself.
        facts: NodeFacts,
    },
    /// A replica joins by a token: gets an id; becomes a learner by a configuration change afterwards.
    JoinReplica {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// Name of the machine.
        name: ReplicaName,
        /// Where it serves.
        address: SocketAddr,
    },
    /// A person's or program's certificate by a token of role admin or viewer.
    JoinPerson {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// Name for the certificate.
        name: String,
    },
    /// A node publishes what it is.
    PublishNode {
        /// The node.
        node: NodeName,
        /// Its membership.
        uid: NodeUid,
        /// What it says of itself.
        facts: NodeFacts,
    },
    /// A node wants one more block.
    LeaseBlock {
        /// The node.
        node: NodeName,
        /// Its membership.
        uid: NodeUid,
        /// Family of the block.
        family: Family,
    },
    /// A node gives a block back.
    ReturnBlock {
        /// The node.
        node: NodeName,
        /// Its membership.
        uid: NodeUid,
        /// The block.
        block: Block,
        /// Epoch of its lease.
        epoch: Epoch,
    },
    /// A node publishes its pods.
    PublishPods(PodReport),
    /// A node is removed for good.
    RemoveNode {
        /// The node.
        name: NodeName,
    },
    /// A change of Raft's configuration was applied: the member list follows. Only inside a configuration-change entry.
    ChangeMember {
        /// The member as it is now.
        member: Member,
    },
    /// A replica left Raft's configuration for good: it leaves the member list. Only inside a configuration-change entry.
    RemoveMember {
        /// Its id, never given out again.
        id: ReplicaId,
    },
}

/// A refusal as it is stored: the error envelope's parts, without a dependency on its crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the registered code.
    pub code: u16,
    /// What failed.
    pub message: String,
    /// Kind, namespace and name of the object; empty when there is none.
    pub object: (String, String, String),
    /// Field path; may be empty.
    pub field: String,
    /// Why, outermost first.
    pub cause: Vec<String>,
}

/// What has been answered to a client last: the memory of exactly-once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// The client.
    pub client: ClientId,
    /// Its last applied sequence.
    pub sequence: Sequence,
    /// Log index of that command.
    pub index: LogIndex,
    /// When, for expiry after 24 h or beyond 10 000 clients.
    pub time: WallTime,
    /// The answer or the refusal; repeated when the same sequence comes again.
    pub answer: Result<Answer, Box<Refusal>>,
}

/// A block that was leased once and is free again: granted again only after every block that never was, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreedBlock {
    /// The block.
    pub block: Block,
    /// Epoch of its last lease.
    pub epoch: Epoch,
    /// Revision at which it became free: the order of the queue.
    pub revision: Revision,
}

/// Counters of the state that belong to no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Index of the last applied entry.
    pub applied: LogIndex,
    /// Term of that entry.
    pub term: Term,
    /// Last revision that changed an object.
    pub revision: Revision,
    /// Next Raft id to give out.
    pub next_replica: ReplicaId,
    /// Epoch of the youngest lease.
    pub last_epoch: Epoch,
    /// Running hash over all applied entries and outcomes.
    pub hash: [u8; 32],
}

/// One row of the applied state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Counters.
    Meta(Meta),
    /// An object.
    Object(Object),
    /// A join token.
    Token(Token),
    /// A client's last answer.
    Client(ClientRecord),
    /// A block that was leased once and is free again.
    Freed(FreedBlock),
}

/// Key of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// Counters.
    Meta,
    /// An object.
    Object(crate::Key),
    /// A token, by its public part.
    Token(String),
    /// A client.
    Client(ClientId),
    /// A freed block.
    Freed(Block),
}

impl Record {
    /// Key of this row.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Meta(_) => RecordKey::Meta,
            Self::Object(object) => RecordKey::Object(object.key()),
            Self::Token(token) => RecordKey::Token(token.id.clone()),
            Self::Client(client) => RecordKey::Client(client.client),
            Self::Freed(freed) => RecordKey::Freed(freed.block),
        }
    }
}

impl fmt::Display for RecordKey {
    /// The key as stored: `meta`, `object/node/n1`, `token/x`, `client/…`, `freed/…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta"),
            Self::Object(key) => write!(f, "object/{key}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Client(id) => write!(f, "client/{id}"),
            Self::Freed(block) => write!(f, "freed/{block}"),
        }
    }
}

/// What a command answered, for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; nothing more to say.
    Done,
    /// Objects as they were stored, with what became of each: created, changed or unchanged.
    Written(Vec<(Object, Written)>),
    /// The node that joined and its first leases.
    Node(Node, Vec<BlockLease>),
    /// The replica that joined.
    Member(Member),
    /// The role a person got.
    Person(Role),
    /// A granted block.
    Lease(BlockLease),
}

/// What became of a written object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was not there.
    Created,
    /// It was there and differs.
    Changed,
    /// It was there and equal.
    Unchanged,
}
