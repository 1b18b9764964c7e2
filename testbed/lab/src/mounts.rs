//! What the file system looks like inside: the machine's own file system, except for the folders that Weft uses at fixed paths.
//!
//! `/etc` and `/var` become small folders of links to the real ones, so that `weft`, `cni` and `lib/weft` can be put into them
//! without touching the host. All of it lives in mount namespaces of the lab and goes with them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use weft_model::ownership::{IP_NETNS_DIR, IP_NETNS_ETC, run::NETNS_DIR};

use crate::Result;

const NONE: Option<&str> = None;

/// Prepares the supervisor's mount namespace: nothing propagates to the host, `/proc` shows the lab's processes.
pub fn prepare_lab() -> Result {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("make mounts private")?;
    mount_proc()?;
    tmpfs("/run")?;
    stand_in("/etc", &[])?;
    stand_in("/var", &["lib", "run"])?;
    fs::create_dir("/var/lib").context("make /var/lib")?;
    link_all("/var/.host/lib", "/var/lib", &["weft"])?;
    symlink("/run", "/var/run").context("link /var/run")?;
    for folder in ["/etc/weft", "/etc/cni", IP_NETNS_ETC, "/var/lib/weft"] {
        let _ = fs::remove_file(folder);
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    Ok(())
}

/// Prepares a machine's mount namespace; `disk` holds what survives it.
pub fn prepare_machine(disk: &Path) -> Result {
    mount_proc()?;
    tmpfs("/run")?;
    for folder in ["/run/netns", "/run/wireguard", "/run/lab"] {
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    start_anew()?;
    // Shows the machine's own links. Some sandboxes forbid it; nothing of ours reads /sys.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE);
    for (name, target) in [
        ("var-lib-weft", "/var/lib/weft"),
        ("etc-weft", "/etc/weft"),
        ("etc-cni", "/etc/cni"),
        ("etc-netns", IP_NETNS_ETC),
    ] {
        let source = disk.join(name);
        fs::create_dir_all(&source).with_context(|| format!("make {}", source.display()))?;
        bind(&source, target)?;
    }
    Ok(())
}

/// Gives the machine an identity of this start, as a kernel does: whoever lost its power knows by that that its pods are gone.
fn start_anew() -> Result {
    const IDENTITY: &str = "/run/lab/boot_id";
    let fresh = fs::read_to_string("/proc/sys/kernel/random/uuid").context("read a random identity")?;
    fs::write(IDENTITY, fresh).with_context(|| format!("write {IDENTITY}"))?;
    mount(Some(IDENTITY), "/proc/sys/kernel/random/boot_id", NONE, MsFlags::MS_BIND, NONE)
        .context("mount the identity of a start")
}

/// Mounts the calling process's network namespace at `path`, which is made.
pub fn mount_netns(path: &Path) -> Result {
    fs::File::create_new(path).with_context(|| format!("make {}", path.display()))?;
    mount(Some("/proc/self/ns/net"), path, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("mount the namespace at {}", path.display()))
}

/// Puts a file over another one, for the calling thread and what it starts. Namespaces of other pods that are mounted are let go:
/// they shall not live longer because of it.
pub fn put_over(file: &Path, over: &Path) -> Result {
    unshare(CloneFlags::CLONE_NEWNS).context("leave the shared mounts")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("make mounts private")?;
    for folder in [IP_NETNS_DIR, NETNS_DIR] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // What is no mount, or none any more, isn't held.
            let _ = umount2(&entry.path(), MntFlags::MNT_DETACH);
        }
    }
    mount(Some(file), over, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("mount {} at {}", file.display(), over.display()))
}

/// Replaces the folder by an empty one with links to everything in it but `except`; the old one is seen at `.host`.
fn stand_in(folder: &str, except: &[&str]) -> Result {
    let aside = format!("/run/host{folder}");
    fs::create_dir_all(&aside).with_context(|| format!("make {aside}"))?;
    mount(Some(folder), aside.as_str(), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .with_context(|| format!("keep {folder}"))?;
    tmpfs(folder)?;
    let host = format!("{folder}/.host");
    fs::create_dir(&host).with_context(|| format!("make {host}"))?;
    mount(Some(aside.as_str()), host.as_str(), NONE, MsFlags::MS_MOVE, NONE)
        .with_context(|| format!("move {aside} to {host}"))?;
    link_all(&host, folder, except)
}

fn link_all(from: &str, to: &str, except: &[&str]) -> Result {
    for entry in fs::read_dir(from).with_context(|| format!("read {from}"))?.flatten() {
        let name = entry.file_name();
        if !except.iter().any(|e| name == **e) {
            symlink(entry.path(), Path::new(to).join(&name))
                .with_context(|| format!("link {name:?} in {to}"))?;
        }
    }
    Ok(())
}

fn mount_proc() -> Result {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NONE).context("mount /proc")
}

fn tmpfs(folder: &str) -> Result {
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .with_context(|| format!("mount a tmpfs at {folder}"))
}

fn bind(source: &Path, target: &str) -> Result {
    mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("mount {} at {target}", source.display()))
}
