//! Replicas as processes of one test: directories, addresses, logs; whatever happens none outlives its test.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use weft_process::wait;
use weft_proto::v1;
use weft_rpc::{Channel, ChannelOptions, FileNames, Identity, SharedIdentity, Trust, with_deadline};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a call may take.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// Machines with a replica each, as far as the test made one.
pub(crate) struct Machines {
    dir: TempDir,
    net: u8,
    ca: String,
    running: BTreeMap<u8, Child>,
}

/// `weftd` with arguments.
pub(crate) fn weftd<'a>(args: impl IntoIterator<Item = &'a str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weftd"));
    command.args(args).env_remove("NOTIFY_SOCKET").output().unwrap()
}

/// What a command printed as JSON.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

impl Machines {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        static NETS: AtomicU8 = AtomicU8::new(1);
        let net = NETS.fetch_add(1, Ordering::Relaxed);
        Self { dir: tempfile::tempdir().unwrap(), net, ca: String::new(), running: BTreeMap::new() }
    }

    pub(crate) fn address(&self, id: u8) -> SocketAddr {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(127, high | 0x80, low, self.net * 16 + id), 7443))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data_dir(&self, id: u8) -> String {
        self.path(&format!("data-{id}")).display().to_string()
    }

    /// The arguments of `weftd init` for a machine.
    pub(crate) fn init_args(&self, id: u8) -> Vec<String> {
        let context = self.path("contexts.toml").display().to_string();
        let (data_dir, name, listen) = (self.data_dir(id), format!("cp-{id}"), self.address(id).to_string());
        ["init", "--data-dir", &data_dir, "--name", &name, "--listen", &listen, "--context-file", &context]
            .into_iter()
            .chain(["--context-name", "test", "-o", "json"])
            .map(str::to_owned)
            .collect()
    }

    /// `weftd init` on the first machine.
    pub(crate) fn init(&mut self) -> Value {
        let args = self.init_args(1);
        let output = weftd(args.iter().map(String::as_str));
        assert!(output.status.success(), "{output:?}");
        let value = json(&output);
        self.ca = value["ca"].as_str().unwrap().to_owned();
        value
    }

    /// `weftd join` on a machine, by a fresh token.
    pub(crate) async fn join(&self, id: u8) -> Value {
        let token = self.token(&[1], v1::Role::Replica).await.token;
        let (data_dir, name, listen) = (self.data_dir(id), format!("cp-{id}"), self.address(id).to_string());
        let first = self.address(1).to_string();
        let args = ["join", &first, "--token", &token, "--ca", &self.ca, "--data-dir", &data_dir];
        let output = weftd(args.into_iter().chain(["--name", &name, "--listen", &listen, "-o", "json"]));
        assert!(output.status.success(), "{output:?}");
        json(&output)
    }

    /// `weftd run` on a machine; returns once it says that it serves.
    pub(crate) fn run(&mut self, id: u8) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_weftd"))
            .args(["run", "--data-dir", &self.data_dir(id), "--config", "/dev/null"])
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = File::create(self.path(&format!("log-{id}"))).unwrap();
        let mut line = String::new();
        while !line.contains("message=serving") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "weftd ended before it served");
        }
        // The rest of its log must go somewhere, or it would stand still.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut log));
        self.running.insert(id, child);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, id: u8) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; the status it ends with.
    pub(crate) async fn terminate(&mut self, id: u8) -> Option<i32> {
        let mut child = self.running.remove(&id).unwrap();
        let pid = child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let ended = wait::until(PATIENCE, "weftd ends", async || child.try_wait().unwrap()).await;
        ended.unwrap().code()
    }

    /// The admin's channel, by the context that init wrote.
    pub(crate) fn channel(&self, ids: &[u8]) -> Channel {
        let (cert, key) = (self.path("test-admin.pem"), self.path("test-admin.key"));
        let identity = Identity::load(&FileNames::pair(cert, key)).unwrap();
        Channel::new(ChannelOptions {
            endpoints: ids.iter().map(|id| self.address(*id).to_string()).collect(),
            trust: Trust::Pinned(self.ca.parse().unwrap()),
            identity: Some(SharedIdentity::new(identity)),
            replica: None,
        })
        .unwrap()
    }

    /// A write: one more token.
    pub(crate) async fn token(&self, through: &[u8], role: v1::Role) -> v1::CreateTokenResponse {
        static WRITES: AtomicU8 = AtomicU8::new(1);
        let channel = self.channel(through);
        let client = vec![WRITES.fetch_add(1, Ordering::Relaxed); 16];
        let mutation = Some(v1::MutationId { client: client.into(), sequence: 1 });
        let request = v1::CreateTokenRequest { mutation, role: role.into(), ttl_s: 0 };
        let call = || {
            let (mut admin, request) = (channel.admin(), request.clone());
            async move { admin.create_token(with_deadline(request, CALL)).await }
        };
        channel.retry(CALL, call).await.unwrap()
    }

    /// Ids of all tokens, as one machine tells them.
    pub(crate) async fn tokens(&self, through: &[u8]) -> Vec<String> {
        let channel = self.channel(through);
        let call = || {
            let mut admin = channel.admin();
            async move { admin.list_tokens(with_deadline(v1::ListTokensRequest {}, CALL)).await }
        };
        channel.retry(CALL, call).await.unwrap().tokens.into_iter().map(|token| token.id).collect()
    }

    /// Waits until so many replicas vote; the id of the leader.
    pub(crate) async fn voters(&self, through: &[u8], count: usize) -> u8 {
        let channel = self.channel(through);
        let leader = async || {
            let status =
                channel.admin().status(with_deadline(v1::StatusRequest {}, CALL)).await.ok()?.into_inner();
            let members = || status.replicas.iter().filter_map(|replica| replica.member.as_ref());
            let leader = status.replicas.iter().find(|replica| replica.leader)?.member.as_ref()?.id;
            (members().filter(|member| member.voter).count() == count).then_some(leader)
        };
        let leader = wait::until(PATIENCE, "all vote", leader).await.unwrap();
        u8::try_from(leader).unwrap()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
