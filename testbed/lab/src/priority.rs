//! The programs of the product come before all else that the machine does, as their systemd units say (`CPUWeight=`, `Nice=`): what
//! a test measures is them, not the compiler next to it.
//!
//! Nothing fails where that isn't allowed (nobody but root may): then they share like everybody.

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};

/// As in the systemd units.
const NICE: i32 = -10;

/// Before the lab leaves for its own user namespace, in which nobody may do that any more: lets its processes be less nice.
pub(crate) fn allow() {
    let limit = u64::try_from(20 - NICE).ok();
    let _ = setrlimit(Resource::Nice, Rlimit { current: limit, maximum: limit });
}

/// The calling process and what it starts become a group of their own, which gets a larger share than one shell's.
pub(crate) fn lead() {
    let _ = nix::unistd::setsid();
    let _ = std::fs::write("/proc/self/autogroup", NICE.to_string());
}

/// The calling thread, and the processes that it starts.
pub(crate) fn first() {
    let _ = setpriority_process(None, NICE);
}
