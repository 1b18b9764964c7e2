//! Services whose backends come and go: no connection fails, long ones live on, and connections are shared evenly. The long form is
//! `cargo lab soak`.

use weft_e2e::in_family;
use weft_lab::checks::services::{Churn, Load};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// Runs `check` on services that are taken away afterwards.
fn with_services(family: Family, check: impl Fn(&Churn<'_>) -> Result<String>) -> Result {
    in_family("small", family, |fabric: &Fabric, cast| {
        let churn = Churn::set(fabric, cast, Load::SHORT.services)?;
        let seen = check(&churn).map(drop);
        churn.strike()?;
        seen
    })
}

#[test]
fn no_connection_fails_while_backends_come_and_go_and_the_kernels_have_what_is_wanted() -> Result {
    for family in [Family::Dual, Family::V6] {
        with_services(family, |churn| churn.under_change(&Load::SHORT))?;
    }
    Ok(())
}

#[test]
fn long_connections_survive_changes_of_others_new_agents_and_an_outage_of_the_control_plane() -> Result {
    with_services(Family::Dual, |churn| churn.long_connections(&Load::SHORT))
}

#[test]
fn many_connections_are_shared_evenly() -> Result {
    with_services(Family::Dual, |churn| churn.shares(2000))
}
