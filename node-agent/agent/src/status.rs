//! The node's own account of itself.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use weft_dns::node_resolv_conf;
use weft_model::PodName;
use weft_plan::Facts;
use weft_proto::v1;
use weft_view::View;

use crate::{
    attach::Engine,
    clock,
    node::Node,
    states::{State, Subsystem},
};

/// Longest time for one replica to answer.
const REACH: Duration = Duration::from_secs(1);

/// The account, with peers and findings.
pub(crate) fn status(node: &Node) -> v1::NodeStatus {
    let (view, facts) = (node.view(), node.facts());
    let states = node.states.all();
    let underlay = facts.underlay.as_ref();
    let now = clock::uptime();
    let (pods, blocks) = node.addresses.read(|ledger| {
        let blocks = ledger.usage().map(|usage| v1::BlockUse {
            block: Some((&usage.block).into()),
            used: u64::try_from(usage.held).unwrap_or(u64::MAX),
            quarantine: u64::try_from(ledger.quarantined(usage.block, now)).unwrap_or(u64::MAX),
        });
        (ledger.holdings().filter(|h| h.attached).count(), blocks.collect())
    });
    v1::NodeStatus {
        applied_revision: node.states.applied().0,
        subsystems: states.iter().map(|(subsystem, state)| subsystem_to_wire(*subsystem, state)).collect(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_wireguard: node.mesh_seen().is_some_and(|seen| seen.in_kernel),
        pods: u32::try_from(pods).unwrap_or(u32::MAX),
        blocks,
        underlay_interface: underlay.map(|u| u.interface.clone()).unwrap_or_default(),
        underlay_mtu: underlay.map_or(0, |u| u.mtu),
        started_ms: node.started.0,
        kernel: kernel_release(),
        peers: peers(node, &view, &facts),
        findings: findings(node, &view, &facts),
        names: node.names.state(),
        drops: Some(node.drops.state(node)),
    }
}

fn subsystem_to_wire(subsystem: Subsystem, state: &State) -> v1::Subsystem {
    v1::Subsystem {
        name: subsystem.as_str().to_owned(),
        ok: state.error.is_none(),
        error: state.error.as_ref().map(Into::into),
        since_ms: state.since.0,
        applied_revision: state.applied.unwrap_or_default().0,
    }
}

fn peers(node: &Node, view: &View, facts: &Facts) -> Vec<v1::PeerStatus> {
    let seen = node.mesh_seen();
    let others = view.peers().values().filter(|peer| peer.node != node.name);
    let status = |peer: &weft_model::PeerItem| {
        let state = seen.as_ref().and_then(|s| s.state.peers.get(&peer.wireguard_key?));
        let elapsed =
            seen.as_ref().map(|s| Instant::now().saturating_duration_since(s.at)).unwrap_or_default();
        let endpoint = state.and_then(|s| s.endpoint).or(peer.endpoint);
        v1::PeerStatus {
            node: peer.node.to_string(),
            endpoint: endpoint.as_ref().map(Into::into),
            handshake_age_s: state.and_then(|s| s.handshake_age).map(|age| (age + elapsed).as_secs()),
            rx_bytes: state.map_or(0, |s| s.rx_bytes),
            tx_bytes: state.map_or(0, |s| s.tx_bytes),
            path_mtu: path_mtu(facts, view, &peer.node),
            rtt_us: node.rtt(&peer.node),
        }
    };
    others.map(status).collect()
}

/// What was probed, else what is computed.
fn path_mtu(facts: &Facts, view: &View, peer: &weft_model::NodeName) -> u32 {
    let computed = view.fabric().map_or(0, |fabric| facts.pod_mtu(fabric));
    facts.probed_mtus.get(peer).copied().unwrap_or(computed)
}

/// The account; for `weft check` this node also looks at how its pods ask for names, and tries to reach every replica, which
/// takes up to [`REACH`].
pub(crate) fn account(engine: &Engine, check: bool) -> v1::NodeStatus {
    let node = engine.node();
    // Whoever asks wants to know what is dropped now.
    node.drops.count(node);
    let mut account = status(node);
    if !check {
        return account;
    }
    let replicas = node.view().fabric().map(|fabric| fabric.replicas.clone()).unwrap_or_default();
    account.findings.extend(weft_plan::replica_findings(reach(&replicas)).into_iter().map(to_wire));
    account.findings.extend(names(engine).into_iter().map(to_wire));
    account
}

/// How this node and its pods ask for names.
fn names(engine: &Engine) -> Vec<weft_plan::Finding> {
    let node = engine.node();
    let view = node.view();
    let Some(fabric) = view.fabric() else { return Vec::new() };
    let held: Vec<_> = node.addresses.read(|ledger| {
        let attached = ledger.holdings().filter(|holding| holding.attached);
        attached.map(|holding| (holding.pod.clone(), holding.attachment.container.clone())).collect()
    });
    let given =
        |(pod, container): (PodName, String)| Some((pod, engine.setups().read(&container)?.resolv_conf));
    let pods: Vec<_> = held.into_iter().filter_map(given).collect();
    let pods = pods.iter().map(|(pod, conf)| (pod, conf));
    weft_plan::name_findings(fabric, &node_resolv_conf(), pods)
}

/// Connects to each and hangs up.
fn reach(replicas: &[SocketAddr]) -> Vec<(SocketAddr, Result<Duration, String>)> {
    let connect = |address: &SocketAddr| {
        let began = Instant::now();
        TcpStream::connect_timeout(address, REACH).map(|_| began.elapsed()).map_err(|e| e.to_string())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = replicas.iter().map(|a| (*a, scope.spawn(move || connect(a)))).collect();
        let broke_off = || Err("the attempt broke off".to_owned());
        threads.into_iter().map(|(a, thread)| (a, thread.join().unwrap_or_else(|_| broke_off()))).collect()
    })
}

/// What `weft check` says of this node.
fn findings(node: &Node, view: &View, facts: &Facts) -> Vec<v1::Finding> {
    let found = weft_plan::findings(view, facts, &node.surroundings());
    found
        .into_iter()
        .chain(node.service_findings.all())
        .chain(policies(node))
        .chain(node.ports.all())
        .chain(node.names.findings())
        .map(to_wire)
        .collect()
}

/// What this node can't hold of its policies: the pods concerned are closed, whatever the policies say.
fn policies(node: &Node) -> Option<weft_plan::Finding> {
    let state = node.states.all().remove(&Subsystem::Policy)?;
    let error = state.error?;
    let detail = error.message.clone();
    Some(weft_plan::Finding { name: "policies".to_owned(), detail, ok: false, error: Some(error) })
}

fn to_wire(weft_plan::Finding { name, detail, ok, error }: weft_plan::Finding) -> v1::Finding {
    v1::Finding { name, detail, ok, error: error.as_ref().map(Into::into) }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
