//! Every mark by which Weft knows its own things in a kernel, and every number shared by processes.
//!
//! Clean-up removes what carries one of these marks and nothing else (design, section 6).

/// Name of our nf_tables tables (`inet weft`, `bridge weft`).
pub const NFT_TABLE: &str = "weft";
/// Name of our nf_tables tables about answers on the link (`arp weft_link`, `ip6 weft_link`).
pub const NFT_LINK_TABLE: &str = "weft_link";
/// Name of our nf_tables tables of network policy (`ip weft_policy`, `ip6 weft_policy`).
pub const NFT_POLICY_TABLE: &str = "weft_policy";
/// Group of the kernel's packet log (`nfnetlink_log`) to which our tables send copies of what they drop.
pub const LOG_GROUP: u16 = 8701;
/// Sender's hardware address of frames by which an agent tells its own kernel that it is awake, on the loopback device: locally
/// administered, "weft".
pub const VOUCHER_MAC: [u8; 6] = *b"\x02weft\0";
/// The pod bridge of a node.
pub const BRIDGE: &str = "weftbr0";
/// MAC of the pod bridge, the same on every node: the pods' gateway neighbour entry never changes.
pub const BRIDGE_MAC: [u8; 6] = [0x02, 0x57, 0x45, 0x46, 0x54, 0x01];
/// Mesh devices; the second exists only during a key rotation.
pub const MESH_DEVICES: [&str; 2] = ["weft0", "weft1"];
/// Prefix of the alias of a mesh device; its name follows, so that a renamed one is known.
pub const MESH_ALIAS_PREFIX: &str = "weft mesh ";
/// UDP ports of the mesh devices.
pub const MESH_PORTS: [u16; 2] = [51820, 51821];
/// Prefix of the node's end of a pod's veth; 8 hexadecimal digits follow.
pub const VETH_PREFIX: &str = "wv";
/// Prefix of the alias of a pod's veth; the pod's uid follows.
pub const VETH_ALIAS_PREFIX: &str = "weft pod ";
/// Link group of live pod links.
pub const LINK_GROUP_PODS: u32 = 8701;
/// Link group of links whose pod is gone and whose deletion is under way (performance, section 5).
pub const LINK_GROUP_DEAD: u32 = 8702;
/// `rtm_protocol` of our routes, rules and neighbours (unassigned in `rtnetlink.h`).
pub const ROUTE_PROTOCOL: u8 = 87;
/// Table A: the fabric (blocks, pods, mesh addresses, service ranges).
pub const TABLE_FABRIC: u32 = 8701;
/// Table B: underlay addresses of other nodes through the mesh, for pods only.
pub const TABLE_UNDERLAY: u32 = 8702;
/// Rule: packets of pods with our mark look at table B first.
pub const RULE_UNDERLAY: u32 = 90;
/// Rule: packets with our mark look at table A.
pub const RULE_FABRIC: u32 = 100;
/// Rule: the node's own packets look at table A.
pub const RULE_LOCAL: u32 = 101;
/// Rule: unmarked packets of pods go nowhere.
pub const RULE_CLOSED_BRIDGE: u32 = 102;
/// Rules: unmarked packets of the mesh devices go nowhere (103 and 104).
pub const RULE_CLOSED_MESH: [u32; 2] = [103, 104];
/// Mark bit *checked*: set by `bridge weft` after port security.
pub const MARK_CHECKED: u32 = 0x0100_0000;
/// Mark bit *routable* (M in the design): the only way into our tables.
pub const MARK_ROUTABLE: u32 = 0x0200_0000;
/// Mark bit *left*: policy has judged that a pod may send the packet.
pub const MARK_LEFT: u32 = 0x0400_0000;
/// Mark bit *entered*: policy has judged that a pod may get the packet.
pub const MARK_ENTERED: u32 = 0x0800_0000;
/// Connection-mark bit of connections that are ours.
pub const CT_MARK: u32 = 0x0100_0000;
/// Connection-mark bit of connections whose sender a service translates to the node's own address.
pub const CT_MARK_SOURCE: u32 = 0x0200_0000;
/// The pods' IPv4 gateway, the same on every node (RFC 3927 range, never routed).
pub const GATEWAY_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 1, 1);
/// The pods' IPv6 gateway, the same on every node.
pub const GATEWAY_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Where pods may ask for names besides the DNS address of the service range (RFC 3927 range, never routed): the same on every
/// node.
pub const DNS_LOCAL_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 1, 53);
/// The same in IPv6. Unique-local (RFC 4193), since a link-local one would need a zone in resolv.conf.
pub const DNS_LOCAL_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfd5a, 0x7e53, 0, 0, 0, 0, 0, 0x53);
/// Port of the DNS.
pub const DNS_PORT: u16 = 53;
/// Port on which a replica serves everything, over mutual TLS.
pub const CONTROL_PORT: u16 = 7443;
/// Port on which a node's agent answers whether services work there, as kube-proxy does (`--healthz-bind-address`).
pub const NODE_HEALTH_PORT: u16 = 10256;
/// Where clouds serve what is for a machine alone, beside the link-local ranges: Alibaba's metadata, then those of Amazon, Google and
/// Oracle in IPv6. Azure's 168.63.129.16 is left out: it is also the only server of names there.
pub const CLOUD_METADATA: [std::net::IpAddr; 4] = [
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];
/// Bytes that WireGuard adds to a packet beside the outer IP and UDP headers: type, index, counter, tag.
pub const WIREGUARD_OVERHEAD: u32 = 32;
/// Largest MTU of the mesh device and pod links; the kernel's own limit for WireGuard paths is not our business.
pub const DEFAULT_UNDERLAY_MTU: u32 = 1500;

/// Where `ip netns` finds namespaces; pods made by `weft pod add` have a link there to [`run::NETNS_DIR`].
pub const IP_NETNS_DIR: &str = "/run/netns";
/// What `ip netns exec` binds over `/etc`: pods made by `weft pod add` have their resolv.conf there.
pub const IP_NETNS_ETC: &str = "/etc/netns";

/// Paths under `/run/weft`.
pub mod run {
    /// The agent's gRPC socket (service Local).
    pub const AGENT_SOCKET: &str = "/run/weft/agent.sock";
    /// The CNI socket.
    pub const CNI_SOCKET: &str = "/run/weft/cni.sock";
    /// Where the agent feeds the DNS process of its node.
    pub const DNS_SOCKET: &str = "/run/weft/dns.sock";
    /// Configuration of the tunnel process, by device: `/run/weft/tunnel/weft0.conf`.
    pub const TUNNEL_DIR: &str = "/run/weft/tunnel";
    /// Namespace mounts of pods made by `weft pod add`.
    pub const NETNS_DIR: &str = "/run/weft/netns";
    /// What pods were given when they were made, by container: files `resolv.conf` and `environment`.
    pub const SETUP_DIR: &str = "/run/weft/setup";
    /// The agent's notes on attached pods, by uid: like what the kernel knows of them, they end with the boot.
    pub const PODS_DIR: &str = "/run/weft/pods";
}

/// Paths of state.
pub mod state {
    /// Agent: identity, View, journal.
    pub const AGENT_DIR: &str = "/var/lib/weft/agent";
    /// DNS process: its last tables.
    pub const DNS_DIR: &str = "/var/lib/weft/dns";
}
