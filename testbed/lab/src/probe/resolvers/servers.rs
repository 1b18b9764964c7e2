//! The servers: each of them a process on the same core, at an address of its own, with the same services.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use super::data::{DOMAIN, lines};
use super::usage::{Usage, members};
use super::{SERVER_CORE, pin};
use crate::launch::own_program;
use crate::namespace::in_thread;
use crate::wait::until;
use crate::{Result, priority};

/// A process and its children.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) at: SocketAddr,
    child: Child,
    members: Vec<u32>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already: nothing is to be done.
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a program on the servers' core.
    pub(super) fn start(name: &'static str, at: SocketAddr, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let child = in_thread(|| {
            pin(SERVER_CORE)?;
            priority::first();
            // What a probe waits for by other means, a server has to hear.
            SigSet::all().thread_unblock()?;
            command.spawn().with_context(|| format!("start {name}"))
        })?;
        Ok(Self { name, at, child, members: Vec::new() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Whose processor time counts; to be asked once it serves.
    pub(super) fn usage(&self) -> Usage<'_> {
        Usage { members: &self.members }
    }

    /// Looks which processes it is.
    pub(super) fn settle(&mut self) -> Result {
        self.members = members(self.child.id())?;
        Ok(())
    }

    /// Ends it in order.
    pub(super) fn end(&mut self) -> Result {
        killpg(self.group(), Signal::SIGTERM)?;
        let ended =
            until(Duration::from_secs(10), Duration::from_millis(2), || self.child.try_wait().transpose());
        match ended.transpose()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} ended with {status:?}", self.name),
            None => bail!("{} doesn't end", self.name),
        }
    }
}

/// Address of a server, by its number; ours has the tenth of the services' range.
pub(super) fn address(number: u8) -> SocketAddr {
    let address = if number == 0 { Ipv4Addr::new(10, 112, 0, 10) } else { Ipv4Addr::new(10, 112, 1, number) };
    SocketAddr::new(IpAddr::V4(address), 53)
}

/// How many addresses there are.
pub(super) const ADDRESSES: u8 = 6;
/// Who is asked about foreign names.
pub(super) const UPSTREAM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 255, 53)), 5353);

/// A server of ours that gives back the question, or an answer to everything.
pub(super) fn echo(name: &'static str, at: SocketAddr, what: &str) -> Result<Server> {
    let mut command = Command::new(own_program()?);
    command.args(["probe", "echo", &at.to_string(), what]);
    Server::start(name, at, command)
}

/// Other people's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Unbound,
    Knot,
    Nsd,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::Unbound, Self::Knot, Self::Nsd];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Knot => "knot",
            Self::Nsd => "nsd",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Knot => "knotd",
            Self::Nsd => "nsd",
        }
    }

    /// Where its program lies; `None`: it isn't installed.
    pub(super) fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let folders = std::env::split_paths(&path).chain(system);
        folders.map(|folder| folder.join(self.program())).find(|path| path.is_file())
    }

    /// What it calls itself.
    pub(super) fn version(self, program: &Path) -> Result<String> {
        let argument = if self == Self::Nsd { "-v" } else { "-V" };
        let output = Command::new(program).arg(argument).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let words = text.split_whitespace().map(|word| word.trim_end_matches(','));
        let version = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(format!("{} {}", self.name(), version.unwrap_or("of unknown version")))
    }

    /// Starts it with so many services.
    pub(super) fn start(
        self,
        program: &Path,
        at: SocketAddr,
        folder: &Path,
        services: u32,
    ) -> Result<Server> {
        let folder = folder.join(self.name());
        std::fs::create_dir_all(folder.join("db"))?;
        let (config, zone) = (folder.join("config"), folder.join("zone"));
        let lines = lines(services)?;
        let text = match self {
            Self::Unbound => unbound(at, &folder, &lines)?,
            Self::Knot => knot(at, &folder),
            Self::Nsd => nsd(at, &folder),
        };
        std::fs::write(&config, text)?;
        std::fs::write(&zone, lines.join("\n") + "\n")?;
        let mut command = Command::new(program);
        match self {
            Self::Unbound | Self::Nsd => command.arg("-d"),
            Self::Knot => &mut command,
        }
        .arg("-c")
        .arg(&config);
        Server::start(self.name(), at, command)
    }
}

fn unbound(at: SocketAddr, folder: &Path, lines: &[String]) -> Result<String> {
    let mut text = format!(
        "server:\n  interface: {}\n  directory: \"{}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  do-daemonize: no\n  \
         use-syslog: no\n  verbosity: 0\n  num-threads: 1\n  so-rcvbuf: 8m\n  so-sndbuf: 4m\n  access-control: 0.0.0.0/0 allow\n  \
         module-config: \"iterator\"\n  local-zone: \"{DOMAIN}.\" static\n",
        at.ip(),
        folder.display()
    );
    for line in lines {
        writeln!(text, "  local-data: \"{line}\"")?;
    }
    writeln!(text, "remote-control:\n  control-enable: no")?;
    writeln!(text, "forward-zone:\n  name: \".\"\n  forward-addr: {}@{}", UPSTREAM.ip(), UPSTREAM.port())?;
    Ok(text)
}

fn knot(at: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "server:\n  listen: {}@53\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: \"{folder}/db\"\nlog:\n- target: stderr\n  any: error\n\
         zone:\n- domain: {DOMAIN}.\n  file: \"{folder}/zone\"\n  zonefile-load: whole\n  journal-content: none\n  semantic-checks: off\n",
        at.ip()
    )
}

fn nsd(at: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "server:\n  ip-address: {}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  pidfile: \"{folder}/pid\"\n  \
         database: \"\"\n  xfrdfile: \"{folder}/xfrd\"\n  zonelistfile: \"{folder}/list\"\n  xfrdir: \"{folder}\"\n  server-count: 1\n  \
         receive-buffer-size: 8388608\n  rrl-ratelimit: 0\n  verbosity: 0\nremote-control:\n  control-enable: no\n\
         zone:\n  name: {DOMAIN}\n  zonefile: zone\n",
        at.ip()
    )
}
