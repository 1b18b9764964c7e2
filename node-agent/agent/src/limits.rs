//! Every bound of the process, and what happens when it is reached.

use std::time::Duration;

/// CNI calls that may wait for a worker; more are answered "busy" (code 11).
pub(crate) const ATTACHMENTS_WAITING: usize = 128;
/// Threads that serve CNI calls: different containers run beside each other.
pub(crate) const ATTACH_WORKERS: usize = 8;
/// A CNI call gets its answer within this; the runtime is told to come back.
pub(crate) const ATTACH_DEADLINE: Duration = Duration::from_secs(9);
/// A runtime that doesn't send its request within this is cut.
pub(crate) const FRAME_DEADLINE: Duration = Duration::from_secs(5);
/// The CNI socket is tried again after this when no connection can be accepted, doubling.
pub(crate) const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);
/// The longest pause before the CNI socket is tried again.
pub(crate) const ACCEPT_PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// The CNI socket is looked for under its name this often.
pub(crate) const SOCKET_LOOK: Duration = Duration::from_secs(1);
/// Largest CNI request, bytes (configuration and environment).
pub(crate) const MAX_FRAME: u32 = 2 * 1024 * 1024;
/// A pod's link goes at the latest this long after its end was told to the maps of services.
pub(crate) const LEAVE_SERVICES: Duration = Duration::from_millis(100);
/// How long an ADD waits for its pod's policies when the control plane doesn't answer; the pod is closed meanwhile.
pub(crate) const JUDGED: Duration = Duration::from_secs(3);
/// Dead links are deleted this long after the last DEL, in one request.
pub(crate) const REAP_EVERY: Duration = Duration::from_millis(100);
/// DELs that a plugin kept for us are looked for this often.
pub(crate) const SPOOL_EVERY: Duration = Duration::from_secs(2);
/// At start, readiness is looked for this often.
pub(crate) const READY_EVERY: Duration = Duration::from_millis(5);
/// DELs that are replayed in one go; the rest follow at once.
pub(crate) const SPOOL_BATCH: usize = 1024;

/// The journal is rewritten when it is larger than this and four times what it must hold, bytes.
pub(crate) const JOURNAL_COMPACT: u64 = 1024 * 1024;
/// Largest journal that is read, bytes.
pub(crate) const JOURNAL_MAX: u64 = 256 * 1024 * 1024;
/// Largest View on disk, bytes.
pub(crate) const VIEW_MAX: u64 = 512 * 1024 * 1024;
/// The View is written to disk at most this often, and on stop.
pub(crate) const VIEW_SAVE_EVERY: Duration = Duration::from_secs(1);
/// Writing the View takes at most this share of the time: one part in so many.
pub(crate) const VIEW_SAVE_SHARE: u32 = 20;
/// However long writing takes, the View is written this often while it changes.
pub(crate) const VIEW_SAVE_LATEST: Duration = Duration::from_secs(5);
/// Items in one frame of the View on disk.
pub(crate) const VIEW_ITEMS_PER_FRAME: usize = 512;
/// Largest identity, certificate or key file, bytes.
pub(crate) const IDENTITY_MAX: u64 = 1024 * 1024;

/// Every subject reads its whole kernel state this often.
pub(crate) const OBSERVE_EVERY: Duration = Duration::from_secs(30);
/// Notices make a subject read its kernel state at most this often.
pub(crate) const OBSERVE_REST: Duration = Duration::from_millis(50);
/// Flows of an address are removed when it has rested for so long, milliseconds: sooner than anybody else may get it.
pub(crate) const FORGET_AFTER_MS: u64 = 4000;
/// Addresses that rest are looked at this often.
pub(crate) const FORGET_EVERY: Duration = Duration::from_millis(500);
/// Others' nf_tables chains are read at most this often.
pub(crate) const SURVEY_REST: Duration = Duration::from_secs(2);
/// Routes wait at most this long for the links they lead to, at start.
pub(crate) const FIRST_LINKS: Duration = Duration::from_secs(2);
/// A tunnel process that was just given its device may take this long to answer.
pub(crate) const TUNNEL_GRACE: Duration = Duration::from_secs(2);
/// Retries of a subject: first pause, doubling.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Retries of a subject: longest pause.
pub(crate) const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// Notifications of the kernel that come within this are looked at together.
pub(crate) const SETTLE: Duration = Duration::from_millis(5);

/// The control plane: pause before the first reconnection, doubling.
pub(crate) const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// The control plane: longest pause.
pub(crate) const RECONNECT_LONGEST: Duration = Duration::from_secs(5);
/// A node that was removed asks at most this seldom whether that was taken back.
pub(crate) const REMOVED_LONGEST: Duration = Duration::from_secs(60);
/// Pods that the control plane refused are offered again this often.
pub(crate) const REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// A call to the control plane.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// A sign of life is sent this often.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Pods in one publication; more go into the next.
pub(crate) const PUBLISH_BATCH: usize = 256;
/// Changes of pods that wait to be published; more are merged into "everything".
pub(crate) const PUBLISH_WAITING: usize = 4096;
/// Requests of admins that are worked on at once; more are refused.
pub(crate) const ASKS: usize = 16;
/// Addresses pinged by one request.
pub(crate) const PING_TARGETS: usize = 1024;
/// Backends of one path whose policies are told; of more, the others are told without.
pub(crate) const TRACE_JUDGED: usize = 256;
/// Longest wait of a trace for a loop that has something to do, or for the mesh device to be looked at.
pub(crate) const TRACE_SETTLES: Duration = Duration::from_secs(1);
/// Rows of one answer about connections that a change ends.
pub(crate) const CUT_ROWS: usize = 1000;
/// Different pairs of addresses and ports that are counted each; of more, there is only their total.
pub(crate) const CUT_ROWS_COUNTED: usize = 65_536;
/// Leases are looked at this often.
pub(crate) const LEASE_EVERY: Duration = Duration::from_secs(1);
/// The certificate's age is looked at this often.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(60);

/// Pods that are asked at the same time whether they are ready; more wait. A question may take an hour if people say so, hence
/// more than a node has pods: those that never answer keep no others from being asked.
pub(crate) const PROBES_AT_ONCE: usize = 512;
/// A pod may end at most this long after it was told to.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);
/// A pod that couldn't be removed at its end is tried again after this.
pub(crate) const DRAIN_AGAIN: Duration = Duration::from_secs(1);

/// Health checks that are answered at the same time; of more, somebody's oldest is hung up on.
pub(crate) const HEALTH_CONNECTIONS: usize = 64;
/// A health check is asked and answered within this.
pub(crate) const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
/// Health ports are opened and closed at most this often.
pub(crate) const PORTS_REST: Duration = Duration::from_millis(50);
/// A health port that somebody else has is tried again after this.
pub(crate) const PORT_AGAIN: Duration = Duration::from_secs(2);

/// Load-balancer addresses that can't be held yet are tried again after this.
pub(crate) const ANNOUNCE_AGAIN: Duration = Duration::from_millis(500);
/// Whoever holds one looks whether its tables still stand at most this often, however often others commit.
pub(crate) const GATE_LOOK_REST: Duration = Duration::from_secs(1);
/// Whoever holds one says this often that it is awake, and hears what others claim.
pub(crate) const AWAKE_EVERY: Duration = Duration::from_millis(50);
/// Whether signs of life are needed is looked at this often, beside when load balancers change.
pub(crate) const PULSE_LOOK: Duration = Duration::from_secs(1);
/// Signs of life that wait to be sent; more are left out.
pub(crate) const PULSES: usize = 8;
/// The last sign of life of a stream is waited for so long.
pub(crate) const PULSE_LAST: Duration = Duration::from_millis(300);

/// A path is probed again this often.
pub(crate) const PATH_EVERY: Duration = Duration::from_secs(300);
/// A peer that didn't answer a probe is probed again after this, doubling.
pub(crate) const PATH_AGAIN: Duration = Duration::from_millis(500);
/// A peer that doesn't answer is probed at least this often.
pub(crate) const PATH_AGAIN_LONGEST: Duration = Duration::from_secs(60);
/// The first echo of a probe is waited for so long.
pub(crate) const ECHO_WAIT: Duration = Duration::from_millis(300);
/// Further echoes of a probe are waited for eight round trips, but at least so long.
pub(crate) const ECHO_WAIT_LEAST: Duration = Duration::from_millis(40);
/// Pods whose namespace and link are gone are looked for this often, and at start.
pub(crate) const GONE_EVERY: Duration = Duration::from_secs(30);
/// One that is still gone after this is forgotten.
pub(crate) const GONE_AGAIN: Duration = Duration::from_secs(1);

/// DNS processes at a time: the one that serves, and the one that takes over.
pub(crate) const DNS_LINKS: usize = 4;
/// At start a DNS process of before may bring its sockets within this; then new ones are made.
pub(crate) const DNS_OFFER: Duration = Duration::from_millis(500);
/// The DNS process is looked at this often.
pub(crate) const DNS_LOOK: Duration = Duration::from_secs(1);
/// A DNS process that says nothing for so long hangs; it tells its state each second.
pub(crate) const DNS_SILENT: Duration = Duration::from_secs(5);
/// Those who watch what happens on this node at a time; more are refused.
pub(crate) const WATCHERS: usize = 8;
/// What one of them hasn't fetched yet; more is dropped and counted.
pub(crate) const WATCHED: usize = 8192;
/// What one of them is given at once: an answer of about a hundred kilobytes.
pub(crate) const WATCHED_AT_ONCE: usize = 1000;
/// How long one of them may wait for something to happen.
pub(crate) const WATCH_WAIT: Duration = Duration::from_secs(10);
/// One that hasn't asked for so long watches no more.
pub(crate) const WATCHER_GONE: Duration = Duration::from_secs(15);
/// Dropped packets are waited for so long at a time.
pub(crate) const DROPS_WAIT: Duration = Duration::from_millis(250);
/// Drops are counted this often.
pub(crate) const DROPS_EVERY: Duration = Duration::from_secs(10);
/// The same while somebody watches, so that they hear soon how many weren't told.
pub(crate) const DROPS_WATCHED: Duration = Duration::from_secs(1);
/// Flows whose verdict is remembered with its reasons; more are explained anew.
pub(crate) const DROPS_EXPLAINED: usize = 1024;
/// A node without a DNS process is said to be degraded after this.
pub(crate) const DNS_GRACE: Duration = Duration::from_secs(5);
