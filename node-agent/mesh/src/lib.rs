//! WireGuard devices through wireguard-control.
