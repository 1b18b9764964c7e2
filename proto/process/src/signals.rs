//! Signals that end a process: caught from an early moment on, so that one that comes while it starts ends it in order too.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT; from its making on they no longer kill the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them. Needs a runtime, and makes no thread.
    pub fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when one has come since they were caught.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = self.interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Tasks;

    /// One test, since signals are the whole process's.
    #[tokio::test]
    async fn a_signal_that_came_before_anybody_waited_is_heard() {
        let mut signals = Signals::catch().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(5), signals.stop()).await.unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        let stopped =
            tokio::time::timeout(Duration::from_secs(5), Tasks::new().run_until(signals.stop())).await;
        assert!(stopped.unwrap().failure.is_none());
    }
}
