//! `run`, `rm`, `exec`, `ctl`, `shell`: pods, and programs inside.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::{Format, Which, print, print_json};
use crate::client::Client;
use crate::enter::{Depth, enter, find};
use crate::layout::{Layout, check_name};
use crate::protocol::{Description, JobSpec, Place};
use crate::record::Record;
use crate::supervisor::status_byte;
use crate::{Refusal, Result, topology};

/// `cargo lab run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Name of the pod
    pod: String,
    /// The node it is attached on
    #[arg(long)]
    node: String,
    /// Labels: k=v,…
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// Its namespace
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Servers in it: http:PORT, tcp:PORT, udp:PORT, bulk:PORT; may be repeated
    #[arg(long)]
    serve: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Run {
    pub(crate) fn run(self) -> Result {
        check_name("pod", &self.pod, 63)?;
        check_name("namespace", &self.namespace, 63)?;
        let mut labels = BTreeMap::new();
        for label in &self.labels {
            let Some((key, value)) = label.split_once('=') else {
                bail!(Refusal::Usage(format!("label {label:?}: k=v")));
            };
            labels.insert(key.to_owned(), value.to_owned());
        }
        let fabric = self.which.fabric()?;
        let pod = fabric.attach(&topology::Pod {
            name: self.pod,
            namespace: self.namespace,
            node: self.node,
            labels,
            serve: self.serve,
        })?;
        match self.output {
            Format::Json => print_json(
                &json!({"kind": "Pod", "name": pod.name(), "node": pod.node(), "addresses": pod.addresses()}),
            ),
            Format::Text => {
                let addresses: Vec<String> = pod.addresses().iter().map(ToString::to_string).collect();
                print(addresses.join(" "))
            }
        }
    }
}

/// `cargo lab rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name of the pod, or NAMESPACE/NAME
    pod: String,
    #[command(flatten)]
    which: Which,
}

impl Remove {
    pub(crate) fn run(self) -> Result {
        let fabric = self.which.fabric()?;
        let Place::Pod(node, netns) = find(&fabric.client().describe()?, &format!("pod/{}", self.pod))?
        else {
            bail!(Refusal::NotFound(format!("there is no pod {:?}", self.pod)));
        };
        let pods = fabric.pods()?;
        let pod = pods
            .iter()
            .find(|p| p.record.node == node && p.record.netns == netns)
            .context("it went just now")?;
        fabric.detach(pod)
    }
}

/// `cargo lab exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Pod or machine; node/NAME or pod/NAME when both exist; switch for the underlay
    place: String,
    #[command(flatten)]
    which: Which,
    /// Program and arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) fn run(self) -> Result {
        let (program, arguments) = self.command.split_first().context("no command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        inside(&self.which, &self.place, command)
    }
}

/// `cargo lab shell`.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// Pod or machine; default: the switch
    place: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl Shell {
    pub(crate) fn run(self) -> Result {
        let place = self.place.unwrap_or_else(|| "switch".to_owned());
        let description = Client::open(self.which.layout()?)?.describe()?;
        if is_virtual(&description, &find(&description, &place)?) {
            bail!(Refusal::Usage(format!(
                "{place} is in a virtual machine, which has no terminal: use cargo lab exec"
            )));
        }
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(shell);
        command.env("PS1", format!("{place} \\w \\$ "));
        inside(&self.which, &place, command)
    }
}

/// `cargo lab ctl`.
#[derive(Debug, Args)]
pub(crate) struct Ctl {
    /// Name of the lab; must come before the command of weft
    #[arg(long, env = "WEFT_LAB", default_value = "default")]
    name: String,
    /// Arguments of `weft`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Ctl {
    pub(crate) fn run(self) -> Result {
        let which = Which { name: self.name };
        let layout = which.layout()?;
        let product = Record::read(&layout)?.product.context("this lab has only machines")?;
        let mut command = Command::new(product.weft);
        command
            .args(self.arguments)
            .env("WEFT_CONFIG", layout.contexts())
            .env("WEFT_CONTEXT", layout.context());
        inside(&which, "switch", command)
    }
}

/// Whether the place is in a virtual machine.
fn is_virtual(description: &Description, place: &Place) -> bool {
    let (Place::Machine(name) | Place::Pod(name, _)) = place else { return false };
    description.machines.iter().any(|m| m.machine.name == *name && m.is_virtual)
}

/// Runs `command` in a virtual machine, without a terminal and without input, and ends as it ends.
fn ordered(layout: &Layout, place: Place, command: &Command) -> Result {
    let argv = std::iter::once(command.get_program()).chain(command.get_args());
    let argv = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let job =
        Client::open(layout.clone())?.spawn(JobSpec { place, argv, env: BTreeMap::new(), stdin: None })?;
    let mut told = [0; 2];
    loop {
        let ended = job.wait(std::time::Duration::from_millis(100))?;
        let output = job.output()?;
        let news = [&output.stdout, &output.stderr];
        let mut streams: [&mut dyn Write; 2] = [&mut std::io::stdout(), &mut std::io::stderr()];
        for ((stream, text), told) in streams.iter_mut().zip(news).zip(&mut told) {
            stream.write_all(&text.as_bytes()[*told..])?;
            stream.flush()?;
            *told = text.len();
        }
        match ended.map(|ending| ending.status) {
            None => {}
            Some(0) => return Ok(()),
            Some(status) => bail!(Refusal::Ended(status)),
        }
    }
}

/// Runs `command` at `place` in this terminal and ends as it ends.
fn inside(which: &Which, place: &str, mut command: Command) -> Result {
    let layout = which.layout()?;
    let description = Client::open(layout.clone())?.describe()?;
    let place = find(&description, place)?;
    if is_virtual(&description, &place) {
        return ordered(&layout, place, &command);
    }
    let here = std::env::current_dir().ok();
    enter(&Record::read(&layout)?, &description, &place, Depth::Whole)?;
    // The same folder where it exists inside: relative file names keep their meaning.
    if let Some(here) = here.filter(|path| path.is_dir()) {
        command.current_dir(here);
    }
    let program = command.get_program().to_os_string();
    let status = command.status().with_context(|| format!("start {}", program.display()))?;
    match status_byte(status) {
        0 => Ok(()),
        status => bail!(Refusal::Ended(status)),
    }
}
