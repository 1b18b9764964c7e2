//! The node agent: `join`, `run`, `tunnel`, `dns`, `purge`.
//!
//! In: the command line. Not here: what the commands do (a file each).

mod addresses;
mod announce;
mod ask;
mod attach;
mod backoff;
mod clock;
mod config;
mod conflist;
mod control;
mod cuts;
mod desk;
mod drain;
mod drops;
#[cfg(test)]
mod fixture;
mod flows;
mod follow;
mod gate;
mod host;
mod identity;
mod inbox;
mod ip_netns;
mod join;
mod judged;
mod lease;
mod limits;
mod local;
mod lock;
mod locks;
mod lookup;
mod loops;
mod names;
mod node;
mod notes;
mod path_mtu;
mod paths;
mod ping;
mod pods;
mod ports;
mod publish;
mod publisher;
mod pulse;
mod purge;
mod readiness;
mod reconcile;
mod recover;
mod renew;
mod report;
mod revive;
mod run;
mod service_findings;
mod settings;
mod setup;
mod states;
mod status;
mod trace;
mod view_file;
mod view_log;
mod watchers;

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use weft_errors::{Coded, Error, INTERNAL, USAGE};
use weft_model::AuthorityHash;
use weft_process::LogFormat;

use crate::{config::Config, join::JoinRequest, paths::Paths};

/// The node agent of Weft.
#[derive(Debug, Parser)]
#[command(name = "weft-agent", version, arg_required_else_help = true)]
struct Cli {
    /// Form of the log lines on standard error: text or json.
    #[arg(long, global = true, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Configuration file, instead of /etc/weft/agent.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say every problem, and do nothing else.
    #[arg(long)]
    check_config: bool,
    /// Print the configuration with the source of each value, and do nothing else.
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make this machine a node of a fabric.
    Join(Join),
    /// Run the agent.
    Run,
    /// Run the userspace WireGuard tunnel of a device.
    Tunnel(Tunnel),
    /// Answer this node's pods' questions about names.
    Dns,
    /// Remove every trace of Weft from this machine, by its marks, and list what was removed.
    Purge,
}

#[derive(Args, Debug)]
struct Join {
    /// Replicas of the control plane: ADDRESS:PORT, separated by commas.
    #[arg(value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// The join token.
    #[arg(long)]
    token: String,
    /// Hash of the authority, as `weft init` printed it.
    #[arg(long, value_name = "sha256:HASH")]
    ca: String,
    /// Name of the node; by default the machine's name.
    #[arg(long)]
    name: Option<String>,
    /// A label of the node; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Interface that carries the mesh; by default that of the default route.
    #[arg(long, value_name = "NAME")]
    underlay_interface: Option<String>,
    /// Address that carries the mesh.
    #[arg(long, value_name = "ADDRESS")]
    underlay_address: Option<String>,
    /// Refuse a fabric with another primary family: v4 or v6.
    #[arg(long, value_name = "FAMILY")]
    primary_family: Option<String>,
}

#[derive(Args, Debug)]
struct Tunnel {
    /// The device: weft0 or weft1.
    #[arg(long)]
    device: String,
}

fn main() -> ExitCode {
    weft_kernel::keep_memory_together();
    // Before any thread exists: the library for WireGuard devices would start a program of this name.
    let guarded = weft_kernel::set_environment(weft_mesh::GUARD_VARIABLE, weft_mesh::GUARD_VALUE);
    let cli = Cli::parse();
    let outcome = match guarded {
        Ok(()) => begin(cli),
        Err(error) => Err(Error::new(&INTERNAL, "the environment can't be prepared").because(error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.registered().exit as u8)
        }
    }
}

fn begin(cli: Cli) -> Result<(), Error> {
    let mut origin = config::Origin::default();
    if let Some(file) = &cli.config {
        origin = config::Origin { file: file.clone(), named: true, ..origin };
    }
    if cli.check_config || cli.print_config {
        return show_config(&cli, &origin);
    }
    let Some(command) = cli.command else {
        return Err(Error::new(&USAGE, "a command is missing: join, run, tunnel, dns or purge"));
    };
    weft_process::init_logs("weft-agent", cli.log_format).map_err(|e| e.envelope())?;
    let paths = Paths::default();
    match command {
        Verb::Join(join) => {
            origin.flags = flags_of(&join);
            let request = request_of(&join)?;
            let config = Config::load(&origin)?;
            let joined = runtime(1)?.block_on(join::join(&paths, &config, request))?;
            print_joined(&joined)
        }
        Verb::Run => {
            let config = Config::load(&origin)?;
            runtime(2)?.block_on(run::run(paths, config))
        }
        Verb::Tunnel(tunnel) => run_tunnel(&tunnel.device),
        Verb::Dns => weft_dns::run(&weft_dns::Options::default()),
        Verb::Purge => print_purged(purge::purge(&paths)?),
    }
}

fn show_config(cli: &Cli, origin: &config::Origin) -> Result<(), Error> {
    let loaded = config::read(origin)?;
    Config::resolve(&loaded)?;
    if cli.print_config {
        return say(&weft_process::print_config(&loaded.value, &loaded.sources));
    }
    say(&format!("{}: the configuration is valid\n", origin.file.display()))
}

/// Flags are the uppermost layer of the configuration.
fn flags_of(join: &Join) -> Vec<(String, String)> {
    let given = [
        ("underlay.interface", &join.underlay_interface),
        ("underlay.address", &join.underlay_address),
        ("primary-family", &join.primary_family),
    ];
    given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
}

fn request_of(join: &Join) -> Result<JoinRequest, Error> {
    let authority: AuthorityHash = join.ca.parse().map_err(|why| {
        Error::new(&USAGE, format!("{:?} isn't the hash of an authority", join.ca)).field("--ca").because(why)
    })?;
    let mut labels = BTreeMap::new();
    for label in &join.labels {
        let (key, value) = label
            .split_once('=')
            .ok_or_else(|| Error::new(&USAGE, format!("{label:?} isn't KEY=VALUE")).field("--label"))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(JoinRequest {
        endpoints: join.endpoints.clone(),
        token: join.token.clone(),
        authority,
        name: join.name.clone(),
        labels,
    })
}

fn run_tunnel(device: &str) -> Result<(), Error> {
    let options = weft_tunnel::TunnelOptions::of_device(device);
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    runtime(threads)?.block_on(async {
        let tasks = weft_process::Tasks::new();
        let stop = tasks.token();
        let stopper = tasks.clone();
        tasks.spawn_vital("tunnel", async move {
            let ended = weft_tunnel::run(options, stop).await.map_err(|e| e.envelope());
            stopper.stop();
            ended
        });
        tasks.run().await.failure.map_or(Ok(()), Err)
    })
}

fn runtime(workers: usize) -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("async")
        .enable_all()
        .build()
        .map_err(|error| Error::new(&INTERNAL, "the runtime can't be started").because(error))
}

fn print_joined(joined: &join::Joined) -> Result<(), Error> {
    let mut text = format!("joined   cluster {} as node {}\n", joined.cluster, joined.name);
    text.push_str(&format!("replicas {}\n", joined.endpoints.join(" ")));
    for address in &joined.addresses {
        text.push_str(&format!("got      {address}\n"));
    }
    text.push_str("next     systemctl start weft-agent   (or: weft-agent run)\n");
    say(&text)
}

fn print_purged(purged: purge::Purged) -> Result<(), Error> {
    let mut text = purged.done.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{} objects removed\n", purged.done.len()));
    say(&text)?;
    let mut errors = purged.errors.into_iter();
    match errors.next() {
        None => Ok(()),
        Some(first) => Err(errors.fold(first, |all, next| all.because(next.message))),
    }
}

/// Standard output; who closed it early doesn't want to hear more.
fn say(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::new(&INTERNAL, "standard output can't be written").because(error)),
    }
}
