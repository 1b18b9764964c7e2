//! What goes on when something dies.

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::{control, faults};
use weft_lab::topology::Family;

#[test]
fn an_agent_restart_loses_no_packet_and_removes_nothing() -> Result {
    in_family("small", Family::Dual, |fabric, cast| faults::agent_dies(fabric, cast).map(drop))
}

#[test]
fn a_pod_whose_add_was_answered_survives_the_agents_death() -> Result {
    in_family("small", Family::Dual, |fabric, cast| faults::fresh_pod_survives(fabric, cast).map(drop))
}

#[test]
fn writes_go_on_without_the_leader_and_none_is_lost() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, _| control::leader_dies(fabric).map(drop))
}

#[test]
fn pods_come_and_go_without_any_control_plane() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, cast| {
        control::all_replicas_die(fabric, cast)?;
        control::addresses_add_up(fabric).map(drop)
    })
}
