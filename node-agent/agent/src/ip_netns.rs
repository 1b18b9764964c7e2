//! Pods made by `weft pod add`, for the hands of people: `ip netns exec NAMESPACE_NAME CMD` finds the pod's namespace by a link in
//! `/run/netns`, and its resolv.conf in `/etc/netns` (ip-netns(8)).
//!
//! Comfort, not function: what fails here is logged. A name that somebody else has there stays his.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use weft_model::ownership::{IP_NETNS_DIR, IP_NETNS_ETC, run::NETNS_DIR};
use weft_plan::ResolvConf;

use crate::setup::{public_file, public_folder};

/// First line of our files: what doesn't begin so isn't ours.
const MARK: &str = "# made by weft for a pod of its own; it goes with the pod\n";

/// Where things are.
#[derive(Clone, Debug)]
struct Places {
    /// Links to namespaces.
    links: PathBuf,
    /// Folders of files for `/etc`.
    files: PathBuf,
    /// The namespaces themselves.
    namespaces: PathBuf,
}

impl Places {
    fn usual() -> Self {
        Self { links: IP_NETNS_DIR.into(), files: IP_NETNS_ETC.into(), namespaces: NETNS_DIR.into() }
    }

    fn put(&self, name: &str, conf: &ResolvConf) -> io::Result<()> {
        let link = self.links.join(name);
        fs::create_dir_all(&self.links)?;
        self.take_link(&link);
        match symlink(self.namespaces.join(name), &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tracing::info!(name, "ip netns knows another namespace of this name already");
                return Ok(());
            }
            linked => linked?,
        }
        let folder = self.files.join(name);
        public_folder(&self.files)?;
        public_folder(&folder)?;
        let file = folder.join("resolv.conf");
        if file.exists() && !is_marked(&file) {
            tracing::info!(name, "{} is somebody else's", file.display());
            return Ok(());
        }
        public_file(&file, &format!("{MARK}{conf}"))
    }

    fn remove(&self, name: &str) {
        self.take_link(&self.links.join(name));
        let file = self.files.join(name).join("resolv.conf");
        if is_marked(&file) {
            // A folder with anything else in it isn't empty and stays.
            let _ = fs::remove_file(&file).and_then(|()| fs::remove_dir(self.files.join(name)));
        }
    }

    /// Takes a link away that leads to a namespace of ours.
    fn take_link(&self, link: &Path) {
        if fs::read_link(link).is_ok_and(|target| target.starts_with(&self.namespaces)) {
            // Gone is what was wanted; a link that stays is met again by the next pod of this name.
            let _ = fs::remove_file(link);
        }
    }

    /// Names of which something of ours is there.
    fn names(&self) -> Vec<String> {
        let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let links = entries(&self.links).filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(&self.namespaces))
        });
        let files = entries(&self.files).filter(|entry| is_marked(&entry.path().join("resolv.conf")));
        let mut names: Vec<_> =
            links.chain(files).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn is_marked(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.starts_with(MARK))
}

/// Shows a pod to `ip netns`.
pub(crate) fn put(name: &str, conf: &ResolvConf) {
    if let Err(error) = Places::usual().put(name, conf) {
        tracing::info!(%error, name, "ip netns exec doesn't know the pod whole; nsenter does");
    }
}

/// Takes it away again.
pub(crate) fn remove(name: &str) {
    Places::usual().remove(name);
}

/// Takes all of ours away, and says what.
pub(crate) fn purge(done: &mut Vec<String>) {
    let places = Places::usual();
    for name in places.names() {
        places.remove(&name);
        done.push(format!("remove what ip netns knew of {name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_comes_and_goes_and_what_others_made_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let places = Places { links: at("links"), files: at("etc"), namespaces: at("namespaces") };
        let conf = ResolvConf::parse("nameserver 10.112.0.10\n");
        places.put("shop_web", &conf).unwrap();
        places.put("shop_web", &conf).unwrap();
        assert_eq!(fs::read_link(at("links/shop_web")).unwrap(), at("namespaces/shop_web"));
        let text = fs::read_to_string(at("etc/shop_web/resolv.conf")).unwrap();
        assert_eq!(text, format!("{MARK}nameserver 10.112.0.10\n"));
        assert_eq!(places.names(), ["shop_web"]);
        fs::write(at("links/theirs"), "").unwrap();
        places.put("theirs", &conf).unwrap();
        assert!(!at("etc/theirs").exists(), "the name is somebody else's");
        fs::create_dir_all(at("etc/mixed")).unwrap();
        fs::write(at("etc/mixed/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
        places.put("mixed", &conf).unwrap();
        for name in ["shop_web", "theirs", "mixed"] {
            places.remove(name);
            places.remove(name);
        }
        assert_eq!(places.names(), Vec::<String>::new());
        assert!(at("links/theirs").exists() && !at("links/mixed").exists() && !at("etc/shop_web").exists());
        assert_eq!(fs::read_to_string(at("etc/mixed/resolv.conf")).unwrap(), "nameserver 192.0.2.1\n");
    }
}
