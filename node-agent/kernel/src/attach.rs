//! A pod's link in one go: made, guarded, addressed and routed (CNI ADD), inspected (CHECK), taken away (DEL).
//!
//! In: the pod's open namespace and everything that was decided about it. Out: a working link, or nothing at all: a failed
//! attach takes back what it made. Requests are pipelined: two system calls on each side of the veth (performance, section 5).
//! A detached link waits in the group of the dead for [`reap`], since deleting one waits for the kernel's grace periods.

use std::{collections::BTreeSet, net::IpAddr};

use nix::errno::Errno;
use weft_model::{
    AddressRange, Dual, Family, PodUid,
    ownership::{
        BRIDGE, BRIDGE_MAC, GATEWAY_V4, GATEWAY_V6, LINK_GROUP_DEAD, LINK_GROUP_PODS, TABLE_FABRIC,
        VETH_ALIAS_PREFIX,
    },
};
use weft_plan::Setting;

use crate::{
    error::Error,
    namespace::Namespace,
    netlink::Netlink,
    observe::{LinkFacts, address_facts, find_link, link_facts},
    request::{Existing, LinkChange, Request, RouteEntry, VethPair},
    setting::{read_setting, write_setting},
};

const TABLE_MAIN: u32 = 254;

/// Everything that is decided about a pod's link.
#[derive(Clone, Debug)]
pub struct PodLink {
    /// The pod; the alias of the node's end names it.
    pub uid: PodUid,
    /// Name of the node's end ([`weft_plan::pod_link_name`]).
    pub link: String,
    /// Name of the interface in the pod.
    pub interface: String,
    /// Hardware address of the interface in the pod ([`weft_plan::pod_mac`]).
    pub mac: [u8; 6],
    /// Addresses, primary family first.
    pub addresses: Vec<IpAddr>,
    /// MTU of both ends, bytes.
    pub mtu: u32,
    /// This node's mesh addresses: the source of its own packets to the pod.
    pub mesh: Dual<IpAddr>,
}

/// What an attach made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Index of the node's end.
    pub link: u32,
    /// Index of the interface in the pod.
    pub interface: u32,
}

/// What a pod's interface is like now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInterface {
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// MTU, bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Global addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Families with a default route through the pods' gateway.
    pub default_routes: Vec<Family>,
}

/// Makes the link of a pod. The calling thread must be in the node's namespace; the pod's is entered by a thread of its own.
///
/// A link of the same name or interface that is already dead is deleted first. Fails with `NameTaken` when another pod has the
/// node-side name (try the next), with `InterfaceTaken` when the pod has such an interface; then nothing is left behind.
pub fn attach(namespace: &Namespace, pod: &PodLink) -> Result<Attached, Error> {
    let mut node = Netlink::open()?;
    let bridge = index_of(BRIDGE)?;
    namespace.run(|| {
        let mut inside = Netlink::open()?;
        if let Err(error) = make(&mut node, namespace, bridge, pod) {
            if error.errno() != Some(Errno::EEXIST) {
                return Err(error);
            }
            clear_dead(&mut node, &mut inside, pod)?;
            make(&mut node, namespace, bridge, pod)?;
        }
        let outcome = equip(&mut node, &mut inside, bridge, pod);
        if outcome.is_err() {
            undo(&mut node, bridge, pod);
        }
        outcome
    })?
}

fn make(node: &mut Netlink, namespace: &Namespace, bridge: u32, pod: &PodLink) -> Result<(), Error> {
    let pair = VethPair {
        near: &pod.link,
        bridge,
        group: LINK_GROUP_PODS,
        far: &pod.interface,
        far_mac: pod.mac,
        namespace: namespace.descriptor(),
        mtu: pod.mtu,
    };
    node.one(Request::add_veth(&pair)).map(|_| ())
}

/// Takes away what stands in the way if it is dead already; anything else keeps its name.
fn clear_dead(node: &mut Netlink, inside: &mut Netlink, pod: &PodLink) -> Result<(), Error> {
    let near = find_link(node, &pod.link)?;
    let far = find_link(inside, &pod.interface)?;
    if let Some(near) = &near {
        if near.group != LINK_GROUP_DEAD {
            return Err(Error::NameTaken { name: pod.link.clone() });
        }
        delete(node, near.index, &near.name)?;
    }
    let Some(far) = far else { return Ok(()) };
    // The other end of a dead veth has its peer among our dead; after deleting the near end it may be gone already.
    let Some(far) = find_link(inside, &far.name)? else { return Ok(()) };
    let peer = match far.parent {
        Some(index) => node.one(Request::link_at(index)).ok().flatten().and_then(link_facts),
        None => None,
    };
    match peer {
        Some(peer) if peer.group == LINK_GROUP_DEAD => return delete(node, peer.index, &peer.name),
        // It may have been reaped just now: both ends go at once.
        None if find_link(inside, &far.name)?.is_none() => return Ok(()),
        Some(_) | None => {}
    }
    Err(Error::InterfaceTaken { interface: pod.interface.clone() })
}

/// Settings before the interface is up, the pod's side before the node's: no packet passes a half-made port.
///
/// Links send only once the kernel's link watch has seen their carrier, which it does later in a task of its own. Asking for a
/// link makes it look at once (`net/core/rtnetlink.c`, `rtnl_getlink`, Linux 6.8): port, then bridge, then the pod's end.
fn equip(node: &mut Netlink, inside: &mut Netlink, bridge: u32, pod: &PodLink) -> Result<Attached, Error> {
    let interface = index_of(&pod.interface)?;
    write_settings(pod)?;
    let usable = UsableAddresses::watch(pod)?;
    inside.all(&pod_side(interface, pod))?;
    let link = find_link(node, &pod.link)?.ok_or_else(|| Error::NoLink { name: pod.link.clone() })?;
    let mut requests = node_side(link.index, bridge, pod);
    requests.extend([Request::link_at(link.index), Request::link_at(bridge)]);
    node.all(&requests)?;
    usable.wait(interface)?;
    // This waits for the lock under which an address that was told of becomes usable.
    inside.one(Request::link_at(interface))?;
    Ok(Attached { link: link.index, interface })
}

/// Waits until packets to the pod's IPv6 addresses are taken: their local routes are made by a task of the kernel, after the
/// request was answered, when it gets the routing lock. It tells of the address then (`net/ipv6/addrconf.c`,
/// `addrconf_dad_work`, also without duplicate address detection; Linux 6.8).
struct UsableAddresses {
    notices: Option<Netlink>,
    missing: BTreeSet<IpAddr>,
}

impl UsableAddresses {
    /// Begins to listen, in the pod's namespace, before the addresses are set.
    fn watch(pod: &PodLink) -> Result<Self, Error> {
        const RTNLGRP_IPV6_IFADDR: u32 = 9;
        let missing: BTreeSet<_> = pod.addresses.iter().copied().filter(IpAddr::is_ipv6).collect();
        let mut notices = None;
        if !missing.is_empty() {
            notices.insert(Netlink::open()?).join(RTNLGRP_IPV6_IFADDR)?;
        }
        Ok(Self { notices, missing })
    }

    fn wait(self, interface: u32) -> Result<(), Error> {
        let Self { notices: Some(mut notices), mut missing } = self else { return Ok(()) };
        notices.notices("make the pod's IPv6 addresses usable", |message| {
            if let Some(address) = address_facts(message).filter(|address| address.link == interface) {
                missing.remove(&address.address);
            }
            missing.is_empty()
        })
    }
}

fn write_settings(pod: &PodLink) -> Result<(), Error> {
    let setting = |name| Setting::of(Family::V6, &pod.interface, name);
    let has_v6 = pod.addresses.iter().any(IpAddr::is_ipv6);
    if read_setting(&setting("disable_ipv6"))?.is_none() {
        // A kernel without IPv6 has nothing to be set.
        return Ok(());
    }
    let on: &[(&str, &str)] = if has_v6 { &[("disable_ipv6", "0")] } else { &[] };
    for (name, value) in
        on.iter().chain(&[("accept_ra", "0"), ("accept_redirects", "0"), ("accept_dad", "0")])
    {
        write_setting(&setting(name), value)?;
    }
    Ok(())
}

fn pod_side(interface: u32, pod: &PodLink) -> Vec<Request> {
    let up = || LinkChange { up: Some(true), ..LinkChange::default() };
    let mut requests =
        vec![Request::change_link(1, "lo", up()), Request::change_link(interface, &pod.interface, up())];
    for address in &pod.addresses {
        let bits = Family::of(*address).bits();
        requests.push(Request::add_address(interface, *address, bits, false));
    }
    for address in &pod.addresses {
        let gateway = gateway(Family::of(*address));
        requests.push(Request::put_neighbour(interface, gateway, BRIDGE_MAC));
        if address.is_ipv4() {
            let reach = RouteEntry::new(TABLE_MAIN, AddressRange::host(gateway), Some(interface));
            requests.push(Request::put_route(&reach, Existing::Refuse));
        }
        let mut default = RouteEntry::new(TABLE_MAIN, everything(Family::of(*address)), Some(interface));
        default.gateway = Some(gateway);
        requests.push(Request::put_route(&default, Existing::Refuse));
    }
    requests
}

fn node_side(link: u32, bridge: u32, pod: &PodLink) -> Vec<Request> {
    // Guarded in the same request that brings it up, and the kernel does it in this order.
    let change = LinkChange {
        up: Some(true),
        alias: Some(format!("{VETH_ALIAS_PREFIX}{}", pod.uid)),
        guard: true,
        ..LinkChange::default()
    };
    let mut requests =
        vec![Request::change_link(link, &pod.link, change), Request::put_forwarding(link, pod.mac)];
    for address in &pod.addresses {
        requests.push(Request::put_neighbour(bridge, *address, pod.mac));
        let mut route = RouteEntry::new(TABLE_FABRIC, AddressRange::host(*address), Some(bridge));
        route.source = pod.mesh.of(Family::of(*address)).copied();
        // The address may have been another pod's until now: the route is ours in any case, the table is ours alone.
        requests.push(Request::put_route(&route, Existing::Replace));
    }
    requests
}

/// The thread is inside the pod's namespace here: the bridge is known by index only.
fn undo(node: &mut Netlink, bridge: u32, pod: &PodLink) {
    let outcome = match find_link(node, &pod.link) {
        Ok(Some(link)) => delete(node, link.index, &link.name),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        tracing::warn!(link = pod.link, %error, "a half-made pod link can't be removed");
    }
    // Most of these don't exist; whatever does goes.
    let _ = node.batch(&forget(bridge, &pod.addresses));
}

/// Takes a pod's link out of service: down, without entries, neighbours and routes, and marked dead.
///
/// Returns at once; [`reap`] deletes the link. It stays a port of the bridge until then, down: leaving the bridge alone would
/// wait 3 ms for grace periods (measured). A link or entry that is gone already is success.
pub fn detach(link: &str, mac: [u8; 6], addresses: &[IpAddr]) -> Result<(), Error> {
    let mut node = Netlink::open()?;
    let mut requests = Vec::new();
    if let Some(found) = find_link(&mut node, link)? {
        requests.push(kill(&found));
        requests.push(Request::delete_forwarding(found.index, mac));
    }
    match index_of(BRIDGE) {
        Ok(bridge) => requests.extend(forget(bridge, addresses)),
        Err(Error::NoLink { .. }) => {}
        Err(error) => return Err(error),
    }
    for answer in node.batch(&requests)? {
        match answer {
            Ok(_) => {}
            // A link that is no port any more has no forwarding entries.
            Err(refusal) if is_gone(refusal.errno) || refusal.errno == Errno::EOPNOTSUPP => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}

/// The request that takes a link out of service for good.
pub(crate) fn kill(link: &LinkFacts) -> Request {
    let change = LinkChange { up: Some(false), group: Some(LINK_GROUP_DEAD), ..LinkChange::default() };
    Request::change_link(link.index, &link.name, change)
}

fn forget(bridge: u32, addresses: &[IpAddr]) -> Vec<Request> {
    addresses
        .iter()
        .flat_map(|address| {
            [
                Request::delete_route(TABLE_FABRIC, AddressRange::host(*address)),
                Request::delete_neighbour(bridge, *address),
            ]
        })
        .collect()
}

/// Whether a pod's link is there and in service; a dead one only waits for [`reap`].
pub fn is_link_alive(link: &str) -> Result<bool, Error> {
    let found = find_link(&mut Netlink::open()?, link)?;
    Ok(found.is_some_and(|found| found.group != LINK_GROUP_DEAD))
}

/// Deletes all dead links in one request; whether there was any. Meant to be called each 100 ms while detaches go on.
pub fn reap() -> Result<bool, Error> {
    match Netlink::open()?.one(Request::delete_group(LINK_GROUP_DEAD)) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a pod's interface is like now; `None` when there is none of that name.
pub fn inspect(namespace: &Namespace, interface: &str) -> Result<Option<PodInterface>, Error> {
    namespace.run(|| {
        let mut inside = Netlink::open()?;
        let Some(link) = find_link(&mut inside, interface)? else { return Ok(None) };
        let addresses = inside.dump(&Request::addresses_of(link.index))?;
        let addresses = addresses.into_iter().filter_map(address_facts);
        let addresses =
            addresses.filter(|a| a.link == link.index && a.global).map(|a| (a.address, a.prefix)).collect();
        let mut default_routes = Vec::new();
        for family in [Family::V4, Family::V6] {
            let routes = crate::observe::main_routes(&mut inside, family)?;
            let through_us = |r: &weft_plan::HostRoute| {
                r.destination.prefix() == 0
                    && r.link == Some(link.index)
                    && r.gateway == Some(gateway(family))
            };
            if routes.iter().any(through_us) {
                default_routes.push(family);
            }
        }
        let LinkFacts { mac, mtu, up, .. } = link;
        Ok(Some(PodInterface { mac, mtu, up, addresses, default_routes }))
    })?
}

const fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(GATEWAY_V4),
        Family::V6 => IpAddr::V6(GATEWAY_V6),
    }
}

fn everything(family: Family) -> AddressRange {
    match family {
        Family::V4 => AddressRange::new(ipnet::IpNet::V4(ipnet::Ipv4Net::default())),
        Family::V6 => AddressRange::new(ipnet::IpNet::V6(ipnet::Ipv6Net::default())),
    }
    .expect("the whole address space has no host bits")
}

fn delete(node: &mut Netlink, index: u32, name: &str) -> Result<(), Error> {
    match node.one(Request::delete_link(index, name)) {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Index of a link of the calling thread's namespace: one system call without the routing lock.
pub(crate) fn index_of(name: &str) -> Result<u32, Error> {
    nix::net::if_::if_nametoindex(name).map_err(|_| Error::NoLink { name: name.to_owned() })
}

/// Errors that say that what is to be removed isn't there.
pub(crate) const fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL)
}
