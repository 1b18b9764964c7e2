//! What a change of policies costs the control plane, by the very code of its state, and who reaches whom among two thousand pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use weft_core::{State, apply, new_fabric};
use weft_model::{
    Action, Answer, AttachmentId, ClientId, ClusterId, Command, Fabric, FabricDraft, FabricRanges, Families,
    Labels, LogIndex, Member, MemberRole, NetworkPolicy, Node, NodeFacts, NodeName, NodeUid, Object,
    ObjectUid, Pod, PodPhase, PodReport, PodUid, PolicySpec, ReplicaId, Revision, Role, Sequence, Stamp,
    Term, Token, WallTime,
};
use weft_policy::{Matrix, World, WorldPod};

use super::cluster::{self, Cluster, PODS, Spread};
use super::ms;
use crate::Result;
use crate::probe::connects::at;

/// Policies of the cluster.
const POLICIES: u32 = 1_000;
/// Its nodes; each holds as many pods as fit its first block.
const NODES: u32 = 40;
/// Changes of each kind that are timed.
const CHANGES: u16 = 200;
/// Pods of the matrix, and policies about them.
const FEW: u32 = 2_000;
/// Time of commands: nothing is old.
const NOW: WallTime = WallTime(1_000_000);

/// Measures.
pub(in super::super) fn run() -> Result<Value> {
    let cluster = Cluster { policies: POLICIES, spread: Spread::Even };
    let mut control = Control::founded()?;
    control.pods(&cluster)?;
    for number in 0..POLICIES {
        let app = Cluster::app_of_policy(number);
        control.write(policy(app.0, &format!("p{number}"), cluster.spec(app))?)?;
    }
    let (mut changed, mut labelled, mut turned) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..CHANGES {
        // The same policy with one port more, another one each time.
        let number = u32::from(round) * 5;
        let app = Cluster::app_of_policy(number);
        let mut spec = cluster.spec(app);
        spec.ingress[0].ports.push(cluster::tcp(7_000 + round));
        changed.push(control.write(policy(app.0, &format!("p{number}"), spec)?)?);
        labelled.push(control.relabel(&cluster, u32::from(round) * 7)?);
    }
    // A word that no policy used so far: a thousand pods of the namespace have it, and are told apart from then on.
    for round in 0..CHANGES / 20 {
        let mut spec = cluster.spec((0, 0));
        spec.pods.labels = Labels::from([(format!("word{round}"), "0".to_owned())]);
        turned.push(control.write(policy(0, &format!("turning{round}"), spec)?)?);
    }
    let mut seen = json!({"ok": true, "matrix_ms": ms(matrix()?)});
    for (name, mut times) in [("change", changed), ("label", labelled), ("word", turned)] {
        times.sort_unstable();
        seen[format!("{name}_p50_us")] = json!(at(&times, 50));
        seen[format!("{name}_p99_us")] = json!(at(&times, 99));
    }
    Ok(seen)
}

/// Who reaches whom: of a whole world.
fn matrix() -> Result<Duration> {
    let cluster = Cluster { policies: POLICIES, spread: Spread::Even };
    let mut world = World::default();
    for number in 0..POLICIES {
        let app = Cluster::app_of_policy(number);
        let name = format!("{}/p{number}", cluster::namespace(app.0)?).parse()?;
        world.put_policy(name, Arc::new(cluster.spec(app)));
        world.put_namespace(cluster::namespace(app.0)?, Labels::new());
    }
    for pod in 0..FEW {
        let labels = cluster::labels(cluster.app_of(pod));
        let one = WorldPod { labels, addresses: vec![cluster::address(pod)], ..WorldPod::default() };
        world.put_pod(cluster::pod_name(pod)?, one);
    }
    let began = Instant::now();
    let matrix = Matrix::of(&world);
    let took = began.elapsed();
    // Besides the applications: the outside, and nodes.
    let groups = matrix.groups().len();
    ensure!(groups >= POLICIES as usize, "{groups} groups of pods");
    Ok(took)
}

/// The state of the control plane, without log and disk.
struct Control {
    state: State,
    sequence: u64,
    nodes: Vec<Node>,
    /// Where each pod lives: its node and what it published.
    pods: BTreeMap<u32, (usize, Pod)>,
}

impl Control {
    fn founded() -> Result<Self> {
        let mut control = Self { state: State::new(), sequence: 0, nodes: Vec::new(), pods: BTreeMap::new() };
        let member = Member {
            id: ReplicaId(1),
            name: "cp-1".parse()?,
            address: ([192, 168, 1, 10], 7443).into(),
            role: MemberRole::Voter,
            revision: Revision(0),
        };
        control.run(Action::Found { cluster: ClusterId([7; 16]), fabric: fabric()?, member })?;
        for number in 0..u32::from(u16::try_from(NODES)?) {
            control.join(number)?;
        }
        Ok(control)
    }

    /// Applies, and says how long that took.
    fn run(&mut self, action: Action) -> Result<(Duration, Answer)> {
        self.sequence += 1;
        let stamp = Stamp { time: NOW, random: u128::from(self.sequence).to_le_bytes() };
        let command = Command { client: ClientId([1; 16]), sequence: Sequence(self.sequence), stamp, action };
        let began = Instant::now();
        let outcome = apply(&mut self.state, LogIndex(self.sequence), Term(1), &command);
        let took = began.elapsed();
        match outcome.answer {
            Ok(answer) => Ok((took, answer)),
            Err(error) => bail!("{error}"),
        }
    }

    fn join(&mut self, number: u32) -> Result {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        let expires = WallTime(NOW.0 + 1_000_000);
        let token = Token {
            id: format!("t{number}"),
            hash,
            role: Role::Node,
            expires,
            used_by: None,
            revision: Revision(0),
        };
        self.run(Action::CreateToken { token })?;
        let name = NodeName::new(format!("n{number}"))?;
        let uid = NodeUid((u128::from(number) + 1).to_be_bytes());
        let (labels, facts) = (Labels::new(), NodeFacts::default());
        let (_, answer) = self.run(Action::JoinNode { token: hash, name, uid, labels, facts })?;
        let Answer::Node(node, leases) = answer else { bail!("{answer:?}") };
        let block = leases.first().context("no block")?.block;
        let (at, per_node) = (self.nodes.len(), PODS / NODES);
        for place in 0..per_node {
            let address = block.nth(u128::from(place) + 2).context("the block is too small")?;
            let pod = number * per_node + place;
            let pod_item = Pod {
                uid: PodUid((u128::from(pod) + 1).to_be_bytes()),
                name: cluster::pod_name(pod)?,
                labels: Labels::new(),
                node: node.name.clone(),
                attachment: AttachmentId { container: format!("c{pod}"), interface: "eth0".to_owned() },
                addresses: vec![address],
                ports: Vec::new(),
                phase: PodPhase::Active,
                ready: true,
                terminating: false,
                created: NOW,
                revision: Revision(0),
            };
            self.pods.insert(pod, (at, pod_item));
        }
        self.nodes.push(node);
        Ok(())
    }

    /// All pods are published, each with the label of its application and words that nobody uses.
    fn pods(&mut self, cluster: &Cluster) -> Result {
        for at in 0..self.nodes.len() {
            let own: Vec<u32> =
                self.pods.iter().filter(|(_, (on, _))| *on == at).map(|(pod, _)| *pod).collect();
            for pod in &own {
                let labels = words(cluster::labels(cluster.app_of(*pod)));
                self.pods.get_mut(pod).context("a pod")?.1.labels = labels;
            }
            self.publish(at, &own)?;
        }
        Ok(())
    }

    fn publish(&mut self, at: usize, pods: &[u32]) -> Result<Duration> {
        let node = &self.nodes[at];
        let report = PodReport {
            node: node.name.clone(),
            uid: node.uid,
            complete: false,
            upserts: pods.iter().filter_map(|pod| Some(self.pods.get(pod)?.1.clone())).collect(),
            deletes: Vec::new(),
        };
        Ok(self.run(Action::PublishPods(report))?.0)
    }

    /// A pod is of the next application from now on.
    fn relabel(&mut self, cluster: &Cluster, pod: u32) -> Result<Duration> {
        let labels = words(cluster::labels(cluster.next(cluster.app_of(pod))));
        let (at, one) = self.pods.get_mut(&pod).context("a pod")?;
        one.labels = labels;
        let at = *at;
        self.publish(at, &[pod])
    }

    fn write(&mut self, policy: NetworkPolicy) -> Result<Duration> {
        Ok(self.run(Action::Write { objects: vec![Object::NetworkPolicy(policy)] })?.0)
    }
}

/// Labels that policies may ask for one day.
fn words(mut labels: Labels) -> Labels {
    labels.extend((0..CHANGES / 20).map(|number| (format!("word{number}"), "0".to_owned())));
    labels
}

fn policy(namespace: u32, name: &str, spec: PolicySpec) -> Result<NetworkPolicy> {
    Ok(NetworkPolicy {
        name: format!("{}/{name}", cluster::namespace(namespace)?).parse()?,
        uid: ObjectUid([0; 16]),
        labels: Labels::new(),
        annotations: Labels::new(),
        spec,
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    })
}

fn fabric() -> Result<Fabric> {
    let range = |text: &str| text.parse().map(|range| vec![range]);
    let ranges = FabricRanges {
        pods: range("10.128.0.0/14")?,
        services: range("10.112.0.0/15")?,
        nodes: range("10.111.0.0/20")?,
        load_balancers: Vec::new(),
    };
    let draft = FabricDraft { families: Some(Families::V4), ..FabricDraft::from(ranges) };
    new_fabric(draft).map_err(|error| anyhow::anyhow!("{error:?}"))
}
