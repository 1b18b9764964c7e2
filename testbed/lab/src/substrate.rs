//! Starting and ending a lab of bare machines: namespaces, links, disks; nothing of the product runs yet.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::client::Client;
use crate::launch::launch;
use crate::layout::Layout;
use crate::protocol::Request;
use crate::record::{Product, Record};
use crate::topology::Topology;
use crate::{Refusal, Result, wait};

/// Time in which a lab that was told to end has ended.
const END: Duration = Duration::from_secs(10);

/// Starts the machines of `topology` as the lab in `layout`. Logs of the last lab of this name are removed.
pub fn start(layout: &Layout, topology: Topology, product: Option<Product>) -> Result<Client> {
    let _alone = layout.lock()?;
    if Client::open(layout.clone()).is_ok() {
        let name = layout.name();
        bail!(Refusal::Usage(format!(
            "the lab {name:?} is running already; end it with: cargo lab down {name}"
        )));
    }
    layout.clear()?;
    let mut record = Record::new(topology, product);
    record.write(layout)?;
    let errors = File::create(layout.log("lab", "supervisor")).context("make the supervisor's log")?;
    let mut launched =
        launch(&["inside", "supervise", layout.name()], &layout.socket(), Stdio::from(errors))?;
    match launched.line()?.as_deref() {
        Some("ready") => {}
        Some(error) => bail!("the lab did not start: {}", error.trim_start_matches("error: ")),
        None => bail!("the lab did not start; see {}", layout.log("lab", "supervisor").display()),
    }
    record.pid = launched.pid;
    record.namespace = process_namespace(launched.pid).unwrap_or_default();
    record.write(layout)?;
    Client::open(layout.clone())
}

/// Ends the lab, if it runs, and returns what is left of it: nothing, or a line for each process. Several may do so at once.
pub fn stop(layout: &Layout) -> Result<Vec<String>> {
    if !layout.root().exists() {
        return Ok(Vec::new());
    }
    let _alone = layout.lock()?;
    let Ok(record) = Record::read(layout) else { return Ok(Vec::new()) };
    if let Ok(client) = Client::open(layout.clone()) {
        // An error says that its owner ended it meanwhile, or that it goes on: that is looked at below.
        let _ = client.call(&Request::Down);
    }
    let namespace = &record.namespace;
    wait::until(END, Duration::from_millis(5), || {
        (leftovers(namespace).is_empty() && Client::open(layout.clone()).is_err()).then_some(())
    });
    let mut left = leftovers(namespace);
    if Client::open(layout.clone()).is_ok() {
        left.push(format!("socket @{}", layout.socket()));
    }
    if left.is_empty() {
        std::fs::remove_file(layout.record()).context("forget the lab")?;
    }
    Ok(left)
}

/// Processes in the lab's process namespace or one below it: with the last of them go its namespaces, mounts and links.
fn leftovers(namespace: &str) -> Vec<String> {
    if namespace.is_empty() {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers =
        entries.flatten().filter_map(|e| e.file_name().to_str().and_then(|n| n.parse::<u32>().ok()));
    numbers
        .filter(|pid| process_namespace(*pid).is_some_and(|ns| ns == namespace) && !is_dead(*pid))
        .map(|pid| {
            let name = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
            format!("process {pid} {}", name.unwrap_or_default().trim())
        })
        .collect()
}

/// Whether only the entry in the process table is left: the host's own init removes it when it gets to it.
fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

fn process_namespace(pid: u32) -> Option<String> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok().map(|link| link.to_string_lossy().into_owned())
}
