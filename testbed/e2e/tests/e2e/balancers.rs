//! Load-balancer addresses on the link: given as asked, answered for by one node, and soon by another.

use weft_e2e::in_family;
use weft_lab::checks::services::{self, Balanced};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// A check, and how many times it silences a node.
type Check = (usize, fn(&Balanced<'_>) -> Result<String>);

/// Each sentence of evidence goes to the test's output: the gaps are what people want to know.
fn tried(fabric: &Fabric, checks: &[Check]) -> Result {
    let balanced = Balanced::set(fabric)?;
    for (silences, check) in checks {
        let began = std::time::Instant::now();
        let said = balanced.prove(*silences, *check)?;
        eprintln!("{:.1} s: {said}", began.elapsed().as_secs_f32());
    }
    balanced.strike()
}

#[test]
fn addresses_are_given_chosen_shared_and_closed_as_asked() -> Result {
    in_family("balancers", Family::Dual, |fabric, _| {
        tried(fabric, &[(0, services::addresses_as_asked), (0, services::proxied)])
    })
}

#[test]
fn an_address_moves_when_its_owner_dies_freezes_or_is_cut_off() -> Result {
    in_family("balancers", Family::V4, |fabric, _| {
        let moves: [Check; 4] = [
            (2, services::owner_killed),
            (1, services::owner_frozen),
            (1, services::owner_cut_from_replicas),
            (1, services::agent_killed),
        ];
        tried(fabric, &moves)
    })
}

/// What differs in IPv6: neighbour discovery answers and announces.
#[test]
fn an_ipv6_address_moves_when_its_owner_freezes_or_is_cut_off() -> Result {
    in_family("balancers", Family::V6, |fabric, _| {
        tried(fabric, &[(1, services::owner_frozen), (1, services::owner_cut_from_replicas)])
    })
}

#[test]
fn an_address_stays_while_there_is_no_leader_and_while_its_agent_starts_anew() -> Result {
    in_family("balancers", Family::Dual, |fabric, _| {
        tried(fabric, &[(0, services::agent_restarted), (0, services::without_a_leader)])
    })
}

/// Both families, since each has rules of its own.
#[test]
fn an_owner_leaves_its_ruleset_alone_while_nothing_happens() -> Result {
    in_family("balancers", Family::Dual, |fabric, _| tried(fabric, &[(0, services::owner_steady)]))
}

#[test]
fn an_address_is_given_served_and_moves_in_mode_routed() -> Result {
    in_family("routed-balancers", Family::Dual, |fabric, _| {
        tried(
            fabric,
            &[
                (0, services::addresses_as_asked),
                (0, services::proxied),
                (2, services::owner_killed),
                (1, services::owner_frozen),
            ],
        )
    })
}

#[test]
fn an_address_moves_when_its_owner_reaches_nobody_and_one_answers_when_it_is_back() -> Result {
    in_family("balancers", Family::V4, |fabric, _| {
        tried(fabric, &[(1, services::owner_unplugged), (1, services::owner_unreached)])
    })
}
