//! Writes through clients that stay connected, at a fixed rate: what is measured is the control plane, not the start of a program.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weft_proto::v1;
use weft_rpc::{
    Channel, ChannelOptions, FileNames, Identity, Response, SharedIdentity, Status, Trust, with_deadline,
};

use super::connects::at;
use super::now_us;
use crate::Result;

/// Where everything is written.
const NAMESPACE: &str = "default";
/// A write is given up after this.
const DEADLINE: Duration = Duration::from_secs(10);

/// Moments that are told; of more only these.
const MOST_TOLD: usize = 16;

/// What is written at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// A text with objects, as `weft apply` takes it.
    Apply(String),
    /// A service of namespace `default` goes.
    Delete(String),
    /// Objects go: of each its kind as the protocol names it, its namespace and its name.
    Remove(Vec<(String, String, String)>),
}

/// One change, stored.
struct Write {
    sent_us: u64,
    took: Duration,
}

impl Write {
    /// When it was sent and when it was stored.
    fn moments(&self) -> [u64; 2] {
        [self.sent_us, self.sent_us + u64::try_from(self.took.as_micros()).unwrap_or(0)]
    }
}

/// Whom to write to, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The contexts file of `weft`.
    #[arg(long, env = "WEFT_CONFIG")]
    contexts: PathBuf,
    /// The context's name.
    #[arg(long, env = "WEFT_CONTEXT")]
    context: String,
}

/// Who writes, how fast. On standard input stands a list of changes per writer (JSON).
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    target: Target,
    /// Texts per second, of all writers together.
    #[arg(long)]
    rate: f64,
    /// Milliseconds after which it gives up: it can't keep up.
    #[arg(long)]
    within: u64,
    /// Tells of every change when it was sent and when it was stored, per writer.
    #[arg(long)]
    tell: bool,
}

/// What is read of the contexts file.
#[derive(Debug, Deserialize)]
struct Contexts {
    context: std::collections::BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    endpoints: Vec<String>,
    cert_file: PathBuf,
    key_file: PathBuf,
    ca_file: Option<PathBuf>,
    ca: Option<String>,
}

/// Writes everything, and says how long writes took.
pub(super) fn run(plan: &Plan) -> Result<Value> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let changes: Vec<Vec<Change>> =
        serde_json::from_str(&text).context("standard input is no list of changes per writer")?;
    let channel = channel(&plan.target)?;
    let (failed, began) = (AtomicBool::new(false), Instant::now());
    let step = Duration::from_secs_f64(changes.len() as f64 / plan.rate);
    let until = began + Duration::from_millis(plan.within);
    let written = std::thread::scope(|scope| -> Result<Vec<Vec<Write>>> {
        let writer = |changes: Vec<Change>| {
            let (channel, failed) = (channel.clone(), &failed);
            scope.spawn(move || {
                let written = write(&channel, changes, step, until, failed);
                failed.fetch_or(written.is_err(), Ordering::Relaxed);
                written
            })
        };
        let writers: Vec<_> = changes.into_iter().map(writer).collect();
        writers.into_iter().map(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?).collect()
    })?;
    let took = began.elapsed();
    let mut times: Vec<Duration> = written.iter().flatten().map(|write| write.took).collect();
    let sent: Vec<u64> = written.iter().flatten().map(|write| write.sent_us).take(MOST_TOLD).collect();
    times.sort_unstable();
    let told = |writes: &Vec<Write>| writes.iter().map(Write::moments).collect::<Vec<_>>();
    let told: Vec<_> = if plan.tell { written.iter().map(told).collect() } else { Vec::new() };
    Ok(json!({
        "ok": true, "writes": times.len(), "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "p50_us": at(&times, 50), "p99_us": at(&times, 99), "longest_us": at(&times, 100), "sent_us": sent,
        "told": told,
    }))
}

/// One writer, on a thread and a connection of its own.
fn write(
    channel: &Options,
    changes: Vec<Change>,
    step: Duration,
    until: Instant,
    failed: &AtomicBool,
) -> Result<Vec<Write>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let channel = Channel::new(channel.options()?)?;
        let client = client_id();
        // Connecting isn't writing.
        channel.retry(DEADLINE, || status(&channel)).await?;
        let (began, mut written, count) = (Instant::now(), Vec::with_capacity(changes.len()), changes.len());
        for (sequence, change) in (1_u32..).zip(changes) {
            ensure!(Instant::now() < until, "the writer fell behind: {} of {count} changes", sequence - 1);
            if failed.load(Ordering::Relaxed) {
                break;
            }
            let mutation = v1::MutationId { client: client.to_vec().into(), sequence: sequence.into() };
            let (sent, sent_us) = (Instant::now(), now_us());
            store(&channel, mutation, change).await?;
            written.push(Write { sent_us, took: sent.elapsed() });
            tokio::time::sleep_until((began + step * sequence).into()).await;
        }
        Ok(written)
    })
}

/// Until it is stored; the revision.
async fn store(channel: &Channel, mutation: v1::MutationId, change: Change) -> Result<u64> {
    match change {
        Change::Apply(text) => {
            let request = v1::ApplyRequest {
                mutation: Some(mutation),
                text,
                file: "-".to_owned(),
                namespace: NAMESPACE.to_owned(),
                ..v1::ApplyRequest::default()
            };
            let call = || {
                let (mut admin, request) = (channel.admin(), request.clone());
                async move { admin.apply(with_deadline(request, DEADLINE)).await }
            };
            Ok(channel.retry(DEADLINE, call).await?.revision)
        }
        Change::Delete(name) => {
            let service = (v1::Kind::Service.as_str_name().to_owned(), NAMESPACE.to_owned(), name);
            remove(channel, mutation, &[service]).await
        }
        Change::Remove(objects) => remove(channel, mutation, &objects).await,
    }
}

async fn remove(
    channel: &Channel,
    mutation: v1::MutationId,
    objects: &[(String, String, String)],
) -> Result<u64> {
    let object = |(kind, namespace, name): &(String, String, String)| -> Result<v1::ObjectRef> {
        let kind = v1::Kind::from_str_name(kind).with_context(|| format!("no kind {kind}"))?;
        Ok(v1::ObjectRef { kind: kind.into(), namespace: namespace.clone(), name: name.clone() })
    };
    let (first, more) = objects.split_first().context("nothing to delete")?;
    let first = object(first)?;
    let request = v1::DeleteRequest {
        mutation: Some(mutation),
        kind: first.kind,
        namespace: first.namespace,
        name: first.name,
        more: more.iter().map(object).collect::<Result<_>>()?,
        // Whoever asks twice on a busy machine finds it gone.
        ignore_missing: true,
        ..v1::DeleteRequest::default()
    };
    let call = || {
        let (mut admin, request) = (channel.admin(), request.clone());
        async move { admin.delete(with_deadline(request, DEADLINE)).await }
    };
    Ok(channel.retry(DEADLINE, call).await?.revision)
}

/// A client that stays connected, for one change after the other.
pub(super) struct Writer {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    client: [u8; 16],
    sequence: u64,
}

impl Writer {
    /// Connects.
    pub(super) fn open(target: &Target) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options = channel(target)?.options()?;
        let channel = runtime.block_on(async {
            let channel = Channel::new(options)?;
            channel.retry(DEADLINE, || status(&channel)).await?;
            Ok::<_, anyhow::Error>(channel)
        })?;
        Ok(Self { runtime, channel, client: client_id(), sequence: 0 })
    }

    /// Stores a change; its revision.
    pub(super) fn store(&mut self, change: Change) -> Result<u64> {
        self.sequence += 1;
        let mutation = v1::MutationId { client: self.client.to_vec().into(), sequence: self.sequence };
        self.runtime.block_on(store(&self.channel, mutation, change))
    }

    /// Waits until every node has a revision in its kernel.
    pub(super) fn wait(&self, revision: u64) -> Result {
        let timeout_ms = u32::try_from(DEADLINE.as_millis()).unwrap_or(u32::MAX);
        let request = v1::WaitRequest { revision, timeout_ms };
        let call = || {
            let mut admin = self.channel.admin();
            async move { admin.wait(with_deadline(request, DEADLINE * 2)).await }
        };
        let said = self.runtime.block_on(self.channel.retry(DEADLINE, call))?;
        ensure!(said.done && said.unreachable.is_empty(), "not every node has it: {said:?}");
        Ok(())
    }

    /// Stores changes and waits until every node has them.
    pub(super) fn change_and_wait(&mut self, changes: &[Change]) -> Result {
        let mut last = None;
        for change in changes {
            last = Some(self.store(change.clone())?);
        }
        last.map_or(Ok(()), |revision| self.wait(revision))
    }
}

async fn status(channel: &Channel) -> core::result::Result<Response<v1::StatusResponse>, Status> {
    channel.admin().status(with_deadline(v1::StatusRequest {}, DEADLINE)).await
}

/// What a channel is made of: each writer has its own.
#[derive(Clone)]
struct Options {
    endpoints: Vec<String>,
    hash: Option<String>,
    identity: SharedIdentity,
}

impl Options {
    fn options(&self) -> Result<ChannelOptions> {
        let trust = match &self.hash {
            Some(hash) => Trust::Pinned(hash.parse().map_err(|e: String| anyhow!(e))?),
            None => Trust::Authority(self.identity.current().authority().to_vec()),
        };
        let (endpoints, identity) = (self.endpoints.clone(), Some(self.identity.clone()));
        Ok(ChannelOptions { endpoints, trust, identity, replica: None })
    }
}

fn channel(target: &Target) -> Result<Options> {
    let (file, name) = (&target.contexts, &target.context);
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut contexts: Contexts = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let entry = contexts.context.remove(name).with_context(|| format!("no context {name}"))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let identity = Identity::load(&FileNames {
        key: folder.join(&entry.key_file),
        certificate: folder.join(&entry.cert_file),
        authority: entry.ca_file.as_ref().map(|file| folder.join(file)),
    })?;
    Ok(Options { endpoints: entry.endpoints, hash: entry.ca, identity: SharedIdentity::new(identity) })
}

fn client_id() -> [u8; 16] {
    let chance = RandomState::new();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&chance.hash_one(1).to_be_bytes());
    id[8..].copy_from_slice(&chance.hash_one(2).to_be_bytes());
    id
}
