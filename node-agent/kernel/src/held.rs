//! Load-balancer addresses that this machine answers for on its link.
//!
//! IPv4: a `local` route on `lo`, which is enough for the kernel to answer ARP. IPv6: an address on the uplink, since
//! neighbour discovery answers for addresses of that link alone; it is deprecated, so that no packet of the machine's own gets
//! it as a source. Both bear our mark. Not here: which addresses (weft-plan), and who must not get through (the guard).

use std::{collections::BTreeSet, net::IpAddr};

use netlink_packet_route::route::{RouteProtocol, RouteType};
use weft_model::{Family, ownership::ROUTE_PROTOCOL};
use weft_plan::is_ours;

use crate::{
    attach::{index_of, is_gone},
    error::Error,
    netlink::Netlink,
    observe::{address_facts, all_links, route_facts},
    request::Request,
};

/// Reads and writes held addresses of the namespace that it was opened in.
#[derive(Debug)]
pub struct HeldAddresses {
    netlink: Netlink,
}

impl HeldAddresses {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// What bears our mark.
    pub fn read(&mut self) -> Result<BTreeSet<IpAddr>, Error> {
        let routes = self.netlink.dump(&Request::routes_of_protocol(Family::V4, ROUTE_PROTOCOL))?;
        let held = |route: &crate::observe::RouteFacts| {
            route.protocol == RouteProtocol::Other(ROUTE_PROTOCOL) && route.kind == RouteType::Local
        };
        let routes = routes.into_iter().filter_map(|message| route_facts(Family::V4, message)).filter(held);
        let mut found: BTreeSet<IpAddr> = routes.map(|route| route.destination.first()).collect();
        found.extend(self.of_links()?.into_iter().map(|(_, address)| address));
        Ok(found)
    }

    /// Begins to answer for an address on a link. Again is fine.
    pub fn hold(&mut self, address: IpAddr, uplink: &str) -> Result<(), Error> {
        let request = match address {
            IpAddr::V4(_) => Request::put_local_route(address, index_of("lo")?),
            IpAddr::V6(_) => {
                let link = index_of(uplink)?;
                // It may stand on the uplink of before.
                let elsewhere =
                    self.of_links()?.into_iter().filter(|(index, a)| *a == address && *index != link);
                for (index, _) in elsewhere.collect::<Vec<_>>() {
                    self.netlink.one(Request::delete_address(index, address, 128))?;
                }
                Request::put_held_address(link, address)
            }
        };
        self.netlink.one(request).map(|_| ())
    }

    /// Answers for it no more. One that isn't there is fine.
    pub fn release(&mut self, address: IpAddr) -> Result<(), Error> {
        let requests = match address {
            IpAddr::V4(_) => vec![Request::delete_local_route(address)],
            IpAddr::V6(_) => {
                let of = self.of_links()?.into_iter().filter(|(_, found)| *found == address);
                of.map(|(index, _)| Request::delete_address(index, address, 128)).collect()
            }
        };
        for answer in self.netlink.batch(&requests)? {
            match answer {
                Ok(_) => {}
                Err(refusal) if is_gone(refusal.errno) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(())
    }

    /// Addresses of ours on links that aren't.
    fn of_links(&mut self) -> Result<Vec<(u32, IpAddr)>, Error> {
        let own: Vec<u32> =
            all_links(&mut self.netlink)?.iter().filter(|l| is_ours(&l.name)).map(|l| l.index).collect();
        let all = self.netlink.dump(&Request::addresses())?.into_iter().filter_map(address_facts);
        let held = all.filter(|a| a.ours && a.address.is_ipv6() && !own.contains(&a.link));
        Ok(held.map(|a| (a.link, a.address)).collect())
    }
}
