//! A value that never prints itself.

use std::fmt;

/// Key material or a token. `Debug` and `Display` print `[secret]`; the owner zeroises through its own type.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value that must not reach logs.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; the name is long so that a reader of the call sees what leaves.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
