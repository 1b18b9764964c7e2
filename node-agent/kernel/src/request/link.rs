//! Requests about links.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
        LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
    },
};
use std::os::fd::RawFd;

use super::Request;

/// A veth pair, made in one message with its far end already inside another namespace.
pub(crate) struct VethPair<'a> {
    pub(crate) near: &'a str,
    /// Index of the bridge that the near end joins.
    pub(crate) bridge: u32,
    pub(crate) group: u32,
    pub(crate) far: &'a str,
    pub(crate) far_mac: [u8; 6],
    /// Descriptor of the far end's namespace.
    pub(crate) namespace: RawFd,
    pub(crate) mtu: u32,
}

/// A change of an existing link; absent parts stay as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkChange {
    pub(crate) up: Option<bool>,
    pub(crate) mtu: Option<u32>,
    pub(crate) mac: Option<[u8; 6]>,
    /// Index of the new master.
    pub(crate) master: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) alias: Option<String>,
    /// Make a bridge port isolated and silent. The link must be a port already.
    pub(crate) guard: bool,
    /// Set what a bridge of ours has.
    pub(crate) bridge: bool,
}

impl Request {
    /// All links, without counters.
    pub(crate) fn links() -> Self {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        Self::new(RouteNetlinkMessage::GetLink(message), 0, "list links")
    }

    /// One link by name.
    pub(crate) fn link(name: &str) -> Self {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        Self::new(RouteNetlinkMessage::GetLink(message), 0, format!("look up link {name}"))
    }

    /// One link by index.
    pub(crate) fn link_at(index: u32) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        Self::new(RouteNetlinkMessage::GetLink(message), 0, format!("look up link {index}"))
    }

    /// One link by index, with its counters.
    pub(crate) fn link_with_counters(index: u32) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Self::new(RouteNetlinkMessage::GetLink(message), 0, format!("look at link {index}"))
    }

    /// A bridge without spanning tree and snooping; down.
    ///
    /// Without an MTU: one that is given here the kernel would still adjust to that of ports, one that is set later it
    /// leaves (`net/bridge/br_device.c`, `br_change_mtu`).
    pub(crate) fn add_bridge(name: &str, mac: [u8; 6]) -> Self {
        let attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), bridge_data()]),
        ];
        Self::add_link(name, attributes)
    }

    /// A link of a kind without data of its own (`wireguard`, `veth` with defaults, …).
    pub(crate) fn add_plain(name: &str, kind: InfoKind) -> Self {
        let attributes =
            vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
        Self::add_link(name, attributes)
    }

    /// A veth pair; both ends down.
    pub(crate) fn add_veth(pair: &VethPair<'_>) -> Self {
        let mut far = LinkMessage::default();
        far.attributes = vec![
            LinkAttribute::IfName(pair.far.to_owned()),
            LinkAttribute::Address(pair.far_mac.to_vec()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::NetNsFd(pair.namespace),
        ];
        let attributes = vec![
            LinkAttribute::IfName(pair.near.to_owned()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::Controller(pair.bridge),
            LinkAttribute::Group(pair.group),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
            ]),
        ];
        Self::add_link(pair.near, attributes)
    }

    fn add_link(name: &str, attributes: Vec<LinkAttribute>) -> Self {
        let mut message = LinkMessage::default();
        message.attributes = attributes;
        let message = RouteNetlinkMessage::NewLink(message);
        Self::new(message, NLM_F_CREATE | NLM_F_EXCL, format!("add link {name}"))
    }

    /// Changes an existing link, by index.
    pub(crate) fn change_link(index: u32, name: &str, change: LinkChange) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(up) = change.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        let attributes = &mut message.attributes;
        attributes.extend(change.mtu.map(LinkAttribute::Mtu));
        attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        attributes.extend(change.master.map(LinkAttribute::Controller));
        attributes.extend(change.group.map(LinkAttribute::Group));
        attributes.extend(change.alias.map(LinkAttribute::IfAlias));
        if change.guard {
            attributes.push(LinkAttribute::LinkInfo(guarded_port()));
        }
        if change.bridge {
            attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), bridge_data()]));
        }
        // RTM_NEWLINK without NLM_F_CREATE: unlike RTM_SETLINK it takes the data of a port.
        Self::new(RouteNetlinkMessage::NewLink(message), 0, format!("change link {name}"))
    }

    /// Deletes a link.
    pub(crate) fn delete_link(index: u32, name: &str) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Self::new(RouteNetlinkMessage::DelLink(message), 0, format!("delete link {name}"))
    }

    /// Deletes all links of a group; ENODEV when there is none.
    pub(crate) fn delete_group(group: u32) -> Self {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        Self::new(RouteNetlinkMessage::DelLink(message), 0, format!("delete links of group {group}"))
    }
}

fn bridge_data() -> LinkInfo {
    LinkInfo::Data(InfoData::Bridge(vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::MulticastSnooping(false),
    ]))
}

/// Every packet must pass the node's IP layer: no port hears another, none is learnt, nothing is flooded.
fn guarded_port() -> Vec<LinkInfo> {
    vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![
            InfoBridgePort::Isolated(true),
            InfoBridgePort::Learning(false),
            InfoBridgePort::UnicastFlood(false),
            InfoBridgePort::MulticastFlood(false),
            InfoBridgePort::BroadcastFlood(false),
        ])),
    ]
}
