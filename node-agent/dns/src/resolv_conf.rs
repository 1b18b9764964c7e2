//! The node's own resolv.conf: the one place that reads it, for this process and for the agent. What of it counts is decided in
//! weft-plan.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use weft_model::ownership::DNS_PORT;
use weft_plan::ResolvConf;

use crate::limits;

/// Files in which the node's servers may stand. The second one is systemd-resolved's: where it is, the first names the
/// machine's own stub, whose servers stand here (resolved.conf(5), systemd-resolved.service(8)).
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The node's own resolv.conf, or what stands behind it; empty when it has none.
pub fn node_resolv_conf() -> ResolvConf {
    read(&FILES.map(PathBuf::from))
}

fn read(files: &[PathBuf; 2]) -> ResolvConf {
    let [own, behind] = [parsed(&files[0]), parsed(&files[1])];
    ResolvConf::of_node(own.unwrap_or_default(), behind)
}

fn parsed(path: &Path) -> Option<ResolvConf> {
    let bytes = weft_process::read_limited(path, limits::RESOLV_CONF).ok()?;
    Some(ResolvConf::parse(&String::from_utf8_lossy(&bytes)))
}

/// The servers, as they were last read.
#[derive(Debug)]
pub(crate) struct HostServers {
    files: [PathBuf; 2],
    seen: [Option<SystemTime>; 2],
    look_at: Instant,
    servers: Vec<SocketAddr>,
}

impl HostServers {
    /// Reads them.
    pub(crate) fn read() -> Self {
        Self::of(FILES.map(PathBuf::from))
    }

    fn of(files: [PathBuf; 2]) -> Self {
        let mut servers = Self { files, seen: [None, None], look_at: Instant::now(), servers: Vec::new() };
        servers.refresh(Instant::now());
        servers
    }

    /// The servers, in the order of the file.
    pub(crate) fn list(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Looks at the files when that is due; whether there are other servers now.
    pub(crate) fn refresh(&mut self, now: Instant) -> bool {
        if now < self.look_at {
            return false;
        }
        self.look_at = now + limits::RESOLV_CONF_EVERY;
        let modified = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
        let seen = [modified(&self.files[0]), modified(&self.files[1])];
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        let conf = read(&self.files);
        let servers: Vec<_> =
            conf.nameservers.into_iter().map(|address| SocketAddr::new(address, DNS_PORT)).collect();
        let changed = servers != self.servers;
        self.servers = servers;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_what_is_behind_the_stub_counts() {
        let place = tempfile::tempdir().unwrap();
        let files = ["own", "behind"].map(|name| place.path().join(name));
        fs::write(&files[0], "nameserver 127.0.0.53\n").unwrap();
        fs::write(&files[1], "nameserver 192.0.2.7\n").unwrap();
        let mut servers = HostServers::of(files.clone());
        assert_eq!(servers.list(), ["192.0.2.7:53".parse().unwrap()]);
        let later = Instant::now() + limits::RESOLV_CONF_EVERY;
        assert!(!servers.refresh(later), "nothing has changed");
        fs::remove_file(&files[1]).unwrap();
        assert!(servers.refresh(later + limits::RESOLV_CONF_EVERY));
        assert_eq!(servers.list(), ["127.0.0.53:53".parse().unwrap()], "better than none");
        fs::remove_file(&files[0]).unwrap();
        assert!(servers.refresh(later + 2 * limits::RESOLV_CONF_EVERY));
        assert!(servers.list().is_empty());
    }
}
