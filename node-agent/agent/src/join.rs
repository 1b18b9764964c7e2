//! `weft-agent join`: a token becomes an identity, the first View and leases.
//!
//! Nothing is kept when it fails. The first View is made from the answer, so that pods can be attached although the
//! control plane is never reached again.

use std::{collections::BTreeMap, time::Duration};

use weft_errors::{ALREADY_INITIALIZED, Coded, Error, INTERNAL, PRIMARY_MISMATCH, USAGE};
use weft_model::{
    AuthorityHash, BlockLease, ClusterId, Fabric, FabricItem, Family, Item, Node, NodeName, PeerItem,
    Revision, RouteItem, ZONE_LABEL,
};
use weft_plan::{Facts, choose_underlay, node_facts};
use weft_proto::{
    convert::{ShapeError, cluster_from_wire, required, socket_from_wire},
    v1,
};
use weft_rpc::{
    CertificateDer, Channel, ChannelOptions, FileNames, Identity, SecretKey, Trust, with_deadline,
};
use weft_view::View;

use crate::{config::Config, control::Mutations, identity, paths::Paths, view_file, view_log};

/// The whole join.
const DEADLINE: Duration = Duration::from_secs(20);

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    /// Replicas, `ADDRESS:PORT`.
    pub(crate) endpoints: Vec<String>,
    /// The token.
    pub(crate) token: String,
    /// Hash of the authority.
    pub(crate) authority: AuthorityHash,
    /// Name of the node; the machine's name when absent.
    pub(crate) name: Option<String>,
    /// Labels beside those of the configuration.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What the node became, for a person to read.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// Its name.
    pub(crate) name: NodeName,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The replicas.
    pub(crate) endpoints: Vec<String>,
    /// Its mesh addresses and blocks, as texts.
    pub(crate) addresses: Vec<String>,
}

/// Joins.
pub(crate) async fn join(paths: &Paths, config: &Config, request: JoinRequest) -> Result<Joined, Error> {
    if paths.membership().exists() {
        return Err(Error::new(&ALREADY_INITIALIZED, "this machine has joined a fabric already")
            .object("file", "", paths.identity().display())
            .try_this("to leave it, purge the node and join again", "weft-agent purge"));
    }
    let outcome = join_once(paths, config, request).await;
    if outcome.is_err() {
        undo(paths);
    }
    outcome
}

async fn join_once(paths: &Paths, config: &Config, request: JoinRequest) -> Result<Joined, Error> {
    let name = node_name(request.name.as_deref())?;
    weft_process::private_dir(&paths.state).map_err(|e| e.envelope())?;
    let wireguard = weft_mesh::public_key(&identity::wireguard_key(paths)?);
    let facts = host_facts(&name, config)?;
    let key = SecretKey::generate().map_err(|e| e.envelope())?;
    let given = request.endpoints.clone();
    let channel = Channel::new(ChannelOptions {
        endpoints: request.endpoints,
        trust: Trust::Pinned(request.authority),
        identity: None,
        replica: None,
    })
    .map_err(|e| e.envelope())?;
    let mut labels = config.labels.clone();
    labels.extend(request.labels);
    let wire = v1::JoinRequest {
        token: request.token,
        csr: key.request().map_err(|e| e.envelope())?.0.into(),
        role: v1::Role::Node.into(),
        name: name.to_string(),
        labels,
        facts: Some((&node_facts(&facts, None, wireguard)).into()),
        address: None,
        mutation: Some(Mutations::new()?.next()),
    };
    let call = || {
        let (mut client, wire) = (channel.join(), wire.clone());
        async move { client.join(with_deadline(wire, DEADLINE)).await }
    };
    let response = channel.retry(DEADLINE, call).await?;
    let welcome = Welcome::try_from(&response).map_err(|e| e.envelope())?;
    check_primary(config.primary, &welcome.fabric)?;
    let identity = identity_of(&response, key)?;
    let certified = identity::node_of(identity.holder())?;
    if certified != welcome.node.name {
        return Err(Error::new(
            &INTERNAL,
            format!("the certificate is for node {certified}, not {}", welcome.node.name),
        ));
    }
    view_log::remove(paths)?;
    view_file::save(&paths.view(), &welcome.view())?;
    let membership = identity::Membership::new(&welcome.endpoints, &given);
    identity::save(paths, &identity, &membership)?;
    Ok(welcome.joined())
}

/// Refuses a fabric whose primary family isn't the one that was told.
pub(crate) fn check_primary(told: Option<Family>, fabric: &Fabric) -> Result<(), Error> {
    check_primary_of(told, fabric.families.primary())
}

/// As [`check_primary`].
pub(crate) fn check_primary_of(told: Option<Family>, actual: Family) -> Result<(), Error> {
    match told {
        Some(told) if told != actual => {
            let message = format!(
                "this agent was told that {told} is primary, the fabric's primary family is {actual}"
            );
            Err(Error::new(&PRIMARY_MISMATCH, message).field("primary-family").object(
                "file",
                "",
                "/etc/weft/agent.toml",
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the answer says, checked.
struct Welcome {
    cluster: ClusterId,
    endpoints: Vec<String>,
    node: Node,
    leases: Vec<BlockLease>,
    fabric: Fabric,
}

impl TryFrom<&v1::JoinResponse> for Welcome {
    type Error = ShapeError;

    fn try_from(wire: &v1::JoinResponse) -> Result<Self, ShapeError> {
        let mut endpoints = Vec::new();
        for endpoint in &wire.endpoints {
            endpoints.push(socket_from_wire("endpoints", Some(endpoint.clone()))?.to_string());
        }
        let leases: Result<Vec<BlockLease>, ShapeError> =
            wire.leases.iter().cloned().map(TryInto::try_into).collect();
        Ok(Self {
            cluster: cluster_from_wire("cluster", &wire.cluster)?,
            endpoints,
            node: required("node", wire.node.clone())?,
            leases: leases?,
            fabric: required("fabric", wire.fabric.clone())?,
        })
    }
}

impl Welcome {
    /// What the fabric looks like to a node that knows only itself. Revision 0: the first stream brings everything.
    fn view(&self) -> View {
        let fabric = FabricItem {
            cluster: self.cluster,
            families: self.fabric.families,
            ranges: self.fabric.ranges.clone(),
            overlay: self.fabric.overlay,
            domain: self.fabric.domain.clone(),
            dns: self.fabric.dns.clone(),
            masquerade_exceptions: self.fabric.masquerade_exceptions.clone(),
            node_port_addresses: self.fabric.node_port_addresses.clone(),
            node_port_range: self.fabric.node_port_range,
            policy: self.fabric.policy,
            replicas: Vec::new(),
        };
        let own = PeerItem {
            node: self.node.name.clone(),
            wireguard_key: self.node.wireguard_key,
            endpoint: self.node.endpoint,
            mesh: self.node.mesh,
            underlay: self.node.underlay.clone(),
            uplink_mac: self.node.uplink_mac,
            allowed: Vec::new(),
            zone: self.node.labels.get(ZONE_LABEL).cloned().unwrap_or_default(),
            silent: false,
        };
        let routes = self.leases.iter().map(|lease| {
            Item::Route(RouteItem { block: lease.block, node: lease.node.clone(), epoch: lease.epoch })
        });
        let items = [Item::Fabric(fabric), Item::Peer(own)].into_iter().chain(routes);
        View::restored(Revision(0), items)
    }

    fn joined(&self) -> Joined {
        let mesh = self.node.mesh.iter().map(|(_, address)| format!("mesh address {address}"));
        let blocks = self.leases.iter().map(|lease| format!("block {}", lease.block));
        Joined {
            name: self.node.name.clone(),
            cluster: self.cluster,
            endpoints: self.endpoints.clone(),
            addresses: mesh.chain(blocks).collect(),
        }
    }
}

fn identity_of(response: &v1::JoinResponse, key: SecretKey) -> Result<Identity, Error> {
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let authority = response.authority.iter().map(|bytes| der(bytes)).collect();
    Identity::new(der(&response.certificate), authority, key).map_err(|e| e.envelope())
}

fn host_facts(name: &NodeName, config: &Config) -> Result<Facts, Error> {
    let mut facts = Facts::new(name.clone());
    facts.host = weft_kernel::read_host().map_err(|e| e.envelope())?;
    facts.underlay = Some(choose_underlay(&facts.host, &config.underlay).map_err(|e| e.envelope())?);
    Ok(facts)
}

fn node_name(given: Option<&str>) -> Result<NodeName, Error> {
    let text = match given {
        Some(name) => name.to_owned(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
    };
    NodeName::new(text).map_err(|error| {
        Error::new(&USAGE, error.to_string()).field("--name").try_this("give the node a name", "--name NAME")
    })
}

/// Takes back what a failed join wrote.
fn undo(paths: &Paths) {
    let FileNames { key, certificate, authority } = FileNames::in_directory(&paths.identity());
    let written = [paths.view(), paths.membership(), paths.wireguard_key(), key, certificate];
    for path in written.into_iter().chain(authority) {
        if let Err(error) = weft_process::durable_remove(&path) {
            tracing::warn!(%error, "a file of the failed join stays behind");
        }
    }
}
