//! The Raft replica as a synchronous value.
