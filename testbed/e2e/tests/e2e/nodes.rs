//! Nodes come, go, and lose power.

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::{control, faults};
use weft_lab::topology::Family;

#[test]
fn a_fourth_node_joins_and_a_removed_one_talks_to_nobody() -> Result {
    in_family("three-nodes", Family::Dual, |fabric, cast| {
        control::node_comes_and_goes(fabric, cast).map(drop)
    })
}

#[test]
fn a_node_that_lost_power_comes_back_with_its_disk() -> Result {
    in_family("three-nodes", Family::Dual6, |fabric, cast| faults::node_dies(fabric, cast).map(drop))
}
