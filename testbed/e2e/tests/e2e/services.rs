//! Services, with real packets: the semantics table in every kind of families and both modes.

use weft_e2e::{each_family, in_family};
use weft_lab::checks::Cast;
use weft_lab::checks::services::{self, Stage};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// Everything that is proved on one stage: setting it costs more than a check.
fn everything(fabric: &Fabric, cast: &Cast) -> Result {
    let stage = Stage::set(fabric, cast)?;
    let seen = [
        services::cluster_addresses,
        services::hairpin,
        services::node_ports,
        services::nobody_there,
        services::spread,
        services::affinity,
        services::backends_come_and_go,
    ]
    .into_iter()
    .try_for_each(|check| check(&stage).map(drop));
    stage.strike()?;
    seen
}

#[test]
fn services_mean_what_kubernetes_says_in_every_kind_of_families() -> Result {
    each_family("small", everything)
}

#[test]
fn services_mean_the_same_in_mode_routed() -> Result {
    in_family("routed", Family::Dual, everything)
}

#[test]
fn pods_that_are_not_ready_or_end_get_no_connections() -> Result {
    in_family("small", Family::Dual6, |fabric, cast| {
        let stage = Stage::set(fabric, cast)?;
        let checks = [services::probed, services::drained, services::health_ports];
        let seen = checks.into_iter().try_for_each(|check| check(&stage).map(drop));
        stage.strike()?;
        seen
    })
}
