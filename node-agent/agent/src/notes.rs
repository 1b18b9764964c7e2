//! Notes on attached pods beside the journal, for the day that it is damaged: `/run/weft/pods/UID`.
//!
//! They live as long as what the kernel knows of a pod, until the machine starts anew, and are never synced: together
//! with the links of the kernel they make a lost record of the journal good again, with name, labels and container.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use weft_ipam::{Holding, Journal, Ledger, Settings};
use weft_model::PodUid;

/// Longest note that is read: one record and a header.
const NOTE_MAX: u64 = 1 << 20;

/// The folder.
#[derive(Debug)]
pub(crate) struct Notes(PathBuf);

impl Notes {
    /// Made with the first note.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Notes a pod. A note that can't be written is only missed after damage of the journal.
    pub(crate) fn put(&self, holding: &Holding) {
        if let Err(error) = self.write(holding) {
            tracing::debug!(%error, pod = %holding.pod, "a pod isn't noted");
        }
    }

    /// Forgets a pod.
    pub(crate) fn remove(&self, uid: PodUid) {
        // A note that isn't there is what was wanted; one that stays speaks of a link that is gone.
        let _ = fs::remove_file(self.path(uid));
    }

    /// The note on a pod; `None` when there is none that can be read whole.
    pub(crate) fn read(&self, uid: PodUid) -> Option<Holding> {
        let bytes = weft_process::read_limited(&self.path(uid), NOTE_MAX).ok()?;
        let scan = Journal::scan(&bytes).ok()?;
        let ledger = Ledger::replay(Settings::default(), &scan.entries);
        ledger.holdings().find(|holding| holding.uid == uid).cloned()
    }

    fn write(&self, holding: &Holding) -> io::Result<()> {
        let (_, bytes) = Journal::create(&holding.entries());
        let path = self.path(holding.uid);
        match write(&path, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
                write(&path, &bytes)
            }
            written => written,
        }
    }

    fn path(&self, uid: PodUid) -> PathBuf {
        self.0.join(uid.to_string())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

#[cfg(test)]
mod tests {
    use weft_ipam::{Origin, Serving};
    use weft_model::{AttachmentId, Labels, WallTime};

    use super::*;

    #[test]
    fn a_note_comes_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(folder.path().join("pods"));
        let uid = PodUid([7; 16]);
        let holding = Holding {
            attachment: AttachmentId { container: "c1".to_owned(), interface: "eth0".to_owned() },
            uid,
            pod: "shop/web".parse().unwrap(),
            labels: Labels::from([("app".to_owned(), "web".to_owned())]),
            addresses: vec!["10.128.0.9".parse().unwrap()],
            netns: "/run/netns/x".to_owned(),
            link: "wv07070707".to_owned(),
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1440,
            origin: Origin::Cni { network: "weft".to_owned() },
            created: WallTime(5),
            attached: true,
            serving: Serving { verdict: Some(false), ..Serving::default() },
        };
        assert_eq!(notes.read(uid), None);
        notes.put(&holding);
        notes.put(&holding);
        assert_eq!(notes.read(uid), Some(holding));
        let path = folder.path().join("pods").join(uid.to_string());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(notes.read(uid), None, "a torn note");
        notes.remove(uid);
        notes.remove(uid);
        assert!(!path.exists());
    }
}
