//! Questions to one node's agent: over its Watch stream, answered by `Sync.Answer`; through another replica when that
//! one serves the agent.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use weft_errors::{BUSY, DEADLINE, Error, NODE_UNREACHABLE, NOT_FOUND};
use weft_model::NodeName;
use weft_proto::v1::{self, ask::What, watch_response};

use crate::{
    limits::{ASK_MOST, ASKS, CALL, STREAM_LOOK},
    sync::Fanout,
};

/// Asks in flight on this replica.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, (NodeName, oneshot::Sender<v1::AnswerRequest>)>>,
}

impl Asks {
    /// Asks an agent that follows this replica; `None` when it doesn't.
    pub(crate) async fn ask(
        &self,
        fanout: &Fanout,
        node: &NodeName,
        mut ask: v1::Ask,
    ) -> Option<Result<v1::AnswerRequest, Error>> {
        if !fanout.follows(node) {
            return None;
        }
        let time = match ask.timeout_ms {
            0 => CALL,
            ms => Duration::from_millis(ms.into()).min(ASK_MOST),
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // An asker that hung up dropped its end: its question is forgotten here at the latest.
            waiting.retain(|_, (_, sender)| !sender.is_closed());
            if waiting.len() >= ASKS {
                return Some(Err(Error::new(&BUSY, "too many questions to nodes are in flight")));
            }
            waiting.insert(id, (node.clone(), sender));
        }
        // Asked twice, these would do or take something twice.
        let again = !matches!(ask.what, Some(What::PodAdd(_) | What::PodRemove(_) | What::Flows(_)));
        ask.id = id;
        ask.timeout_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let frame = v1::WatchResponse { frame: Some(watch_response::Frame::Ask(ask)) };
        let outcome = match tokio::time::timeout(time, heard(fanout, node, &frame, answer, again)).await {
            Ok(outcome) => outcome.map(Ok),
            Err(_) => Some(Err(Error::new(&DEADLINE, format!("node {node} didn't answer within {time:?}"))
                .object("node", "", node)
                .try_this("see how the node is", format!("weft node show {node}")))),
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        outcome
    }

    /// Takes an agent's answer: only the node that was asked may give it.
    pub(crate) fn answer(&self, node: &NodeName, answer: v1::AnswerRequest) -> Result<(), Error> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get(&answer.id) {
            Some((asked, _)) if asked == node => {}
            Some(_) | None => {
                return Err(Error::new(&NOT_FOUND, format!("nobody waits for answer {}", answer.id)));
            }
        }
        if let Some((_, sender)) = waiting.remove(&answer.id) {
            // The asker may have given up; then nobody needs it.
            drop(sender.send(answer));
        }
        Ok(())
    }
}

/// Sends a question and waits for its answer. A stream that ends, or that a younger one replaces, may have taken the question with it
/// (the agent died, or its network did): the younger one is given it again, if `again`. `None` when no stream is left here.
async fn heard(
    fanout: &Fanout,
    node: &NodeName,
    frame: &v1::WatchResponse,
    mut answer: oneshot::Receiver<v1::AnswerRequest>,
    again: bool,
) -> Option<v1::AnswerRequest> {
    let mut asked = fanout.send_to(node, frame)?;
    if !again {
        return answer.await.ok();
    }
    loop {
        tokio::select! {
            said = &mut answer => return said.ok(),
            () = tokio::time::sleep(STREAM_LOOK) => {
                if fanout.stream_of(node)? != asked {
                    asked = fanout.send_to(node, frame)?;
                }
            }
        }
    }
}

/// No replica serves the node's agent.
pub(crate) fn unreachable(node: &NodeName) -> Error {
    Error::new(&NODE_UNREACHABLE, format!("node {node} follows no replica that answers"))
        .object("node", "", node)
        .try_this("see since when", format!("weft node show {node}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weft_model::Revision;

    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[tokio::test]
    async fn an_answer_reaches_its_asker_and_only_from_the_asked_node() {
        let fanout = Arc::new(Fanout::new(Revision(1)));
        let asks = Arc::new(Asks::default());
        assert!(asks.ask(&fanout, &node("n1"), v1::Ask::default()).await.is_none(), "it follows nobody here");
        let (follower, _) = fanout.follow(&node("n1"), None);
        let task = tokio::spawn({
            let (fanout, asks) = (Arc::clone(&fanout), Arc::clone(&asks));
            async move {
                asks.ask(&fanout, &node("n1"), v1::Ask { timeout_ms: 5_000, ..v1::Ask::default() }).await
            }
        });
        follower.next().await.unwrap();
        let answer = v1::AnswerRequest { id: 1, ..v1::AnswerRequest::default() };
        assert!(asks.answer(&node("n2"), answer.clone()).is_err(), "n2 was not asked");
        asks.answer(&node("n1"), answer.clone()).unwrap();
        assert_eq!(task.await.unwrap().unwrap().unwrap().id, 1);
        assert!(asks.answer(&node("n1"), answer).is_err(), "once");
    }

    #[tokio::test]
    async fn askers_that_hang_up_leave_nothing_behind() {
        let fanout = Fanout::new(Revision(1));
        let (_follower, _) = fanout.follow(&node("n1"), None);
        let asks = Asks::default();
        let asked = node("n1");
        for _ in 0..2 * ASKS {
            let ask = asks.ask(&fanout, &asked, v1::Ask::default());
            assert!(futures_util::FutureExt::now_or_never(ask).is_none(), "it waits, then its asker is gone");
        }
        let last = asks.ask(&fanout, &asked, v1::Ask { timeout_ms: 1, ..v1::Ask::default() }).await;
        assert!(
            last.is_some_and(|answer| answer.is_err_and(|e| e.code == "W1004")),
            "asked, not refused as busy"
        );
    }

    #[tokio::test]
    async fn a_question_goes_on_to_the_stream_that_comes_after_and_ends_with_the_last_one() {
        let fanout = Arc::new(Fanout::new(Revision(1)));
        let (dead, _) = fanout.follow(&node("n1"), None);
        let task = tokio::spawn({
            let fanout = Arc::clone(&fanout);
            async move {
                let ask = v1::Ask { timeout_ms: 30_000, ..v1::Ask::default() };
                Asks::default().ask(&fanout, &node("n1"), ask).await
            }
        });
        dead.next().await.unwrap();
        let (alive, _) = fanout.follow(&node("n1"), None);
        alive.next().await.unwrap();
        [dead, alive].iter().for_each(|follower| fanout.unfollow(follower));
        assert!(task.await.unwrap().is_none(), "other replicas may know the node");
    }

    #[tokio::test]
    async fn a_silent_node_is_named_when_the_time_is_up() {
        let fanout = Fanout::new(Revision(1));
        let (_follower, _) = fanout.follow(&node("n1"), None);
        let asks = Asks::default();
        let error = asks
            .ask(&fanout, &node("n1"), v1::Ask { timeout_ms: 50, ..v1::Ask::default() })
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.code == "W1004" && error.message.contains("n1"), "{error}");
    }
}
