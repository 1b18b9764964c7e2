//! The first process of a virtual machine: from the kernel's first root to the host's files, then reaper of orphans.
//!
//! What it does afterwards is done by `hands.rs`, its child: when that ends, this ends, and with it the machine.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chroot};

use super::image::MODULES;
use super::order::{Begin, LAB, Order, PORT, ROOT, Word};
use crate::Result;
use crate::wait::until;

pub use super::hands::hands;

const NONE: Option<&str> = None;
/// 9p as Linux servers speak it, with large messages.
const SHARE: &str = "trans=virtio,version=9p2000.L,msize=512000";
/// Longest time from the driver's start to its device.
const DEVICE: Duration = Duration::from_secs(10);

/// Lives as the first process.
pub fn init() -> Result {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), NONE)
            .with_context(|| format!("mount {target}"))?;
    }
    load_modules(&Path::new("/").join(MODULES))?;
    let mut port = open_port()?;
    let started = begin(&port).and_then(|begin| start_hands(&begin, &port));
    let hands = match started {
        Ok(hands) => hands,
        Err(e) => {
            say(&mut port, &Word::Failed(format!("{e:#}")))?;
            return Err(e);
        }
    };
    drop(port);
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(hands) => bail!("the hands ended: {status:?}"),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => bail!("wait for children: {e}"),
        }
    }
}

/// One word to the supervisor.
pub(super) fn say(port: &mut File, word: &Word) -> Result {
    let mut line = serde_json::to_string(word)?;
    line.push('\n');
    port.write_all(line.as_bytes()).context("write to the port")
}

fn load_modules(folder: &Path) -> Result {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).context("read the modules")?.flatten().map(|e| e.path()).collect();
    files.sort();
    for path in files {
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            // For other hardware than ours; what is missed is told by whoever needs it.
            Err(e) => writeln!(std::io::stderr(), "module {}: {}", path.display(), e.desc())?,
        }
    }
    Ok(())
}

/// The virtio port for orders, found by its name.
fn open_port() -> Result<File> {
    let named = || {
        let ports = std::fs::read_dir("/sys/class/virtio-ports").ok()?.flatten();
        let mut ours = ports.filter(|port| {
            std::fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT)
        });
        ours.next().map(|port| Path::new("/dev").join(port.file_name()))
    };
    let found = until(DEVICE, Duration::from_millis(5), || named().filter(|path| path.exists()));
    let path = found.ok_or_else(|| anyhow!("there is no virtio port {PORT}"))?;
    OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("open {}", path.display()))
}

/// The first order. Nothing follows it before the answer, so the reader's buffer takes nothing with it.
fn begin(port: &File) -> Result<Begin> {
    let mut line = String::new();
    BufReader::new(port).read_line(&mut line).context("read the first order")?;
    match serde_json::from_str(&line).context("read the first order")? {
        Order::Begin(begin) => Ok(begin),
        Order::Start(..) | Order::Signal(..) => bail!("the first order is another than Begin"),
    }
}

/// Makes the host's files the root, and the lab's folder writable.
fn enter_root(begin: &Begin) -> Result {
    let read_only = MsFlags::MS_RDONLY;
    mount(Some(ROOT), "/host", Some("9p"), read_only, Some(format!("{SHARE},cache=loose").as_str()))
        .context("mount the host's root")?;
    let lab = Path::new("/host").join(begin.lab.strip_prefix("/").unwrap_or(&begin.lab));
    mount(Some(LAB), &lab, Some("9p"), MsFlags::empty(), Some(format!("{SHARE},cache=none").as_str()))
        .with_context(|| format!("mount the lab's folder at {}", lab.display()))?;
    for folder in ["proc", "sys", "dev"] {
        let (from, to) = (format!("/{folder}"), format!("/host/{folder}"));
        mount(Some(from.as_str()), to.as_str(), NONE, MsFlags::MS_MOVE, NONE)
            .with_context(|| format!("move {from}"))?;
    }
    std::env::set_current_dir("/host")?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE).context("move the root")?;
    chroot(".").context("enter the root")?;
    Ok(std::env::set_current_dir("/")?)
}

fn start_hands(begin: &Begin, port: &File) -> Result<Pid> {
    enter_root(begin)?;
    ensure!(begin.disk.starts_with(&begin.lab), "the disk {} isn't in the lab", begin.disk.display());
    let hands = Command::new(&begin.program)
        .args(["inside", "hands", &serde_json::to_string(begin)?])
        .env_clear()
        .envs(&begin.env)
        .stdin(Stdio::from(port.try_clone()?))
        .spawn()
        .with_context(|| format!("start {}", begin.program.display()))?;
    Ok(Pid::from_raw(i32::try_from(hands.id())?))
}
