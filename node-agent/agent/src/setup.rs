//! What pods were given when they were made: `/run/weft/setup/CONTAINER/{resolv.conf,environment}`.
//!
//! Fixed when the pod is made, as kubelet does it; runtimes and people read the files, `weft env` and `weft dns` ask the agent.
//! Like what the kernel knows of a pod they end with the boot, and are never synced. What goes in is decided in weft-plan.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use weft_dns::node_resolv_conf;
use weft_errors::Error;
use weft_model::{NamespaceName, PodDns, PodName};
use weft_plan::{ResolvConf, Variable, environment, resolv_conf};
use weft_proto::v1;
use weft_view::View;

use crate::{node::Node, ping::attached};

/// Longest file that is read: variables of some thousand services.
const FILE_MAX: u64 = 4 << 20;
const RESOLV_CONF: &str = "resolv.conf";
const ENVIRONMENT: &str = "environment";

/// What one pod was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Its resolv.conf.
    pub(crate) resolv_conf: ResolvConf,
    /// The services of its namespace.
    pub(crate) environment: Vec<Variable>,
}

impl Setup {
    /// For a pod that is made now.
    pub(crate) fn of(view: &View, pod: &PodName, node: &ResolvConf) -> Self {
        let said = view.setups().get(pod);
        let usual = PodDns::default();
        let (dns, links) = said.map_or((&usual, true), |said| (&said.dns, said.service_links));
        let namespace: &NamespaceName = &pod.namespace;
        let conf = view.fabric().map(|fabric| resolv_conf(fabric, namespace, dns, node));
        Self {
            resolv_conf: conf.unwrap_or_else(|| node.clone()),
            environment: environment(view, namespace, links),
        }
    }

    /// One variable per line: what systemd (`EnvironmentFile=`), docker and podman (`--env-file`) read. Values have no spaces, quotes
    /// or line breaks.
    fn environment_text(&self) -> String {
        self.environment.iter().map(|variable| format!("{}={}\n", variable.name, variable.value)).collect()
    }
}

/// The folder of all of them.
#[derive(Debug)]
pub(crate) struct Setups(PathBuf);

impl Setups {
    /// Made with the first pod.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The files of a container.
    pub(crate) fn folder(&self, container: &str) -> PathBuf {
        self.0.join(container)
    }

    /// Writes what a container is given. Whoever reads it has waited for the answer to ADD, so the files need no rename.
    pub(crate) fn put(&self, container: &str, setup: &Setup) -> io::Result<()> {
        let folder = self.folder(container);
        public_folder(&folder)?;
        public_file(&folder.join(RESOLV_CONF), &setup.resolv_conf.to_string())?;
        public_file(&folder.join(ENVIRONMENT), &setup.environment_text())
    }

    /// Forgets a container.
    pub(crate) fn remove(&self, container: &str) {
        match fs::remove_dir_all(self.folder(container)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(%error, container, "what a pod was given stays behind"),
        }
    }

    /// What a container was given; `None` when it isn't there whole.
    pub(crate) fn read(&self, container: &str) -> Option<Setup> {
        let text = |name| {
            let bytes = weft_process::read_limited(&self.folder(container).join(name), FILE_MAX).ok()?;
            String::from_utf8(bytes).ok()
        };
        let variable = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some(Variable { name: name.to_owned(), value: value.to_owned() })
        };
        Some(Setup {
            resolv_conf: ResolvConf::parse(&text(RESOLV_CONF)?),
            environment: text(ENVIRONMENT)?.lines().filter_map(variable).collect(),
        })
    }

    /// Answers what a pod of this node was given.
    pub(crate) fn answer(&self, node: &Node, pod: &str) -> Result<v1::SetupResult, Error> {
        let holding = attached(node, pod)?;
        let container = &holding.attachment.container;
        let recorded = self.read(container);
        let folder = recorded.as_ref().map(|_| self.folder(container).display().to_string());
        let is_recorded = recorded.is_some();
        let setup = recorded.unwrap_or_else(|| Setup::of(&node.view(), &holding.pod, &node_resolv_conf()));
        let to_wire = |variable: Variable| v1::Variable { name: variable.name, value: variable.value };
        Ok(v1::SetupResult {
            resolv_conf: setup.resolv_conf.to_string(),
            variables: setup.environment.into_iter().map(to_wire).collect(),
            recorded: is_recorded,
            folder: folder.unwrap_or_default(),
        })
    }
}

/// A folder that everybody may enter, whatever the umask: pods' processes are often not root.
pub(crate) fn public_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// A file that everybody may read, whatever the umask.
pub(crate) fn public_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use weft_model::{Item, Revision, SetupItem};

    use super::*;
    use crate::fixture;

    #[test]
    fn what_a_pod_was_given_comes_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let setups = Setups::new(folder.path().join("setup"));
        let setup = Setup {
            resolv_conf: ResolvConf::parse(
                "nameserver 10.112.0.10\nsearch shop.svc.cluster.local\noptions ndots:5\n",
            ),
            environment: vec![Variable { name: "A_PORT".to_owned(), value: "tcp://[fd00::1]:80".to_owned() }],
        };
        assert_eq!(setups.read("c1"), None);
        setups.put("c1", &setup).unwrap();
        setups.put("c1", &setup).unwrap();
        assert_eq!(setups.read("c1"), Some(setup));
        let text = fs::read_to_string(folder.path().join("setup/c1/environment")).unwrap();
        assert_eq!(text, "A_PORT=tcp://[fd00::1]:80\n");
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("setup/c1"), mode("setup/c1/resolv.conf")), (0o755, 0o644));
        fs::remove_file(folder.path().join("setup/c1/resolv.conf")).unwrap();
        assert_eq!(setups.read("c1"), None);
        setups.remove("c1");
        setups.remove("c1");
        assert!(!folder.path().join("setup/c1").exists());
    }

    #[test]
    fn what_people_said_of_a_pod_counts_when_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let node = fixture::node(&folder);
        let conf = ResolvConf::parse("nameserver 192.0.2.53\n");
        let pod: PodName = "shop/web".parse().unwrap();
        let mut items: Vec<_> = node.view().items().collect();
        let Some(Item::Fabric(fabric)) = items.first_mut() else { panic!("{items:?}") };
        fabric.ranges.services = vec!["10.112.0.0/16".parse().unwrap()];
        let usual = View::restored(Revision(1), items.clone());
        assert_eq!(
            Setup::of(&usual, &pod, &conf).resolv_conf.nameservers,
            ["10.112.0.10".parse::<std::net::IpAddr>().unwrap()]
        );
        let dns = PodDns { policy: weft_model::DnsPolicy::Default, ..PodDns::default() };
        items.push(Item::Setup(SetupItem { pod: pod.clone(), dns, service_links: true }));
        let said = View::restored(Revision(1), items);
        assert_eq!(Setup::of(&said, &pod, &conf).resolv_conf, conf);
        assert_eq!(
            Setup::of(&View::default(), &pod, &conf).resolv_conf,
            conf,
            "a node that knows no fabric yet"
        );
    }
}
