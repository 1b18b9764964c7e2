//! Wrong use ends with the registered code and exit status, and changes nothing.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::machine::{Machines, json, weftd};

/// Runs a command that must fail: its error envelope and exit status.
fn check(args: &[&str], code: &str, exit: i32) -> Value {
    let output = weftd(args.iter().copied());
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {output:?}");
    if args.contains(&"json") {
        let value = json(&output);
        assert_eq!(value["code"], code, "{args:?}: {value}");
        return value;
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with(&format!("error[{code}]")), "{args:?}: {text}");
    Value::Null
}

#[test]
fn init_refuses_what_would_not_work_and_never_overwrites() {
    let mut machines = Machines::new();
    let args = machines.init_args(1);
    let with = |more: &[&str]| {
        let all: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |more: &[&str], code, exit| {
        let all = with(more);
        check(&all.iter().map(String::as_str).collect::<Vec<_>>(), code, exit)
    };
    run(&["--pods", "10.0.0.1/8"], "W2201", 3);
    run(&["--pods", "10.0.0.0/14", "--nodes", "10.1.0.0/20"], "W2203", 3);
    assert!(!machines.path("contexts.toml").exists(), "nothing was made");
    let dry = weftd(with(&["--dry-run"]).iter().map(String::as_str));
    assert!(dry.status.success() && json(&dry)["ranges"]["nodes"].is_array());
    assert!(!machines.path("data-1").exists(), "nothing was made");

    machines.init();
    for (name, mode) in [("data-1", 0o700), ("contexts.toml", 0o600), ("test-admin.key", 0o600)] {
        let found = fs::metadata(machines.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let before = fs::read(machines.path("data-1/ca/ca.pem")).unwrap();
    run(&[], "W1107", 3);
    assert_eq!(fs::read(machines.path("data-1/ca/ca.pem")).unwrap(), before);
    let other = machines.init_args(2);
    check(&other.iter().map(String::as_str).collect::<Vec<_>>(), "W3102", 3);
}

#[test]
fn run_says_why_it_does_not_start() {
    let mut machines = Machines::new();
    let empty = machines.path("nothing").display().to_string();
    check(&["run", "--data-dir", &empty, "--config", "/dev/null"], "W1106", 2);

    machines.init();
    machines.run(1);
    let taken = machines.path("data-1").display().to_string();
    check(&["run", "--data-dir", &taken, "--config", "/dev/null"], "W1103", 2);

    let config = machines.path("weftd.toml");
    fs::write(&config, "[raft]\nelection-ms = 100\nhartbeat-ms = 5\n").unwrap();
    let config = config.display().to_string();
    check(&["run", "--check-config", "--config", &config], "W0003", 2);
    fs::write(&config, "[raft]\nelection-ms = 400\n").unwrap();
    let shown = weftd(["run", "--print-config", "--config", &config, "--raft-heartbeat-ms", "50"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    for line in ["raft.election-ms = 400  # ", "raft.heartbeat-ms = 50  # flag --raft-heartbeat-ms"] {
        assert!(text.lines().any(|have| have.starts_with(line)), "{line} in {text}");
    }
}

#[test]
fn join_needs_a_control_plane_of_the_pinned_authority() {
    let mut machines = Machines::new();
    machines.init();
    machines.run(1);
    let endpoint = machines.address(1).to_string();
    let data_dir = machines.path("data-2").display().to_string();
    let listen = machines.address(2).to_string();
    let token = "wt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let join = |ca: &str, code, exit| {
        let args = ["join", &endpoint, "--token", token, "--ca", ca, "--data-dir", &data_dir];
        let rest = ["--name", "cp-2", "--listen", &listen, "--timeout", "5s", "-o", "json"];
        check(&[&args[..], &rest].concat(), code, exit);
    };
    join(&format!("sha256:{}", "ab".repeat(32)), "W7004", 5);
    let contexts = fs::read_to_string(machines.path("contexts.toml")).unwrap();
    let ca = contexts.lines().find_map(|line| line.strip_prefix("ca = \"")).unwrap().trim_end_matches('"');
    join(ca, "W7003", 5);
    assert!(!machines.path("data-2/replica").exists());
}
