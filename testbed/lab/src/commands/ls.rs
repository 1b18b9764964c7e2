//! `ls`: all labs, or what is in one.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use super::{Format, print, print_json, progress};
use crate::Result;
use crate::client::Client;
use crate::layout::Layout;
use crate::protocol::{Description, MachineState};
use crate::record::Record;

/// `cargo lab ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// A lab, in detail; default: all labs, a line each
    name: Option<String>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Ls {
    pub(crate) fn run(self) -> Result {
        match &self.name {
            Some(name) => self.one(&Layout::of(name)?),
            None => self.all(),
        }
    }

    fn all(&self) -> Result {
        let mut rows = Vec::new();
        for layout in Layout::all()? {
            let Ok(record) = Record::read(&layout) else { continue };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let age = now.saturating_sub(record.started);
            let lab = Client::open(layout.clone()).and_then(|client| client.describe()).ok();
            let faults: Vec<String> =
                lab.iter().flat_map(|d| d.faults.iter().map(ToString::to_string)).collect();
            rows.push(json!({
                "name": layout.name(), "running": lab.is_some(), "age_s": age,
                "machines": lab.as_ref().map_or(0, |d| d.machines.iter().filter(|m| m.pid.is_some()).count()),
                "pods": lab.as_ref().map_or(0, |d| d.pods.len()), "faults": faults,
            }));
        }
        if self.output == Format::Json {
            return print_json(&json!({"kind": "LabList", "items": rows}));
        }
        if rows.is_empty() {
            progress("No labs.");
            return Ok(());
        }
        print(format_args!(
            "{:<16} {:<8} {:>6} {:>9} {:>5}  FAULTS",
            "NAME", "STATE", "AGE", "MACHINES", "PODS"
        ))?;
        rows.iter().try_for_each(|row| {
            let state = if row["running"] == true { "running" } else { "dead" };
            let faults: Vec<&str> =
                row["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let faults = if faults.is_empty() { "-".to_owned() } else { faults.join("; ") };
            let age = age(row["age_s"].as_u64().unwrap_or(0));
            let name = row["name"].as_str().unwrap_or_default();
            let [machines, pods] = ["machines", "pods"].map(|key| row[key].as_u64().unwrap_or(0));
            print(format_args!("{name:<16} {state:<8} {age:>6} {machines:>9} {pods:>5}  {faults}"))
        })
    }

    fn one(&self, layout: &Layout) -> Result {
        let description = Client::open(layout.clone())?.describe()?;
        if self.output == Format::Json {
            return print_json(&serde_json::to_value(&description)?);
        }
        print(format_args!("{:<10} {:<8} {:<34} SERVICES", "MACHINE", "STATE", "ADDRESSES"))?;
        description.machines.iter().try_for_each(|machine| print(machine_line(machine)))?;
        pods(&description)?;
        description.faults.iter().try_for_each(|fault| print(format_args!("in force: {fault}")))
    }
}

fn machine_line(state: &MachineState) -> String {
    let addresses: Vec<String> = state.machine.addresses().iter().map(ToString::to_string).collect();
    let services = state.services.iter().map(|s| {
        let word = match (s.held, s.pid, s.ready) {
            (true, ..) => "held",
            (_, None, _) => "down",
            (_, _, true) => "ready",
            (_, _, false) => "running",
        };
        let again = if s.restarts > 0 { format!(" ({} restarts)", s.restarts) } else { String::new() };
        format!("{} {word}{again}", s.name)
    });
    let services: Vec<String> = services.collect();
    let up = if state.pid.is_some() { "up" } else { "down" };
    format!("{:<10} {up:<8} {:<34} {}", state.machine.name, addresses.join(" "), services.join(", "))
}

fn pods(description: &Description) -> Result {
    if description.pods.is_empty() {
        return Ok(());
    }
    print(format_args!("{:<24} {:<8} ADDRESSES", "POD", "NODE"))?;
    description.pods.iter().try_for_each(|pod| {
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        print(format_args!(
            "{:<24} {:<8} {}",
            format!("{}/{}", pod.namespace, pod.name),
            pod.node,
            addresses.join(" ")
        ))
    })
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}
