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

/// Who writes, how fast. On standard input stands a list of changes per writer (JSON).
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// The contexts file of `weft`.
    #[arg(long, env = "WEFT_CONFIG")]
    contexts: PathBuf,
    /// The context's name.
    #[arg(long, env = "WEFT_CONTEXT")]
    context: String,
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
    let channel = channel(&plan.contexts, &plan.context)?;
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

/// Until it is stored.
async fn store(channel: &Channel, mutation: v1::MutationId, change: Change) -> Result {
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
            channel.retry(DEADLINE, call).await?;
        }
        Change::Delete(name) => {
            let request = v1::DeleteRequest {
                mutation: Some(mutation),
                kind: v1::Kind::Service.into(),
                namespace: NAMESPACE.to_owned(),
                name,
                ..v1::DeleteRequest::default()
            };
            let call = || {
                let (mut admin, request) = (channel.admin(), request.clone());
                async move { admin.delete(with_deadline(request, DEADLINE)).await }
            };
            channel.retry(DEADLINE, call).await?;
        }
    }
    Ok(())
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

fn channel(file: &Path, name: &str) -> Result<Options> {
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
