//! The node's own servers of names: from its resolv.conf, read again when it changes.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use weft_model::ownership::DNS_PORT;

use crate::limits;

/// Files in which the node's servers may stand. The second one is systemd-resolved's: where it is, the first names the
/// machine's own stub, whose servers stand here (resolved.conf(5), systemd-resolved.service(8)).
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// The stub of systemd-resolved.
const STUB: &str = "127.0.0.53";

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
        let own = servers(&self.files[0]);
        let stub = own.iter().all(|server| server.ip().to_string() == STUB);
        let behind = if stub { servers(&self.files[1]) } else { Vec::new() };
        let servers = if behind.is_empty() { own } else { behind };
        let changed = servers != self.servers;
        self.servers = servers;
        changed
    }
}

fn servers(path: &Path) -> Vec<SocketAddr> {
    parse(&fs::read_to_string(path).unwrap_or_default())
}

/// Lines `nameserver ADDRESS`, as many as the C library heeds (resolv.conf(5)). One with a zone can't be asked by others.
fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    text.lines().filter_map(server).take(limits::NAMESERVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_count_and_nothing_else() {
        let check = |text: &str, expected: &[&str]| {
            let servers: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
            assert_eq!(servers, expected, "{text:?}");
        };
        check(
            "nameserver 192.0.2.1\nsearch x\nnameserver 2001:db8::1\n",
            &["192.0.2.1:53", "[2001:db8::1]:53"],
        );
        check(
            "#nameserver 192.0.2.1\n; nameserver 192.0.2.2\nnameserver fe80::1%eth0\nnameservers 192.0.2.3",
            &[],
        );
        let many = "nameserver 192.0.2.1\n".repeat(5);
        assert_eq!(parse(&many).len(), 3);
    }

    #[test]
    fn behind_the_stub_of_the_machine_its_servers_are_found() {
        let place = tempfile::tempdir().unwrap();
        let files = ["own", "behind"].map(|name| place.path().join(name));
        fs::write(&files[0], "nameserver 127.0.0.53\n").unwrap();
        fs::write(&files[1], "nameserver 192.0.2.7\n").unwrap();
        let mut servers = HostServers::of(files.clone());
        assert_eq!(servers.list()[0].ip().to_string(), "192.0.2.7");
        let later = Instant::now() + limits::RESOLV_CONF_EVERY;
        assert!(!servers.refresh(later), "nothing has changed");
        fs::remove_file(&files[1]).unwrap();
        assert!(servers.refresh(later + limits::RESOLV_CONF_EVERY));
        assert_eq!(servers.list()[0].ip().to_string(), STUB, "better than none");
    }
}
