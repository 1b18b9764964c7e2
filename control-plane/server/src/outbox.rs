//! What waits for one other replica: bounded, the oldest goes first. Raft sends again what matters.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use weft_raft::Message;

use crate::{
    limits::{OUTBOX_BYTES, OUTBOX_MESSAGES},
    wire::entry_bytes,
};

#[derive(Debug, Default)]
struct Inner {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Number of the stream that may take messages; an older one gets none.
    session: u64,
}

/// Messages on their way to one replica.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    ready: Notify,
}

impl Outbox {
    /// Puts a message behind the others; false when older ones had to go for it.
    pub(crate) fn push(&self, message: Message) -> bool {
        let mut inner = self.lock();
        inner.bytes += entry_bytes(&message);
        inner.messages.push_back(message);
        let mut kept = true;
        while inner.messages.len() > OUTBOX_MESSAGES
            || (inner.bytes > OUTBOX_BYTES && inner.messages.len() > 1)
        {
            let Some(oldest) = inner.messages.pop_front() else { break };
            inner.bytes -= entry_bytes(&oldest);
            kept = false;
        }
        drop(inner);
        self.ready.notify_one();
        kept
    }

    /// A new stream takes over.
    pub(crate) fn begin(&self) -> u64 {
        let mut inner = self.lock();
        inner.session += 1;
        let session = inner.session;
        drop(inner);
        // The stream before it may wait for a message: it shall find out that it is over.
        self.ready.notify_waiters();
        session
    }

    /// What waits is too old to be of use.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.messages.clear();
        inner.bytes = 0;
    }

    /// The next message for a stream; `None` when another stream has taken over.
    pub(crate) async fn next(&self, session: u64) -> Option<Message> {
        loop {
            let ready = self.ready.notified();
            {
                let mut inner = self.lock();
                if inner.session != session {
                    return None;
                }
                if let Some(message) = inner.messages.pop_front() {
                    inner.bytes -= entry_bytes(&message);
                    return Some(message);
                }
            }
            ready.await;
        }
    }

    /// No statement leaves the queue half changed, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weft_model::{ClusterId, LogIndex, ReplicaId, Term};
    use weft_raft::{Entry, EntryKind, MessageKind};

    use super::*;

    fn message(index: u64, bytes: usize) -> Message {
        let head =
            Message::head(ClusterId([1; 16]), MessageKind::Append, ReplicaId(1), ReplicaId(2), Term(1));
        let entry = Entry {
            index: LogIndex(index + 1),
            term: Term(1),
            kind: EntryKind::Normal,
            data: vec![0; bytes].into(),
            context: Bytes::new(),
        };
        Message { index: LogIndex(index), entries: vec![entry], ..head }
    }

    #[tokio::test]
    async fn the_oldest_go_when_bytes_or_messages_are_too_many() {
        let outbox = Outbox::default();
        let session = outbox.begin();
        let third = OUTBOX_BYTES / 3;
        assert!((0..3).all(|index| outbox.push(message(index, third))));
        assert!(!outbox.push(message(3, third)));
        assert_eq!(outbox.next(session).await.map(|message| message.index.0), Some(1));
        outbox.clear();
        let count = OUTBOX_MESSAGES as u64 + 5;
        let dropped = (0..count).filter(|index| !outbox.push(message(*index, 1))).count();
        assert_eq!(dropped, 5);
        assert_eq!(outbox.next(session).await.map(|message| message.index.0), Some(5));
    }

    #[tokio::test]
    async fn a_new_stream_takes_over_from_the_one_before() {
        let outbox = std::sync::Arc::new(Outbox::default());
        let old = outbox.begin();
        let waiting = tokio::spawn({
            let outbox = std::sync::Arc::clone(&outbox);
            async move { outbox.next(old).await }
        });
        tokio::task::yield_now().await;
        let new = outbox.begin();
        assert_eq!(waiting.await.unwrap(), None);
        outbox.push(message(1, 1));
        assert!(outbox.next(new).await.is_some());
    }
}
