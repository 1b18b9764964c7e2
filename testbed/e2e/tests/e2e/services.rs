//! Services, with real packets: the semantics table in every kind of families and both modes.

use weft_e2e::{each_family, in_family};
use weft_lab::checks::Cast;
use weft_lab::checks::services::{self, Stage};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// A check on a stage.
type Check = fn(&Stage<'_>) -> Result<String>;

/// Everything that is proved on one stage: setting it costs more than a check.
fn on_stage(fabric: &Fabric, cast: &Cast, checks: &[Check]) -> Result {
    let stage = Stage::set(fabric, cast)?;
    let seen = checks.iter().try_for_each(|check| {
        let began = std::time::Instant::now();
        let said = check(&stage)?;
        eprintln!("{:.1} s: {said}", began.elapsed().as_secs_f32());
        Ok(())
    });
    stage.strike()?;
    seen
}

/// The semantics table and what happens when backends change.
fn everything(fabric: &Fabric, cast: &Cast) -> Result {
    let checks: [Check; 7] = [
        services::cluster_addresses,
        services::hairpin,
        services::node_ports,
        services::nobody_there,
        services::spread,
        services::affinity,
        services::backends_come_and_go,
    ];
    on_stage(fabric, cast, &checks)
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
    let checks: [Check; 3] = [services::probed, services::drained, services::health_ports];
    in_family("small", Family::Dual6, |fabric, cast| on_stage(fabric, cast, &checks))
}

#[test]
fn what_others_do_to_the_tables_and_what_replicas_dont_hear_of_harms_no_client() -> Result {
    let checks: [Check; 2] = [services::rules_tampered, services::gone_unheard];
    in_family("small", Family::Dual, |fabric, cast| on_stage(fabric, cast, &checks))
}

#[test]
fn a_client_with_affinity_stays_until_its_time_out_has_passed() -> Result {
    in_family("small", Family::V4, |fabric, cast| on_stage(fabric, cast, &[services::affinity_times_out]))
}

#[test]
fn a_namespace_that_is_deleted_under_changes_leaves_nothing_behind() -> Result {
    in_family("small", Family::Dual, |fabric, cast| on_stage(fabric, cast, &[services::namespace_deleted]))
}

#[test]
fn an_upgrade_breaks_no_connection() -> Result {
    in_family("small", Family::V6, |fabric, cast| on_stage(fabric, cast, &[services::upgraded]))
}

#[test]
fn a_dead_nodes_backends_take_no_new_connections_after_the_grace() -> Result {
    in_family("three-nodes", Family::V4, |fabric, cast| {
        let began = std::time::Instant::now();
        let said = services::node_falls_silent(fabric, cast)?;
        eprintln!("{:.1} s: {said}", began.elapsed().as_secs_f32());
        Ok(())
    })
}
