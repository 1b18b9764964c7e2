//! M5: ranges never overlap, addresses are never held twice.

use anyhow::ensure;
use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::control;
use weft_lab::fabric::on;
use weft_lab::topology::Family;

#[test]
fn an_overlapping_range_is_refused_with_both_ranges_named() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let weftd = fabric.weftd_program();
        let argv = [
            weftd.as_str(),
            "init",
            "--data-dir",
            "/run/other",
            "--name",
            "cp-1",
            "--listen",
            "192.168.66.101:7443",
            "--family",
            "v4",
            "--pods",
            "10.0.0.0/14",
            "--services",
            "10.1.0.0/16",
            "--context-file",
            "/run/other.toml",
        ];
        let refused = fabric.on(on("n1"), &argv)?;
        ensure!(refused.status == 3 || refused.status == 2, "{refused:?}");
        for range in ["10.0.0.0/14", "10.1.0.0/16"] {
            ensure!(refused.stderr.contains(range), "{range} isn't named: {refused:?}");
        }
        Ok(())
    })
}

#[test]
fn addresses_add_up_after_pods_came_and_went() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        for i in 0..5 {
            let pod = fabric.pod("n1", &format!("short-{i}"), &[])?;
            fabric.detach(&pod)?;
        }
        control::addresses_add_up(fabric).map(drop)
    })
}
