//! Where the agent keeps its things.

use std::path::{Path, PathBuf};

use weft_model::ownership::{run, state};

/// All paths of the agent.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// `/var/lib/weft/agent`.
    pub(crate) state: PathBuf,
    /// The runtime's network configurations.
    pub(crate) cni_config: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self { state: state::AGENT_DIR.into(), cni_config: "/etc/cni/net.d".into() }
    }
}

impl Paths {
    /// Only one agent works on a directory.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// Directory of key, certificate and authority.
    pub(crate) fn identity(&self) -> PathBuf {
        self.state.join("identity")
    }

    /// Who this node is beside its certificate: endpoints of the control plane.
    pub(crate) fn membership(&self) -> PathBuf {
        self.identity().join("node.json")
    }

    /// Settings of the kernel as they were before the agent changed them.
    pub(crate) fn settings(&self) -> PathBuf {
        self.state.join("settings.json")
    }

    /// Private key of the mesh device.
    pub(crate) fn wireguard_key(&self) -> PathBuf {
        self.identity().join("wireguard.key")
    }

    /// The last View.
    pub(crate) fn view(&self) -> PathBuf {
        self.state.join("view")
    }

    /// What came after the last View: two files that take turns.
    pub(crate) fn view_logs(&self) -> [PathBuf; 2] {
        ["view.log.0", "view.log.1"].map(|name| self.state.join(name))
    }

    /// The allocation journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.state.join("ipam.journal")
    }

    /// DELs that found no agent: weft-cni, which links nothing of ours, has the same path (`spool.rs`).
    pub(crate) fn spool(&self) -> PathBuf {
        self.state.join("cni/spool")
    }

    /// Our network configuration.
    pub(crate) fn conflist(&self) -> PathBuf {
        self.cni_config.join("10-weft.conflist")
    }

    /// The agent's gRPC socket.
    pub(crate) fn agent_socket(&self) -> &'static Path {
        Path::new(run::AGENT_SOCKET)
    }

    /// The socket of the DNS process.
    pub(crate) fn dns_socket(&self) -> &'static Path {
        Path::new(run::DNS_SOCKET)
    }

    /// The CNI socket.
    pub(crate) fn cni_socket(&self) -> &'static Path {
        Path::new(run::CNI_SOCKET)
    }
}
