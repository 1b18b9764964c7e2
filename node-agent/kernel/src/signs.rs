//! What a link shows of itself: its carrier, how often it lost that, what came in.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's enums are open: what isn't asked for is skipped"
)]

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use weft_plan::LinkSigns;

use crate::{error::Error, netlink::Netlink, request::Request};

impl Netlink {
    /// What a link shows now; `None`: the kernel answers with something else.
    pub fn link_signs(&mut self, index: u32) -> Result<Option<LinkSigns>, Error> {
        let found = self.one(Request::link_with_counters(index))?;
        Ok(found.and_then(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(signs(&link)),
            _ => None,
        }))
    }
}

fn signs(link: &LinkMessage) -> LinkSigns {
    let carrier = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let mut signs = LinkSigns { carrier, losses: 0, received: 0 };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::CarrierDownCount(losses) => signs.losses = *losses,
            LinkAttribute::Stats64(counters) => signs.received = counters.rx_packets,
            _ => {}
        }
    }
    signs
}
