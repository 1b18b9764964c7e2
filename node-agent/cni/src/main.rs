//! `weft-cni`: carries one CNI call to the agent's socket and its answer back.
//!
//! In: CNI_* variables and the configuration on standard input (CNI 1.1.0, section 2). Out: the agent's answer on standard
//! output. Not here: any meaning of the configuration (agent). Without an agent, DEL is kept in a spool and succeeds.

mod answer;
mod environment;
mod exchange;
mod json;
mod spool;

use std::{
    io::{Read, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use answer::{Answer, Failure};
use environment::{Call, Verb};

/// From start to answer (specs: hard limit of ADD).
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest configuration, bytes.
const MAX_CONFIG: u64 = 1024 * 1024;

const USAGE: &str = concat!(
    "weft-cni ",
    env!("CARGO_PKG_VERSION"),
    ": the CNI plugin of Weft, started by a container runtime.\n",
    "It reads CNI_COMMAND and its configuration from standard input.\n",
    "CNI protocol versions: 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
);

fn main() -> ExitCode {
    let variables: Vec<_> = std::env::vars_os().collect();
    let Some(call) = Call::from_variables(&variables) else {
        return print(&mut std::io::stderr(), USAGE.as_bytes(), ExitCode::SUCCESS);
    };
    let answer = call.and_then(|call| run(&call, Instant::now() + DEADLINE)).unwrap_or_else(Answer::from);
    let status = if answer.status == 0 { ExitCode::SUCCESS } else { ExitCode::from(answer.status) };
    print(&mut std::io::stdout(), &answer.text, status)
}

fn run(call: &Call, deadline: Instant) -> Result<Answer, Failure> {
    if call.verb == Verb::Version {
        return Ok(Answer::versions());
    }
    let config = within(deadline, read_config)
        .unwrap_or_else(|| Err("standard input wasn't closed within 10 s".to_owned()))
        .map_err(|why| Failure::new(5, "the configuration on standard input can't be read", why))?;
    let config = String::from_utf8(config).map_err(|e| {
        Failure::new(6, "the configuration on standard input isn't UTF-8", e.utf8_error().to_string())
    })?;
    let frame = exchange::frame(call, &config);
    let sent = frame.clone();
    let reply = within(deadline, move || exchange::ask(&sent, deadline))
        .unwrap_or_else(|| Err("it didn't answer within 10 s".to_owned()));
    reply.or_else(|why| without_agent(call, &config, &frame, &why))
}

/// What each verb answers when the agent can't be asked.
fn without_agent(call: &Call, config: &str, frame: &[u8], why: &str) -> Result<Answer, Failure> {
    let socket = exchange::socket_path();
    let message = format!("weft-agent can't be reached at {}: {why}", socket.display());
    let failure = |code| {
        let details =
            "W4401 AgentUnreachable: start weft-agent; systemctl status weft-agent says why it stopped";
        Failure::new(code, message.clone(), details).of_version(json::version_in(config))
    };
    match call.verb {
        Verb::Del => match spool::keep(frame) {
            Ok(()) => Ok(Answer { status: 0, text: Vec::new() }),
            Err(why) => {
                let failure = failure(11);
                let details = format!("{}; nor can the DEL be kept for later: {why}", failure.details);
                Err(Failure { details, ..failure })
            }
        },
        Verb::Status => Err(failure(50)),
        Verb::Add | Verb::Check | Verb::Gc | Verb::Version => Err(failure(11)),
    }
}

fn read_config() -> Result<Vec<u8>, String> {
    let mut config = Vec::new();
    std::io::stdin().take(MAX_CONFIG + 1).read_to_end(&mut config).map_err(|e| e.to_string())?;
    if config.len() as u64 > MAX_CONFIG {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(config)
}

/// Runs blocking work beside this thread; `None` when the deadline passes first. The process ends soon after, and the
/// work with it.
fn within<T: Send + 'static>(deadline: Instant, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = mpsc::sync_channel(1);
    thread::Builder::new().name("work".to_owned()).spawn(move || done.send(work())).ok()?;
    result.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

fn print(stream: &mut impl Write, text: &[u8], status: ExitCode) -> ExitCode {
    match stream.write_all(text).and_then(|()| stream.flush()) {
        Ok(()) => status,
        Err(_) => ExitCode::FAILURE,
    }
}
