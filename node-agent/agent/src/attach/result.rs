//! The result of ADD in each version of the protocol.

use std::net::IpAddr;

use serde_json::{Value, json};
use weft_model::{
    Family,
    ownership::{GATEWAY_V4, GATEWAY_V6},
};

use weft_plan::ResolvConf;

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
    /// The pod's resolv.conf.
    pub(crate) dns: &'a ResolvConf,
    /// Domain of the fabric.
    pub(crate) domain: &'a str,
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
        let mut body = json!({
            "cniVersion": version.as_str(), "interfaces": [near, far], "ips": ips, "routes": routes,
        });
        if let Some(dns) = self.dns() {
            body["dns"] = dns;
        }
        format!("{body}\n").into_bytes()
    }
}

impl Made<'_> {
    /// `dns` of the result; nothing when there is nothing to say. The domain is said where the pod looks for names in it.
    fn dns(&self) -> Option<Value> {
        let conf = self.dns;
        let mut dns = serde_json::Map::new();
        let mut list = |key: &str, list: Vec<String>| {
            if !list.is_empty() {
                dns.insert(key.to_owned(), json!(list));
            }
        };
        list("nameservers", conf.nameservers.iter().map(ToString::to_string).collect());
        list("search", conf.searches.clone());
        list("options", conf.options.iter().map(ToString::to_string).collect());
        if conf.searches.iter().any(|search| search == self.domain) {
            dns.insert("domain".to_owned(), json!(self.domain));
        }
        (!dns.is_empty()).then(|| dns.into())
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

    fn made(version: Version, dns: &str) -> Value {
        let addresses = ["fd00::7".parse().unwrap(), "10.1.0.7".parse().unwrap()];
        let made = Made {
            link: "wv01020304",
            interface: "eth0",
            mac: [2, 0, 0, 0, 0, 10],
            mtu: 1440,
            netns: "/run/netns/x",
            addresses: &addresses,
            dns: &ResolvConf::parse(dns),
            domain: "cluster.local",
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
            let result = made(version, "");
            assert_eq!(result["cniVersion"], version.as_str());
            assert_eq!(result["ips"][0]["version"].as_str(), family, "{version:?}");
            assert_eq!(result["interfaces"][1]["mtu"].as_u64(), mtu, "{version:?}");
        }
    }

    #[test]
    fn addresses_point_at_the_pods_interface_primary_first() {
        let result = made(Version::V1_0_0, "");
        let ip = json!({"address": "fd00::7/128", "gateway": "fe80::1", "interface": 1});
        assert_eq!(result["ips"][0], ip);
        assert_eq!(result["ips"][1]["address"], "10.1.0.7/32");
        let far = json!({"name": "eth0", "mac": "02:00:00:00:00:0a", "sandbox": "/run/netns/x"});
        assert_eq!(result["interfaces"], json!([{"name": "wv01020304"}, far]));
        assert_eq!(result["routes"][1], json!({"dst": "0.0.0.0/0", "gw": "169.254.1.1"}));
        assert!(result.get("dns").is_none());
    }

    #[test]
    fn the_result_tells_how_the_pod_asks_for_names() {
        let conf =
            "nameserver 10.112.0.10\nsearch shop.svc.cluster.local cluster.local\noptions ndots:5 edns0\n";
        let expected = json!({
            "nameservers": ["10.112.0.10"],
            "domain": "cluster.local",
            "search": ["shop.svc.cluster.local", "cluster.local"],
            "options": ["ndots:5", "edns0"],
        });
        assert_eq!(made(Version::V0_3_1, conf)["dns"], expected);
        assert_eq!(
            made(Version::V1_1_0, "nameserver 192.0.2.1\n")["dns"],
            json!({"nameservers": ["192.0.2.1"]})
        );
    }
}
