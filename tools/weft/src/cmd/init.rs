//! `weft init`: makes a cluster on this machine. The work is `weftd init`'s; this command finds the address, starts the
//! replica, waits until it serves, and prints what to do next.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use weft_errors::{Error, ExitCode, FILE_UNREADABLE, UNDERLAY_UNKNOWN, UNREACHABLE};
use weft_model::Role;
use weft_plan::Intent;
use weft_proto::v1;

use super::{
    Run,
    preflight::{self, Preflight},
};
use crate::{
    args::Init,
    client::Session,
    context,
    fail::{Failure, Outcome},
    table::at,
};

/// Name of the context that init makes.
const CONTEXT: &str = "default";
/// The directory that the systemd unit serves.
const DATA_DIR: &str = "/var/lib/weft";

/// Runs the command.
pub(crate) async fn run(args: &Init, run: &Run) -> Outcome {
    let start = Instant::now();
    let listen = args.listen.map_or_else(own_address, Ok)?;
    let planned = weftd_init(args, listen, true)?;
    let preflight = preflight(args, listen, &planned)?;
    if args.dry_run {
        let text = format!("{}{}\nnothing was made: dry run", preflight.text(), ranges(&planned));
        let mut value = planned;
        value["preflight"] = preflight.values().into();
        run.printer.value(&value, &text);
        return Ok(());
    }
    let made = weftd_init(args, listen, false)?;
    let started = if args.no_start { None } else { Some(start_weftd(args)?) };
    let mut value = json!({"kind": "Init", "authority": made["ca"], "cluster": made["cluster"], "ranges": made["ranges"], "listen": listen.to_string(), "context": CONTEXT, "preflight": preflight.values()});
    let mut text =
        format!("{}Authority        created  {}\n{}\n", preflight.text(), at(&made, "/ca"), ranges(&made));
    match started {
        None => {
            text +=
                &format!("Control plane    not started: weftd run --data-dir {}\n", args.data_dir.display())
        }
        Some(mut started) => {
            let token = first_token(run, listen, &mut started).await?;
            text += &format!(
                "Control plane    1 replica, leader, serving {listen}   {:.1}s   ({})\n",
                start.elapsed().as_secs_f64(),
                started.words()
            );
            text += &format!("Context          {CONTEXT:?} in {}\n", context::path().display());
            text += &format!(
                "\nAdd a node (within 30 minutes, works once):\n  sudo weft-agent join {listen} --token {} --ca {}\n",
                token.token, token.authority
            );
            value["token"] = json!(token.token);
        }
    }
    run.printer.value(&value, &text);
    Ok(())
}

/// Looks at this machine. What makes a fabric or a start here impossible ends the command; the rest are warnings, for this
/// machine needn't be a node.
fn preflight(args: &Init, listen: SocketAddr, planned: &Value) -> Outcome<Preflight> {
    let ranges = preflight::ranges(planned);
    let intent = Intent { overlay: args.overlay, families: args.family, ranges: &ranges };
    let mut preflight = Preflight::look(intent)?;
    preflight.add(&planned["preflight"]);
    if let Some(overlap) = preflight.overlap() {
        return Err(overlap.into());
    }
    match preflight.wrong("listen") {
        Some(error) if !args.no_start && !args.dry_run => {
            let holder = weft_kernel::tcp_port_holder(listen.port());
            let held = holder.map(|holder| format!("TCP port {} is held by {holder}", listen.port()));
            Err(held.into_iter().fold(error, Error::because).into())
        }
        _ => Ok(preflight),
    }
}

fn ranges(made: &Value) -> String {
    let list = |purpose: &str| crate::table::joined(made, &format!("/ranges/{purpose}")).replace(", ", " ");
    format!(
        "Ranges           pods {} · services {} · nodes {}",
        list("pods"),
        list("services"),
        list("nodes")
    )
}

/// The address that packets to the outside would leave from: the default route's. Nothing is sent.
fn own_address() -> Outcome<SocketAddr> {
    let probe = |bind: &str, to: &str| -> Option<IpAddr> {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|a| a.ip())
    };
    probe("0.0.0.0:0", "192.0.2.1:9")
        .or_else(|| probe("[::]:0", "[2001:db8::1]:9"))
        .map(|ip| SocketAddr::new(ip, weft_model::ownership::CONTROL_PORT))
        .ok_or_else(|| {
            Error::new(
                &UNDERLAY_UNKNOWN,
                "this machine has no default route, so its address can't be guessed",
            )
            .try_this("say where to serve", "weft init --listen IP:7443")
            .into()
        })
}

/// `weftd` beside this program, else on the path.
fn weftd() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join("weftd")))
        .filter(|beside| beside.exists())
        .unwrap_or_else(|| PathBuf::from("weftd"))
}

fn weftd_init(args: &Init, listen: SocketAddr, dry_run: bool) -> Outcome<Value> {
    let name = args.name.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        host.trim().split('.').next().unwrap_or_default().to_lowercase()
    });
    let mut command = Command::new(weftd());
    command.arg("init").arg("--data-dir").arg(&args.data_dir).args([
        "--name",
        &name,
        "--listen",
        &listen.to_string(),
    ]);
    command.args([
        "--family",
        &args.family.to_string(),
        "--overlay",
        &args.overlay.to_string(),
        "--domain",
        &args.domain,
    ]);
    for (flag, list) in [("--pods", &args.pods), ("--services", &args.services), ("--nodes", &args.nodes)] {
        for range in list {
            command.args([flag, range]);
        }
    }
    command.arg("--context-file").arg(context::path()).args(["--context-name", CONTEXT, "-o", "json"]);
    if dry_run {
        command.arg("--dry-run");
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| {
        Failure::from(
            Error::new(&FILE_UNREADABLE, format!("weftd can't be started: {e}"))
                .try_this("install weftd beside weft, or put it on the path", ""),
        )
    })?;
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() {
        return Ok(value);
    }
    // weftd's own envelope is shown as ours.
    match serde_json::from_value::<Error>(value) {
        Ok(error) => Err(error.into()),
        Err(_) => Err(Failure::Answer(output.status.code().map_or(ExitCode::Bug, exit_code))),
    }
}

fn exit_code(code: i32) -> ExitCode {
    [
        ExitCode::No,
        ExitCode::Usage,
        ExitCode::Refused,
        ExitCode::NotFound,
        ExitCode::NotAllowed,
        ExitCode::Unreachable,
    ]
    .into_iter()
    .find(|known| *known as i32 == code)
    .unwrap_or(ExitCode::Bug)
}

/// How the replica runs.
enum Started {
    /// By systemd.
    Unit,
    /// As a process of ours, with its log.
    Process(Child, PathBuf),
}

impl Started {
    fn words(&self) -> &'static str {
        match self {
            Self::Unit => "systemd unit weftd",
            Self::Process(..) => "a background process; install the systemd unit to start it at boot",
        }
    }

    /// What the replica said last, when it has ended already.
    fn ended(&mut self) -> Option<String> {
        let Self::Process(child, log) = self else { return None };
        let status = child.try_wait().ok().flatten()?;
        let text = std::fs::read_to_string(log).unwrap_or_default();
        Some(text.lines().next_back().map_or_else(|| status.to_string(), str::to_owned))
    }

    fn look(&self) -> String {
        match self {
            Self::Unit => "journalctl -u weftd".to_owned(),
            Self::Process(_, log) => format!("cat {}", log.display()),
        }
    }
}

/// Starts the replica: by systemd where its unit is installed, which serves the usual directory, otherwise as a process
/// in a group of its own.
fn start_weftd(args: &Init) -> Outcome<Started> {
    if args.data_dir.as_os_str() == DATA_DIR {
        let unit = Command::new("systemctl")
            .args(["enable", "--now", "weftd"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if unit.is_ok_and(|status| status.success()) {
            return Ok(Started::Unit);
        }
    }
    let log = args.data_dir.join("weftd.log");
    let open = || std::fs::File::options().create(true).append(true).open(&log);
    let (out, err) = open()
        .and_then(|a| open().map(|b| (a, b)))
        .map_err(|e| Failure::new(&FILE_UNREADABLE, format!("{}: {e}", log.display())))?;
    let child = Command::new(weftd())
        .arg("run")
        .arg("--data-dir")
        .arg(&args.data_dir)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|e| Failure::new(&FILE_UNREADABLE, format!("weftd can't be started: {e}")))?;
    Ok(Started::Process(child, log))
}

/// Asks for the first join token until the replica serves.
async fn first_token(
    run: &Run,
    listen: SocketAddr,
    started: &mut Started,
) -> Outcome<v1::CreateTokenResponse> {
    let session = Session::of_context(run, CONTEXT)?;
    let request = v1::CreateTokenRequest {
        mutation: Some(session.mutation()),
        role: v1::Role::from(Role::Node).into(),
        ttl_s: 0,
    };
    loop {
        let asked = session
            .call(request.clone(), |mut admin, request| async move { admin.create_token(request).await })
            .await;
        let error = match asked {
            Ok(token) => return Ok(token),
            Err(Failure::Error(error)) if error.registered() == &UNREACHABLE => error,
            Err(failure) => return Err(failure),
        };
        let last = started.ended();
        if last.is_some() || Instant::now() >= run.deadline {
            let causes = last.into_iter().chain(error.cause);
            let error =
                Error::new(&UNREACHABLE, format!("the cluster is made, but weftd doesn't serve {listen}"));
            return Err(causes
                .fold(error, Error::because)
                .try_this("look at its log", started.look())
                .into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
