//! The tasks of a process: one tree of cancellation, one list of who still runs.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weft_errors::INTERNAL;

use crate::{Signals, notify_stopping};

/// How long an orderly stop may take.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The tasks of a process. Clones are handles to the same tree.
#[derive(Clone, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    next: u64,
    running: BTreeMap<u64, String>,
    failure: Option<weft_errors::Error>,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// The error of the task that made it stop; `None` after a signal or a wish.
    pub failure: Option<weft_errors::Error>,
    /// Tasks that had not ended within [`STOP_LIMIT`], by name.
    pub hanging: Vec<String>,
}

impl Tasks {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled when the process stops; cancelling it stops nothing else.
    pub fn token(&self) -> CancellationToken {
        self.stop.child_token()
    }

    /// Asks all tasks to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Starts a task. It must end soon after its [`token`](Self::token) is cancelled. A panic in it stops the process.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_vital(name, async move {
            task.await;
            Ok(())
        });
    }

    /// Starts a task without which the process is useless: when it fails, all stop and the error is kept.
    pub fn spawn_vital(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), weft_errors::Error>> + Send + 'static,
    ) {
        let watch = self.enter(name.into());
        // The inner task catches panics: its JoinHandle reports them.
        let inner = tokio::spawn(task);
        self.tracker.spawn(async move {
            match inner.await {
                Ok(result) => watch.leave(result),
                Err(error) if error.is_panic() => watch.leave(Err(watch.panicked())),
                Err(_cancelled) => watch.leave(Ok(())),
            }
        });
    }

    /// Starts a named plain thread for work that blocks. It must end soon after the token is cancelled.
    ///
    /// Fails when the system has no thread to give.
    pub fn spawn_thread(
        &self,
        name: impl Into<String>,
        work: impl FnOnce() -> Result<(), weft_errors::Error> + Send + 'static,
    ) -> Result<(), weft_errors::Error> {
        let name = name.into();
        let watch = self.enter(name.clone());
        let counted = self.tracker.token();
        thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(work));
                watch.leave(result.unwrap_or_else(|_panic| Err(watch.panicked())));
                drop(counted);
            })
            .map(drop)
            .map_err(|error| {
                weft_errors::Error::new(&INTERNAL, format!("cannot start thread {name}")).because(error)
            })
    }

    /// Waits for SIGTERM, SIGINT, [`stop`](Self::stop) or a vital failure, then stops all tasks within [`STOP_LIMIT`]
    /// and says who hangs.
    pub async fn run(&self) -> Stopped {
        match Signals::catch() {
            Ok(mut signals) => self.run_until(signals.stop()).await,
            Err(error) => {
                tracing::warn!(%error, "signals can't be received");
                self.run_until(std::future::pending()).await
            }
        }
    }

    /// The same, with the end of `signal` in place of signals: for those that were caught before.
    pub async fn run_until(&self, signal: impl Future<Output = ()>) -> Stopped {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = signal => {}
        }
        notify_stopping();
        self.finish().await
    }

    /// Stops all tasks and waits for them, at most [`STOP_LIMIT`].
    pub async fn finish(&self) -> Stopped {
        self.finish_within(STOP_LIMIT).await
    }

    async fn finish_within(&self, limit: Duration) -> Stopped {
        self.stop.cancel();
        self.tracker.close();
        let all_ended = tokio::time::timeout(limit, self.tracker.wait()).await.is_ok();
        let shared = lock(&self.shared);
        let hanging = if all_ended { Vec::new() } else { shared.running.values().cloned().collect() };
        let stopped = Stopped { failure: shared.failure.clone(), hanging };
        if !stopped.hanging.is_empty() {
            tracing::warn!(tasks = stopped.hanging.join(", "), "tasks did not stop in time");
        }
        stopped
    }

    fn enter(&self, name: String) -> Watch {
        let mut shared = lock(&self.shared);
        let number = shared.next;
        shared.next += 1;
        shared.running.insert(number, name.clone());
        Watch { number, name, stop: self.stop.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &lock(&self.shared).running).finish_non_exhaustive()
    }
}

/// The entry of one running task.
struct Watch {
    number: u64,
    name: String,
    stop: CancellationToken,
    shared: Arc<Mutex<Shared>>,
}

impl Watch {
    fn panicked(&self) -> weft_errors::Error {
        weft_errors::Error::new(&INTERNAL, format!("task {} panicked", self.name))
    }

    fn leave(&self, result: Result<(), weft_errors::Error>) {
        let mut shared = lock(&self.shared);
        shared.running.remove(&self.number);
        if let Err(error) = result {
            tracing::error!(task = self.name, %error, "task failed, stopping");
            shared.failure.get_or_insert(error);
            self.stop.cancel();
        }
    }
}

/// The map is consistent after each statement, so a poisoned lock is still good.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use weft_errors::{BUSY, Error};

    use super::*;

    #[tokio::test]
    async fn a_stop_reaches_tasks_and_threads() {
        let tasks = Tasks::new();
        let (task, thread_token) = (tasks.token(), tasks.token());
        tasks.spawn("waits", async move { task.cancelled().await });
        tasks
            .spawn_thread("blocks", move || {
                crate::wait::until_blocking(STOP_LIMIT, "stop", || thread_token.is_cancelled().then_some(()))
                    .map_err(|error| Error::new(&INTERNAL, error.to_string()))
            })
            .unwrap();
        let stopper = tasks.clone();
        tokio::spawn(async move { stopper.stop() });
        assert_eq!(tasks.run().await, Stopped::default());
    }

    #[tokio::test]
    async fn a_vital_failure_and_a_panic_stop_the_process() {
        let tasks = Tasks::new();
        let token = tasks.token();
        tasks.spawn("bystander", async move { token.cancelled().await });
        tasks.spawn_vital("disk", async { Err(Error::new(&BUSY, "the disk is gone")) });
        let stopped = tasks.run().await;
        assert_eq!(stopped.failure.unwrap().message, "the disk is gone");
        assert!(stopped.hanging.is_empty());

        let tasks = Tasks::new();
        tasks.spawn("clumsy", async { panic!("on purpose") });
        assert_eq!(tasks.run().await.failure.unwrap().message, "task clumsy panicked");
    }

    #[tokio::test]
    async fn who_hangs_is_named() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.finish_within(Duration::from_millis(20)).await.hanging, ["stubborn"]);
    }
}
