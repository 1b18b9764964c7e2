//! What the lab needs of the machine it runs on, and the sentence that says what to do where it is missing.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::topology::Backend;
use crate::{Refusal, Result, ip, launch, mounts, netfilter, vm};

/// [`check`], and what nodes of this kind need besides.
pub fn check_for(backend: Backend) -> Result {
    check()?;
    let missing = if backend == Backend::Vm { vm::missing() } else { Vec::new() };
    if missing.is_empty() { Ok(()) } else { bail!(Refusal::Usage(missing.join("\n"))) }
}

/// Checks everything. Fails with [`Refusal::Usage`], a sentence per thing that is missing.
pub fn check() -> Result {
    let mut missing = Vec::new();
    if Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        missing.push("The program ip is missing: install iproute2.".to_owned());
    }
    let socket = format!("weft-lab/check/{}", std::process::id());
    match launch::launch(&["inside", "check"], &socket, Stdio::null()) {
        Ok(mut launched) => {
            while let Some(line) = launched.line()? {
                missing.push(line);
            }
        }
        Err(e) => missing.push(why_no_namespaces(&format!("{e:#}"))),
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(Refusal::Usage(missing.join("\n")))
}

/// The part that runs inside new namespaces; prints a sentence per thing that is missing.
pub fn check_inside() -> Result {
    let mut missing = Vec::new();
    if let Err(e) = mounts::prepare_lab() {
        missing.push(format!(
            "Mounting inside a user namespace is refused ({e:#}): inside a container, start it with a fully visible /proc."
        ));
    }
    if let Err(e) = OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        let help = "run as root, or let users open it with: sudo chmod 0666 /dev/net/tun";
        missing.push(format!("/dev/net/tun can't be opened ({e}): load the module tun and {help}."));
    }
    if let Err(e) = ip::batch(&[
        "link add name veth-a type veth peer name veth-b".to_owned(),
        "link add name bridge-a type bridge".to_owned(),
    ]) {
        missing.push(format!(
            "Links of kind veth and bridge can't be made ({e:#}): load the modules veth and bridge."
        ));
    }
    if let Err(e) = netfilter::usable() {
        missing.push(format!(
            "nf_tables can't be used ({e:#}): load the modules nf_tables and nf_tables_netdev."
        ));
    }
    let mut out = std::io::stdout();
    for line in missing {
        std::io::Write::write_all(&mut out, format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

fn why_no_namespaces(error: &str) -> String {
    let is = |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "User namespaces are switched off: sudo sysctl user.max_user_namespaces=15000".to_owned();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "User namespaces are only for root here: sudo sysctl kernel.unprivileged_userns_clone=1"
            .to_owned();
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let command = "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
        return format!("AppArmor takes the rights away from user namespaces: {command}");
    }
    format!("User namespaces can't be made ({error}): run as root.")
}
