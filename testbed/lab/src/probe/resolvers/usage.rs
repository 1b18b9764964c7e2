//! Processor time of a server: all processes of its group, to the nanosecond.

use std::fs::read_to_string;

use anyhow::Context;

use crate::Result;

/// Whose: the group of processes that a server is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage<'a> {
    pub(super) members: &'a [u32],
}

/// The processes of a group.
pub(super) fn members(group: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Others end while we look.
        let Ok(stat) = read_to_string(process.path().join("stat")) else { continue };
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        let of = fields.and_then(|mut fields| fields.nth(2)?.parse::<u32>().ok());
        if of == Some(group) {
            all.push(pid);
        }
    }
    Ok(all)
}

/// Seconds of processor time that they have used so far, of all their threads that live.
pub(super) fn used(usage: Usage<'_>) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for pid in usage.members {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).context("the server has ended")?;
        for task in tasks.flatten() {
            let Ok(text) = read_to_string(task.path().join("schedstat")) else { continue };
            let first = text.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
            nanoseconds += first.context("no time in schedstat")?;
        }
    }
    Ok(nanoseconds / 1e9)
}

/// MiB of memory that a process has.
pub(super) fn resident(pid: u32) -> Result<f64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
