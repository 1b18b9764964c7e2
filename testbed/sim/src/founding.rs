//! What the first replica of a simulated cluster begins with.

use weft_model::{
    Action, AddressRange, ClientId, Command, Fabric, FabricRanges, Families, Member, MemberRole, Overlay,
    ReplicaId, Revision, Sequence, Stamp, WallTime,
};
use weft_raft::Seed;

use crate::{
    machine::{CLUSTER, codec},
    operator::place,
};

/// What the first replica begins with.
pub(crate) fn first_snapshot() -> Seed {
    let range = |text: &str| text.parse::<AddressRange>().expect("a range");
    let fabric = Fabric {
        families: Families::V4,
        ranges: FabricRanges {
            pods: vec![range("10.128.0.0/24")],
            services: vec![range("10.96.0.0/20")],
            nodes: vec![range("10.64.0.0/24")],
            load_balancers: Vec::new(),
        },
        block_prefix_v4: 28,
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: weft_model::DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: weft_model::DEFAULT_NODE_PORT_RANGE,
        external_ip_ranges: Vec::new(),
        node_grace: weft_model::DEFAULT_NODE_GRACE,
        policy: weft_model::PolicySettings::default(),
        generation: 1,
        revision: Revision(0),
    };
    let (name, address) = place(1);
    let member = Member { id: ReplicaId(1), name, address, role: MemberRole::Voter, revision: Revision(0) };
    let command = Command {
        client: ClientId(*b"weft-sim-founder"),
        sequence: Sequence(1),
        stamp: Stamp { time: WallTime(1), random: [0; 16] },
        action: Action::Found { cluster: CLUSTER, fabric, member },
    };
    weft_raft::found(&command, &codec(None)).expect("the founding command is valid")
}
