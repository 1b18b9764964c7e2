//! Starting the first process of a lab: a new user, mount, network, process and host-name namespace, from outside.
//!
//! Three processes take part. The *launcher* (the command) writes the identity maps of the *outer* process, which has left for
//! the new namespaces and starts the *inner* one: pid 1 there. The outer process then ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, getegid, geteuid};

use crate::{Result, priority};

/// A process that is pid 1 of new namespaces.
pub struct Launched {
    /// Its number outside.
    pub pid: u32,
    lines: BufReader<ChildStdout>,
    outer: Child,
}

impl Launched {
    /// The next line that the inner process prints; `None` when it has closed its output.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.outer.wait();
    }
}

/// Starts `inner` (arguments of this program) as pid 1 of new namespaces, listening on the abstract `socket` of the caller's
/// network namespace (handed over as standard input), with errors going to `errors`.
pub fn launch(inner: &[&str], socket: &str, errors: Stdio) -> Result<Launched> {
    priority::allow();
    let mut outer = Command::new(own_program()?)
        .args(["inside", "outer", "--socket", socket, "--"])
        .args(inner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .context("start the lab's outer process")?;
    let mut orders = outer.stdin.take().context("no pipe to the outer process")?;
    let mut lines = BufReader::new(outer.stdout.take().context("no pipe from the outer process")?);
    let mut hear = || -> Result<String> {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    match hear()?.as_str() {
        "in a user namespace" => map_identity(outer.id())?,
        "as root" => {}
        other => bail!("the lab can't make its namespaces: {}", other.trim_start_matches("error: ")),
    }
    orders.write_all(b"go\n").context("the outer process ended")?;
    let answer = hear()?;
    let pid = answer.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
    let pid = pid.ok_or_else(|| anyhow!("the lab's first process did not start: {answer}"))?;
    Ok(Launched { pid, lines, outer })
}

/// The outer process. Root goes on without a user namespace where none can be had.
pub fn outer(socket: &str, inner: &[String]) -> Result {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(socket)?)
        .with_context(|| format!("the socket @{socket} is taken: is the lab running?"))?;
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let mut out = std::io::stdout();
    match unshare(CloneFlags::CLONE_NEWUSER | spaces) {
        Ok(()) => writeln!(out, "in a user namespace")?,
        Err(_) if geteuid().is_root() && unshare(spaces).is_ok() => writeln!(out, "as root")?,
        Err(e) => bail!("unshare: {}", e.desc()),
    }
    out.flush()?;
    let mut go = String::new();
    std::io::stdin().read_line(&mut go)?;
    if go.trim() != "go" {
        bail!("the launcher ended");
    }
    let inner = Command::new(own_program()?)
        .args(inner)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .context("start the lab's first process")?;
    writeln!(out, "pid {}", inner.id())?;
    Ok(())
}

/// Identities of the new user namespace: everything as it is outside for root, one identity as root for anybody else.
fn map_identity(pid: u32) -> Result {
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, text).with_context(|| format!("write {path}"))
    };
    let same = |file: &str| -> Result<String> {
        let own = fs::read_to_string(format!("/proc/self/{file}"))?;
        let line = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            format!("{0} {0} {1}", fields.first().unwrap_or(&"0"), fields.get(2).unwrap_or(&"1"))
        };
        Ok(own.lines().map(line).collect::<Vec<_>>().join("\n"))
    };
    if Uid::effective().is_root() {
        write("uid_map", &same("uid_map")?)?;
        write("gid_map", &same("gid_map")?)
    } else {
        write("setgroups", "deny")?;
        write("uid_map", &format!("0 {} 1", geteuid()))?;
        write("gid_map", &format!("0 {} 1", getegid()))
    }
}

/// Names the file of the lab's program, for callers that are another program (tests). The first call counts.
pub fn use_program(program: PathBuf) {
    let _ = PROGRAM.set(program);
}

/// The lab's program, for starting itself in another role.
pub fn own_program() -> Result<PathBuf> {
    match PROGRAM.get() {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe().context("find this program's file"),
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
