//! Random policies and what follows from them, valid in shape.

use proptest::{collection::vec, option, prelude::*};
use weft_model::*;

use super::strategies::{labels, name, port, range, ranges};

fn policy_name() -> impl Strategy<Value = PolicyName> {
    ("[a-z]{1,5}", name()).prop_map(|(namespace, name)| ObjectName {
        namespace: NamespaceName::new(namespace).unwrap(),
        name: Name::new(name).unwrap(),
    })
}

/// Settings of a fabric.
pub(super) fn settings() -> impl Strategy<Value = PolicySettings> {
    let egress = prop_oneof![Just(NodeEgress::Policy), Just(NodeEgress::Allow)];
    (proptest::sample::select(DefaultPolicy::ALL.to_vec()), egress)
        .prop_map(|(default, node_egress)| PolicySettings { default, node_egress })
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let operator = prop_oneof![Just(In), Just(NotIn), Just(Exists), Just(DoesNotExist)];
    let values = proptest::collection::btree_set(".{0,3}", 0..3);
    let requirement = (".{0,4}", operator, values).prop_map(|(key, operator, values)| LabelRequirement {
        key,
        operator,
        values,
    });
    (labels(), vec(requirement, 0..3)).prop_map(|(labels, expressions)| LabelSelector { labels, expressions })
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let pods = (option::of(selector()), option::of(selector()))
        .prop_map(|(namespaces, pods)| PolicyPeer::Pods { namespaces, pods });
    let block = (range(), ranges()).prop_map(|(range, except)| PolicyPeer::Block { range, except });
    let ports = prop_oneof![
        Just(PortMatch::Any),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(first, last)| PortMatch::Numbers(first, last)),
        ".{0,5}".prop_map(PortMatch::Name),
    ];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let port = (protocol, ports).prop_map(|(protocol, port)| PolicyPort { protocol, port });
    (vec(prop_oneof![pods, block], 0..3), vec(port, 0..3))
        .prop_map(|(peers, ports)| PolicyRule { peers, ports })
}

fn spec() -> impl Strategy<Value = PolicySpec> {
    (selector(), any::<(bool, bool)>(), vec(rule(), 0..3), vec(rule(), 0..3)).prop_map(
        |(pods, (isolates_ingress, isolates_egress), ingress, egress)| PolicySpec {
            pods,
            isolates_ingress,
            isolates_egress,
            ingress,
            egress,
        },
    )
}

/// A policy as an object.
pub(super) fn object() -> BoxedStrategy<Object> {
    (policy_name(), any::<[u8; 16]>(), labels(), labels(), spec(), any::<(u64, u64, u64)>())
        .prop_map(|(name, uid, labels, annotations, spec, (generation, created, revision))| {
            Object::NetworkPolicy(NetworkPolicy {
                name,
                uid: ObjectUid(uid),
                labels,
                annotations,
                spec,
                generation,
                created: WallTime(created),
                revision: Revision(revision),
            })
        })
        .boxed()
}

/// An item of any kind that policies brought.
pub(super) fn item() -> BoxedStrategy<Item> {
    let namespace = || "[a-z]{1,5}".prop_map(|text| NamespaceName::new(text).unwrap());
    let policy = (policy_name(), spec()).prop_map(|(name, spec)| Item::Policy(PolicyItem { name, spec }));
    let place =
        (namespace(), labels()).prop_map(|(name, labels)| Item::Namespace(NamespaceItem { name, labels }));
    let identity = (any::<u64>(), namespace(), labels(), vec(port(), 0..3)).prop_map(
        |(id, namespace, labels, ports)| {
            let identity = Identity { namespace, labels, ports };
            Item::Identity(IdentityItem { id: IdentityId(id), identity })
        },
    );
    prop_oneof![policy, place, identity].boxed()
}
