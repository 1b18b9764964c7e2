//! Which flows go.
