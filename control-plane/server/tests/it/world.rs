//! A cluster for one test: its authority, its replicas (each in a runtime of its own, so that it can be killed), clients.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use weft_core::new_fabric;
use weft_model::{
    Action, ClientId, ClusterId, Command, FabricDraft, Families, Holder, Member, MemberRole, Name, NodeName,
    NodeUid, Part, ReplicaId, ReplicaName, Revision, Sequence, Stamp, WallTime,
};
use weft_process::{Tasks, wait};
use weft_proto::{convert::socket_from_wire, v1};
use weft_rpc::{
    CertificateDer, Channel, ChannelOptions, Identity, Limits, SecretKey, SharedIdentity, Trust, error_of,
    with_deadline,
};
use weft_server::{Pace, ServerOptions, codec, identity_files, serve};
use weft_store::{DataDir, ReplicaAddress};
use weft_trust::Authority;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a call may take.
pub(crate) const CALL: Duration = Duration::from_secs(10);

struct Running {
    runtime: Runtime,
    tasks: Tasks,
}

/// A cluster.
pub(crate) struct World {
    dir: TempDir,
    net: u8,
    pub(crate) cluster: ClusterId,
    pub(crate) authority: Authority,
    running: BTreeMap<u64, Running>,
}

/// Wall time now.
pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

/// A client id that nobody else uses.
pub(crate) fn mutation(client: u8, sequence: u64) -> Option<v1::MutationId> {
    Some(v1::MutationId { client: vec![client; 16].into(), sequence })
}

impl World {
    /// One replica, serving.
    pub(crate) async fn new() -> Self {
        static NETS: AtomicU8 = AtomicU8::new(1);
        let cluster = ClusterId([7; 16]);
        let authority = Authority::found(cluster, now()).unwrap();
        let net = NETS.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().unwrap();
        let mut world = Self { dir, net, cluster, authority, running: BTreeMap::new() };
        world.found();
        world.start(1).await;
        world
    }

    /// Each test process and each world has loopback addresses of its own.
    pub(crate) fn address(&self, id: u64) -> SocketAddr {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let host = self.net.wrapping_mul(16).wrapping_add(u8::try_from(id).unwrap());
        SocketAddr::from((Ipv4Addr::new(127, high | 0x80, low, host), 7443))
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    fn found(&self) {
        let name = ReplicaName::new("cp-1").unwrap();
        let member = Member {
            id: ReplicaId(1),
            name: name.clone(),
            address: self.address(1),
            role: MemberRole::Voter,
            revision: Revision(0),
        };
        let fabric =
            new_fabric(FabricDraft { families: Some(Families::Dual), ..FabricDraft::default() }).unwrap();
        let command = Command {
            client: ClientId([0; 16]),
            sequence: Sequence(1),
            stamp: Stamp { time: now(), random: [1; 16] },
            action: Action::Found { cluster: self.cluster, fabric, member },
        };
        let seed = weft_raft::found(&command, &codec()).unwrap();
        let identity = self.identity(Part::Replica { name: name.clone(), id: ReplicaId(1) });
        self.keep(1, &identity);
        let stored = weft_store::Identity {
            cluster: self.cluster,
            id: ReplicaId(1),
            name,
            listen: self.address(1),
            peers: Vec::new(),
        };
        DataDir::create(&self.path(1), stored, Some(&seed)).unwrap();
    }

    fn keep(&self, id: u64, identity: &Identity) {
        weft_process::private_dir(&self.path(id)).unwrap();
        self.authority.save(&self.path(id)).unwrap();
        identity.save(&identity_files(&self.path(id))).unwrap();
    }

    /// Starts a replica of the directory there is, as soon as one that was killed has given it up.
    pub(crate) async fn start(&mut self, id: u64) {
        let given_up = async || DataDir::open(&self.path(id)).is_ok().then_some(());
        wait::until(PATIENCE, "the directory is given up", given_up).await.unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let tasks = Tasks::new();
        let mut pace = Pace::new(Duration::from_millis(50), Duration::from_millis(300)).unwrap();
        pace.promote = Duration::from_millis(200);
        let options = ServerOptions { data_dir: self.path(id), pace, limits: Limits::default() };
        let tree = tasks.clone();
        runtime.spawn(async move { serve(options, &tree).await }).await.unwrap().unwrap();
        self.running.insert(id, Running { runtime, tasks });
    }

    /// Joins a replica by a token and starts it; it is a voter when this returns.
    pub(crate) async fn join_replica(&mut self, id: u64) {
        self.admit_replica(id).await;
        self.start(id).await;
        let admin = self.admin(&[1]);
        let voter = async || {
            let status =
                admin.admin().status(with_deadline(v1::StatusRequest {}, CALL)).await.ok()?.into_inner();
            status
                .replicas
                .iter()
                .any(|r| r.member.as_ref().is_some_and(|m| m.id == id && m.voter))
                .then_some(())
        };
        wait::until(PATIENCE, "the new replica votes", voter).await.unwrap();
    }

    /// Joins a replica without starting it.
    pub(crate) async fn admit_replica(&self, id: u64) {
        let name = ReplicaName::new(format!("cp-{id}")).unwrap();
        let token = self.token(v1::Role::Replica).await;
        let key = SecretKey::generate().unwrap();
        let request = v1::JoinRequest {
            token,
            csr: key.request().unwrap().0.into(),
            role: v1::Role::Replica.into(),
            name: name.to_string(),
            address: Some((&self.address(id)).into()),
            ..v1::JoinRequest::default()
        };
        let answer =
            self.stranger(&[1]).join().join(with_deadline(request, CALL)).await.unwrap().into_inner();
        assert_eq!(answer.member.unwrap().id, id);
        let certificate = CertificateDer::from(answer.certificate.to_vec());
        let authority = Authority::from_der(&answer.authority[0], &answer.authority_key).unwrap();
        let identity = Identity::new(certificate, vec![authority.certificate().clone()], key).unwrap();
        self.keep(id, &identity);
        let others = answer.members.into_iter().filter(|member| member.id != id);
        let peers = others.map(|member| ReplicaAddress {
            id: ReplicaId(member.id),
            address: socket_from_wire("address", member.address).unwrap(),
        });
        let stored = weft_store::Identity {
            cluster: self.cluster,
            id: ReplicaId(id),
            name,
            listen: self.address(id),
            peers: peers.collect(),
        };
        DataDir::create(&self.path(id), stored, None).unwrap();
    }

    /// The network of a replica goes at once, as when its machine dies; then its directory is given up.
    pub(crate) fn kill(&mut self, id: u64) {
        let Running { runtime, tasks } = self.running.remove(&id).unwrap();
        runtime.shutdown_background();
        tasks.stop();
    }

    /// An orderly stop.
    pub(crate) async fn stop(&mut self, id: u64) {
        let Running { runtime, tasks } = self.running.remove(&id).unwrap();
        let stopped = runtime.spawn(async move { tasks.finish().await }).await.unwrap();
        assert!(stopped.failure.is_none() && stopped.hanging.is_empty(), "{stopped:?}");
        // To its very end: the next start must find the directory unlocked.
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5)));
        ended.await.unwrap();
    }

    /// Who leads, as soon as anybody of these says so.
    pub(crate) async fn leader(&self, ids: &[u64]) -> u64 {
        let admin = self.admin(ids);
        let leader = async || {
            let status =
                admin.admin().status(with_deadline(v1::StatusRequest {}, CALL)).await.ok()?.into_inner();
            status.replicas.iter().find(|r| r.leader && r.reachable).and_then(|r| Some(r.member.as_ref()?.id))
        };
        wait::until(PATIENCE, "somebody leads", leader).await.unwrap()
    }

    /// A certificate of this cluster.
    pub(crate) fn identity(&self, part: Part) -> Identity {
        self.authority.new_identity(&Holder { cluster: self.cluster, part }, now()).unwrap()
    }

    fn channel(&self, ids: &[u64], identity: Option<Identity>) -> Channel {
        let options = ChannelOptions {
            endpoints: ids.iter().map(|id| self.address(*id).to_string()).collect(),
            trust: Trust::Pinned(self.authority.hash()),
            identity: identity.map(SharedIdentity::new),
            replica: None,
        };
        Channel::new(options).unwrap()
    }

    /// A channel of a holder.
    pub(crate) fn as_part(&self, ids: &[u64], part: Part) -> Channel {
        self.channel(ids, Some(self.identity(part)))
    }

    /// A channel of an admin.
    pub(crate) fn admin(&self, ids: &[u64]) -> Channel {
        self.as_part(ids, Part::Admin { name: Name::new("alice").unwrap() })
    }

    /// A channel without a certificate.
    pub(crate) fn stranger(&self, ids: &[u64]) -> Channel {
        self.channel(ids, None)
    }

    /// A token.
    pub(crate) async fn token(&self, role: v1::Role) -> String {
        let request = v1::CreateTokenRequest { mutation: None, role: role.into(), ttl_s: 0 };
        let answer = self.admin(&[1]).admin().create_token(with_deadline(request, CALL)).await.unwrap();
        answer.into_inner().token
    }

    /// A node that has joined: its name, its identity, the answer.
    pub(crate) async fn join_node(&self, name: &str) -> (Channel, v1::JoinResponse) {
        let token = self.token(v1::Role::Node).await;
        let key = SecretKey::generate().unwrap();
        let request = node_request(&token, name, &key.request().unwrap().0);
        let answer =
            self.stranger(&[1]).join().join(with_deadline(request, CALL)).await.unwrap().into_inner();
        let certificate = CertificateDer::from(answer.certificate.to_vec());
        let authority = CertificateDer::from(answer.authority[0].to_vec());
        let identity = Identity::new(certificate, vec![authority], key).unwrap();
        (self.channel(&[1], Some(identity)), answer)
    }
}

impl Drop for World {
    /// A runtime must not be waited for inside another one.
    fn drop(&mut self) {
        for Running { runtime, tasks } in std::mem::take(&mut self.running).into_values() {
            runtime.shutdown_background();
            tasks.stop();
        }
    }
}

/// A node's request to join.
pub(crate) fn node_request(token: &str, name: &str, csr: &[u8]) -> v1::JoinRequest {
    v1::JoinRequest {
        token: token.to_owned(),
        csr: csr.to_vec().into(),
        role: v1::Role::Node.into(),
        name: name.to_owned(),
        ..v1::JoinRequest::default()
    }
}

/// A node that never joined.
pub(crate) fn unknown_node() -> Part {
    Part::Node { name: NodeName::new("ghost").unwrap(), uid: NodeUid([9; 16]) }
}

/// The code of a status.
pub(crate) fn code(status: &weft_rpc::Status) -> String {
    error_of(status).code
}
