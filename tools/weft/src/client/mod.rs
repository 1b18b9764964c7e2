//! Calls to the control plane by a context.

mod drops;
mod join;
mod local;
mod names;
mod renew;
mod wire;

use std::{
    future::Future,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use weft_errors::{DEADLINE, Error, INTERNAL, NO_LEADER, UNREACHABLE};
use weft_proto::v1::{self, admin_client::AdminClient};
use weft_rpc::{
    Channel, ChannelOptions, FileNames, Identity, Request, Response, SharedIdentity, Status, Transport,
    Trust, with_deadline,
};

pub(crate) use drops::{Denied, drops_text};
pub(crate) use join::join_person;
pub(crate) use local::LocalAgent;
pub(crate) use names::{Answers, names_text};
pub(crate) use wire::{
    address, bytes_of, finding_value, hex, node_status_value, object, revision_reached, socket, time,
};

use crate::{
    cmd::{Run, confirm},
    context::{Context, load, path, private},
    fail::{Failure, Outcome},
    output::Printer,
};

/// After so long without an answer a line says that the command still waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for connecting, where endpoints are tried one after the other.
const CONNECT_MARGIN: Duration = Duration::from_millis(800);
/// What an agent, or the replica that waits for nodes, needs to get its answer through before our own time is up.
const ANSWER_MARGIN: Duration = Duration::from_millis(300);

/// Calls to the control plane. `--timeout` is the budget of all of them together.
pub(crate) struct Session {
    channel: Channel,
    identity: SharedIdentity,
    files: FileNames,
    /// Whether this command has looked at the age of its certificate.
    renewed: AtomicBool,
    /// Whether a replica was given up and its connection may not be gone yet.
    leaving: AtomicBool,
    name: String,
    namespace: String,
    deadline: Instant,
    stale: bool,
    protected: bool,
    client: [u8; 16],
    sequence: AtomicU64,
    printer: Printer,
}

impl Session {
    /// By the chosen context.
    pub(crate) fn open(run: &Run) -> Outcome<Self> {
        Self::by(run, run.global.context.as_deref())
    }

    /// By a named context.
    pub(crate) fn of_context(run: &Run, name: &str) -> Outcome<Self> {
        Self::by(run, Some(name))
    }

    fn by(run: &Run, name: Option<&str>) -> Outcome<Self> {
        let file = path();
        let (name, context) = load(&file)?.pick(name, &file)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let (identity, files) = identity(&context, folder)?;
        let trust = match &context.ca {
            Some(hash) => Trust::Pinned(
                hash.parse().map_err(|e: String| Failure::new(&weft_errors::CONFIG_INVALID, e))?,
            ),
            None => Trust::Authority(identity.authority().to_vec()),
        };
        let global = &run.global;
        let endpoints =
            if global.endpoint.is_empty() { context.endpoints.clone() } else { global.endpoint.clone() };
        let identity = SharedIdentity::new(identity);
        let options = ChannelOptions { endpoints, trust, identity: Some(identity.clone()), replica: None };
        let channel = Channel::new(options).map_err(|e| Failure::of(&e))?;
        let namespace =
            global.namespace.clone().or(context.namespace).unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            channel,
            identity,
            files,
            renewed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            name,
            namespace,
            deadline: run.deadline,
            stale: global.stale,
            protected: context.protect,
            client: random()?,
            sequence: AtomicU64::new(0),
            printer: run.printer,
        })
    }

    /// Gives the calls from now on so much time together: for commands that go on until they are interrupted.
    pub(crate) fn restart(&mut self, budget: Duration) {
        self.deadline = Instant::now() + budget;
    }

    /// One call. When the replica goes away under it, another one is asked: a mutation carries its identity and is
    /// applied once.
    pub(crate) async fn call<M, T, F>(
        &self,
        message: M,
        call: impl Fn(AdminClient<Transport>, Request<M>) -> F,
    ) -> Outcome<T>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.keep_certificate().await?;
        let mut replicas = self.channel.endpoints().len();
        loop {
            let left = self.left();
            let request = with_deadline(message.clone(), replicas_part(left));
            let (asked, began) =
                (self.channel.call(left, call(self.channel.admin(), request)), Instant::now());
            let answer = self.patiently(asked).await;
            if self.printer.verbose {
                let ended = answer.as_ref().err().map_or("ok", |error| error.code.as_str());
                self.printer.note(&self.account::<M>(began, ended));
            }
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let was_there = self.channel.connected().is_some();
            replicas = replicas.saturating_sub(1);
            match error.registered() {
                code if code == &UNREACHABLE && was_there && replicas > 0 => self.channel.leave_replica(),
                // A replica that is cut off from the others knows no leader; the others may well have one.
                code if code == &NO_LEADER && self.left() > PATIENCE => self.leave(),
                // The connection that was given up may still take the next call down with it.
                code if code == &UNREACHABLE && self.leaving.swap(false, Ordering::Relaxed) => {}
                code if code == &DEADLINE && !was_there => return Err(self.unreached().into()),
                _ => return Err(error.into()),
            }
        }
    }

    /// `StatusRequest to 192.0.2.1:7443: ok in 3.1 ms`. The body stays unsaid: it may hold a token.
    fn account<M>(&self, began: Instant, ended: &str) -> String {
        let name = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
        let replica = self.channel.connected().map_or_else(|| "nobody".to_owned(), |c| c.endpoint);
        format!("{name} to {replica}: {ended} in {:.1} ms", began.elapsed().as_secs_f64() * 1e3)
    }

    /// Renews the certificate when it is due, once a command. A failure counts only when nothing else can work.
    async fn keep_certificate(&self) -> Outcome {
        if self.renewed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let now = self.identity.current();
        match renew::when_due(&now, &self.files, self.channel.endpoints()).await {
            Ok(Some(renewed)) => self.identity.replace(renewed),
            Ok(None) => {}
            Err(error) if now.expires().0 <= now_ms() => {
                return Err(error.because("the certificate of this context has expired").into());
            }
            Err(error) => {
                self.printer.note(&format!("the certificate can't be renewed yet: {}", error.message))
            }
        }
        Ok(())
    }

    /// Gives up a replica that answers and is of no use: the next call begins with another one.
    fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.channel.leave_replica();
    }

    /// The time passed before any replica took the connection.
    fn unreached(&self) -> Error {
        Error::new(&UNREACHABLE, "no replica of the control plane could be reached in the time given")
            .because(format!("the endpoints are {}", self.channel.endpoints().join(", ")))
            .try_this("check that weftd runs there; more time is given by --timeout", "weft context show")
    }

    /// Waits, and says so when it takes long.
    async fn patiently<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        let left = self.left().as_secs();
        self.printer.note(&format!("no answer yet, waiting up to {left}s more (--timeout)"));
        asked.await
    }

    /// A client for streams, which have no end of their own.
    pub(crate) fn streams(&self) -> AdminClient<Transport> {
        self.channel.admin()
    }

    /// Time that the command has left.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Time for whoever answers on behalf of the control plane, milliseconds: a little less than ours.
    pub(crate) fn answer_ms(&self) -> u32 {
        let theirs = replicas_part(self.left());
        u32::try_from((theirs - ANSWER_MARGIN.min(theirs / 3)).as_millis()).unwrap_or(u32::MAX)
    }

    /// Identity of one more mutation of this command.
    pub(crate) fn mutation(&self) -> v1::MutationId {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        v1::MutationId { client: self.client.to_vec().into(), sequence }
    }

    /// Asks before something is destroyed; a protected context wants its name typed.
    pub(crate) fn confirm(&self, what: &str, yes: bool) -> Outcome {
        let word = if self.protected { &self.name } else { "yes" };
        confirm(what, word, yes)
    }

    /// Namespace when none is named.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether destructive commands ask for the context's name.
    pub(crate) const fn is_protected(&self) -> bool {
        self.protected
    }

    /// Name of the context.
    pub(crate) fn context_name(&self) -> &str {
        &self.name
    }

    /// `--stale`.
    pub(crate) const fn stale(&self) -> bool {
        self.stale
    }

    /// The state of the fabric, by a replica that knows a leader if there is one: a replica that is cut off from the others
    /// answers too, but only for itself.
    pub(crate) async fn status(&self) -> Outcome<v1::StatusResponse> {
        let mut others = self.channel.endpoints().len().saturating_sub(1);
        loop {
            let ask = |mut admin: AdminClient<Transport>, request| async move { admin.status(request).await };
            let status = self.call(v1::StatusRequest {}, ask).await?;
            if others == 0 || status.replicas.iter().any(|replica| replica.leader) || self.left() < PATIENCE {
                return Ok(status);
            }
            others -= 1;
            self.leave();
        }
    }
}

/// What a replica has of the time that is left: its part begins only when it is reached.
fn replicas_part(left: Duration) -> Duration {
    left - CONNECT_MARGIN.min(left / 4)
}

fn identity(context: &Context, folder: &Path) -> Outcome<(Identity, FileNames)> {
    let key = folder.join(&context.key_file);
    private(&key)?;
    let files = FileNames {
        key,
        certificate: folder.join(&context.cert_file),
        authority: context.ca_file.as_ref().map(|file| folder.join(file)),
    };
    let identity = Identity::load(&files).map_err(|e| Failure::of(&e))?;
    Ok((identity, files))
}

/// Wall time, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn random() -> Outcome<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(&INTERNAL, format!("the kernel gave no random bytes: {e}")))?;
    Ok(bytes)
}
