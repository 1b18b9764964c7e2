//! Names: settings of the fabric's DNS, how pods ask, pods as items.

use std::net::SocketAddr;

use weft_errors as codes;
use weft_model::{
    Action, DnsConfig, DnsOption, DnsPolicy, DnsSettings, Fabric, Families, Item, ItemKey, Key, Labels,
    Object, Pod, PodDns, PodItem, PodSpec, Revision, SetupItem, StubDomain,
};

use super::{World, pod, small_fabric, write};
use crate::{Change, ItemChange, Outcome};

fn servers(texts: &str) -> Vec<SocketAddr> {
    texts.split_whitespace().map(|text| text.parse().unwrap()).collect()
}

fn stub(domain: &str, texts: &str) -> StubDomain {
    StubDomain { domain: domain.to_owned(), servers: servers(texts) }
}

fn spec(text: &str, change: impl FnOnce(&mut PodSpec)) -> Object {
    let mut spec = PodSpec {
        name: text.parse().unwrap(),
        labels: Labels::new(),
        ports: Vec::new(),
        ready: None,
        terminating: false,
        readiness: None,
        startup: None,
        hostname: String::new(),
        subdomain: String::new(),
        dns: PodDns::default(),
        service_links: true,
        annotations: Labels::new(),
        generation: 0,
        revision: Revision(0),
    };
    change(&mut spec);
    Object::PodSpec(spec)
}

/// Keys of the items that changed; what policies need besides isn't looked at.
fn keys(outcome: &Outcome) -> Vec<String> {
    let key = |change: &ItemChange| match change {
        ItemChange::Upsert(item) => item.key().to_string(),
        ItemChange::Delete(key) => format!("-{key}"),
    };
    let of_policies = |key: &String| key.contains("identity/") || key.contains("namespace/");
    outcome.items.iter().map(key).filter(|key| !of_policies(key)).collect()
}

#[test]
fn settings_that_cant_be_are_refused_with_their_place() {
    let mut world = World::small(Families::Dual);
    let mut check = |change: &dyn Fn(&mut Fabric), expected: &str| {
        let mut fabric = world.state.fabric().unwrap().clone();
        change(&mut fabric);
        let shown = world.refused(write(Object::Fabric(fabric)), &codes::OBJECT_INVALID);
        assert!(shown.contains(expected), "{shown} lacks {expected}");
    };
    check(&|f| f.dns.ttl = 3_601, "spec.dns.ttl: Invalid value: 3601: must be between 0 and 3600");
    for (server, why) in [
        ("10.1.0.10:53", "is the fabric's own DNS"),
        ("10.1.0.10:5353", "is the fabric's own DNS"),
        ("169.254.1.53:53", "is the fabric's own DNS"),
        ("[fd5a:7e53::53]:53", "is the fabric's own DNS"),
        ("192.0.2.1:0", "has no port"),
        ("0.0.0.0:53", "is no address of one server"),
        ("224.0.0.251:53", "is no address of one server"),
        ("255.255.255.255:53", "is no address of one server"),
        ("127.0.0.53:53", "is each node's own loopback"),
        ("[::1]:53", "is each node's own loopback"),
        ("[::ffff:192.0.2.1]:53", "is an IPv4-mapped address"),
        ("169.254.169.253:53", "is link-local"),
        ("[fe80::1]:53", "is link-local"),
    ] {
        check(
            &|f| f.dns.upstreams = servers(&format!("192.0.2.9:53 {server}")),
            &format!("{server:?}: {why}"),
        );
        check(
            &|f| f.dns.stub_domains = vec![stub("corp.example", server)],
            "spec.dns.stubDomains[0].servers[0]",
        );
    }
    check(
        &|f| f.dns.upstreams = servers("192.0.2.1:53 192.0.2.1:53"),
        "spec.dns.upstreams[1]: Duplicate value",
    );
    check(&|f| f.dns.upstreams = (1..10).map(|n| ([192, 0, 2, n], 53).into()).collect(), "at most 8 items");
    for (domain, why) in [
        ("", "a lowercase RFC 1123 subdomain"),
        ("-a.example", "a lowercase RFC 1123 subdomain"),
        ("a..b", "a lowercase RFC 1123 subdomain"),
        ("cluster.local", "which the fabric answers for itself"),
        ("x.cluster.local", "which the fabric answers for itself"),
    ] {
        check(&|f| f.dns.stub_domains = vec![stub(domain, "192.0.2.1:53")], why);
    }
    let twice = || vec![stub("corp.example", "192.0.2.1:53"), stub("corp.example", "192.0.2.2:53")];
    check(&|f| f.dns.stub_domains = twice(), "spec.dns.stubDomains[1].domain: Duplicate value");
    check(
        &|f| f.dns.stub_domains = vec![stub("corp.example", "")],
        "spec.dns.stubDomains[0].servers: Required value",
    );
    let many = || (0..65).map(|n| stub(&format!("d{n}.example"), "192.0.2.1:53")).collect();
    check(&|f| f.dns.stub_domains = many(), "spec.dns.stubDomains: Too many: 65");
}

#[test]
fn settings_go_to_every_node_and_a_new_fabric_has_the_usual_ones() {
    let mut world = World::small(Families::Dual);
    let seen = |world: &World| {
        let Some(Item::Fabric(fabric)) = world.view.get(&ItemKey::Fabric) else { panic!("no fabric") };
        fabric.dns.clone()
    };
    assert_eq!(seen(&world), DnsSettings::default());
    let wanted = DnsSettings {
        ttl: 0,
        upstreams: servers("192.0.2.53:53 [2001:db8::53]:5353 192.0.2.54:5353"),
        // A name that only ends alike is another domain.
        stub_domains: vec![stub("mycluster.local", "192.0.2.1:53"), stub("local", "192.0.2.1:53")],
        search_path: false,
        rebind_protection: true,
        pod_records: false,
        enabled: false,
    };
    let mut fabric = world.state.fabric().unwrap().clone();
    fabric.dns = wanted.clone();
    let outcome = world.run(write(Object::Fabric(fabric)));
    assert_eq!((keys(&outcome), seen(&world)), (vec!["fabric".to_owned()], wanted));
}

#[test]
fn what_is_at_its_default_leaves_no_trace_in_the_hash() {
    // An older replica feeds nothing of it: both must agree.
    let hash = |change: &dyn Fn(&mut Fabric)| {
        let mut fabric = small_fabric(Families::V4);
        change(&mut fabric);
        crate::hash::digest([weft_model::Record::Object(Object::Fabric(fabric))].into_iter())
    };
    let usual = hash(&|_| ());
    assert_eq!(hash(&|f| f.dns = DnsSettings::default()), usual);
    for change in [
        &(|f: &mut Fabric| f.dns.ttl = 6) as &dyn Fn(&mut Fabric),
        &|f| f.dns.enabled = false,
        &|f| f.dns.upstreams = servers("192.0.2.1:53"),
        &|f| f.dns.stub_domains = vec![stub("a.b", "192.0.2.1:53")],
        &|f| f.dns.search_path = false,
        &|f| f.dns.rebind_protection = true,
        &|f| f.dns.pod_records = false,
    ] {
        assert_ne!(hash(change), usual);
    }
}

#[test]
fn how_a_pod_asks_is_checked_as_kubernetes_checks_it() {
    let mut world = World::small(Families::Dual);
    let config = |nameservers: &str, searches: Vec<String>| DnsConfig {
        nameservers: nameservers.split_whitespace().map(|text| text.parse().unwrap()).collect(),
        searches,
        options: Vec::new(),
    };
    let option = |name: &str, value: Option<&str>| DnsOption {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut refused = |dns: PodDns, expected: &str| {
        let shown = world.refused(write(spec("default/web", |s| s.dns = dns)), &codes::OBJECT_INVALID);
        assert!(shown.contains(expected), "{shown} lacks {expected}");
    };
    let first = |config| PodDns { policy: DnsPolicy::ClusterFirst, config };
    refused(
        PodDns { policy: DnsPolicy::None, ..PodDns::default() },
        "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver",
    );
    refused(first(config("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4", Vec::new())), "at most 3 items");
    refused(first(config("", (0..33).map(|n| format!("d{n}")).collect())), "at most 32 items");
    let long = vec!["a".repeat(63); 3].join(".");
    refused(first(config("", vec![long.clone(); 11])), "must not have more than 2048 characters");
    refused(
        first(config("", texts(&["corp.example", "Corp"]))),
        "spec.dnsConfig.searches[1]: Invalid value: \"Corp\"",
    );
    refused(first(config("", texts(&["a b"]))), "spec.dnsConfig.searches[0]");
    for (bad, expected) in [
        (option("", None), "spec.dnsConfig.options[0].name: Required value"),
        (option("a b", None), "must be printable ASCII characters without spaces"),
        (
            option("ndots", Some("5\nnameserver 192.0.2.1")),
            "must be printable ASCII characters without spaces",
        ),
    ] {
        refused(first(DnsConfig { options: vec![bad], ..DnsConfig::default() }), expected);
    }
    let good = PodDns {
        policy: DnsPolicy::None,
        config: DnsConfig {
            options: vec![option("ndots", Some("2")), option("edns0", None)],
            ..config("192.0.2.1 2001:db8::1", texts(&[".", "_tcp.corp.example", "corp.example.", "a_b"]))
        },
    };
    world.put(spec("default/web", |s| s.dns = good));
}

#[test]
fn a_pods_node_hears_what_people_said_before_it_makes_the_pod() {
    let mut world = World::small(Families::V4);
    let key = ItemKey::Setup("shop/web".parse().unwrap());
    world.put(Object::Namespace(weft_model::Namespace {
        name: "shop".parse().unwrap(),
        labels: Labels::new(),
        created: weft_model::WallTime(0),
        revision: Revision(0),
    }));
    let outcome = world.run(write(spec("shop/web", |s| s.hostname = "web".to_owned())));
    assert_eq!(keys(&outcome), Vec::<String>::new(), "nothing that counts when a pod is made");
    let dns = PodDns { policy: DnsPolicy::Default, config: DnsConfig::default() };
    let outcome = world.run(write(spec("shop/web", |s| s.dns = dns.clone())));
    assert_eq!(keys(&outcome), ["setup/shop/web"]);
    let setup = SetupItem { pod: "shop/web".parse().unwrap(), dns, service_links: true };
    assert_eq!(world.view.get(&key), Some(&Item::Setup(setup)));
    let outcome = world.run(write(spec("shop/web", |s| s.service_links = false)));
    assert_eq!(keys(&outcome), ["setup/shop/web"]);
    let outcome = world.run(Action::Delete { keys: vec![Key::PodSpec("shop/web".parse().unwrap())] });
    assert_eq!(keys(&outcome), ["-setup/shop/web"]);
}

#[test]
fn a_living_pod_is_one_item_that_changes_only_with_its_addresses_and_names() {
    let mut world = World::small(Families::V4);
    for node in ["n1", "n2"] {
        world.join(node);
    }
    let publish = |world: &mut World, node: &str, pods: Vec<Pod>| {
        let report = world.report(node, pods);
        keys(&world.run(Action::PublishPods(report)))
    };
    let seen = |world: &World| match world.view.get(&ItemKey::Pod("shop/web".parse().unwrap())) {
        Some(Item::Pod(PodItem { addresses, hostname, subdomain, .. })) => {
            format!("{addresses:?} {hostname}.{subdomain}")
        }
        _ => String::new(),
    };
    let first = pod(1, "n1", "shop/web", "10.0.0.2", 1);
    assert_eq!(publish(&mut world, "n1", vec![first.clone()]), ["pod/shop/web"]);
    assert_eq!(seen(&world), "[10.0.0.2] .");
    let unready = Pod { ready: false, ..first.clone() };
    assert_eq!(
        publish(&mut world, "n1", vec![unready]),
        Vec::<String>::new(),
        "names don't ask whether it is ready"
    );
    let named = spec("shop/web", |s| {
        (s.hostname, s.subdomain) = ("web-0".to_owned(), "web".to_owned());
    });
    assert_eq!(keys(&world.run(write(named))), ["pod/shop/web"]);
    assert_eq!(seen(&world), "[10.0.0.2] web-0.web");
    // A younger pod of the name takes it over; when it goes, the older one has it again.
    assert_eq!(publish(&mut world, "n2", vec![pod(2, "n2", "shop/web", "10.0.1.2", 2)]), ["pod/shop/web"]);
    assert_eq!(seen(&world), "[10.0.1.2] web-0.web");
    let mut gone = world.report("n2", Vec::new());
    gone.complete = true;
    let outcome = world.run(Action::PublishPods(gone));
    assert_eq!(
        (keys(&outcome), seen(&world)),
        (vec!["pod/shop/web".to_owned()], "[10.0.0.2] web-0.web".to_owned())
    );
    let mut gone = world.report("n1", Vec::new());
    gone.complete = true;
    let outcome = world.run(Action::PublishPods(gone));
    assert!(outcome.changes.iter().any(|change| matches!(change, Change::Delete(_))));
    assert_eq!((keys(&outcome), seen(&world)), (vec!["-pod/shop/web".to_owned()], String::new()));
}
