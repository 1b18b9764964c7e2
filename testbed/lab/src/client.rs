//! Talking to the supervisor of a lab.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::layout::Layout;
use crate::protocol::{Description, Ending, JobSpec, Place, Request, Response};
use crate::{Refusal, Result};

/// A lab that runs.
#[derive(Clone, Debug)]
pub struct Client {
    layout: Layout,
}

/// A process that was started inside.
#[derive(Debug)]
pub struct Job {
    client: Client,
    number: u64,
}

/// What a process printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status, or 128 + signal.
    pub status: u8,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Keeps the lab alive: when it is dropped, or its process dies, the lab ends.
#[derive(Debug)]
pub struct Tie(UnixStream);

impl Tie {
    /// Lets the lab go on without this process.
    pub fn release(mut self) -> Result {
        self.0.write_all(b"keep\n").context("release the lab")
    }
}

/// Tells whether the lab is still there, also from inside its namespaces, where its socket can't be reached.
#[derive(Debug)]
pub struct Lifeline(UnixStream);

impl Lifeline {
    /// Whether the lab has ended.
    pub fn is_cut(&self) -> bool {
        // Nothing is ever sent: the end of the stream is the end of the supervisor.
        !matches!((&self.0).read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }
}

impl Client {
    /// The running lab in `layout`. Fails with [`Refusal::NotFound`] if it isn't running.
    pub fn open(layout: Layout) -> Result<Self> {
        let client = Self { layout };
        client.connect()?;
        Ok(client)
    }

    /// Its folder.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn connect(&self) -> Result<UnixStream> {
        let address = SocketAddr::from_abstract_name(self.layout.socket())?;
        UnixStream::connect_addr(&address).map_err(|_| {
            let name = self.layout.name();
            Refusal::NotFound(format!(
                "no lab {name:?} is running; start it with: cargo lab up --name {name}"
            ))
            .into()
        })
    }

    /// One request, one answer; a refusal of the supervisor is an error.
    pub fn call(&self, request: &Request) -> Result<Response> {
        self.converse(request).map(|(response, _)| response)
    }

    fn converse(&self, request: &Request) -> Result<(Response, UnixStream)> {
        let mut stream = self.connect()?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).context("ask the lab")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).context("hear the lab")?;
        let response: Response = serde_json::from_str(&answer).context("the lab ended while it was asked")?;
        if let Response::Failed(why, exit) = response {
            return Err(Refusal::from_exit(why, exit));
        }
        Ok((response, stream))
    }

    /// Binds the lab's life to the returned value.
    pub fn tie(&self) -> Result<Tie> {
        self.converse(&Request::Tie).map(|(_, stream)| Tie(stream))
    }

    /// A connection that ends with the lab.
    pub fn lifeline(&self) -> Result<Lifeline> {
        let stream = self.connect()?;
        stream.set_nonblocking(true)?;
        Ok(Lifeline(stream))
    }

    /// What is there.
    pub fn describe(&self) -> Result<Description> {
        let response = self.call(&Request::Describe)?;
        let Response::Lab(description) = response else { return Err(unexpected(&response)) };
        Ok(*description)
    }

    /// Starts a process inside.
    pub fn spawn(&self, spec: JobSpec) -> Result<Job> {
        let response = self.call(&Request::Spawn(spec))?;
        let Response::Job(number) = response else { return Err(unexpected(&response)) };
        Ok(Job { client: self.clone(), number })
    }

    /// Runs a process inside to its end, which must come `within`.
    pub fn run(&self, place: Place, argv: &[&str], within: Duration) -> Result<Output> {
        self.run_with(place, argv, &[], None, within)
    }

    /// As [`Client::run`], with additional environment and input.
    pub fn run_with(
        &self,
        place: Place,
        argv: &[&str],
        env: &[(&str, &str)],
        stdin: Option<String>,
        within: Duration,
    ) -> Result<Output> {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        let env: BTreeMap<String, String> =
            env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let words = argv.join(" ");
        let job = self.spawn(JobSpec { place, argv, env, stdin })?;
        match job.wait(within)? {
            Some(_) => job.output(),
            None => {
                job.signal(nix::libc::SIGKILL)?;
                job.wait(Duration::from_secs(5))?;
                let output = job.output()?;
                let said = format!("{}{}", output.stdout, output.stderr);
                bail!(Refusal::Timeout(format!("{words}: no end within {within:?}; so far: {}", said.trim())))
            }
        }
    }

    /// Waits until a service has said that it is ready.
    pub fn ready(&self, machine: &str, service: &str, within: Duration) -> Result {
        let ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let response = self.call(&Request::Ready(machine.to_owned(), service.to_owned(), ms))?;
        let Response::Ready(ready) = response else { return Err(unexpected(&response)) };
        if ready {
            return Ok(());
        }
        let log = self.layout.log(machine, service);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n  ");
        bail!(Refusal::Timeout(format!(
            "{service} on {machine} is not ready after {within:?}; the end of {}:\n  {tail}",
            log.display()
        )))
    }
}

impl Job {
    /// Waits for its end; `None` when it still runs after `within`.
    pub fn wait(&self, within: Duration) -> Result<Option<Ending>> {
        let ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let response = self.client.call(&Request::Await(self.number, ms))?;
        let Response::Ended(ending) = response else { return Err(unexpected(&response)) };
        Ok(ending)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) -> Result {
        self.client.call(&Request::Signal(self.number, signal)).map(drop)
    }

    /// Asks it to end (SIGTERM) and returns what it printed; it must obey within five seconds.
    pub fn stop(&self) -> Result<Output> {
        self.signal(nix::libc::SIGTERM)?;
        match self.wait(Duration::from_secs(5))? {
            Some(_) => self.output(),
            None => bail!(Refusal::Timeout(format!("job {} ignores SIGTERM", self.number))),
        }
    }

    /// Waits for its end and returns what it printed.
    pub fn finish(&self, within: Duration) -> Result<Output> {
        match self.wait(within)? {
            Some(_) => self.output(),
            None => bail!(Refusal::Timeout(format!("job {}: no end within {within:?}", self.number))),
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> Result<Output> {
        let read = |kind: &str| {
            let path = job_file(&self.client.layout, self.number, kind);
            std::fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .with_context(|| format!("read {}", path.display()))
        };
        let ending = self.wait(Duration::ZERO)?;
        let status = ending.map_or(0, |e| e.status);
        Ok(Output { status, stdout: read("out")?, stderr: read("err")? })
    }
}

impl Output {
    /// The output of a command that must have ended with 0.
    pub fn success(self, what: &str) -> Result<String> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        bail!("{what} ended with status {}: {} {}", self.status, self.stdout.trim(), self.stderr.trim())
    }
}

/// File of a job's input or output: `in`, `out`, `err`.
pub fn job_file(layout: &Layout, number: u64, kind: &str) -> PathBuf {
    layout.jobs().join(format!("{number:04}.{kind}"))
}

/// An answer that doesn't belong to the question.
pub fn unexpected(response: &Response) -> anyhow::Error {
    anyhow!("the lab answered {response:?}")
}
