//! Stored rows that contradict each other make no state.

use weft_model::{
    AddressOwner, ClusterAddresses, Families, Object, ObjectUid, Record, Revision, Service, ServiceType,
};

use super::{World, address, given, name, pool, ranges, service, small_fabric};
use crate::State;

/// Two services, a pool and an owner, each row of which may be changed.
fn rows() -> Vec<Record> {
    let mut fabric = small_fabric(Families::Dual);
    fabric.external_ip_ranges = ranges("198.18.0.0/24");
    let mut world = World::of(fabric);
    world.join("n1");
    world.put(Object::Pool(pool("lan", "192.168.9.0/28")));
    world.put(Object::Pool(pool("wan", "192.168.8.0/28")));
    for text in ["default/a", "default/b"] {
        world.put_service(service(text, |s| s.spec.kind = ServiceType::LoadBalancer));
    }
    let owner = AddressOwner {
        address: address("192.168.9.0"),
        node: name("n1"),
        successor: None,
        epoch: 0,
        revision: Revision(0),
    };
    world.good(weft_model::Action::AssignOwners { owners: vec![owner] });
    world.state.records().collect()
}

#[track_caller]
fn check(change: impl Fn(&mut Object), words: &str) {
    let changed = rows().into_iter().map(|mut record| {
        if let Record::Object(object) = &mut record {
            change(object);
        }
        record
    });
    let error = State::restore(changed).expect_err(words).to_string();
    assert!(error.contains(words), "{error} lacks {words}");
}

/// Changes `default/b`.
fn other(change: impl Fn(&mut Service)) -> impl Fn(&mut Object) {
    move |object| {
        if let Object::Service(service) = object
            && service.name.name.as_str() == "b"
        {
            change(service);
        }
    }
}

#[test]
fn what_is_stored_well_comes_back_as_it_was() {
    assert_eq!(State::restore(rows()).unwrap().records().collect::<Vec<_>>(), rows());
}

#[test]
fn contradictions_are_found() {
    let first = rows().into_iter().find_map(|record| {
        let Record::Object(Object::Service(service)) = record else { return None };
        (service.name.to_string() == "default/a").then_some(service)
    });
    let first = first.unwrap();
    let (addresses, port) = (first.spec.addresses.clone(), first.spec.ports[0].node_port);
    check(other(|s| s.spec.addresses = addresses.clone()), "is held twice");
    check(other(|s| s.spec.ports[0].node_port = port), &format!("node port {port} is held twice"));
    check(other(|s| s.spec.ports[0].node_port = 80), "it can't have node port 80");
    check(other(|s| s.spec.addresses = given("10.9.0.5")), "address 10.9.0.5 lies in no service range");
    check(other(|s| s.spec.addresses = given("10.1.0.0")), "address 10.1.0.0 lies in no service range");
    check(other(|s| s.spec.addresses = given("fd01::7")), "its addresses, families and type don't fit");
    check(
        other(|s| s.spec.addresses = ClusterAddresses::Wanted),
        "its addresses, families and type don't fit",
    );
    check(other(|s| s.spec.families.clear()), "its addresses, families and type don't fit");
    check(other(|s| s.uid = ObjectUid([0; 16])), "it has no identity");
    check(
        other(|s| s.load_balancer[0].address = address("192.168.9.0")),
        "load-balancer address 192.168.9.0 is held by default/",
    );
    check(
        other(|s| s.load_balancer[0].address = address("192.168.7.0")),
        "load-balancer address 192.168.7.0 lies in no pool",
    );
    check(
        other(|s| s.spec.external_ips = vec![address("192.168.7.0")]),
        "external address 192.168.7.0 isn't allowed",
    );
    check(
        |object| {
            if let Object::Pool(pool) = object {
                pool.ranges = ranges("192.168.9.0/28")
            }
        },
        "its range 192.168.9.0/28 is also one of wan",
    );
    check(
        |object| {
            if let Object::Pool(pool) = object {
                pool.ranges.extend(ranges(if pool.name.as_str() == "lan" {
                    "10.1.0.0/28"
                } else {
                    "10.1.0.16/28"
                }))
            }
        },
        "10.1.0.0/24 of the fabric",
    );
    check(
        |object| {
            if let Object::Owner(owner) = object {
                owner.address = address("192.168.9.9")
            }
        },
        "no service has that address",
    );
    check(
        |object| {
            if let Object::Owner(owner) = object {
                owner.node = name("n9")
            }
        },
        "its nodes can't be",
    );
}
