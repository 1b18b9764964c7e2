//! What people are told of services: the way of a packet beforehand, which a real one must confirm; events; the status.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Stage;
use crate::checks::eventually;
use crate::fabric::Pod;
use crate::{Fabric, Result};

/// Traces of every kind of end, each with a probe that agrees: served, hairpin, refused, dropped, unknown, straight.
pub fn traces_agree(stage: &Stage<'_>) -> Result<String> {
    let (a, c) = (&stage.cast.a, &stage.cast.c);
    let straight = format!("{}:9000", c.name());
    let mut paths = 0;
    for (from, to, fate, outcome, status) in [
        (a, "both.default:80", "Served", "answered", 0),
        (c, "both.default:9000", "Served", "answered", 0),
        (a, "both.default:9001/udp", "Served", "answered", 0),
        (&stage.one, "alone.default:80", "Served", "answered", 0),
        (a, "sticky.default:80", "Served", "answered", 0),
        (a, "one-inside.default:80", "Served", "answered", 0),
        (c, "one-inside.default:80", "Dropped", "timeout", 1),
        (a, "nobody.default:80", "Refused", "refused", 1),
        (c, "nobody.default:9001/udp", "Refused", "refused", 1),
        (a, "both.default:81", "Refused", "refused", 1),
        (a, straight.as_str(), "Straight", "answered", 0),
    ] {
        paths += trace(stage.fabric, from, to, fate, outcome, status)
            .with_context(|| format!("weft trace {} {to} --probe", from.name()))?;
    }
    Ok(format!("{paths} ways told, tried and found to be so"))
}

fn trace(fabric: &Fabric, from: &Pod, to: &str, fate: &str, outcome: &str, status: u8) -> Result<usize> {
    let output = fabric.weft(&["trace", from.name(), to, "--probe", "-o", "json"])?;
    ensure!(output.status == status, "it ended with {} instead of {status}: {output:?}", output.status);
    let told: Value = serde_json::from_str(&output.stdout)?;
    let paths = told["paths"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(!paths.is_empty(), "nothing was told: {told}");
    for path in paths {
        let probe = &path["probe"];
        ensure!(path["fate"] == fate, "{fate} was expected: {path}");
        ensure!(probe["agrees"] == true && probe["outcome"] == outcome, "{outcome} was expected: {path}");
        if fate == "Served" {
            let backend = &probe["backend"];
            let all = path["backends"].as_array().map_or(&[][..], Vec::as_slice);
            let met =
                all.iter().find(|told| told["address"] == *backend).context("no such backend was told")?;
            ensure!(met["sees"] == probe["backendSees"], "another source was told: {path}");
        }
    }
    Ok(paths.len())
}

/// A service loses its backends' readiness: an event, the status and the description say so; they come back, and that is said too.
pub fn troubles_are_told(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let manifest = |ready: bool| {
        let slice = if stage.one.addresses()[0].is_ipv4() {
            "addressType: IPv4\nendpoints: [{addresses: [10.9.9.9], conditions: {ready: READY}}]"
        } else {
            "addressType: IPv6\nendpoints: [{addresses: ['fd09::9'], conditions: {ready: READY}}]"
        };
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: till }}\nspec: {{ ports: [{{ port: 80 }}] }}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: till-1\n  labels: \
             {{ kubernetes.io/service-name: till }}\nports: [{{ port: 80 }}]\n{}\n",
            slice.replace("READY", if ready { "true" } else { "false" })
        )
    };
    fabric.apply(&manifest(true))?;
    fabric.apply(&manifest(false))?;
    eventually(Duration::from_secs(5), || {
        let output = fabric.weft(&["status"])?;
        let words = "service default/till  0 of 1 backend ready: connections are refused";
        ensure!(output.status == 1 && output.stdout.contains(words), "{output:?}");
        Ok(())
    })?;
    fabric.apply(&manifest(true))?;
    let all = fabric.weft_json(&["get", "events"])?;
    let items = all["items"].as_array().map_or(&[][..], Vec::as_slice);
    let told: Vec<&str> = items
        .iter()
        .filter(|event| event["involvedObject"]["name"] == "till")
        .filter_map(|event| event["reason"].as_str())
        .collect();
    ensure!(told == ["NobodyReady", "BackendsReady"], "{told:?} of {all}");
    let described = fabric.weft(&["describe", "svc", "till"])?.success("weft describe")?;
    ensure!(described.contains("NobodyReady"), "{described}");
    fabric.weft(&["delete", "svc", "till", "--yes"])?.success("weft delete svc")?;
    fabric.weft(&["delete", "eps", "till-1", "--yes"])?.success("weft delete eps")?;
    Ok(format!("{} in weft get events; weft status named the service", told.join(", then ")))
}
