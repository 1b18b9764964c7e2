//! M7: the CNI plugin as runtimes use it.

use anyhow::ensure;
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::topology::Family;

#[test]
fn every_verb_answers_as_the_specification_says() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let pod = fabric.pod("n1", "verbs", &[])?;
        let status = fabric.cni("STATUS", &pod.record, &[])?;
        ensure!(status.status == 0, "STATUS: {status:?}");
        let version: Value = serde_json::from_str(&fabric.cni("VERSION", &pod.record, &[])?.stdout)?;
        ensure!(version["supportedVersions"].to_string().contains("1.1.0"), "VERSION: {version}");
        let again = fabric.cni("ADD", &pod.record, &[])?;
        ensure!(again.status != 0, "a second ADD must fail: {again:?}");
        fabric.detach(&pod)?;
        let late = fabric.cni("DEL", &pod.record, &[])?;
        ensure!(late.status == 0, "DEL is repeatable: {late:?}");
        Ok(())
    })
}

#[test]
fn a_del_succeeds_while_the_agent_is_dead_and_takes_effect_later() -> Result {
    in_family("small", Family::Dual, |fabric, _| {
        let pod = fabric.pod("n1", "spooled", &[])?;
        fabric.hold("n1", "agent")?;
        let detached = fabric.detach(&pod);
        fabric.release("n1", "agent")?;
        detached?;
        fabric.client().ready("n1", "agent", std::time::Duration::from_secs(20))?;
        weft_lab::wait::until(
            std::time::Duration::from_secs(10),
            std::time::Duration::from_millis(50),
            || weft_lab::checks::control::agrees(fabric).ok(),
        );
        weft_lab::checks::control::agrees(fabric)
    })
}
