//! The data directory of a replica: who it is, that nobody else uses it, where its parts are.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::fs::{FlockOperation, flock};
use weft_model::{ClusterId, ReplicaId, ReplicaName};
use weft_process::{MODE_PRIVATE, durable_remove, durable_replace};
use weft_raft::{Draft, Seed};

use crate::{EngineLog, Error, LogStore, Owner, Reserve, SledState, StateHealth};

/// Format of the directory that this release writes.
const FORMAT: u32 = 1;

/// Another replica and where it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaAddress {
    /// Its Raft id.
    pub id: ReplicaId,
    /// Where it serves.
    pub address: SocketAddr,
}

/// Who a replica is; written once, by `weftd init` or `weftd join`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its Raft id.
    pub id: ReplicaId,
    /// Its name.
    pub name: ReplicaName,
    /// Where it serves.
    pub listen: SocketAddr,
    /// The replicas there were when it joined: it hears of others once it has a state.
    pub peers: Vec<ReplicaAddress>,
}

/// A locked data directory.
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    /// Held for the life of the value.
    _lock: File,
}

impl DataDir {
    /// Makes a data directory for a new replica, of mode 0700, with the seed of a new cluster or empty for one that joins.
    ///
    /// Fails with `AlreadyInitialized` when there is a replica, with `Locked` when another process is at it.
    pub fn create(path: &Path, identity: Identity, seed: Option<&Seed>) -> Result<Self, Error> {
        weft_process::private_dir(path)?;
        let lock = lock(path)?;
        let file = path.join("replica");
        if file.exists() {
            return Err(Error::AlreadyInitialized { path: path.to_owned() });
        }
        // Leftovers of an attempt that didn't come to its end: the identity below is written last.
        for part in ["log", "state"] {
            match fs::remove_dir_all(path.join(part)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::file("removed", path)(e)),
                _ => {}
            }
        }
        durable_remove(&path.join("snapshot"))?;
        durable_remove(&path.join("acknowledged"))?;
        if let Some(seed) = seed {
            let log = EngineLog::open(path, identity.owner())?;
            let snapshot = Some(seed.snapshot.clone().into());
            let hard_state = Some(seed.hard_state);
            log.write(&[Draft { number: 1, snapshot, entries: Vec::new(), hard_state }])?;
            log.seal()?;
        }
        durable_replace(&file, identity.to_text().as_bytes(), MODE_PRIVATE)?;
        Ok(Self { path: path.to_owned(), identity, _lock: lock })
    }

    /// Opens the directory of a replica.
    ///
    /// Fails with `NotInitialized`, `Locked`, `Format` (a newer release wrote it) or `Exposed` (others can read it).
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = path.join("replica");
        if !file.exists() {
            return Err(Error::NotInitialized { path: path.to_owned() });
        }
        let lock = lock(path)?;
        for private in [path, &file] {
            let mode = fs::metadata(private).map_err(Error::file("examined", private))?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Error::Exposed { path: private.to_owned(), mode: mode & 0o7777 });
            }
        }
        let text = fs::read_to_string(&file).map_err(Error::file("read", &file))?;
        let identity = Identity::from_text(path, &text)?;
        Ok(Self { path: path.to_owned(), identity, _lock: lock })
    }

    /// Who the replica is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The directory itself: certificates and keys lie in it too.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log. Fails with `OtherOwner` when it is another's.
    pub fn open_log(&self) -> Result<EngineLog, Error> {
        EngineLog::open(&self.path, self.identity.owner())
    }

    /// Opens the applied state, or begins it anew when it is damaged.
    pub fn open_states(&self) -> Result<(SledState, StateHealth), Error> {
        SledState::open(&self.path)
    }

    /// Its room on the disk.
    pub fn reserve(&self) -> Reserve {
        Reserve::new(&self.path)
    }
}

/// Takes the lock of a directory; it goes with the process.
fn lock(path: &Path) -> Result<File, Error> {
    let file = path.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&file);
    let lock = lock.map_err(Error::file("locked", &file))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
        Ok(()) => Ok(lock),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked { path: path.to_owned() }),
        Err(e) => Err(Error::file("locked", &file)(e)),
    }
}

impl Identity {
    /// Whose log a log of this replica is.
    const fn owner(&self) -> Owner {
        Owner { cluster: self.cluster, replica: self.id }
    }

    fn to_text(&self) -> String {
        let Self { cluster, id, name, listen, peers } = self;
        let mut text = format!("format={FORMAT}\ncluster={cluster}\nid={id}\nname={name}\nlisten={listen}\n");
        for peer in peers {
            text.push_str(&format!("peer={} {}\n", peer.id, peer.address));
        }
        text
    }

    fn from_text(path: &Path, text: &str) -> Result<Self, Error> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let damaged = |key: &str| Error::Damaged {
            what: "the identity",
            why: format!("{}: {key} is missing or malformed", path.join("replica").display()),
        };
        let format =
            number(value("format")).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| damaged("format"))?;
        if format > FORMAT {
            return Err(Error::Format { path: path.to_owned(), found: format, known: FORMAT });
        }
        let mut peers = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("peer=")) {
            let peer = line.split_once(' ').and_then(|(id, address)| {
                Some(ReplicaAddress { id: ReplicaId(number(Some(id))?), address: address.parse().ok()? })
            });
            peers.push(peer.ok_or_else(|| damaged("peer"))?);
        }
        Ok(Self {
            cluster: parse(value("cluster")).ok_or_else(|| damaged("cluster"))?,
            id: number(value("id")).filter(|id| *id != 0).map(ReplicaId).ok_or_else(|| damaged("id"))?,
            name: parse(value("name")).ok_or_else(|| damaged("name"))?,
            listen: parse(value("listen")).ok_or_else(|| damaged("listen"))?,
            peers,
        })
    }
}

fn parse<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

fn number(text: Option<&str>) -> Option<u64> {
    parse(text)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
