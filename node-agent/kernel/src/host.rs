//! What this host is, for the plan: links, addresses and routes that aren't pods'.

use weft_model::{
    Family,
    ownership::{MESH_ALIAS_PREFIX, MESH_DEVICES},
};
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

/// Sets MTU, state and alias of a mesh device that exists; nothing is sent when all are right.
pub fn configure_mesh_device(name: &str, mtu: u32) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    let link = crate::observe::find_link(&mut netlink, name)?
        .ok_or_else(|| Error::NoLink { name: name.to_owned() })?;
    let alias = format!("{MESH_ALIAS_PREFIX}{name}");
    if link.mtu == mtu && link.up && link.alias == alias {
        return Ok(());
    }
    let change = crate::request::LinkChange {
        up: Some(true),
        mtu: Some(mtu),
        alias: Some(alias),
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

/// Deletes mesh devices that somebody renamed: they keep the port and the addresses of the one that takes their place.
/// Returns their names.
pub fn remove_renamed_mesh_devices() -> Result<Vec<String>, Error> {
    let mut netlink = Netlink::open()?;
    let links = all_links(&mut netlink)?;
    let mut removed = Vec::new();
    for link in links.iter().filter(|link| renamed_from(link).is_some()) {
        netlink.one(Request::delete_link(link.index, &link.name))?;
        removed.push(link.name.clone());
    }
    Ok(removed)
}

/// The name that a mesh device of ours had before somebody renamed it.
pub(crate) fn renamed_from(link: &LinkFacts) -> Option<&'static str> {
    let name = link.alias.strip_prefix(MESH_ALIAS_PREFIX)?;
    let ours = MESH_DEVICES.into_iter().find(|device| *device == name)?;
    (matches!(link.kind.as_str(), "wireguard" | "tun") && link.name != ours).then_some(ours)
}

/// Who has a port of this thread's namespace, on any address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortHolder {
    /// The process and its program's name, where they can be found: another user's may not be looked at.
    pub process: Option<(u32, String)>,
}

impl std::fmt::Display for PortHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.process {
            Some((pid, name)) => write!(f, "process {pid} ({name})"),
            None => write!(f, "another program"),
        }
    }
}

/// Finds who has a UDP port; `None`: nobody. Sockets of the kernel aren't listed.
pub fn udp_port_holder(port: u16) -> Option<PortHolder> {
    holder(["udp", "udp6"], port, |_| true)
}

/// Finds who listens on a TCP port; `None`: nobody.
pub fn tcp_port_holder(port: u16) -> Option<PortHolder> {
    const LISTEN: &str = "0A";
    holder(["tcp", "tcp6"], port, |state| state == LISTEN)
}

fn holder(files: [&str; 2], port: u16, counts: impl Fn(&str) -> bool) -> Option<PortHolder> {
    // `proc_net(5)`: a header, then lines "sl local_address ..." with the address and the port in hexadecimal digits; the
    // fourth field is the state, the tenth the socket's inode.
    let wanted = format!(":{port:04X}");
    let inode = files.into_iter().find_map(|file| {
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        let fields = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut held = fields.filter(|fields| {
            let local = fields.get(1).is_some_and(|local| local.ends_with(&wanted));
            local && fields.get(3).is_some_and(|state| counts(state))
        });
        held.next().map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]")))
    })?;
    Some(PortHolder { process: inode.and_then(|inode| process_with(&inode)) })
}

/// The process that has a file open, by what its entry points to.
fn process_with(target: &str) -> Option<(u32, String)> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = numbers.find(|pid| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == target)
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_port_is_named_with_its_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
        let holder = udp_port_holder(port).unwrap();
        assert_eq!(holder.process, Some((std::process::id(), name.clone())));
        assert_eq!(holder.to_string(), format!("process {} ({name})", std::process::id()));
        drop(socket);
        assert_eq!(udp_port_holder(port), None);
        let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp_port_holder(port).unwrap(), holder);
        assert_eq!(udp_port_holder(port), None, "a TCP port is none of UDP");
        // What is connected from a port doesn't keep it from anybody.
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(tcp_port_holder(client.local_addr().unwrap().port()), None);
        assert_eq!(PortHolder::default().to_string(), "another program");
    }
}
