//! A namespace is deleted while somebody still writes into it: its services go with it, of every one the kernels and the books are
//! clean, and what they held is free again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Stage;
use crate::checks::{eventually, same_family};
use crate::fabric::on;
use crate::wait::{pass, until};
use crate::{Fabric, Result};

/// Services in the namespace, each with a node port and affinity in turn.
const SERVICES: usize = 24;
/// Slices in one command.
const CHUNK: usize = 4;
/// There are changes for so long before the end begins.
const BEFORE: Duration = Duration::from_millis(300);
/// What a namespace's end takes on any machine.
const GONE: Duration = Duration::from_secs(10);

/// Everything in the service tables of a node, of both families.
type Tables = BTreeSet<String>;

/// The namespace goes under changes; the kernels are as before it came, and addresses and ports can be taken again.
pub fn namespace_deleted(stage: &Stage<'_>) -> Result<String> {
    let fabric = stage.fabric;
    let before = tables(fabric)?;
    // Slices of one namespace lead nobody to pods of another, and a namespace with pods can't be deleted: somebody outside serves.
    let outside = fabric.machine(&fabric.outside())?.addresses();
    let backend = outside.into_iter().find(|address| same_family(&stage.one, *address).is_ok());
    let backend = backend.context("outside has no address of the pods' families")?.to_string();
    let v4 = !backend.contains(':');
    let asked = (0..SERVICES).map(|n| service(n, v4, None)).collect::<Result<Vec<_>>>()?.join("");
    let slices = |ready: bool| (0..SERVICES).map(|n| slice(n, &backend, ready)).collect::<Vec<_>>();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: passing }\n---\n";
    fabric.apply(&[namespace, &asked, &slices(true).concat()].concat())?;
    let held = held(fabric)?;
    ensure!(held.len() == SERVICES, "{} of {SERVICES} services: {held:?}", held.len());
    let with = tables(fabric)?;
    ensure!(
        with.iter().zip(&before).all(|(now, then)| now.len() > then.len()),
        "nothing came into the kernels"
    );
    let stop = AtomicBool::new(false);
    let (written, deleted) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(usize, anyhow::Error)> {
            let mut written = 0;
            for turn in 0.. {
                ensure!(!stop.load(Ordering::Relaxed), "somebody still writes into a namespace that is gone");
                for some in slices(turn % 2 == 1).chunks(CHUNK) {
                    // The first that is refused is the end: the namespace is gone.
                    match fabric.store(&some.concat()) {
                        Ok(()) => written += some.len(),
                        Err(refused) => return Ok((written, refused)),
                    }
                }
            }
            Ok((written, anyhow::anyhow!("nobody refused anything")))
        });
        pass(BEFORE);
        let deleted = fabric.weft(&["delete", "namespace", "passing", "--yes"]);
        until(GONE, Duration::from_millis(5), || writer.is_finished().then_some(()));
        stop.store(true, Ordering::Relaxed);
        (writer.join(), deleted)
    });
    deleted?.success("weft delete namespace")?;
    let (written, refused) = written.map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("namespace passing"), "refused for another reason: {refused}");
    fabric.settle()?;
    clean(fabric, &before).context("after the namespace's end")?;
    let refused = fabric.store(&slices(true).concat());
    ensure!(refused.is_err(), "a slice could be written into a namespace that is gone");
    // The same addresses and ports again, asked for by name.
    let again = held.iter().enumerate().map(|(n, held)| service(n, v4, Some(held)));
    fabric.apply(&[namespace.to_owned(), again.collect::<Result<String>>()?].concat())?;
    fabric.weft(&["ipam", "check"])?.success("weft ipam check")?;
    fabric.weft(&["delete", "namespace", "passing", "--yes"])?.success("weft delete namespace")?;
    fabric.settle()?;
    clean(fabric, &before).context("after its second end")?;
    Ok(format!(
        "{SERVICES} services went with their namespace under {written} changes: maps of {} nodes as before, all addresses and node \
         ports could be taken again",
        before.len()
    ))
}

/// What a service holds.
#[derive(Debug)]
struct Held {
    name: String,
    address: String,
    port: String,
}

fn service(number: usize, v4: bool, held: Option<&Held>) -> Result<String> {
    let mut text = String::new();
    let name = held.map_or_else(|| format!("passing-{number}"), |held| held.name.clone());
    let family = if v4 { "IPv4" } else { "IPv6" };
    let affinity = if number.is_multiple_of(3) { "ClientIP" } else { "None" };
    let address = held.map_or_else(String::new, |held| format!("  clusterIP: \"{}\"\n", held.address));
    let port = held.map_or_else(String::new, |held| format!(", nodePort: {}", held.port));
    write!(
        text,
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: passing }}\nspec:\n  type: NodePort\n  \
         sessionAffinity: {affinity}\n  ipFamilies: [{family}]\n{address}  ports: [{{ name: http, port: 80{port} }}]\n---\n"
    )?;
    Ok(text)
}

fn slice(number: usize, backend: &str, ready: bool) -> String {
    let family = if backend.contains(':') { "IPv6" } else { "IPv4" };
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{ name: passing-{number}, namespace: passing, labels: \
         {{ kubernetes.io/service-name: passing-{number} }} }}\naddressType: {family}\nports: [{{ name: http, port: 80 }}]\n\
         endpoints: [{{ addresses: [\"{backend}\"], conditions: {{ ready: {ready} }} }}]\n---\n"
    )
}

fn held(fabric: &Fabric) -> Result<Vec<Held>> {
    let list = fabric.weft_json(&["get", "services", "-n", "passing"])?;
    let of = |item: &Value| {
        Some(Held {
            name: item["metadata"]["name"].as_str()?.to_owned(),
            address: item["spec"]["clusterIP"].as_str()?.to_owned(),
            port: item["spec"]["ports"][0]["nodePort"].as_u64()?.to_string(),
        })
    };
    let items = list["items"].as_array().into_iter().flatten();
    items.map(|item| of(item).with_context(|| format!("it holds nothing: {item}"))).collect()
}

/// Maps and sets of services that don't remember clients, per node.
fn tables(fabric: &Fabric) -> Result<Vec<Tables>> {
    let of = |node: &String| -> Result<Tables> {
        let mut all = Tables::new();
        for family in ["ip", "ip6"] {
            let list = fabric.on(on(node), &["nft", "-j", "list", "table", family, "weft"])?;
            if list.status != 0 {
                continue;
            }
            let list: Value = serde_json::from_str(&list.stdout)?;
            for item in list["nftables"].as_array().into_iter().flatten() {
                let Some(set) = item.get("map").or_else(|| item.get("set")) else { continue };
                let name = set["name"].as_str().unwrap_or_default();
                let elements = set["elem"].as_array().into_iter().flatten();
                all.extend(elements.filter(|_| name != "affinity").map(|e| format!("{family} {name} {e}")));
            }
            let chains =
                list["nftables"].as_array().into_iter().flatten().filter_map(|item| item.get("chain"));
            all.extend(chains.map(|chain| format!("{family} chain {}", chain["name"])));
        }
        ensure!(!all.is_empty(), "{node} has no table of services");
        Ok(all)
    };
    fabric.nodes()?.iter().map(of).collect()
}

/// The kernels have what they had.
fn clean(fabric: &Fabric, before: &[Tables]) -> Result {
    eventually(GONE, || {
        for (now, then) in tables(fabric)?.iter().zip(before) {
            let left: Vec<&String> = now.difference(then).collect();
            let lost: Vec<&String> = then.difference(now).collect();
            ensure!(left.is_empty() && lost.is_empty(), "left over: {left:?}; lost: {lost:?}");
        }
        Ok(())
    })?;
    let list = fabric.weft_json(&["get", "services", "-A"])?.to_string();
    ensure!(!list.contains("\"passing\""), "services are left: {list}");
    Ok(())
}
