//! The addressing plan of an underlay: which machine has which addresses, and the `ip` lines that connect it. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::topology::{Family, Subnets, Topology, UnderlayFamily};

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Runs `weftd`.
    Replica,
    /// Runs `weft-agent` and pods.
    Node,
    /// Runs nothing of ours.
    Outside,
}

/// One machine: its port on the switch bears its name, its own interface is `eth0`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Name of machine, host and port.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Distinct in the lab, part of every address.
    pub number: u8,
    /// IPv4 address on the underlay.
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address on the underlay.
    pub v6: Option<Ipv6Addr>,
}

/// All machines and how they are connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// One link or a link per machine.
    pub subnets: Subnets,
    /// Families of the underlay.
    pub family: UnderlayFamily,
    /// Which address of a machine others are told.
    pub prefer_v6: bool,
    /// Machines in order of their numbers.
    pub machines: Vec<Machine>,
}

/// MTU of a link unless told otherwise, in bytes.
pub const LINK_MTU: u32 = 1500;
/// The bridge of a shared underlay, in the switch's namespace.
pub const SWITCH_BRIDGE: &str = "underlay";

impl Plan {
    /// Numbers: replicas from 11, nodes from 101, machines outside from 201.
    pub fn of(topology: &Topology) -> Self {
        let mut plan = Self {
            subnets: topology.underlay.subnets,
            family: topology.underlay_family(),
            prefer_v6: matches!(topology.family, Family::V6 | Family::Dual6),
            machines: Vec::new(),
        };
        for i in 1..=topology.control_planes.count {
            plan.add(format!("cp-{i}"), Kind::Replica);
        }
        for node in &topology.node {
            plan.add(node.name.clone(), Kind::Node);
        }
        for outside in &topology.outside {
            plan.add(outside.name.clone(), Kind::Outside);
        }
        plan
    }

    /// Adds a machine with the next free number of its kind.
    pub fn add(&mut self, name: String, kind: Kind) -> Machine {
        let first = match kind {
            Kind::Replica => 11,
            Kind::Node => 101,
            Kind::Outside => 201,
        };
        let used = self.machines.iter().filter(|m| m.kind == kind).map(|m| m.number).max();
        let number = used.map_or(first, |n| n + 1);
        let machine = Machine {
            name,
            kind,
            number,
            v4: (self.family != UnderlayFamily::V6).then(|| self.v4(number)),
            v6: (self.family != UnderlayFamily::V4).then(|| self.v6(number)),
        };
        self.machines.push(machine.clone());
        machine
    }

    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|m| m.name == name)
    }

    /// The address of `machine` that others are told: of the primary family where the underlay has it.
    pub fn address(&self, machine: &Machine) -> IpAddr {
        let (v4, v6) = (machine.v4.map(IpAddr::from), machine.v6.map(IpAddr::from));
        let chosen = if self.prefer_v6 { v6.or(v4) } else { v4.or(v6) };
        chosen.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// `ip` lines for the switch's namespace, before any machine.
    pub fn switch_lines(&self) -> Vec<String> {
        let mut lines = vec!["link set lo up".to_owned()];
        if self.subnets == Subnets::Shared {
            lines.push(format!("link add name {SWITCH_BRIDGE} type bridge stp_state 0 mcast_snooping 0"));
            lines.extend(self.own(1, 1).iter().map(|address| add_address(address, SWITCH_BRIDGE)));
            lines.push(format!("link set {SWITCH_BRIDGE} up"));
        }
        lines
    }

    /// `ip` lines for the switch's namespace that connect `machine`, whose first process is `pid` there.
    pub fn port_lines(&self, machine: &Machine, pid: u32, mtu: u32) -> Vec<String> {
        let (port, mac) = (&machine.name, machine.mac());
        let link = format!(
            "link add name {port} mtu {mtu} type veth peer name eth0 mtu {mtu} address {mac} netns {pid}"
        );
        [vec![link], self.plug_lines(machine)].concat()
    }

    /// The same for a virtual machine: its end of the link is a TAP device.
    pub fn tap_lines(&self, machine: &Machine, mtu: u32) -> Vec<String> {
        let port = &machine.name;
        let link = [format!("tuntap add dev {port} mode tap"), format!("link set dev {port} mtu {mtu}")];
        [link.to_vec(), self.plug_lines(machine)].concat()
    }

    fn plug_lines(&self, machine: &Machine) -> Vec<String> {
        let (port, mut lines) = (&machine.name, Vec::new());
        match self.subnets {
            Subnets::Shared => lines.push(format!("link set {port} master {SWITCH_BRIDGE}")),
            Subnets::PerNode => {
                lines.extend(self.own(machine.number, 1).iter().map(|a| add_address(a, port)));
            }
        }
        lines.push(format!("link set {port} up"));
        lines
    }

    /// `ip` lines that give the switch's side of a machine's link its addresses again: the kernel takes IPv6 addresses from a link that
    /// went down or whose MTU fell below 1280.
    pub fn renew_port_lines(&self, machine: &Machine) -> Vec<String> {
        match self.subnets {
            Subnets::Shared => Vec::new(),
            Subnets::PerNode => {
                let own = self.own(machine.number, 1);
                own.iter()
                    .map(|a| add_address(a, &machine.name).replacen("address add", "address replace", 1))
                    .collect()
            }
        }
    }

    /// `ip` lines for the machine's own namespace.
    pub fn machine_lines(&self, machine: &Machine) -> Vec<String> {
        let host = match self.subnets {
            Subnets::Shared => machine.number,
            Subnets::PerNode => 2,
        };
        let mut lines = vec!["link set lo up".to_owned()];
        lines.extend(self.own(machine.number, host).iter().map(|address| add_address(address, "eth0")));
        lines.push("link set eth0 up".to_owned());
        for gateway in self.gateways(machine) {
            lines.push(format!("route add default via {gateway} dev eth0"));
        }
        lines
    }

    fn gateways(&self, machine: &Machine) -> Vec<IpAddr> {
        match self.subnets {
            Subnets::PerNode => {
                let router = |prefix: &String| prefix.split('/').next().and_then(|ip| ip.parse().ok());
                self.own(machine.number, 1).iter().filter_map(router).collect()
            }
            Subnets::Shared => {
                let gateway = self.machines.iter().find(|m| m.kind == Kind::Outside);
                let other = gateway.filter(|g| g.name != machine.name);
                other
                    .into_iter()
                    .flat_map(|g| [g.v4.map(IpAddr::from), g.v6.map(IpAddr::from)])
                    .flatten()
                    .collect()
            }
        }
    }

    /// Addresses with prefix length of host `host` on the link of the machine `number`.
    fn own(&self, number: u8, host: u8) -> Vec<String> {
        let (v4, v6) = match self.subnets {
            Subnets::Shared => (Ipv4Addr::new(192, 168, 66, host), shared_v6(host)),
            Subnets::PerNode => (Ipv4Addr::new(192, 168, number, host), per_node_v6(number, host)),
        };
        let mut addresses = Vec::new();
        if self.family != UnderlayFamily::V6 {
            addresses.push(format!("{v4}/24"));
        }
        if self.family != UnderlayFamily::V4 {
            addresses.push(format!("{v6}/64"));
        }
        addresses
    }

    fn v4(&self, number: u8) -> Ipv4Addr {
        match self.subnets {
            Subnets::Shared => Ipv4Addr::new(192, 168, 66, number),
            Subnets::PerNode => Ipv4Addr::new(192, 168, number, 2),
        }
    }

    fn v6(&self, number: u8) -> Ipv6Addr {
        match self.subnets {
            Subnets::Shared => shared_v6(number),
            Subnets::PerNode => per_node_v6(number, 2),
        }
    }
}

impl Machine {
    /// MAC of `eth0`.
    pub fn mac(&self) -> String {
        let [a, b, c, d, e, f] = self.mac_bytes();
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
    /// MAC of `eth0` as bytes.
    pub fn mac_bytes(&self) -> [u8; 6] {
        [0x02, 0x4c, 0x41, 0x42, 0x00, self.number]
    }
    /// Its underlay addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        [self.v4.map(IpAddr::from), self.v6.map(IpAddr::from)].into_iter().flatten().collect()
    }
}

fn shared_v6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd66, 0x66, 0, 0, 0, 0, 0, u16::from(host))
}

fn per_node_v6(number: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd66, 0x66, 0, u16::from(number), 0, 0, 0, u16::from(host))
}

fn add_address(address: &str, device: &str) -> String {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    format!("address add {address} dev {device}{nodad}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_on_one_switch_share_a_subnet_and_their_gateway_is_outside() {
        let plan = Plan::of(&Topology::of_nodes(2).checked().unwrap());
        let node = plan.machine("n2").unwrap();
        assert_eq!(plan.address(node).to_string(), "192.168.66.102");
        let lines = plan.machine_lines(node).join("\n");
        assert!(lines.contains("address add fd66:66::66/64 dev eth0 nodad"), "{lines}");
        assert!(lines.contains("route add default via 192.168.66.201 dev eth0"), "{lines}");
        assert!(!plan.machine_lines(plan.machine("outside").unwrap()).join("\n").contains("default"));
    }

    #[test]
    fn machines_with_a_subnet_each_reach_others_through_the_router() {
        let mut topology = Topology::of_nodes(2);
        topology.underlay.subnets = Subnets::PerNode;
        topology.family = Family::V6;
        let plan = Plan::of(&topology.checked().unwrap());
        let node = plan.machine("n1").unwrap();
        assert_eq!(plan.address(node).to_string(), "fd66:66:0:65::2");
        assert!(
            plan.port_lines(node, 7, 1500)
                .contains(&"address add fd66:66:0:65::1/64 dev n1 nodad".to_owned())
        );
        assert!(
            plan.machine_lines(node).contains(&"route add default via fd66:66:0:65::1 dev eth0".to_owned())
        );
    }
}
