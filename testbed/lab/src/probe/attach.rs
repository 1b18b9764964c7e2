//! How long a CNI plugin takes, driven as a runtime drives it: namespaces made before, a process per call, environment and input.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::talk::micros;
use crate::Result;
use crate::launch::own_program;

/// Attaches and detaches `count` namespaces with `program`; the configuration stands on standard input.
pub(super) fn run(program: &Path, count: u32) -> Result<Value> {
    let mut config = String::new();
    std::io::stdin().read_to_string(&mut config)?;
    let names: Vec<String> = (0..count).map(|i| format!("bench-{i}")).collect();
    for name in &names {
        role("netns-add", name)?;
    }
    let all =
        |verb: &str| names.iter().map(|name| call(program, verb, name, &config)).collect::<Result<Vec<_>>>();
    let starts = all("VERSION")?;
    let adds = all("ADD")?;
    let dels = all("DEL")?;
    for name in &names {
        role("netns-remove", name)?;
    }
    Ok(json!({
        "ok": true, "count": count, "start_p50_us": share(&starts, 50), "add_p50_us": share(&adds, 50),
        "add_p99_us": share(&adds, 99), "del_p50_us": share(&dels, 50), "del_p99_us": share(&dels, 99),
    }))
}

fn call(program: &Path, verb: &str, name: &str, config: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut child = Command::new(program)
        .envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", name),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ])
        .env("CNI_NETNS", format!("/run/netns/{name}"))
        .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME={name}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    // A plugin may end without reading what it doesn't need.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(config.as_bytes()));
    let output = child.wait_with_output()?;
    let took = began.elapsed();
    if !output.status.success() {
        bail!("{verb} {name}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(took)
}

fn role(role: &str, name: &str) -> Result {
    let path = format!("/run/netns/{name}");
    let status = Command::new(own_program()?).args(["inside", role, &path]).status()?;
    if status.success() { Ok(()) } else { bail!("{role} {path} failed") }
}

fn share(times: &[Duration], percent: usize) -> Option<u64> {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().map(micros)
}
