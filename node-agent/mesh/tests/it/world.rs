//! A network namespace with a device in it.

use std::{collections::BTreeSet, process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use weft_mesh::{BackendChoice, Mesh, MeshOptions};
use weft_model::{AddressRange, NodeName, Secret, WireguardKey};
use weft_plan::{PeerChange, PeerStep};

/// Name of the device of every test.
pub(crate) const DEVICE: &str = "weft0";
/// Its private key.
pub(crate) const PRIVATE: [u8; 32] = [7; 32];

/// Runs `test` in a network namespace of its own, where the kernel has WireGuard.
pub(crate) fn with_wireguard(test: fn()) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        if ip("link add probe type wireguard") {
            assert!(ip("link delete dev probe"));
            test();
        } else {
            let needs = std::env::var("WEFT_NEEDS").unwrap_or_default();
            assert!(needs != "kernel-wireguard", "this kernel has no WireGuard");
            eprintln!("not run: {name}, which needs WireGuard in the kernel");
        }
    };
    // A panic of the test is the test's.
    if let Err(panic) = thread::spawn(inside).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` here; whether it liked it.
pub(crate) fn ip(words: &str) -> bool {
    let output = Command::new("ip").args(words.split(' ')).output().expect("the program ip (iproute2)");
    output.status.success()
}

/// The device, not prepared.
pub(crate) fn mesh() -> Mesh {
    Mesh::open(MeshOptions {
        device: DEVICE.to_owned(),
        private_key: Secret::new(PRIVATE),
        backend: BackendChoice::Best,
    })
    .unwrap()
}

/// Public key number `i`.
pub(crate) fn key(i: u16) -> WireguardKey {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&i.to_be_bytes());
    WireguardKey(bytes)
}

/// A change of peer `i` that does nothing yet.
pub(crate) fn change(i: u16) -> PeerChange {
    PeerChange {
        key: key(i),
        node: NodeName::new(format!("n{i}")).unwrap(),
        endpoint: None,
        keepalive_secs: None,
        clear_preshared: false,
        replace_allowed: false,
        allowed: BTreeSet::new(),
    }
}

/// Adds peer `i` with these ranges.
pub(crate) fn add(i: u16, ranges: BTreeSet<AddressRange>) -> PeerStep {
    PeerStep::AddPeer(PeerChange { replace_allowed: true, allowed: ranges, ..change(i) })
}

/// Ranges from text.
pub(crate) fn ranges(texts: &[&str]) -> BTreeSet<AddressRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
