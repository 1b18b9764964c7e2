//! Every bound of the tunnel process and what reaching it means.

use std::time::Duration;

/// Largest request on the UAPI socket in bytes: about 20 000 peers. Longer: `E2BIG` and the connection ends.
pub(crate) const REQUEST_BYTES: usize = 16 << 20;
/// Connections served at once. More: they wait in the socket's queue.
pub(crate) const CONNECTIONS: usize = 16;
/// Requests that wait for the engine. More: their connections wait.
pub(crate) const REQUESTS: usize = 16;
/// A connection that sends nothing for so long ends.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(30);
/// Largest MTU of the device in bytes: the engine's buffers hold 4096, of which 32 are WireGuard's.
pub const MAX_MTU: u16 = 4064;
/// Packets taken from the TUN device at one wake-up before other tasks get their turn.
pub(crate) const TUN_BATCH: usize = 64;
/// Socket buffers asked for: at 10 Gb/s the default of 208 KiB overflows within 170 µs (performance, section 4).
pub(crate) const SOCKET_BUFFER_BYTES: usize = 7 << 20;
/// First wait between two looks for the TUN device.
pub(crate) const DEVICE_WAIT_FIRST: Duration = Duration::from_millis(20);
/// Longest wait between two looks for the TUN device.
pub(crate) const DEVICE_WAIT_MAX: Duration = Duration::from_millis(500);
/// A tunnel that still waits for its device says so once in this time.
pub(crate) const DEVICE_WAIT_LOG: Duration = Duration::from_secs(60);
/// How often the MTU of the device is read, and its existence checked.
pub(crate) const MTU_POLL: Duration = Duration::from_secs(1);
/// How often the file of the configuration is looked for.
pub(crate) const FILE_LOOK: Duration = Duration::from_secs(1);
/// How long a port that is still in use is tried again: a socket just closed by the engine goes with its task.
pub(crate) const BIND_PATIENCE: Duration = Duration::from_millis(500);
/// Wait between two tries to bind.
pub(crate) const BIND_RETRY: Duration = Duration::from_millis(5);
/// Handshakes started together after a restart. More: they follow as soon as these have been sent.
pub(crate) const HANDSHAKES: usize = 256;
/// How long the answers of one such group are awaited; unanswered ones the engine repeats by itself.
pub(crate) const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(50);
/// Longest orderly stop of what is still open; then it is dropped.
pub(crate) const STOP: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be accepted (no descriptors left).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
