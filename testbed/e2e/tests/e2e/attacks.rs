//! What somebody does to a fabric on purpose or by mistake, and how soon it is well again.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use weft_e2e::in_family;
use weft_lab::fabric::on;
use weft_lab::topology::Family;
use weft_lab::{Result, wait::until};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// What is looked after each second has to be well again within this.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_somebody_deleted_under_run_is_made_again() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        // What is mounted there, the namespaces of pods, can't be deleted and isn't.
        fabric
            .on(on("n1"), &["sh", "-c", "rm -rf /run/weft 2>/dev/null; test ! -e /run/weft/cni.sock"])?
            .success("rm")?;
        let mut wanted = vec!["-S /run/weft/cni.sock", "-S /run/weft/agent.sock", "-d /run/weft/pods"];
        if fabric.has_service("n1", "tunnel")? {
            wanted.push("-s /run/weft/tunnel/weft0.conf");
        }
        for file in wanted {
            let there = || {
                let test = format!("test {file}");
                fabric.on(on("n1"), &["sh", "-c", &test]).ok()?.success("test").ok()
            };
            until(SOON, LOOK, there).with_context(|| format!("missing: {file}"))?;
        }
        // The agent is the same one, and runtimes reach it.
        let pod = fabric.pod("n1", "after-rm", &["tcp:9000"])?;
        let to = pod.addresses().first().context("no address")?.to_string();
        let seen = fabric.probe(cast.c.place(), &["tcp", &to, "9000"])?;
        ensure!(seen["ok"] == true, "{seen}");
        fabric.detach(&pod)
    })
}

#[test]
fn renamed_devices_and_foreign_routes_do_no_lasting_harm() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let shell = |script: &str| fabric.on(on("n1"), &["sh", "-c", script])?.success(script);
        let gone = |what: &str, script: &str| {
            let looked = until(SOON, LOOK, || shell(script).ok()).map(drop);
            looked.with_context(|| format!("{what} is there after {SOON:?}"))
        };
        shell(
            "ip route add blackhole 10.99.0.0/16 table 8701; ip -6 route add blackhole fd99:99::/64 table 8702",
        )?;
        gone("a route in table 8701", "! ip route show table 8701 | grep -q blackhole")?;
        gone("a route in table 8702", "! ip -6 route show table 8702 | grep -q blackhole")?;
        for device in ["weftbr0", "weft0"] {
            // It may be gone before the last command.
            shell(&format!(
                "ip link set {device} down && ip link set {device} name taken0 && (ip link set taken0 up || true)"
            ))?;
            gone("the renamed device", "! ip link show taken0 2>/dev/null")?;
            let began = Instant::now();
            let well = until(2 * SOON, LOOK, || weft_lab::checks::paths::every_pair(fabric, cast).ok());
            well.with_context(|| format!("packets don't pass after {device} was renamed"))?;
            eprintln!("{device} renamed: all pairs again after {} ms", began.elapsed().as_millis());
        }
        Ok(())
    })
}

#[test]
fn nodes_leave_a_replica_whose_machine_died_within_moments() -> Result {
    in_family("three-nodes", Family::V4, |fabric, _| {
        let replicas = fabric.replicas()?;
        ensure!(replicas.len() > 1, "one replica has no other");
        let nodes = fabric.nodes()?;
        let followed = || {
            let status = fabric.weft(&["status", "-o", "json", "--timeout", "1s"]).ok()?;
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            let connected =
                status["nodes"].as_array()?.iter().filter(|node| node["connected"] == true).count();
            (connected == nodes.len()).then_some(())
        };
        for replica in &replicas {
            fabric.settle()?;
            fabric.fail(&format!("kill-replica {replica}"))?;
            let died = Instant::now();
            let mut well_since = None;
            // Until nothing of the dead one's can matter any more.
            while died.elapsed() < Duration::from_secs(8) {
                if followed().is_some() {
                    well_since.get_or_insert_with(|| died.elapsed());
                } else {
                    well_since = None;
                }
            }
            let away = well_since.with_context(|| format!("{replica}: nodes are away still"))?;
            eprintln!("{replica}: all nodes are followed again {} ms after its death", away.as_millis());
            fabric.heal()?;
            ensure!(away <= SOON, "{replica}: nodes were away for {away:?}");
        }
        Ok(())
    })
}

#[test]
fn an_address_that_a_node_may_not_have_is_told_and_one_that_is_only_strange_harms_nothing() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let shell = |script: &str| fabric.on(on("n1"), &["sh", "-c", script])?.success(script);
        let problems = || -> Result<String> {
            let status = fabric.weft(&["status", "-o", "json"])?;
            let status: Value = serde_json::from_str(&status.stdout)?;
            Ok(status["problems"].to_string())
        };
        // One that a provider routes to the machine, as a failover address.
        shell("ip address add 203.0.113.9/32 dev eth0")?;
        let pool = "apiVersion: weft.io/v1\nkind: LoadBalancerPool\nmetadata: { name: stray }\nspec: { ranges: [ 198.18.5.16/28 ] }\n";
        fabric.apply(pool)?;
        shell("ip address add 198.18.5.17/28 dev eth0")?;
        let told =
            || problems().ok().filter(|told| told.contains("198.18.5.17 lies in loadbalancerpool stray"));
        until(3 * SOON, LOOK, told).context("an address out of a pool isn't told")?;
        shell("ip address del 198.18.5.17/28 dev eth0")?;
        let quiet = || problems().ok().filter(|told| !told.contains("198.18.5"));
        until(3 * SOON, LOOK, quiet).with_context(|| format!("{:?} is told still", problems()))?;
        fabric.weft(&["delete", "loadbalancerpool", "stray"])?.success("weft delete")?;
        shell("ip address del 203.0.113.9/32 dev eth0")?;
        weft_lab::checks::paths::every_pair(fabric, cast).map(drop)
    })
}

#[test]
fn no_service_leads_pods_to_the_control_plane() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let replica = fabric.machine("cp-1")?.addresses().into_iter().find(std::net::IpAddr::is_ipv4);
        let replica = replica.context("cp-1 has no IPv4 address")?;
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: deputy }}\nspec: {{ ports: [ {{ port: 7443 }} ] }}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{ name: deputy-1, labels: {{ kubernetes.io/service-name: deputy }} }}\naddressType: IPv4\n\
             ports: [ {{ port: 7443 }} ]\nendpoints: [ {{ addresses: [ \"{replica}\" ] }} ]\n"
        );
        fabric.apply(&text)?;
        fabric.settle()?;
        let service = fabric.weft_json(&["get", "service", "deputy"])?;
        let address = service["spec"]["clusterIP"].as_str().context("no address")?.to_owned();
        let connects = |place| -> Result<bool> {
            let script = format!("exec 3<>/dev/tcp/{address}/7443");
            Ok(fabric.on(place, &["timeout", "1", "bash", "-c", &script])?.success("connect").is_ok())
        };
        ensure!(connects(on("n1"))?, "a node's own process is kept from it too: the test proves nothing");
        for pod in [&cast.a, &cast.c] {
            ensure!(!connects(pod.place())?, "{} reached the control plane by a service", pod.name());
        }
        let metadata = text.replace(&replica.to_string(), "100.100.100.200");
        let refused = fabric.apply(&metadata).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refused.contains("credentials"), "metadata is taken as an endpoint: {refused:?}");
        fabric.weft(&["delete", "service", "deputy"])?.success("weft delete service")?;
        fabric.weft(&["delete", "endpointslice", "deputy-1"])?.success("weft delete endpointslice").map(drop)
    })
}
