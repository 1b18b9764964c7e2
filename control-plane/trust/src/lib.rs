//! The certificate authority, join tokens, roles.
