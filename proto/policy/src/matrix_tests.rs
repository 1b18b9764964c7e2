//! The matrix says what the evaluator says.

use weft_model::NamespaceName;

use super::*;
use crate::fixture::{self, Chance, policy, random};

#[test]
fn cells_are_what_the_evaluator_decides() {
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        let mut world = random::world(&mut chance);
        for _ in 0..3 {
            check_all(&world, &mut chance, seed);
            random::step(&mut world, &mut chance);
        }
    }
}

fn check_all(world: &World, chance: &mut Chance, seed: u64) {
    let matrix = Matrix::of(world);
    let place = |address: std::net::IpAddr| {
        matrix.groups.iter().position(|group| match &group.members {
            Members::Pods(pods) => world.pod_at(address).is_some_and(|(name, _)| pods.contains(name)),
            Members::Resolver => world.pod_at(address).is_none() && world.party(address).is_some(),
            Members::Outside(ranges) => {
                let inside = ranges
                    .iter()
                    .any(|(a, b)| Family::of(*a) == Family::of(address) && (*a..=*b).contains(&address));
                inside && world.party(address).is_none()
            }
        })
    };
    for flow in random::flows(world, chance) {
        let (from, to) = (place(flow.source).unwrap(), place(flow.destination).unwrap());
        let decision = world.decide(&flow);
        let special = [&decision.egress, &decision.ingress].into_iter();
        if flow.process
            || special.into_iter().any(|reason| matches!(reason, Reason::SamePod | Reason::OwnNode))
        {
            continue;
        }
        let set = matrix.cell(from, to, Family::of(flow.source)).unwrap();
        let allowed = decision.verdict.allows();
        assert_eq!(set.has(flow.transport), allowed, "seed {seed}: {flow}: {set}, {decision:?}");
    }
}

fn shop() -> World {
    let mut world = fixture::world(
        "ns shop team=a
         ns dev team=b
         pod shop/web-0 app=web,hash=1 n1 10.0.0.1
         pod shop/web-1 app=web,hash=2 n1 10.0.0.2
         pod shop/cart app=cart n1 10.0.0.3
         pod shop/db app=db n1 10.0.0.4
         pod dev/one app=web n1 10.0.1.1",
    );
    for text in [
        "shop/web-in app=web: in from block 0.0.0.0/0 -10.0.0.0/8 ports tcp/80 tcp/443",
        "shop/cart-in app=cart: in from pods app=web ports tcp/8080",
        "shop/db-in app=db: in from pods app=cart ports tcp/5432; eg none",
    ] {
        let (name, spec) = policy(text);
        world.put_policy(name, spec);
    }
    world
}

#[test]
fn pods_alike_are_one_and_wider_groups_say_all_some_or_none() {
    let world = shop();
    let matrix = Matrix::of(&world);
    let names: Vec<_> = matrix.groups().iter().map(Group::to_string).collect();
    let expected = [
        "dev/one",
        "shop/cart",
        "shop/db",
        "shop app=web (2 pods)",
        "outside 10.0.0.0-10.255.255.255",
        "outside 0.0.0.0-9.255.255.255, 11.0.0.0-255.255.255.255",
        "outside ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    assert_eq!(names, expected);
    let table = matrix.by_label(&NamespaceName::new("shop").unwrap(), "app");
    assert_eq!(table.names, ["(other namespaces)", "(outside)", "cart", "db", "web"]);
    let row = |from: usize| -> Vec<String> {
        (0..5).map(|to| table.cell(from, to).map_or(String::new(), Share::to_string)).collect()
    };
    assert_eq!(row(0), ["", "A", "-", "-", "-"]);
    assert_eq!(row(1), ["A", "", "-", "-", "p"]);
    assert_eq!(row(2), ["A", "A", "", "p", "-"]);
    assert_eq!(row(3), ["-", "-", "-", "", "-"]);
    assert_eq!(row(4), ["A", "A", "p", "-", "-"]);
    let share = table.cell(1, 4).unwrap();
    assert_eq!(share.at("80/tcp".parse().unwrap()), "p", "from some of the outside");
    assert_eq!(share.sometimes.to_string(), "80/tcp, 443/tcp");
    let policies = matrix.policies(&world, 5, 3, Family::V4);
    assert_eq!(policies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/web-in"]);
    let by_namespace = matrix.by_namespace();
    assert_eq!(by_namespace.names, ["(outside)", "dev", "shop"]);
    assert_eq!(by_namespace.cell(1, 2).unwrap().to_string(), "-");
}
