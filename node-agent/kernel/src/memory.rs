//! How the C library keeps memory that the process has freed: few places, and back to the system when nobody needs it.
//!
//! With an arena per thread (the default) each of the agent's loops keeps what it needed once; after a whole load that is more than
//! everything that is in use. Only glibc; elsewhere nothing happens.
#![allow(unsafe_code, reason = "the C library's allocator is told by its own functions")]

/// At most so many arenas: two threads rarely allocate at the same moment.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;

/// Few arenas for all threads that begin from now on. Call it before there are any.
pub fn keep_memory_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a setting of the C library, made before other threads exist; it takes no pointers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Gives memory that is free back to the system. Takes milliseconds, in which other threads may wait to allocate: for quiet moments.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the C library's own function for this; it takes no pointers and locks each arena while it works there.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_was_freed_between_pieces_in_use_goes_back() {
        let mut all: Vec<Vec<u8>> = (0..100_000).map(|_| vec![7; 1000]).collect();
        // Whole pages become free, but none at the end of the heap.
        let last = all.pop();
        let kept: Vec<_> = all.into_iter().step_by(100).collect();
        let before = resident_kib();
        give_memory_back();
        let after = resident_kib();
        let went = before.saturating_sub(after) > 50_000;
        assert_eq!(went, cfg!(target_env = "gnu"), "{before} KiB, then {after} KiB");
        assert!(kept.iter().chain(&last).all(|piece| piece.len() == 1000));
    }
}
