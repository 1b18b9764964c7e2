//! One safe way to set an environment variable: while the process has a single thread.
//!
//! In: a name and a value, at the very start of `main`. Not here: reading (std does that safely).
#![allow(
    unsafe_code,
    reason = "std::env::set_var is unsafe since edition 2024, and a library we use reads a variable"
)]

use std::{fs, io};

/// Sets a variable of this process; fails, and changes nothing, when the process already has more than one thread.
///
/// `wireguard-control` starts the program that `WG_USERSPACE_IMPLEMENTATION` names; the agent points it at `/bin/false`.
pub fn set_environment(name: &str, value: &str) -> io::Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("the process already has {threads} threads")));
    }
    // SAFETY: no other thread exists that could read or write the environment meanwhile (counted above; only this
    // thread could start one, and it is here), and name and value have no form that set_var panics on.
    // WHY: std offers no safe way, and the library offers no argument.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_refused() {
        // A test runs beside the harness's main thread, so this process has at least two.
        assert!(set_environment("WEFT_TEST_VARIABLE", "1").is_err());
        assert!(std::env::var_os("WEFT_TEST_VARIABLE").is_none());
    }
}
