//! Calls to the control plane by a context, to the node's own agent by its socket, and wire shapes as printed values.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use weft_errors::{AGENT_UNREACHABLE, Error, INTERNAL, REQUEST_INVALID};
use weft_model::{AuthorityHash, Object, PodName, ownership};
use weft_proto::{
    convert::{address_from_wire, address_to_wire},
    v1::{self, admin_client::AdminClient},
};
use weft_rpc::{
    Channel, ChannelOptions, FileNames, Identity, SecretKey, SharedIdentity, Transport, Trust, error_of,
    with_deadline,
};

use crate::{
    args::Global,
    context::{Context, load, path, private},
    fail::{Failure, Outcome},
};

/// Calls to the control plane.
pub(crate) struct Session {
    channel: Channel,
    name: String,
    namespace: String,
    timeout: Duration,
    stale: bool,
    client: [u8; 16],
    sequence: AtomicU64,
}

impl Session {
    /// By the chosen context.
    pub(crate) fn open(global: &Global) -> Outcome<Self> {
        Self::by(global, global.context.as_deref())
    }

    /// By a named context.
    pub(crate) fn of_context(global: &Global, name: &str) -> Outcome<Self> {
        Self::by(global, Some(name))
    }

    fn by(global: &Global, name: Option<&str>) -> Outcome<Self> {
        let file = path();
        let (name, context) = load(&file)?.pick(name, &file)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let identity = identity(&context, folder)?;
        let trust = match &context.ca {
            Some(hash) => Trust::Pinned(
                hash.parse().map_err(|e: String| Failure::new(&weft_errors::CONFIG_INVALID, e))?,
            ),
            None => Trust::Authority(identity.authority().to_vec()),
        };
        let endpoints =
            if global.endpoint.is_empty() { context.endpoints.clone() } else { global.endpoint.clone() };
        let identity = Some(SharedIdentity::new(identity));
        let channel = Channel::new(ChannelOptions { endpoints, trust, identity, replica: None })
            .map_err(|e| Failure::of(&e))?;
        let namespace =
            global.namespace.clone().or(context.namespace).unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            channel,
            name,
            namespace,
            timeout: global.timeout,
            stale: global.stale,
            client: random()?,
            sequence: AtomicU64::new(0),
        })
    }

    /// A client of service Admin.
    pub(crate) fn admin(&self) -> Outcome<AdminClient<Transport>> {
        Ok(self.channel.admin())
    }

    /// A request that ends with the command's time.
    pub(crate) fn request<T>(&self, message: T) -> weft_rpc::Request<T> {
        with_deadline(message, self.timeout)
    }

    /// A status as an error for people, naming the endpoints when nobody answered.
    pub(crate) fn failure(&self, status: weft_rpc::Status) -> Failure {
        let error = error_of(&status);
        let unreached = error.registered() == &weft_errors::UNREACHABLE && error.cause.is_empty();
        if unreached {
            return error
                .because(format!("the endpoints are {}", self.channel.endpoints().join(", ")))
                .into();
        }
        error.into()
    }

    /// Identity of one more mutation of this command.
    pub(crate) fn mutation(&self) -> v1::MutationId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        v1::MutationId { client: self.client.to_vec().into(), sequence }
    }

    /// Namespace when none is named.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the context.
    pub(crate) fn context_name(&self) -> &str {
        &self.name
    }

    /// `--stale`.
    pub(crate) const fn stale(&self) -> bool {
        self.stale
    }

    /// Time that an agent has for an answer: a little less than ours.
    pub(crate) fn timeout_ms(&self) -> u32 {
        u32::try_from(self.timeout.saturating_sub(Duration::from_millis(200)).as_millis()).unwrap_or(u32::MAX)
    }
}

fn identity(context: &Context, folder: &Path) -> Outcome<Identity> {
    let key = folder.join(&context.key_file);
    private(&key)?;
    let files = FileNames {
        key,
        certificate: folder.join(&context.cert_file),
        authority: context.ca_file.as_ref().map(|file| folder.join(file)),
    };
    Identity::load(&files).map_err(|e| Failure::of(&e))
}

/// Joins as a person: the key is made here and never leaves; certificate and key are written beside the contexts file.
pub(crate) async fn join_person(
    name: &str,
    token: &str,
    ca: &str,
    global: &Global,
    file: &Path,
) -> Outcome<Context> {
    let hash: AuthorityHash = ca.parse().map_err(|e: String| Failure::new(&weft_errors::USAGE, e))?;
    let key = SecretKey::generate().map_err(|e| Failure::of(&e))?;
    let csr = key.request().map_err(|e| Failure::of(&e))?.0;
    let options = ChannelOptions {
        endpoints: global.endpoint.clone(),
        trust: Trust::Pinned(hash),
        identity: None,
        replica: None,
    };
    let channel = Channel::new(options).map_err(|e| Failure::of(&e))?;
    let client = random()?;
    let mut refused = None;
    // The token says whether it makes an admin or a viewer; the one role that fits is granted, the other spends nothing.
    for role in [v1::Role::Admin, v1::Role::Viewer] {
        let request = v1::JoinRequest {
            token: token.to_owned(),
            csr: csr.clone().into(),
            role: role.into(),
            name: name.to_owned(),
            mutation: Some(v1::MutationId {
                client: client.to_vec().into(),
                sequence: 1 + u64::from(role == v1::Role::Viewer),
            }),
            ..v1::JoinRequest::default()
        };
        match channel.join().join(with_deadline(request, global.timeout)).await {
            Ok(answer) => return keep(name, &answer.into_inner(), key, ca, global, file),
            Err(status) => refused = Some(error_of(&status)),
        }
    }
    Err(refused.unwrap_or_else(|| Error::new(&INTERNAL, "nothing was asked")).into())
}

fn keep(
    name: &str,
    answer: &v1::JoinResponse,
    key: SecretKey,
    ca: &str,
    global: &Global,
    file: &Path,
) -> Outcome<Context> {
    let der = |bytes: &[u8]| weft_rpc::CertificateDer::from(bytes.to_vec());
    let authority = answer.authority.iter().map(|bytes| der(bytes)).collect();
    let identity = Identity::new(der(&answer.certificate), authority, key).map_err(|e| Failure::of(&e))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let (cert_file, key_file) = (format!("{name}.pem"), format!("{name}.key"));
    std::fs::create_dir_all(folder)
        .map_err(|e| Failure::new(&weft_errors::FILE_UNREADABLE, format!("{}: {e}", folder.display())))?;
    identity
        .save(&FileNames::pair(folder.join(&cert_file), folder.join(&key_file)))
        .map_err(|e| Failure::of(&e))?;
    let mut endpoints: Vec<String> =
        answer.endpoints.iter().filter_map(socket).map(|a| a.to_string()).collect();
    if endpoints.is_empty() {
        endpoints.clone_from(&global.endpoint);
    }
    Ok(Context {
        endpoints,
        ca: Some(ca.to_owned()),
        ca_file: None,
        cert_file: cert_file.into(),
        key_file: key_file.into(),
        namespace: None,
        protect: false,
    })
}

/// The agent of this machine, by its socket.
pub(crate) struct LocalAgent(v1::local_client::LocalClient<Transport>);

impl LocalAgent {
    /// Opens the socket; connecting happens with the first call.
    pub(crate) fn open() -> Outcome<Self> {
        let path = Path::new(ownership::run::AGENT_SOCKET);
        if !path.exists() {
            return Err(Error::new(
                &AGENT_UNREACHABLE,
                format!("{} isn't there: no weft-agent runs on this machine", path.display()),
            )
            .try_this("name a node, or start the agent", "weft pod add NAME --node NODE")
            .into());
        }
        Ok(Self(weft_rpc::local_channel(path)))
    }

    /// Makes a pod here.
    pub(crate) async fn add_pod(&mut self, add: v1::PodAdd, timeout: Duration) -> Outcome<v1::Pod> {
        let answer =
            self.0.add_pod(with_deadline(add, timeout)).await.map_err(|s| Failure::from(error_of(&s)))?;
        answer
            .into_inner()
            .pod
            .ok_or_else(|| Failure::new(&INTERNAL, "the agent made a pod and didn't say which"))
    }

    /// Removes a pod here.
    pub(crate) async fn remove_pod(&mut self, remove: v1::PodRemove, timeout: Duration) -> Outcome {
        self.0.remove_pod(with_deadline(remove, timeout)).await.map(|_| ()).map_err(|s| error_of(&s).into())
    }

    /// Whether a pod is attached here.
    pub(crate) async fn has_pod(&mut self, name: &PodName, timeout: Duration) -> Outcome<bool> {
        let answer = self
            .0
            .status(with_deadline(v1::LocalNodeRequest {}, timeout))
            .await
            .map_err(|s| Failure::from(error_of(&s)))?;
        let same = |pod: &v1::Pod| pod.namespace == name.namespace.as_str() && pod.name == name.name.as_str();
        Ok(answer.into_inner().pods.iter().any(same))
    }
}

/// A wire object as a model object.
pub(crate) fn object(wire: Option<v1::Object>) -> Outcome<Object> {
    let wire =
        wire.ok_or_else(|| Failure::new(&INTERNAL, "the control plane sent an answer without its object"))?;
    Object::try_from(wire).map_err(|e| {
        Error::new(&REQUEST_INVALID, e.to_string())
            .because("the control plane may be of a newer version")
            .into()
    })
}

/// An address of the wire.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    address_from_wire(bytes).ok()
}

/// An address for the wire.
pub(crate) fn bytes_of(address: IpAddr) -> bytes::Bytes {
    address_to_wire(address)
}

/// A socket address of the wire.
pub(crate) fn socket(wire: &v1::SocketAddress) -> Option<SocketAddr> {
    SocketAddr::try_from(wire.clone()).ok()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Wall time, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn random() -> Outcome<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(&INTERNAL, format!("the kernel gave no random bytes: {e}")))?;
    Ok(bytes)
}

/// Whether a node has a revision in its kernel, by its last report.
pub(crate) fn revision_reached(report: &v1::NodeReport, revision: u64) -> bool {
    report.status.as_ref().is_some_and(|status| status.applied_revision >= revision)
}

/// A node's report as a value; the one shape that tables and JSON share.
pub(crate) fn node_status_value(report: &v1::NodeReport) -> Value {
    let range = |r: &Option<v1::Range>| {
        r.clone().and_then(|r| weft_model::AddressRange::try_from(r).ok()).map(|r| r.to_string())
    };
    let status = report.status.as_ref().map(|status| {
        let subsystems: Vec<Value> = status
            .subsystems
            .iter()
            .map(|s| json!({"name": s.name, "ok": s.ok, "appliedRevision": s.applied_revision, "sinceMs": s.since_ms, "error": s.error.clone().map(Error::from)}))
            .collect();
        let peers: Vec<Value> = status
            .peers
            .iter()
            .map(|p| {
                json!({"node": p.node, "endpoint": p.endpoint.as_ref().and_then(socket).map(|a| a.to_string()), "handshakeAgeS": p.handshake_age_s,
                       "rxBytes": p.rx_bytes, "txBytes": p.tx_bytes, "pathMtu": p.path_mtu, "rttUs": p.rtt_us})
            })
            .collect();
        let blocks: Vec<Value> =
            status.blocks.iter().map(|b| json!({"block": range(&b.block), "used": b.used, "quarantine": b.quarantine})).collect();
        json!({
            "appliedRevision": status.applied_revision,
            "agentVersion": status.agent_version,
            "kernel": status.kernel,
            "kernelWireguard": status.kernel_wireguard,
            "pods": status.pods,
            "underlayInterface": status.underlay_interface,
            "underlayMtu": status.underlay_mtu,
            "startedMs": status.started_ms,
            "subsystems": subsystems,
            "peers": peers,
            "blocks": blocks,
        })
    });
    json!({"node": report.node, "connected": report.connected, "lastReportMs": report.last_report_ms, "status": status})
}
