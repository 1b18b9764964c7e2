//! Load-balancer addresses: chosen, automatic, shared, waited for, refused with their holders.

use weft_errors as codes;
use weft_model::{
    Families, FamilyPolicy, IpMode, Key, LoadBalancerAddress, Object, Role, Service, ServiceType,
    TrafficPolicy,
};

use super::{World, address, facts, join, labels, pool, ranges, service, small_fabric, write};
use crate::{LOAD_BALANCER_CLASS, SHARED_IP_ANNOTATION, waits_for_address};

fn balancer(text: &str, change: impl FnOnce(&mut Service)) -> Service {
    service(text, |s| {
        s.spec.kind = ServiceType::LoadBalancer;
        change(s);
    })
}

fn shared(key: &'static str, port: u16) -> impl FnOnce(&mut Service) {
    move |s| {
        s.annotations.insert(SHARED_IP_ANNOTATION.to_owned(), key.to_owned());
        s.spec.ports[0].port = port;
    }
}

/// Addresses of a stored service, as text.
fn has(service: &Service) -> String {
    let list: Vec<_> = service.load_balancer.iter().map(|given| given.address.to_string()).collect();
    list.join(" ")
}

fn with_pool(texts: &str) -> World {
    let mut world = World::small(Families::Dual);
    world.put(Object::Pool(pool("lan", texts)));
    world
}

#[test]
fn a_service_without_a_pool_waits_for_one() {
    let mut world = World::small(Families::Dual);
    let stored = world
        .put_service(balancer("default/a", |s| s.spec.family_policy = Some(FamilyPolicy::PreferDualStack)));
    assert_eq!(has(&stored), "");
    world.put_service(balancer("default/other", |s| {
        s.spec.load_balancer_class = Some("other.example/lb".to_owned())
    }));
    let asked = balancer("default/asks", |s| s.spec.load_balancer_ips = vec![address("192.168.9.9")]);
    world.put_service(asked);
    let mut quiet = pool("asked", "192.168.8.0/30");
    quiet.automatic = false;
    world.put(Object::Pool(quiet));
    assert_eq!(has(&world.state.services()[&"default/a".parse().unwrap()]), "", "nobody asked for that pool");
    let mut lan = pool("lan", "192.168.9.0/28 fd99::/124");
    lan.mode = IpMode::Proxy;
    world.put(Object::Pool(lan));
    let of = |world: &World, text: &str| world.state.services()[&text.parse().unwrap()].clone();
    assert_eq!(has(&of(&world, "default/a")), "192.168.9.0 fd99::");
    assert_eq!(has(&of(&world, "default/asks")), "192.168.9.9");
    assert_eq!(has(&of(&world, "default/other")), "", "a class that isn't ours");
    assert_eq!(of(&world, "default/a").load_balancer[0].mode, IpMode::Proxy);
    assert_eq!(of(&world, "default/a").generation, 1, "people wrote nothing");
    world.put(Object::Pool(pool("lan", "192.168.9.0/28 fd99::/124")));
    let vip = LoadBalancerAddress { address: address("192.168.9.0"), mode: IpMode::Vip };
    assert_eq!(of(&world, "default/a").load_balancer[0], vip, "the mode follows the pool");
    let ours =
        balancer("default/ours", |s| s.spec.load_balancer_class = Some(LOAD_BALANCER_CLASS.to_owned()));
    assert_eq!(has(&world.put_service(ours)), "192.168.9.1");
}

#[test]
fn what_a_service_waits_for_is_said() {
    let mut world = World::small(Families::Dual);
    let why = |world: &World, text: &str| {
        let service = &world.state.services()[&text.parse().unwrap()];
        waits_for_address(&world.state, service).unwrap_or_default()
    };
    world.put_service(balancer("default/a", |s| s.spec.family_policy = Some(FamilyPolicy::PreferDualStack)));
    world.put_service(balancer("default/other", |s| {
        s.spec.load_balancer_class = Some("other.example/lb".to_owned())
    }));
    world.put_service(service("default/plain", |_| {}));
    assert_eq!(why(&world, "default/a"), "there is no LoadBalancerPool with IPv4 addresses");
    assert_eq!((why(&world, "default/other"), why(&world, "default/plain")), (String::new(), String::new()));
    let mut quiet = pool("asked", "192.168.8.0/30");
    quiet.automatic = false;
    world.put(Object::Pool(quiet));
    assert_eq!(why(&world, "default/a"), "none of the pools with IPv4 addresses gives one unasked (asked)");
    world.put(Object::Pool(pool("lan", "192.168.9.0/28")));
    assert_eq!(why(&world, "default/a"), "there is no LoadBalancerPool with IPv6 addresses", "one is there");
    world.put(Object::Pool(pool("six", "fd99::/124")));
    assert_eq!(why(&world, "default/a"), "");
}

#[test]
fn the_fabrics_own_range_is_a_pool_too() {
    let mut world = World::small(Families::V4);
    world.put_service(balancer("default/a", |_| {}));
    let mut fabric = small_fabric(Families::V4);
    fabric.ranges.load_balancers = ranges("192.168.9.0/30");
    world.put(Object::Fabric(fabric.clone()));
    assert_eq!(has(&world.state.services()[&"default/a".parse().unwrap()]), "192.168.9.0");
    fabric.ranges.load_balancers.clear();
    let shown = world.refused(write(Object::Fabric(fabric)), &codes::RANGE_IN_USE);
    assert!(shown.contains("load-balancer address 192.168.9.0 is in use by service default/a"), "{shown}");
    world.refused(write(Object::Pool(pool("fabric", "192.168.8.0/30"))), &codes::OBJECT_INVALID);
}

#[test]
fn chosen_addresses_must_lie_in_a_pool_and_be_free() {
    let mut world = with_pool("192.168.9.0/30");
    let asks = |text: &'static str, ip: &str| {
        let ip = address(ip);
        balancer(text, move |s| s.spec.load_balancer_ips = vec![ip])
    };
    assert_eq!(has(&world.put_service(asks("default/a", "192.168.9.2"))), "192.168.9.2");
    let refused = |world: &mut World, service: Service, words: &str| {
        let shown = world.refused(write(Object::Service(service)), &codes::BALANCER_ADDRESS_TAKEN);
        assert!(shown.contains(words) && shown.contains("at spec.loadBalancerIP"), "{shown}");
    };
    refused(
        &mut world,
        asks("default/b", "192.168.9.2"),
        "it is held by service default/a, with another value of weft.io/allow-shared-ip or none",
    );
    refused(&mut world, asks("default/b", "192.168.7.7"), "it lies in no pool (there are lan)");
    refused(&mut world, asks("default/b", "fd99::1"), "the service has no IPv6 address");
    let two = balancer("default/b", |s| {
        s.spec.load_balancer_ips = vec![address("192.168.9.1"), address("192.168.9.3")]
    });
    let shown = world.refused(write(Object::Service(two)), &codes::OBJECT_INVALID);
    assert!(shown.contains("may hold one address of each family"), "{shown}");
    // Asked for another one it moves; asked for none it keeps what it has.
    assert_eq!(has(&world.put_service(asks("default/a", "192.168.9.3"))), "192.168.9.3");
    assert_eq!(has(&world.put_service(balancer("default/a", |_| {}))), "192.168.9.3");
    assert_eq!(has(&world.put_service(service("default/a", |_| {}))), "", "another type has none");
    assert!(world.state.index.services.balanced.is_empty());
}

#[test]
fn services_share_an_address_where_both_agree() {
    let mut world = with_pool("192.168.9.0/31");
    let put = |world: &mut World, text, key, port| has(&world.put_service(balancer(text, shared(key, port))));
    assert_eq!(put(&mut world, "default/a", "web", 80), "192.168.9.0");
    assert_eq!(put(&mut world, "default/b", "web", 443), "192.168.9.0");
    assert_eq!(put(&mut world, "default/c", "web", 80), "192.168.9.1", "the port is taken on the first");
    let shown = world.refused(
        write(Object::Service(balancer("default/d", shared("dns", 53)))),
        &codes::BALANCER_ADDRESSES_EXHAUSTED,
    );
    assert!(
        shown.contains("all addresses of 192.168.9.0/31 are held by default/a, default/b, default/c"),
        "{shown}"
    );
    // A change that ends the agreement is refused: it would take the address from the others.
    let shown = world.refused(
        write(Object::Service(balancer("default/b", shared("web", 80)))),
        &codes::BALANCER_ADDRESS_TAKEN,
    );
    assert!(shown.contains("held by service default/a, which has port 80 too"), "{shown}");
    let local = |selector: &'static str| {
        balancer("default/b", move |s| {
            shared("web", 443)(s);
            s.spec.external_policy = TrafficPolicy::Local;
            s.spec.selector = labels(selector);
        })
    };
    let shown = world.refused(write(Object::Service(local("app=b"))), &codes::BALANCER_ADDRESS_TAKEN);
    assert!(shown.contains("both must have one selector"), "{shown}");
    world.put_service(balancer("default/a", |s| {
        shared("web", 80)(s);
        s.spec.selector = labels("app=b");
    }));
    assert_eq!(has(&world.put_service(local("app=b"))), "192.168.9.0");
    world.delete(Key::Service("default/a".parse().unwrap()));
    assert_eq!(world.state.balanced_by(address("192.168.9.0")).count(), 1, "the other one keeps it");
}

#[test]
fn external_addresses_and_load_balancers_keep_out_of_each_others_ports() {
    let mut fabric = small_fabric(Families::V4);
    fabric.external_ip_ranges = ranges("192.168.9.0/24");
    let mut world = World::of(fabric);
    world.put(Object::Pool(pool("lan", "192.168.9.0/31")));
    world.put_service(service("default/ext", |s| s.spec.external_ips = vec![address("192.168.9.0")]));
    assert_eq!(has(&world.put_service(balancer("default/a", |_| {}))), "192.168.9.1");
    let external = service("default/b", |s| s.spec.external_ips = vec![address("192.168.9.1")]);
    let shown = world.refused(write(Object::Service(external)), &codes::SERVICE_ADDRESS_TAKEN);
    assert!(shown.contains("held by service default/a"), "{shown}");
    let asks = balancer("default/c", |s| s.spec.load_balancer_ips = vec![address("192.168.9.0")]);
    let shown = world.refused(write(Object::Service(asks)), &codes::BALANCER_ADDRESS_TAKEN);
    assert!(shown.contains("held by service default/ext, as an external address"), "{shown}");
}

#[test]
fn pools_keep_what_is_held_and_out_of_everybodys_way() {
    let mut world = with_pool("192.168.9.0/28");
    world.put_service(balancer("default/a", |s| s.spec.load_balancer_ips = vec![address("192.168.9.9")]));
    let shown = world.refused(write(Object::Pool(pool("lan", "192.168.9.0/29"))), &codes::RANGE_IN_USE);
    assert!(
        shown.contains("address 192.168.9.9 of loadbalancerpool lan is in use by service default/a"),
        "{shown}"
    );
    let delete = weft_model::Action::Delete { keys: vec![Key::Pool("lan".parse().unwrap())] };
    world.refused(delete, &codes::RANGE_IN_USE);
    world.put(Object::Pool(pool("lan", "192.168.9.8/29")));
    let invalid = |world: &mut World, name: &str, texts: &str, words: &str| {
        let shown = world.refused(write(Object::Pool(pool(name, texts))), &codes::OBJECT_INVALID);
        assert!(shown.contains(words), "{shown}");
    };
    invalid(&mut world, "b", "", "spec.ranges: Required value");
    invalid(&mut world, "b", "10.1.0.0/30", "overlaps the service range 10.1.0.0/24 of the fabric");
    invalid(&mut world, "b", "127.0.0.0/8", "which is reserved (loopback");
    invalid(
        &mut world,
        "b",
        "192.168.7.0/30 192.168.7.0/31",
        "spec.ranges[1]: Invalid value: 192.168.7.0/31: overlaps 192.168.7.0/30",
    );
    let overlap = |world: &mut World, texts: &str, words: &str| {
        let shown = world.refused(write(Object::Pool(pool("b", texts))), &codes::RANGE_OVERLAP);
        assert!(shown.contains(words), "{shown}");
    };
    overlap(&mut world, "192.168.9.12/30", "overlaps loadbalancerpool lan");
    overlap(&mut world, "192.168.1.10/32", "overlaps replica cp-1, which serves at 192.168.1.10:7443");
    let token = world.token(Role::Node);
    let inside = facts("192.168.9.10", "192.168.9.0/24");
    let shown = world.refused(join(token, "n1", 1, inside), &codes::OBJECT_INVALID);
    assert!(shown.contains("address 192.168.9.10 lies in loadbalancerpool lan"), "{shown}");
    world.good(join(token, "n1", 1, facts("192.168.9.1", "192.168.9.0/24")));
    overlap(&mut world, "192.168.9.0/31", "overlaps node n1, whose underlay address is 192.168.9.1");
    let mut six = World::small(Families::V4);
    invalid(&mut six, "b", "fd99::/124", "is IPv6, which a fabric of families v4 lacks");
    world.delete(Key::Service("default/a".parse().unwrap()));
    world.delete(Key::Pool("lan".parse().unwrap()));
}
