//! What the service manager is told (systemd's sd_notify protocol): ready, stopping, alive.
//!
//! Without `$NOTIFY_SOCKET` all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The process serves now (`READY=1`).
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// The process is on its way out (`STOPPING=1`).
pub fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn notify_status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// How often the service manager wants a sign of life, halved so that one may be late; `None` when it wants none.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Sends signs of life while `alive` says so, until `stop`. Returns at once when none are wanted.
///
/// `alive` is asked each time: a process whose main loop hangs goes silent and is restarted.
pub async fn watchdog_loop(stop: CancellationToken, mut alive: impl FnMut() -> bool + Send) {
    let Some(every) = watchdog_interval() else { return };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => if alive() { notify(&[NotifyState::Watchdog]) },
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
