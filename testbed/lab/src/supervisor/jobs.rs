//! Processes that run once, anywhere in the lab; what they print goes to files.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::signal::Signal;

use super::Supervisor;
use super::running::Signals;
use crate::Result;
use crate::client::job_file;
use crate::protocol::{Ending, JobSpec, Response};
use crate::vm::Start;

#[derive(Default)]
pub(crate) struct Jobs {
    next: u64,
    all: BTreeMap<u64, Job>,
}

struct Job {
    process: Signals,
    ending: Option<Ending>,
}

impl Supervisor {
    pub(crate) fn spawn(self: &Arc<Self>, spec: &JobSpec) -> Result<u64> {
        let number = {
            let mut state = self.state();
            state.jobs.next += 1;
            state.jobs.next
        };
        let file = |kind: &str| job_file(&self.layout, number, kind);
        if let Some(text) = &spec.stdin {
            std::fs::write(file("in"), text).context("keep the input")?;
        }
        for kind in ["out", "err"] {
            File::create(file(kind)).context("make room for the output")?;
        }
        let running = self.start(
            &spec.place,
            Start {
                argv: spec.argv.clone(),
                env: spec.env.clone(),
                stdin: spec.stdin.as_ref().map(|_| file("in")),
                out: file("out"),
                errors: file("err"),
                netns: None,
                notify: None,
            },
        )?;
        let job = Job { process: running.signals(), ending: None };
        self.state().jobs.all.insert(number, job);
        let supervisor = Arc::clone(self);
        std::thread::Builder::new().name(format!("job {number}")).spawn(move || {
            let status = running.attend(|| {});
            if let Some(job) = supervisor.state().jobs.all.get_mut(&number) {
                job.ending = Some(Ending { status });
            }
            supervisor.announce();
        })?;
        Ok(number)
    }

    pub(crate) fn await_job(&self, number: u64, within: Duration) -> Result<Response> {
        if !self.state().jobs.all.contains_key(&number) {
            return Err(no_job(number));
        }
        let ending = self.wait(within, |state| state.jobs.all.get(&number).and_then(|job| job.ending));
        Ok(Response::Ended(ending))
    }

    pub(crate) fn signal_job(&self, number: u64, signal: i32) -> Result<Response> {
        let state = self.state();
        let job = state.jobs.all.get(&number).ok_or_else(|| no_job(number))?;
        // Under the lock, a job without an ending hasn't been waited for: its number is still its own.
        if job.ending.is_none() {
            let signal = Signal::try_from(signal).context("no such signal")?;
            let _ = job.process.send(signal);
        }
        Ok(Response::Done)
    }
}

/// Exit status, or 128 + signal as shells have it.
pub(crate) fn status_byte(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(255);
    u8::try_from(code & 0xff).unwrap_or(255)
}

fn no_job(number: u64) -> anyhow::Error {
    anyhow!("there is no job {number}")
}
