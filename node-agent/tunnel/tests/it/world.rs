//! A process of its own per test, and the namespaces in it.

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const ROLE: &str = "WEFT_TUNNEL_TEST_ROLE";
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` in a process of its own that has the environment of an agent; `test` is the test's full name.
pub(crate) fn alone(test: &str, body: fn()) {
    if env::var(ROLE).as_deref() == Ok("world") {
        body();
        return;
    }
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open(weft_kernel::TUN_CONTROL) {
        panic!(
            "{test} can't run: /dev/net/tun: {error}; it must be open to this user: chmod 0666 /dev/net/tun"
        );
    }
    let mut child = again(test, "world").env("WG_USERSPACE_IMPLEMENTATION", "/bin/false").spawn().unwrap();
    let ended =
        weft_process::wait::until_blocking(LIMIT, "the end of the test", || child.try_wait().unwrap());
    let _ = child.kill();
    let status = ended.unwrap();
    assert!(status.success(), "{test} failed in its own process: {status}");
}

/// This program again, running one test in a role.
pub(crate) fn again(test: &str, role: &str) -> Command {
    let program = env::current_exe().unwrap();
    // An ordinary user becomes root of a user namespace first; only a process with one thread may enter one.
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--"]).arg(program);
        command
    };
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role).stdin(Stdio::null());
    command
}

/// Whether this process has the given role.
pub(crate) fn has_role(role: &str) -> bool {
    env::var(ROLE).as_deref() == Ok(role)
}

/// Gives the calling thread a network namespace and a mount namespace with its own `/run`.
pub(crate) fn enter_new_namespaces() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    ip("link set lo up");
}

/// Runs the `ip` program with words of a line; in the namespaces of the calling thread.
pub(crate) fn ip(line: &str) {
    let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}
