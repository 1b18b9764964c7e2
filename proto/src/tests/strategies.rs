//! Random values of the model, valid in shape.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*};
use weft_model::*;

use super::{policies, services};

pub(super) fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>()
            .prop_map(IpAddr::from)
            .prop_filter("mapped", |a| matches!(a, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none())),
    ]
}

pub(super) fn socket() -> impl Strategy<Value = SocketAddr> {
    (address(), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

pub(super) fn range() -> impl Strategy<Value = AddressRange> {
    (address(), any::<u8>()).prop_filter_map("mapped", |(address, prefix)| {
        let bits = Family::of(address).bits();
        AddressRange::new(IpNet::new(address, prefix % (bits + 1)).unwrap().trunc()).ok()
    })
}

pub(super) fn ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    vec(range(), 0..3)
}

pub(super) fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,8}[a-z0-9](\\.[a-z0-9]{1,3})?"
}

pub(super) fn node_name() -> impl Strategy<Value = NodeName> {
    name().prop_map(|text| NodeName::new(text).unwrap())
}

pub(super) fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-z]{1,4}", ".{0,4}", 0..3)
}

fn mesh() -> impl Strategy<Value = Dual<IpAddr>> {
    (any::<Option<[u8; 4]>>(), any::<Option<[u8; 16]>>()).prop_filter_map("none or mapped", |(v4, v6)| {
        let v6 = v6.map(std::net::Ipv6Addr::from);
        if v6.is_some_and(|v6| v6.to_ipv4_mapped().is_some()) {
            return None;
        }
        Dual::new(v4.map(IpAddr::from), v6.map(IpAddr::from))
    })
}

fn families() -> impl Strategy<Value = Families> {
    proptest::sample::select(Families::ALL.to_vec())
}

fn overlay() -> impl Strategy<Value = Overlay> {
    prop_oneof![Just(Overlay::Wireguard), Just(Overlay::Routed)]
}

pub(super) fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Replica), Just(Role::Node), Just(Role::Admin), Just(Role::Viewer)]
}

fn fabric_ranges() -> impl Strategy<Value = FabricRanges> {
    (ranges(), ranges(), ranges(), ranges()).prop_map(|(pods, services, nodes, load_balancers)| {
        FabricRanges { pods, services, nodes, load_balancers }
    })
}

fn port_range() -> impl Strategy<Value = (u16, u16)> {
    (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn dns() -> impl Strategy<Value = DnsSettings> {
    let servers = || vec(socket(), 0..3);
    let stub = (".{0,9}", servers()).prop_map(|(domain, servers)| StubDomain { domain, servers });
    (any::<(bool, u32, bool, bool, bool)>(), servers(), vec(stub, 0..3)).prop_map(
        |((enabled, ttl, search_path, rebind_protection, pod_records), upstreams, stub_domains)| {
            DnsSettings { enabled, ttl, upstreams, stub_domains, search_path, rebind_protection, pod_records }
        },
    )
}

fn fabric() -> impl Strategy<Value = Fabric> {
    let node_ports = (ranges(), port_range(), ranges(), dns(), 1..=u16::MAX, policies::settings());
    (families(), fabric_ranges(), 0..=32u8, overlay(), ".{0,9}", ranges(), any::<(u64, u64)>(), node_ports)
        .prop_map(
            |(
                families,
                ranges,
                block_prefix_v4,
                overlay,
                domain,
                masquerade_exceptions,
                (generation, revision),
                (node_port_addresses, node_port_range, external_ip_ranges, dns, node_grace, policy),
            )| {
                Fabric {
                    families,
                    ranges,
                    block_prefix_v4,
                    overlay,
                    domain,
                    dns,
                    masquerade_exceptions,
                    node_port_addresses,
                    node_port_range,
                    external_ip_ranges,
                    node_grace,
                    policy,
                    generation,
                    revision: Revision(revision),
                }
            },
        )
}

pub(super) fn facts() -> impl Strategy<Value = NodeFacts> {
    (
        any::<Option<[u8; 32]>>(),
        option::of(socket()),
        vec(address(), 0..3),
        any::<Option<[u8; 6]>>(),
        ranges(),
    )
        .prop_map(|(key, endpoint, underlay, uplink_mac, host_routes)| NodeFacts {
            wireguard_key: key.map(WireguardKey),
            endpoint,
            underlay,
            uplink_mac,
            host_routes,
        })
}

fn node() -> impl Strategy<Value = Node> {
    (node_name(), any::<([u8; 16], bool, u64, u64, u64)>(), labels(), mesh(), facts()).prop_map(
        |(name, (uid, removed, joined, revision, silent), labels, mesh, facts)| Node {
            name,
            uid: NodeUid(uid),
            state: if removed { NodeState::Removed } else { NodeState::Active },
            labels,
            mesh,
            wireguard_key: facts.wireguard_key,
            endpoint: facts.endpoint,
            underlay: facts.underlay,
            uplink_mac: facts.uplink_mac,
            host_routes: facts.host_routes,
            joined: WallTime(joined),
            silent: (silent % 2 == 1).then_some(WallTime(silent)),
            revision: Revision(revision),
        },
    )
}

pub(super) fn port() -> impl Strategy<Value = NamedPort> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    (".{0,5}", protocol, 1..=u16::MAX).prop_map(|(name, protocol, port)| NamedPort { name, protocol, port })
}

fn pod() -> impl Strategy<Value = Pod> {
    (
        any::<([u8; 16], bool, bool, bool, u64, u64)>(),
        ("[a-z]{1,5}", name(), ".{0,9}", ".{0,9}"),
        labels(),
        node_name(),
        vec(address(), 0..3),
        vec(port(), 0..2),
    )
        .prop_map(
            |(numbers, (namespace, name, container, interface), labels, node, addresses, ports)| {
                let (uid, superseded, ready, terminating, created, revision) = numbers;
                Pod {
                    uid: PodUid(uid),
                    name: PodName {
                        namespace: NamespaceName::new(namespace).unwrap(),
                        name: Name::new(name).unwrap(),
                    },
                    labels,
                    node,
                    attachment: AttachmentId { container, interface },
                    addresses,
                    ports,
                    phase: if superseded { PodPhase::Superseded } else { PodPhase::Active },
                    ready,
                    terminating,
                    created: WallTime(created),
                    revision: Revision(revision),
                }
            },
        )
}

fn lease() -> impl Strategy<Value = BlockLease> {
    (range(), node_name(), any::<(u64, u64, u64)>()).prop_map(|(block, node, (epoch, granted, revision))| {
        BlockLease {
            block,
            node,
            epoch: Epoch(epoch),
            granted: WallTime(granted),
            revision: Revision(revision),
        }
    })
}

fn member() -> impl Strategy<Value = Member> {
    (1..=u64::MAX, name(), socket(), any::<(bool, u64)>()).prop_map(
        |(id, name, address, (voter, revision))| Member {
            id: ReplicaId(id),
            name: ReplicaName::new(name).unwrap(),
            address,
            role: if voter { MemberRole::Voter } else { MemberRole::Learner },
            revision: Revision(revision),
        },
    )
}

pub(super) fn object() -> BoxedStrategy<Object> {
    prop_oneof![
        fabric().prop_map(Object::Fabric),
        node().prop_map(Object::Node),
        pod().prop_map(Object::Pod),
        lease().prop_map(Object::Lease),
        member().prop_map(Object::Member),
        services::object(),
        policies::object(),
    ]
    .boxed()
}

pub(super) fn item() -> BoxedStrategy<Item> {
    let fabric = (any::<[u8; 16]>(), fabric(), member()).prop_map(|(cluster, fabric, member)| {
        Item::Fabric(FabricItem {
            cluster: ClusterId(cluster),
            families: fabric.families,
            ranges: fabric.ranges,
            overlay: fabric.overlay,
            domain: fabric.domain,
            dns: fabric.dns,
            masquerade_exceptions: fabric.masquerade_exceptions,
            node_port_addresses: fabric.node_port_addresses,
            node_port_range: fabric.node_port_range,
            policy: fabric.policy,
            replicas: vec![member.address],
        })
    });
    let peer = (node(), ranges()).prop_map(|(node, allowed)| {
        Item::Peer(PeerItem {
            node: node.name,
            wireguard_key: node.wireguard_key,
            endpoint: node.endpoint,
            mesh: node.mesh,
            underlay: node.underlay,
            uplink_mac: node.uplink_mac,
            allowed,
            zone: node.labels.into_values().next().unwrap_or_default(),
            silent: node.silent.is_some(),
        })
    });
    let route = lease().prop_map(|lease| {
        Item::Route(RouteItem { block: lease.block, node: lease.node, epoch: lease.epoch })
    });
    prop_oneof![1 => fabric, 1 => peer, 1 => route, 3 => services::item(), 3 => policies::item()].boxed()
}

fn token() -> impl Strategy<Value = Token> {
    (".{0,9}", any::<([u8; 32], u64, u64)>(), role(), option::of(".{1,9}")).prop_map(
        |(id, (hash, expires, revision), role, used_by)| Token {
            id,
            hash,
            role,
            expires: WallTime(expires),
            used_by,
            revision: Revision(revision),
        },
    )
}

fn action() -> BoxedStrategy<Action> {
    let uid = || any::<[u8; 16]>().prop_map(NodeUid);
    let hash = any::<[u8; 32]>;
    let replica = || name().prop_map(|text| ReplicaName::new(text).unwrap());
    prop_oneof![
        (any::<[u8; 16]>(), fabric(), member()).prop_map(|(cluster, fabric, member)| Action::Found {
            cluster: ClusterId(cluster),
            fabric,
            member
        }),
        vec(object(), 0..3).prop_map(|objects| Action::Write { objects }),
        vec(object().prop_map(|object| object.key()), 0..4).prop_map(|keys| Action::Delete { keys }),
        vec(services::owner(), 0..3).prop_map(|owners| Action::AssignOwners { owners }),
        vec((node_name(), uid(), any::<Option<u64>>()), 0..3).prop_map(|nodes| {
            let silence = |(node, uid, since): (_, _, Option<u64>)| NodeSilence {
                node,
                uid,
                since: since.map(WallTime),
            };
            Action::NoteSilence { nodes: nodes.into_iter().map(silence).collect() }
        }),
        token().prop_map(|token| Action::CreateToken { token }),
        ".{0,9}".prop_map(|id| Action::RevokeToken { id }),
        (hash(), node_name(), uid(), labels(), facts()).prop_map(|(token, name, uid, labels, facts)| {
            Action::JoinNode { token, name, uid, labels, facts }
        }),
        (hash(), replica(), socket()).prop_map(|(token, name, address)| Action::JoinReplica {
            token,
            name,
            address
        }),
        (hash(), ".{0,9}").prop_map(|(token, name)| Action::JoinPerson { token, name }),
        (node_name(), uid(), facts()).prop_map(|(node, uid, facts)| Action::PublishNode { node, uid, facts }),
        (node_name(), uid(), prop_oneof![Just(Family::V4), Just(Family::V6)])
            .prop_map(|(node, uid, family)| Action::LeaseBlock { node, uid, family }),
        (node_name(), uid(), range(), any::<u64>()).prop_map(|(node, uid, block, epoch)| {
            Action::ReturnBlock { node, uid, block, epoch: Epoch(epoch) }
        }),
        (node_name(), uid(), any::<bool>(), vec(pod(), 0..3), vec(any::<[u8; 16]>(), 0..3)).prop_map(
            |(node, uid, complete, upserts, deletes)| {
                let deletes = deletes.into_iter().map(PodUid).collect();
                Action::PublishPods(PodReport { node, uid, complete, upserts, deletes })
            }
        ),
        node_name().prop_map(|name| Action::RemoveNode { name }),
        member().prop_map(|member| Action::ChangeMember { member }),
        (1..=u64::MAX).prop_map(|id| Action::RemoveMember { id: ReplicaId(id) }),
    ]
    .boxed()
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    (any::<([u8; 16], u64, u64, [u8; 16])>(), action()).prop_map(
        |((client, sequence, time, random), action)| Command {
            client: ClientId(client),
            sequence: Sequence(sequence),
            stamp: Stamp { time: WallTime(time), random },
            action,
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (any::<u16>(), (".{0,5}", ".{0,5}", ".{0,5}"), ".{0,9}", ".{0,9}", vec(".{0,9}", 0..3))
        .prop_map(|(code, object, message, field, cause)| Refusal { code, message, object, field, cause })
}

pub(super) fn answer() -> BoxedStrategy<Result<Answer, Box<Refusal>>> {
    let written = prop_oneof![Just(Written::Created), Just(Written::Changed), Just(Written::Unchanged)];
    prop_oneof![
        Just(Ok(Answer::Done)),
        vec((object(), written), 0..3).prop_map(|objects| Ok(Answer::Written(objects))),
        (node(), vec(lease(), 0..3)).prop_map(|(node, leases)| Ok(Answer::Node(node, leases))),
        member().prop_map(|member| Ok(Answer::Member(member))),
        role().prop_map(|role| Ok(Answer::Person(role))),
        lease().prop_map(|lease| Ok(Answer::Lease(lease))),
        refusal().prop_map(|refusal| Err(Box::new(refusal))),
    ]
    .boxed()
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let meta = any::<([u8; 16], [u8; 32], [u64; 5])>().prop_map(|(cluster, hash, n)| {
        Record::Meta(Meta {
            cluster: ClusterId(cluster),
            applied: LogIndex(n[0]),
            term: Term(n[1]),
            revision: Revision(n[2]),
            next_replica: ReplicaId(n[3]),
            last_epoch: Epoch(n[4]),
            hash,
        })
    });
    let client = (any::<([u8; 16], [u64; 3])>(), answer()).prop_map(|((client, n), answer)| {
        Record::Client(ClientRecord {
            client: ClientId(client),
            sequence: Sequence(n[0]),
            index: LogIndex(n[1]),
            time: WallTime(n[2]),
            answer,
        })
    });
    let freed = (range(), any::<(u64, u64)>()).prop_map(|(block, (epoch, revision))| {
        Record::Freed(FreedBlock { block, epoch: Epoch(epoch), revision: Revision(revision) })
    });
    prop_oneof![meta, object().prop_map(Record::Object), token().prop_map(Record::Token), client, freed]
}
