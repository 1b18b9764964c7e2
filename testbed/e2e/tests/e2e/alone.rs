//! A control plane of one replica in a temporary folder, without a lab: all that the command line needs to be tried.

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use weft_lab::{Result, wait::until};

/// Longest time for one command.
const COMMAND: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Exit status; -1 when a signal ended it.
    pub(crate) status: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Said {
    /// Its one JSON document.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not one JSON document: {self:?}"))
    }

    /// Itself, when it ended with 0.
    pub(crate) fn success(self) -> Result<Self> {
        ensure!(self.status == 0, "it failed: {self:?}");
        Ok(self)
    }
}

/// A folder for files, contexts and data directories, removed afterwards.
pub(crate) struct Alone {
    folder: TempDir,
    bin: PathBuf,
    listen: String,
    replica: Option<Child>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Alone {
    /// Only the folder: no cluster, no context.
    pub(crate) fn empty() -> Result<Self> {
        let bin = weft_e2e::product()?.weft.parent().context("weft lies nowhere")?.to_owned();
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Self { folder: tempfile::tempdir()?, bin, listen: free.to_string(), replica: None })
    }

    /// A cluster of one replica that serves.
    pub(crate) fn start() -> Result<Self> {
        let mut alone = Self::empty()?;
        alone.init("data", &alone.listen.clone())?.success()?;
        alone.serve("data")?;
        Ok(alone)
    }

    /// Makes a cluster in the folder `data`; starts nothing.
    pub(crate) fn init(&self, data: &str, listen: &str) -> Result<Said> {
        let data = self.path(data);
        let data = data.to_string_lossy();
        self.weft(&["init", "--no-start", "--name", "cp-1", "--listen", listen, "--data-dir", &data])
    }

    /// Starts the replica of `data` and waits until it leads.
    pub(crate) fn serve(&mut self, data: &str) -> Result {
        let log = File::create(self.path("weftd.log"))?;
        let child = Command::new(self.bin.join("weftd"))
            .args(["run", "--data-dir"])
            .arg(self.path(data))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start weftd")?;
        self.replica = Some(child);
        let leads = until(COMMAND, STEP, || {
            let said = self.weft(&["get", "fabric", "main", "--timeout", "2s"]).ok()?;
            (said.status == 0).then_some(())
        });
        leads.with_context(|| format!("weftd doesn't lead: {}", self.log()))
    }

    /// Kills the replica.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.replica.take() {
            // One that has ended already is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the replica in order: what it has applied is on the disk then.
    pub(crate) fn end(&mut self) -> Result {
        let Some(mut child) = self.replica.take() else { return Ok(()) };
        interrupt(child.id(), "TERM")?;
        match until(COMMAND, STEP, || child.try_wait().ok().flatten()) {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("weftd ended with {status}: {}", self.log()),
            None => {
                child.kill()?;
                child.wait()?;
                bail!("weftd doesn't end: {}", self.log())
            }
        }
    }

    /// Where the replica serves.
    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// What the replica logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("weftd.log")).unwrap_or_default()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives back its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Runs `weft` with the folder's contexts.
    pub(crate) fn weft(&self, arguments: &[&str]) -> Result<Said> {
        self.run("weft", arguments, &[], "")
    }

    /// Runs a program of the product to its end.
    pub(crate) fn run(
        &self,
        program: &str,
        arguments: &[&str],
        env: &[(&str, &str)],
        stdin: &str,
    ) -> Result<Said> {
        self.spawn(program, arguments, env, stdin)?.finish(COMMAND)
    }

    /// Starts a program of the product. Nothing of the caller's environment decides what it does.
    pub(crate) fn spawn(
        &self,
        program: &str,
        arguments: &[&str],
        env: &[(&str, &str)],
        stdin: &str,
    ) -> Result<Running> {
        let outputs = tempfile::tempdir_in(self.folder.path())?;
        let file = |name: &str| File::create(outputs.path().join(name));
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).env_clear().envs(env.iter().copied());
        command.env("PATH", &self.bin).env("WEFT_CONFIG", self.path("contexts.toml"));
        command.stdin(Stdio::piped()).stdout(file("out")?).stderr(file("err")?);
        let mut child = command.spawn().with_context(|| format!("start {program}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A program that doesn't want its input may have closed it.
            let _ = input.write_all(stdin.as_bytes());
        }
        Ok(Running { child, outputs, what: format!("{program} {}", arguments.join(" ")) })
    }

    /// Runs `weft … -o json`, which must succeed, and reads its document.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.weft(&[arguments, &["-o", "json"]].concat())?.success()?.json()
    }

    /// Runs a `weft` command that must fail with this status and code, in both forms: one JSON document on standard
    /// output and nothing else, or one line on standard error and nothing else. Gives back the error.
    pub(crate) fn refused(&self, arguments: &[&str], status: i32, code: &str) -> Result<Value> {
        let said = self.weft(arguments)?;
        let one_line = said.err.lines().filter(|line| !line.starts_with("no answer yet")).count() == 1;
        ensure!(
            said.status == status
                && said.out.is_empty()
                && one_line
                && said.err.contains(&format!("error[{code}]: ")),
            "weft {arguments:?} must end with {status} and {code} on one line: {said:?}"
        );
        let said = self.weft(&[arguments, &["-o", "json"]].concat())?;
        let error = said.json()?;
        ensure!(
            said.status == status && error["code"] == code && error["kind"] == "Error",
            "weft {arguments:?} -o json must end with {status} and {code}: {said:?}"
        );
        four_parts(&error)?;
        Ok(error)
    }
}

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    outputs: TempDir,
    what: String,
}

impl Running {
    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.outputs.path().join("out")).unwrap_or_default()
    }

    /// Waits for its end, which must come `within`.
    pub(crate) fn finish(mut self, within: Duration) -> Result<Said> {
        let ended = until(within, STEP, || self.child.try_wait().ok().flatten());
        let Some(status) = ended else {
            self.child.kill()?;
            self.child.wait()?;
            bail!("{}: no end within {within:?}", self.what);
        };
        let read = |name: &str| fs::read_to_string(self.outputs.path().join(name));
        Ok(Said { status: status.code().unwrap_or(-1), out: read("out")?, err: read("err")? })
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn interrupt(pid: u32, signal: &str) -> Result {
    let sent = Command::new("sh").args(["-c", "kill -$1 $0", &pid.to_string(), signal]).status()?;
    ensure!(sent.success(), "signal {signal} to {pid}: {sent}");
    Ok(())
}

/// An error says what failed and what to do.
pub(crate) fn four_parts(error: &Value) -> Result {
    let remedies = error["remedy"].as_array().map_or(&[][..], Vec::as_slice);
    let told = remedies.iter().any(|remedy| remedy["text"].as_str().is_some_and(|text| !text.is_empty()));
    let said = error["message"].as_str().is_some_and(|message| !message.is_empty());
    let named = error["reason"].as_str().is_some_and(|reason| !reason.is_empty());
    ensure!(told && said && named, "an error has a message, a reason and a remedy: {error}");
    Ok(())
}

/// Every file below a folder with its bytes: to see that nothing was touched.
pub(crate) fn contents(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(contents(&path)?);
        } else {
            let bytes = fs::read(&path)?;
            all.push((path, bytes));
        }
    }
    all.sort();
    Ok(all)
}
