//! `weftd run`: serves until SIGTERM, SIGINT, or until the replica can't go on.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error, INTERNAL};
use weft_process::{Tasks, init_logs, notify_ready, notify_status, watchdog_loop};

use crate::{
    args::{Format, Run},
    config::Config,
    output::print,
};

/// Runs the command.
pub(crate) fn run(args: &Run) -> Result<(), Error> {
    let config = Config::load(args)?;
    if args.check_config {
        return Ok(());
    }
    if args.print_config {
        print(Format::Text, &serde_json::Value::Null, config.print().trim_end());
        return Ok(());
    }
    init_logs("weftd", config.log_format).map_err(|e| e.envelope())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(&INTERNAL, "no runtime").because(e))?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Error> {
    let tasks = Tasks::new();
    let serving = weft_server::serve(config.server, &tasks).await?;
    tasks.spawn("hangup", ignore_hangup(tasks.token()));
    notify_ready();
    notify_status(&format!("replica {} serving {}", serving.id, serving.listen));
    let mut before = None;
    let alive = move || {
        let now = Some(serving.turns());
        std::mem::replace(&mut before, now) != now
    };
    tasks.spawn("watchdog", watchdog_loop(tasks.token(), alive));
    let stopped = tasks.run().await;
    match stopped.failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// SIGHUP would end the process by default; nothing of the configuration can change while it runs.
async fn ignore_hangup(stop: CancellationToken) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            hangup = hangups.recv() => match hangup {
                Some(()) => tracing::info!("changes of the configuration need a restart"),
                None => return,
            },
        }
    }
}
