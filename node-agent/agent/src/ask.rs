//! Questions of admins that a replica relays: answered beside the stream, at most a few at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use weft_errors::{BUSY, Coded, Error, VERSION_SKEW};
use weft_model::{Name, NamespaceName, PodName};
use weft_proto::v1::{self, answer_request::What as Answer, ask::What};
use weft_rpc::{Channel, with_deadline};

use crate::{
    attach::Engine,
    cuts::cuts,
    drain,
    inbox::Wish,
    limits,
    lookup::lookup,
    node::{Node, published},
    ping, pods,
    status::account,
    trace::{judge, trace},
    watchers::Watched,
};

/// Longest time that an asker may want.
const LONGEST: Duration = Duration::from_secs(120);

/// The kernel's maps of services are waited for so long to be read.
const COMPARED: Duration = Duration::from_secs(2);

/// Answers until the process stops.
pub(crate) async fn answer_all(
    engine: Arc<Engine>,
    channel: Channel,
    mut asks: mpsc::Receiver<v1::Ask>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits::ASKS));
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return,
            ask = asks.recv() => match ask {
                Some(ask) => ask,
                None => return,
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let error = Error::new(
                &BUSY,
                format!("node {} answers {} questions already", engine.node().name, limits::ASKS),
            );
            send(&channel, ask.id, Err(error)).await;
            continue;
        };
        let (engine, channel) = (Arc::clone(&engine), channel.clone());
        tokio::spawn(async move {
            let id = ask.id;
            let answer = tokio::task::spawn_blocking(move || answer(&engine, ask)).await;
            let answer = answer.unwrap_or_else(|error| {
                Err(Error::new(&weft_errors::INTERNAL, "the node's answer broke off").because(error))
            });
            send(&channel, id, answer).await;
            drop(place);
        });
    }
}

async fn send(channel: &Channel, id: u64, answer: Result<Answer, Error>) {
    let request = match answer {
        Ok(what) => v1::AnswerRequest { id, error: None, what: Some(what) },
        Err(error) => v1::AnswerRequest { id, error: Some((&error).into()), what: None },
    };
    let mut client = channel.sync();
    let call = client.answer(with_deadline(request, limits::CALL_DEADLINE));
    if let Err(error) = channel.call(limits::CALL_DEADLINE, call).await {
        tracing::warn!(%error, "an answer to an admin was lost");
    }
}

fn answer(engine: &Engine, ask: v1::Ask) -> Result<Answer, Error> {
    let deadline = Instant::now() + Duration::from_millis(ask.timeout_ms.into()).min(LONGEST);
    let node = engine.node();
    match ask.what {
        Some(What::Ping(request)) => ping::ping(node, &request, deadline).map(Answer::Ping),
        Some(What::PodAdd(request)) => {
            let name = pod_name(&request.namespace, &request.name)?;
            let probes = pods::probes(request.readiness, request.startup)?;
            let holding = pods::add(engine, name, request.labels, probes, deadline)?;
            Ok(Answer::Pod((&published(node, &holding)).into()))
        }
        Some(What::PodRemove(request)) => {
            drain::remove(engine, &request, deadline)?;
            Ok(Answer::Removed(true))
        }
        Some(What::Inspect(inspect)) => {
            if inspect.check {
                let ticket = node.inboxes.services.poke(Wish::compare());
                node.inboxes.services.wait(ticket, deadline.min(Instant::now() + COMPARED));
            }
            Ok(Answer::Inspect(account(engine, inspect.check)))
        }
        Some(What::Setup(request)) => engine.setups().answer(node, &request.pod).map(Answer::Setup),
        Some(What::Lookup(request)) => lookup(engine, &request, deadline).map(Answer::Lookup),
        Some(What::Flows(request)) => flows(node, &request, deadline).map(Answer::Flows),
        Some(What::Trace(request)) => trace(node, &request, deadline).map(Answer::Trace),
        Some(What::Judge(request)) => judge(node, &request, deadline).map(Answer::Judge),
        Some(What::Ledger(_)) => ledger(node).map(Answer::Ledger),
        Some(What::Cuts(request)) => cuts(node, request).map(Answer::Cuts),
        None => Err(Error::new(&VERSION_SKEW, "this agent doesn't know the question")),
    }
}

/// What happened since a watcher asked last.
pub(crate) fn flows(node: &Node, request: &v1::Flows, deadline: Instant) -> Result<v1::FlowsResult, Error> {
    if !request.names && !request.drops {
        let error = "questions about names can be watched, and packets that are dropped";
        return Err(Error::new(&weft_errors::USAGE, error).field("names"));
    }
    let pod = match request.pod.as_str() {
        "" => None,
        name => Some(ping::attached(node, name)?.pod),
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let wait = Duration::from_millis(request.wait_ms.into()).min(left / 2);
    let what = Watched { pod, names: request.names, drops: request.drops };
    let is_watched = node.watchers.watch_drops(Instant::now());
    node.watchers.fetch(request.watcher, what, wait, || {
        if request.names {
            node.inboxes.dns.poke(Wish::default());
        }
        // Others who watch already are owed the numbers of what was left out.
        if request.drops && !is_watched {
            node.drops.begin(node);
        }
    })
}

/// A pod's name as two texts.
pub(crate) fn pod_name(namespace: &str, name: &str) -> Result<PodName, Error> {
    let wrong = |error: weft_model::NameError| Error::new(&weft_errors::OBJECT_INVALID, error.to_string());
    Ok(PodName {
        namespace: NamespaceName::new(namespace).map_err(wrong)?,
        name: Name::new(name).map_err(wrong)?,
    })
}

/// Every address that the journal or the kernel holds.
fn ledger(node: &Node) -> Result<v1::LedgerResult, Error> {
    use weft_plan::{Executor, Link, LinkKey, LinkValue};
    let mut executor = weft_kernel::LinkExecutor::open().map_err(|e| e.envelope())?;
    let seen = Executor::<Link>::observe(&mut executor, &[]).map_err(|e| e.envelope())?;
    let ports: std::collections::BTreeMap<[u8; 6], String> = seen
        .iter()
        .filter_map(|(key, value)| match (key, value) {
            (LinkKey::Forwarding(mac), LinkValue::Forwarding { port }) => Some((*mac, port.clone())),
            _ => None,
        })
        .collect();
    let mut rows: std::collections::BTreeMap<std::net::IpAddr, v1::LedgerRow> =
        std::collections::BTreeMap::new();
    for (key, value) in &seen {
        if let (LinkKey::Neighbour(address), LinkValue::Neighbour { mac }) = (key, value) {
            let kernel_port = ports.get(mac).cloned().unwrap_or_default();
            let address_wire = weft_proto::convert::address_to_wire(*address);
            rows.insert(
                *address,
                v1::LedgerRow { address: address_wire, kernel_port, ..v1::LedgerRow::default() },
            );
        }
    }
    node.addresses.read(|ledger| {
        for holding in ledger.holdings() {
            for address in &holding.addresses {
                let row = rows.entry(*address).or_insert_with(|| v1::LedgerRow {
                    address: weft_proto::convert::address_to_wire(*address),
                    ..v1::LedgerRow::default()
                });
                row.journal_pod = holding.pod.to_string();
                row.journal_uid = holding.uid.0.to_vec().into();
            }
        }
    });
    Ok(v1::LedgerResult { rows: rows.into_values().collect(), revision: node.view().revision().0 })
}
