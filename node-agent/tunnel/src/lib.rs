//! The userspace WireGuard engine behind the standard UAPI socket.
