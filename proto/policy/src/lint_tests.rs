//! What people are told of their policies, and what not.

use weft_errors::Coded;

use crate::{
    Resolver,
    fixture::{policy, world},
};

/// Warnings of policies, as `CODE FIELD MESSAGE`.
fn check(policies: &[&str], expected: &[&str]) {
    let mut world = world(
        "ns shop team=a
         ns dev team=b
         ns kube-system kubernetes.io/metadata.name=kube-system
         pod shop/web app=web n1 10.0.0.1 tcp/8080=http
         pod shop/db app=db n1 10.0.0.2 tcp/5432=sql
         pod dev/one app=web n1 10.0.0.3",
    );
    world.put_resolver(Some(Resolver::at(vec!["10.96.0.10".parse().unwrap()])));
    policies.iter().map(|text| policy(text)).for_each(|(name, spec)| world.put_policy(name, spec));
    let found: Vec<_> = world
        .lint()
        .into_iter()
        .map(|warning| format!("{} {} {warning}", warning.code(), warning.field()))
        .collect();
    assert_eq!(found, expected, "{policies:?}");
}

#[test]
fn policies_that_say_what_they_mean_are_left_alone() {
    check(&[], &[]);
    check(&["shop/p app=db: in from pods app=web ports tcp/sql", "shop/q *: in none"], &[]);
    check(&["shop/p app=db: eg to pods app=web ports tcp/http; eg to ns * ports udp/53 udp/dns"], &[]);
    check(
        &["shop/p app=db: in from block 192.0.2.0/24; in from ns team=b; in from pods app=web ports tcp/1"],
        &[],
    );
}

#[test]
fn what_selects_nothing_is_told() {
    check(&["shop/p app=none: in none"], &["W6101 spec.podSelector no pod of namespace shop is selected"]);
    check(
        &["shop/p app=db: in from pods app=none or ns team=c"],
        &[
            "W6101 spec.ingress[0].from[0] no pod is selected",
            "W6101 spec.ingress[0].from[1] no pod is selected",
        ],
    );
}

#[test]
fn names_of_ports_that_nobody_has_are_told() {
    check(
        &["shop/p app=db: in ports tcp/http"],
        &["W6102 spec.ingress[0].ports[0] no destination has a port named http of tcp"],
    );
    check(
        &["shop/p app=db: eg to pods app=web ports tcp/http udp/http; eg ports udp/dns"],
        &["W6102 spec.egress[0].ports[1] no destination has a port named http of udp"],
    );
}

#[test]
fn rules_that_never_match_are_told() {
    let never = |field: &str, why: &str| format!("W6103 {field} it can never match: {why}");
    let dead = |policy: &str, field: &str, why: &str| check(&[policy], &[&never(field, why)]);
    let excluding = "its selector asks for labels that exclude each other";
    dead("shop/p app=db: in none; idle-eg to pods app=web", "spec.egress", "policyTypes doesn't list Egress");
    dead("shop/p app=db,!app: in none", "spec.podSelector", excluding);
    dead("shop/p app=db: in from pods app=web,app!=web", "spec.ingress[0].from[0]", excluding);
    dead("shop/p app=db: in from pods app=web,app=db|api", "spec.ingress[0].from[0]", excluding);
    dead("shop/p app=db: in from pods app,!app", "spec.ingress[0].from[0]", excluding);
    dead(
        "shop/p app=db: in from block 192.0.2.0/24 -192.0.2.0/25 -192.0.2.128/25",
        "spec.ingress[0].from[0]",
        "its exceptions take out the whole block",
    );
    dead(
        "shop/p app=db: in from block 2001:db8::/32",
        "spec.ingress[0].from[0]",
        "no selected pod has an address of IPv6",
    );
    check(
        &["shop/p app=db: eg to block 192.0.2.0/24 ports tcp/http; eg ports udp/53"],
        &[
            "W6103 spec.egress[0].ports[0] it can never match: a port by name never fits an ipBlock: no address has a name",
        ],
    );
}

#[test]
fn rules_in_the_shadow_of_others_are_told() {
    check(
        &["shop/p app=db: in from pods app=web ports tcp/80; in from pods app=web or ns team=b"],
        &["W6106 spec.ingress[0] rule 2 allows all that this one does"],
    );
    check(
        &["shop/p app=db: in from pods app=web; in from pods app=web"],
        &["W6106 spec.ingress[1] rule 1 allows all that this one does"],
    );
    check(
        &["shop/p app=db: in; in from block 192.0.2.0/24 ports tcp/sql"],
        &["W6106 spec.ingress[1] rule 1 allows all that this one does"],
    );
    check(&["shop/p app=db: in ports tcp/80-90; in from pods app=web ports tcp/85 tcp/sql"], &[]);
}

#[test]
fn blocks_with_pods_in_them_are_told() {
    check(
        &["shop/p app=db: in from block 10.0.0.0/8 -10.0.0.1/32"],
        &["W6104 spec.ingress[0].from[0] addresses of 2 pods, for example dev/one, are in it"],
    );
}

#[test]
fn pods_that_cant_ask_for_names_are_told() {
    check(
        &["shop/p *: eg to pods *"],
        &["W6105  2 pods, for example shop/db, can't reach DNS; isolated by shop/p; no rule matches"],
    );
    check(
        &["shop/p *: eg to pods *", "shop/dns app=web: eg ports udp/53"],
        &["W6105  pod shop/db can't reach DNS; isolated by shop/p; no rule matches"],
    );
    check(&["shop/p *: eg to pods *", "shop/dns *: eg to ns * pods k8s-app=kube-dns ports udp/53"], &[]);
}
