//! The running hash over all outcomes, and the digest of a whole state.
//!
//! Both are equal on replicas that applied the same entries in the same way, also when the replicas run different
//! releases: every field is fed by hand, in a fixed order and width, never through `Debug` or `Hash`.
//! A new field must be fed only where it isn't at its default, so that an older replica agrees.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use weft_model::{
    AddressRange, Answer, AttachmentId, BlockLease, ClientRecord, Dual, Fabric, FabricRanges, Families,
    FreedBlock, Member, MemberRole, Meta, NamedPort, Node, NodeState, Object, Overlay, Pod, PodPhase,
    Protocol, Record, RecordKey, Refusal, Role, Token, Written,
};

use crate::{Change, Outcome};

/// The next running hash: over the one before, the place in the log, the counters and what the command did.
pub(crate) fn carry_on(meta: &Meta, outcome: &Outcome) -> [u8; 32] {
    let mut hasher = Hasher::new();
    meta.feed(&mut hasher);
    outcome.repeated.feed(&mut hasher);
    match &outcome.answer {
        Ok(answer) => {
            0_u8.feed(&mut hasher);
            answer.feed(&mut hasher);
        }
        Err(error) => {
            1_u8.feed(&mut hasher);
            Refusal::from(error).feed(&mut hasher);
        }
    }
    outcome.changes.feed(&mut hasher);
    hasher.finish()
}

/// Hash over rows, in their order.
pub(crate) fn digest(records: impl Iterator<Item = Record>) -> [u8; 32] {
    let mut hasher = Hasher::new();
    records.for_each(|record| record.feed(&mut hasher));
    hasher.finish()
}

struct Hasher(blake3::Hasher);

impl Hasher {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// A value that goes into a hash without ambiguity.
trait Feed {
    fn feed(&self, hasher: &mut Hasher);
}

macro_rules! feed_numbers {
    ($($number:ty)*) => {$(
        impl Feed for $number {
            fn feed(&self, hasher: &mut Hasher) {
                hasher.0.update(&self.to_be_bytes());
            }
        }
    )*};
}

macro_rules! feed_inner {
    ($($id:ident)*) => {$(
        impl Feed for weft_model::$id {
            fn feed(&self, hasher: &mut Hasher) {
                self.0.feed(hasher);
            }
        }
    )*};
}

macro_rules! feed_names {
    ($($name:ident)*) => {$(
        impl Feed for weft_model::$name {
            fn feed(&self, hasher: &mut Hasher) {
                self.as_str().feed(hasher);
            }
        }
    )*};
}

/// Feeds every field; a struct that gets a new one doesn't compile until somebody decided about it.
macro_rules! feed_fields {
    ($($kind:ident { $($field:ident)* })*) => {$(
        impl Feed for $kind {
            fn feed(&self, hasher: &mut Hasher) {
                let Self { $($field),* } = self;
                $($field.feed(hasher);)*
            }
        }
    )*};
}

feed_numbers! { u8 u16 u32 u64 }
feed_inner! { Revision LogIndex Term Epoch Sequence ReplicaId WallTime ClusterId NodeUid PodUid ObjectUid ClientId WireguardKey }
feed_names! { NodeName ReplicaName NamespaceName Name }
feed_fields! {
    Meta { cluster applied term revision next_replica last_epoch hash }
    FabricRanges { pods services nodes load_balancers }
    NamedPort { name protocol port }
    AttachmentId { container interface }
    BlockLease { block node epoch granted revision }
    Member { id name address role revision }
    Token { id hash role expires used_by revision }
    ClientRecord { client sequence index time answer }
    FreedBlock { block epoch revision }
}

impl Feed for Fabric {
    /// What is at its default was unknown to older releases and isn't fed.
    fn feed(&self, hasher: &mut Hasher) {
        let Self { families, ranges, block_prefix_v4, overlay, domain, masquerade_exceptions, .. } = self;
        let Self {
            node_port_addresses,
            node_port_range,
            external_ip_ranges,
            dns,
            node_grace,
            policy,
            generation,
            revision,
            ..
        } = self;
        families.feed(hasher);
        ranges.feed(hasher);
        block_prefix_v4.feed(hasher);
        overlay.feed(hasher);
        domain.feed(hasher);
        masquerade_exceptions.feed(hasher);
        generation.feed(hasher);
        revision.feed(hasher);
        extra(hasher, 1, node_port_addresses, node_port_addresses.is_empty());
        extra(hasher, 2, node_port_range, *node_port_range == weft_model::DEFAULT_NODE_PORT_RANGE);
        extra(hasher, 3, external_ip_ranges, external_ip_ranges.is_empty());
        extra(hasher, 4, dns, *dns == weft_model::DnsSettings::default());
        extra(hasher, 5, node_grace, *node_grace == weft_model::DEFAULT_NODE_GRACE);
        extra(hasher, 6, policy, *policy == weft_model::PolicySettings::default());
    }
}

impl Feed for Node {
    /// As for [`Fabric`].
    fn feed(&self, hasher: &mut Hasher) {
        let Self { name, uid, state, labels, mesh, wireguard_key, endpoint, underlay, .. } = self;
        let Self { uplink_mac, host_routes, joined, silent, revision, .. } = self;
        name.feed(hasher);
        uid.feed(hasher);
        state.feed(hasher);
        labels.feed(hasher);
        mesh.feed(hasher);
        wireguard_key.feed(hasher);
        endpoint.feed(hasher);
        underlay.feed(hasher);
        uplink_mac.feed(hasher);
        host_routes.feed(hasher);
        joined.feed(hasher);
        revision.feed(hasher);
        extra(hasher, 1, silent, silent.is_none());
    }
}

impl Feed for Pod {
    /// As for [`Fabric`].
    fn feed(&self, hasher: &mut Hasher) {
        let Self { uid, name, labels, node, attachment, addresses, ports, phase, ready, .. } = self;
        let Self { terminating, created, revision, .. } = self;
        uid.feed(hasher);
        name.feed(hasher);
        labels.feed(hasher);
        node.feed(hasher);
        attachment.feed(hasher);
        addresses.feed(hasher);
        ports.feed(hasher);
        phase.feed(hasher);
        ready.feed(hasher);
        created.feed(hasher);
        revision.feed(hasher);
        extra(hasher, 1, terminating, !*terminating);
    }
}

/// Feeds a field that came later: its number and its value, and nothing at all at its default.
fn extra(hasher: &mut Hasher, number: u8, value: &impl Feed, is_default: bool) {
    if !is_default {
        numbered(hasher, number, value);
    }
}

impl Feed for Refusal {
    /// Only the code: the words may differ between two releases that work together.
    fn feed(&self, hasher: &mut Hasher) {
        self.code.feed(hasher);
    }
}

impl Feed for bool {
    fn feed(&self, hasher: &mut Hasher) {
        u8::from(*self).feed(hasher);
    }
}

impl Feed for str {
    fn feed(&self, hasher: &mut Hasher) {
        (self.len() as u64).feed(hasher);
        hasher.0.update(self.as_bytes());
    }
}

impl Feed for String {
    fn feed(&self, hasher: &mut Hasher) {
        self.as_str().feed(hasher);
    }
}

impl<const N: usize> Feed for [u8; N] {
    fn feed(&self, hasher: &mut Hasher) {
        hasher.0.update(self);
    }
}

impl<T: Feed> Feed for Vec<T> {
    fn feed(&self, hasher: &mut Hasher) {
        (self.len() as u64).feed(hasher);
        self.iter().for_each(|item| item.feed(hasher));
    }
}

impl<T: Feed> Feed for BTreeSet<T> {
    fn feed(&self, hasher: &mut Hasher) {
        (self.len() as u64).feed(hasher);
        self.iter().for_each(|item| item.feed(hasher));
    }
}

impl<T: Feed> Feed for Option<T> {
    fn feed(&self, hasher: &mut Hasher) {
        self.is_some().feed(hasher);
        self.iter().for_each(|item| item.feed(hasher));
    }
}

impl<T: Feed> Feed for Box<T> {
    fn feed(&self, hasher: &mut Hasher) {
        self.as_ref().feed(hasher);
    }
}

impl<T: Feed, E: Feed> Feed for Result<T, E> {
    fn feed(&self, hasher: &mut Hasher) {
        self.is_ok().feed(hasher);
        match self {
            Ok(value) => value.feed(hasher),
            Err(error) => error.feed(hasher),
        }
    }
}

impl<K: Feed, V: Feed> Feed for BTreeMap<K, V> {
    fn feed(&self, hasher: &mut Hasher) {
        (self.len() as u64).feed(hasher);
        for (key, value) in self {
            key.feed(hasher);
            value.feed(hasher);
        }
    }
}

impl<A: Feed, B: Feed> Feed for (A, B) {
    fn feed(&self, hasher: &mut Hasher) {
        self.0.feed(hasher);
        self.1.feed(hasher);
    }
}

impl Feed for IpAddr {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::V4(address) => {
                4_u8.feed(hasher);
                address.octets().feed(hasher);
            }
            Self::V6(address) => {
                6_u8.feed(hasher);
                address.octets().feed(hasher);
            }
        }
    }
}

impl Feed for SocketAddr {
    fn feed(&self, hasher: &mut Hasher) {
        self.ip().feed(hasher);
        self.port().feed(hasher);
    }
}

impl Feed for AddressRange {
    fn feed(&self, hasher: &mut Hasher) {
        self.first().feed(hasher);
        self.prefix().feed(hasher);
    }
}

impl<T: Feed + Copy> Feed for Dual<T> {
    fn feed(&self, hasher: &mut Hasher) {
        self.v4().copied().feed(hasher);
        self.v6().copied().feed(hasher);
    }
}

impl Feed for weft_model::PodName {
    fn feed(&self, hasher: &mut Hasher) {
        self.namespace.feed(hasher);
        self.name.feed(hasher);
    }
}

/// Feeds a variant without fields by its own number, which never changes.
macro_rules! feed_variants {
    ($($kind:ident { $($variant:ident = $number:literal)* })*) => {$(
        impl Feed for $kind {
            fn feed(&self, hasher: &mut Hasher) {
                let number: u8 = match self { $(Self::$variant => $number),* };
                number.feed(hasher);
            }
        }
    )*};
}

mod policies;
mod services;

feed_variants! {
    Families { V4 = 0 V6 = 1 Dual = 2 Dual6 = 3 }
    Overlay { Wireguard = 0 Routed = 1 }
    NodeState { Active = 0 Removed = 1 }
    Protocol { Tcp = 0 Udp = 1 Sctp = 2 }
    PodPhase { Active = 0 Superseded = 1 }
    MemberRole { Learner = 0 Voter = 1 }
    Role { Replica = 0 Node = 1 Admin = 2 Viewer = 3 }
    Written { Created = 0 Changed = 1 Unchanged = 2 }
}

/// Feeds a variant with one value: its number, then the value.
fn numbered(hasher: &mut Hasher, number: u8, value: &impl Feed) {
    number.feed(hasher);
    value.feed(hasher);
}

impl Feed for Object {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Fabric(object) => numbered(hasher, 0, object),
            Self::Node(object) => numbered(hasher, 1, object),
            Self::Pod(object) => numbered(hasher, 2, object),
            Self::Lease(object) => numbered(hasher, 3, object),
            Self::Member(object) => numbered(hasher, 4, object),
            Self::Namespace(object) => numbered(hasher, 5, object),
            Self::Service(object) => numbered(hasher, 6, object),
            Self::Slice(object) => numbered(hasher, 7, object),
            Self::PodSpec(object) => numbered(hasher, 8, object),
            Self::Pool(object) => numbered(hasher, 9, object),
            Self::Owner(object) => numbered(hasher, 10, object),
            Self::NetworkPolicy(object) => numbered(hasher, 11, object),
        }
    }
}

impl Feed for Record {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Meta(record) => numbered(hasher, 0, record),
            Self::Object(record) => numbered(hasher, 1, record),
            Self::Token(record) => numbered(hasher, 2, record),
            Self::Client(record) => numbered(hasher, 3, record),
            Self::Freed(record) => numbered(hasher, 4, record),
        }
    }
}

impl Feed for RecordKey {
    fn feed(&self, hasher: &mut Hasher) {
        self.to_string().feed(hasher);
    }
}

impl Feed for Change {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Put(record) => numbered(hasher, 0, record),
            Self::Delete(key) => numbered(hasher, 1, key),
        }
    }
}

impl Feed for Answer {
    fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::Done => 0_u8.feed(hasher),
            Self::Written(written) => numbered(hasher, 1, written),
            Self::Node(node, leases) => {
                numbered(hasher, 2, node);
                leases.feed(hasher);
            }
            Self::Member(member) => numbered(hasher, 3, member),
            Self::Person(role) => numbered(hasher, 4, role),
            Self::Lease(lease) => numbered(hasher, 5, lease),
        }
    }
}
