//! Links, addresses and routes of the underlay, through `ip -batch`. The lab may use iproute2; the product does not.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::Result;

/// Runs the lines as one `ip -batch` in the caller's network namespace; the first line that fails is named.
pub fn batch(lines: &[String]) -> Result {
    if lines.is_empty() {
        return Ok(());
    }
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip (package iproute2)")?;
    let mut stdin = child.stdin.take().context("no pipe to ip")?;
    stdin.write_all((lines.join("\n") + "\n").as_bytes()).context("write to ip")?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for ip")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let number = errors.rsplit("-:").next().and_then(|rest| rest.trim().parse::<usize>().ok());
        let line = number.and_then(|n| lines.get(n.saturating_sub(1))).map_or("", String::as_str);
        bail!("ip {line}: {}", errors.trim());
    }
    Ok(())
}

/// Writes one setting under `/proc/sys` of the caller's namespaces.
pub fn sysctl(name: &str, value: &str) -> Result {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}
