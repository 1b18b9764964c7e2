//! What this host is, for the plan: links, addresses and routes that aren't pods'.

use weft_model::{Family, ownership::MESH_DEVICES};
use weft_plan::{Host, HostLink, MeshDevice, Setting, is_ours};

use crate::{
    error::Error,
    netlink::Netlink,
    observe::{LinkFacts, address_facts, all_links, main_routes},
    request::Request,
    setting::read_setting,
};

/// Reads links, addresses and routes of the calling thread's namespace; those on links of ours are left out of addresses and
/// routes, pods' links altogether.
pub fn read_host() -> Result<Host, Error> {
    let mut netlink = Netlink::open()?;
    let found = all_links(&mut netlink)?;
    let foreign =
        |index: Option<u32>| !found.iter().any(|link| Some(link.index) == index && is_ours(&link.name));
    let addresses = netlink.dump(&Request::addresses())?;
    let addresses = addresses.into_iter().filter_map(address_facts);
    // Held addresses are the fabric's, though they stand on a link of the host.
    let addresses = addresses.filter(|a| foreign(Some(a.link)) && !a.ours);
    let addresses = addresses.map(crate::observe::AddressFacts::into_host).collect();
    let mut routes = Vec::new();
    for family in [Family::V4, Family::V6] {
        let all = main_routes(&mut netlink, family)?;
        routes.extend(all.into_iter().filter(|route| route.link.is_none() || foreign(route.link)));
    }
    let links = found.iter().filter(|link| !is_ours(&link.name)).map(host_link);
    Ok(Host { links: links.collect::<Result<_, _>>()?, addresses, routes })
}

/// The mesh devices that exist, in the order of their names.
pub fn read_mesh_devices() -> Result<Vec<MeshDevice>, Error> {
    let mut netlink = Netlink::open()?;
    let mut devices = Vec::new();
    for name in MESH_DEVICES {
        if let Some(link) = crate::observe::find_link(&mut netlink, name)? {
            let LinkFacts { index, name, mtu, up, .. } = link;
            devices.push(MeshDevice { name, index, mtu, up });
        }
    }
    Ok(devices)
}

/// Sets MTU and state of a mesh device that exists; nothing is sent when both are right.
pub fn configure_mesh_device(name: &str, mtu: u32) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    let link = crate::observe::find_link(&mut netlink, name)?
        .ok_or_else(|| Error::NoLink { name: name.to_owned() })?;
    if link.mtu == mtu && link.up {
        return Ok(());
    }
    let change = crate::request::LinkChange {
        up: Some(true),
        mtu: Some(mtu),
        ..crate::request::LinkChange::default()
    };
    netlink.one(Request::change_link(link.index, name, change)).map(|_| ())
}

/// Deletes a mesh device; whether there was one. A link of that name that is neither WireGuard nor TUN isn't ours and stays.
pub fn remove_mesh_device(name: &str) -> Result<bool, Error> {
    let mut netlink = Netlink::open()?;
    let ours = |link: &LinkFacts| matches!(link.kind.as_str(), "wireguard" | "tun");
    match crate::observe::find_link(&mut netlink, name)?.filter(ours) {
        Some(link) => netlink.one(Request::delete_link(link.index, name)).map(|_| true),
        None => Ok(false),
    }
}

/// Whether a UDP socket of this thread's namespace has the port, on any address. Sockets of the kernel aren't listed.
pub fn is_udp_port_bound(port: u16) -> bool {
    // `proc_net(5)`: a header, then lines "sl local_address ..." with the address and the port in hexadecimal digits.
    let wanted = format!(":{port:04X}");
    ["udp", "udp6"].into_iter().any(|file| {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        text.lines()
            .skip(1)
            .any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&wanted)))
    })
}

fn host_link(link: &LinkFacts) -> Result<HostLink, Error> {
    let accept_ra = read_setting(&Setting::of(Family::V6, &link.name, "accept_ra"))?;
    Ok(HostLink {
        index: link.index,
        name: link.name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        loopback: link.loopback,
        kind: link.kind.clone(),
        master: link.master,
        accept_ra: accept_ra.and_then(|text| text.parse().ok()),
    })
}
