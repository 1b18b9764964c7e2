//! `weft init`: makes a cluster on this machine. The work is `weftd init`'s; this command finds the address, starts the
//! replica, waits until it serves, and prints what to do next.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, FILE_UNREADABLE, INTERNAL, UNDERLAY_UNKNOWN, UNREACHABLE};
use weft_model::Role;
use weft_proto::v1;

use super::Run;
use crate::{
    args::Init,
    client::Session,
    context,
    fail::{Failure, Outcome},
    table::at,
};

/// Name of the context that init makes.
const CONTEXT: &str = "default";

/// Runs the command.
pub(crate) async fn run(args: &Init, run: &Run) -> Outcome {
    let start = Instant::now();
    let listen = args.listen.map_or_else(own_address, Ok)?;
    let made = weftd_init(args, listen)?;
    if args.dry_run {
        run.printer.value(&made, &format!("{}\nnothing was made: dry run", ranges(&made)));
        return Ok(());
    }
    let started = if args.no_start { None } else { Some(start_weftd(args)?) };
    let mut value = json!({"kind": "Init", "authority": made["ca"], "cluster": made["cluster"], "ranges": made["ranges"], "listen": listen.to_string(), "context": CONTEXT});
    let mut text = format!("Authority        created  {}\n{}\n", at(&made, "/ca"), ranges(&made));
    match started {
        None => {
            text +=
                &format!("Control plane    not started: weftd run --data-dir {}\n", args.data_dir.display())
        }
        Some(how) => {
            let token = first_token(run, listen).await?;
            text += &format!(
                "Control plane    1 replica, leader, serving {listen}   {:.1}s   ({how})\n",
                start.elapsed().as_secs_f64()
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

fn weftd_init(args: &Init, listen: SocketAddr) -> Outcome<Value> {
    let name = args.name.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        host.trim().to_lowercase()
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
            command.args([flag, &range.to_string()]);
        }
    }
    command.arg("--context-file").arg(context::path()).args(["--context-name", CONTEXT, "-o", "json"]);
    if args.dry_run {
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

/// Starts the replica: by systemd where its unit is installed, otherwise as a process of its own session.
fn start_weftd(args: &Init) -> Outcome<&'static str> {
    let unit = Command::new("systemctl")
        .args(["enable", "--now", "weftd"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if unit.is_ok_and(|status| status.success()) {
        return Ok("systemd unit weftd");
    }
    use std::os::unix::process::CommandExt;
    let log = args.data_dir.join("weftd.log");
    let open = || std::fs::File::options().create(true).append(true).open(&log);
    let (out, err) = open()
        .and_then(|a| open().map(|b| (a, b)))
        .map_err(|e| Failure::new(&FILE_UNREADABLE, format!("{}: {e}", log.display())))?;
    Command::new(weftd())
        .arg("run")
        .arg("--data-dir")
        .arg(&args.data_dir)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|e| Failure::new(&INTERNAL, format!("weftd can't be started: {e}")))?;
    Ok("a background process; install the systemd unit to start it at boot")
}

/// Asks for the first join token until the replica serves.
async fn first_token(run: &Run, listen: SocketAddr) -> Outcome<v1::CreateTokenResponse> {
    let deadline = Instant::now() + run.global.timeout;
    loop {
        let session = Session::of_context(&run.global, CONTEXT)?;
        let request = v1::CreateTokenRequest {
            mutation: Some(session.mutation()),
            role: v1::Role::from(Role::Node).into(),
            ttl_s: 0,
        };
        match session.admin()?.create_token(session.request(request)).await {
            Ok(token) => return Ok(token.into_inner()),
            Err(status) if Instant::now() >= deadline => {
                return Err(Error::new(
                    &UNREACHABLE,
                    format!("weftd was started but doesn't serve {listen}"),
                )
                .because(status.message())
                .try_this("look at its log", "journalctl -u weftd; cat /var/lib/weft/weftd.log")
                .into());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
