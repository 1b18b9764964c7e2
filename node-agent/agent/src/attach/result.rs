//! The result of ADD in each version of the protocol.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_model::{
    Family,
    ownership::{GATEWAY_V4, GATEWAY_V6},
};

use super::version::Version;

/// What was made for a pod.
#[derive(Clone, Debug)]
pub(crate) struct Made<'a> {
    /// Name of the node's end.
    pub(crate) link: &'a str,
    /// Name of the interface in the pod.
    pub(crate) interface: &'a str,
    /// Its hardware address.
    pub(crate) mac: [u8; 6],
    /// MTU of both ends.
    pub(crate) mtu: u32,
    /// CNI_NETNS as the runtime gave it.
    pub(crate) netns: &'a str,
    /// Addresses, primary family first: containerd takes the first as the pod's.
    pub(crate) addresses: &'a [IpAddr],
}

impl Made<'_> {
    /// The bytes for standard output.
    pub(crate) fn text(&self, version: Version) -> Vec<u8> {
        let mut near = json!({ "name": self.link });
        let mut far = json!({ "name": self.interface, "mac": mac_text(self.mac), "sandbox": self.netns });
        if version >= Version::V1_1_0 {
            for interface in [&mut near, &mut far] {
                interface["mtu"] = json!(self.mtu);
            }
        }
        let ips: Vec<_> = self.addresses.iter().map(|address| ip(*address, version)).collect();
        let routes: Vec<_> = self.addresses.iter().map(|address| route(Family::of(*address))).collect();
        let body = json!({
            "cniVersion": version.as_str(), "interfaces": [near, far], "ips": ips, "routes": routes,
        });
        format!("{body}\n").into_bytes()
    }
}

fn ip(address: IpAddr, version: Version) -> Value {
    let family = Family::of(address);
    let mut ip = json!({
        "address": format!("{address}/{}", family.bits()), "gateway": gateway(family), "interface": 1,
    });
    if version < Version::V1_0_0 {
        ip["version"] = json!(match family {
            Family::V4 => "4",
            Family::V6 => "6",
        });
    }
    ip
}

fn route(family: Family) -> Value {
    let everything = match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    json!({ "dst": everything, "gw": gateway(family) })
}

fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => GATEWAY_V4.into(),
        Family::V6 => GATEWAY_V6.into(),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(version: Version) -> Value {
        let addresses = ["fd00::7".parse().unwrap(), "10.1.0.7".parse().unwrap()];
        let made = Made {
            link: "wv01020304",
            interface: "eth0",
            mac: [2, 0, 0, 0, 0, 10],
            mtu: 1440,
            netns: "/run/netns/x",
            addresses: &addresses,
        };
        serde_json::from_slice(&made.text(version)).unwrap()
    }

    #[test]
    fn the_result_has_the_shape_of_its_version() {
        for (version, family, mtu) in [
            (Version::V0_3_1, Some("6"), None),
            (Version::V0_4_0, Some("6"), None),
            (Version::V1_0_0, None, None),
            (Version::V1_1_0, None, Some(1440)),
        ] {
            let result = made(version);
            assert_eq!(result["cniVersion"], version.as_str());
            assert_eq!(result["ips"][0]["version"].as_str(), family, "{version:?}");
            assert_eq!(result["interfaces"][1]["mtu"].as_u64(), mtu, "{version:?}");
        }
    }

    #[test]
    fn addresses_point_at_the_pods_interface_primary_first() {
        let result = made(Version::V1_0_0);
        let ip = json!({"address": "fd00::7/128", "gateway": "fe80::1", "interface": 1});
        assert_eq!(result["ips"][0], ip);
        assert_eq!(result["ips"][1]["address"], "10.1.0.7/32");
        let far = json!({"name": "eth0", "mac": "02:00:00:00:00:0a", "sandbox": "/run/netns/x"});
        assert_eq!(result["interfaces"], json!([{"name": "wv01020304"}, far]));
        assert_eq!(result["routes"][1], json!({"dst": "0.0.0.0/0", "gw": "169.254.1.1"}));
        assert!(result.get("dns").is_none());
    }
}
