//! resolv.conf as kubelet makes it, by policy, and what resolvers would ask.

use weft_model::{Families, Overlay};

use super::*;
use crate::world::fabric as whole_fabric;

fn fabric(families: Families) -> FabricItem {
    whole_fabric(families, Overlay::Wireguard)
}

const NODE: &str = "# made by hand\nnameserver 192.0.2.53 ; first\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\n\
                    domain old.example\nsearch corp.example. cluster.local\noptions edns0 timeout:2\nsortlist 10.0.0.0\n";

fn dns(policy: DnsPolicy, nameservers: &str, searches: &str, options: &str) -> PodDns {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let config = DnsConfig {
        nameservers: words(nameservers).iter().map(|word| word.parse().unwrap()).collect(),
        searches: words(searches),
        options: words(options).iter().map(|word| option(word)).collect(),
    };
    PodDns { policy, config }
}

#[test]
fn a_nodes_own_file_is_read_as_a_resolver_reads_it() {
    let conf = ResolvConf::parse(NODE);
    assert_eq!(
        conf.to_string(),
        "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.example cluster.local\noptions edns0 timeout:2\n"
    );
    assert_eq!((conf.ndots(), conf.is_local()), (1, false));
    assert!(ResolvConf::parse("nameserver 127.0.0.53\noptions trust-ad\n").is_local());
    assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    assert_eq!(ResolvConf::parse("search .").searches, ["."]);
}

#[test]
fn each_policy_gives_what_kubelet_gives() {
    use DnsPolicy::{ClusterFirst, ClusterFirstWithHostNet, Default, None};
    let check = |families, dns: PodDns, expected: &str| {
        let namespace = NamespaceName::new("shop").unwrap();
        let made = resolv_conf(&fabric(families), &namespace, &dns, &ResolvConf::parse(NODE));
        assert_eq!(made.to_string(), expected, "{dns:?}");
    };
    let ours =
        "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\noptions ndots:5\n";
    let node = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.example cluster.local\noptions edns0 timeout:2\n";
    let server = |families| own_server(&fabric(families)).unwrap();
    for families in Families::ALL {
        let expected = format!("nameserver {}\n{ours}", server(families));
        check(families, dns(ClusterFirst, "", "", ""), &expected);
        check(families, dns(ClusterFirstWithHostNet, "", "", ""), &expected);
        assert_eq!(Family::of(server(families)), families.primary());
    }
    check(Families::Dual, dns(Default, "", "", ""), node);
    check(
        Families::Dual,
        dns(None, "192.0.2.1", "a.example", "ndots:2"),
        "nameserver 192.0.2.1\nsearch a.example\noptions ndots:2\n",
    );
    check(
        Families::V4,
        dns(ClusterFirst, "192.0.2.1", "corp.example b.example", "ndots:2 edns0"),
        &format!(
            "nameserver {}\nnameserver 192.0.2.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local \
             corp.example b.example\noptions ndots:2 edns0\n",
            server(Families::V4)
        ),
    );
    check(
        Families::V4,
        dns(Default, "192.0.2.53 192.0.2.1 192.0.2.2", "", "timeout"),
        "nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 192.0.2.1\nsearch corp.example cluster.local\n\
         options edns0 timeout\n",
    );
}

#[test]
fn a_fabric_without_dns_gives_pods_what_their_node_has() {
    let mut fabric = fabric(Families::Dual);
    fabric.dns.enabled = false;
    let node = ResolvConf::parse(NODE);
    let namespace = NamespaceName::new("shop").unwrap();
    assert_eq!(resolv_conf(&fabric, &namespace, &PodDns::default(), &node), node);
}

#[test]
fn what_no_resolver_takes_is_left_out() {
    let conf = |searches: Vec<String>| ResolvConf { searches, ..ResolvConf::default() }.fit().searches.len();
    let many = |count: usize, length: usize| (0..count).map(|_| "a".repeat(length)).collect::<Vec<_>>();
    assert_eq!(conf(many(40, 3)), 32);
    assert_eq!(conf(many(2, 254)), 0);
    assert_eq!(conf(many(20, 200)), 10, "ten of 200 with nine spaces are 2009 characters");
    assert_eq!(conf(many(9, 227)), 8, "2043 + 8 are more than 2048");
}

#[test]
fn names_are_tried_in_the_order_of_a_resolver() {
    let check = |text: &str, name: &str, expected: &[&str]| {
        assert_eq!(ResolvConf::parse(text).tries(name), expected, "{name} with {text:?}");
    };
    let ours = "search shop.svc.cluster.local cluster.local\noptions ndots:5\n";
    check(ours, "web", &["web.shop.svc.cluster.local.", "web.cluster.local.", "web."]);
    check(ours, "web.", &["web."]);
    check(
        ours,
        "a.b.c.d.e.f",
        &["a.b.c.d.e.f.", "a.b.c.d.e.f.shop.svc.cluster.local.", "a.b.c.d.e.f.cluster.local."],
    );
    check("search corp.example\n", "web", &["web.corp.example.", "web."]);
    check("search corp.example\n", "a.b", &["a.b.", "a.b.corp.example."]);
    check("search . corp.example\n", "web", &["web.", "web.corp.example."]);
    check("", "web", &["web."]);
    check("", ".", &["."]);
}

#[test]
fn a_stub_on_loopback_gives_way_to_what_is_behind_it() {
    let (stub, real) = ("nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n");
    let check = |own: &str, behind: Option<&str>, expected: &str| {
        let found = ResolvConf::of_node(ResolvConf::parse(own), behind.map(ResolvConf::parse));
        assert_eq!(found.to_string(), expected, "{own:?} {behind:?}");
    };
    check(stub, Some(real), real);
    check("nameserver 127.0.0.1\nnameserver ::1\n", Some(real), real);
    check(stub, None, stub);
    check(stub, Some("nameserver 127.0.0.1\n"), stub);
    check("nameserver 192.0.2.1\n", Some(real), "nameserver 192.0.2.1\n");
    check("", Some(real), "");
    check(
        "#nameserver 192.0.2.9\n; nameserver 192.0.2.8\nnameserver fe80::1%eth0\nnameservers 192.0.2.3\n",
        None,
        "",
    );
    let four: String = (1..=4).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
    check(&four, None, "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n");
}
