//! Every bound of the server, and what a full one means.

use std::time::Duration;

/// Bytes of frames that wait for one follower; beyond, the follower is cut and comes back for a snapshot.
pub(crate) const FOLLOWER_QUEUE_BYTES: usize = 8 << 20;
/// Bytes of recent deltas kept for resuming followers; beyond, the oldest go.
pub(crate) const RING_BYTES: usize = 16 << 20;
/// Deltas kept for resuming followers.
pub(crate) const RING_DELTAS: usize = 10_000;
/// Items in one part of a snapshot: about 64 KiB.
pub(crate) const SNAPSHOT_PART_ITEMS: usize = 512;
/// Watch streams of one node; one more cuts the oldest.
pub(crate) const FOLLOWERS_PER_NODE: usize = 2;
/// Longest `Admin.Wait`.
pub(crate) const WAIT_MOST: Duration = Duration::from_mins(10);
/// Longest time an agent has for an Ask.
pub(crate) const ASK_MOST: Duration = Duration::from_mins(1);
/// How often it is looked whether the stream that carried a question to a node is still there.
pub(crate) const STREAM_LOOK: Duration = Duration::from_millis(100);
/// Asks in flight; one more is refused as busy.
pub(crate) const ASKS: usize = 1_024;
/// Time of a call that names no deadline.
pub(crate) const CALL: Duration = Duration::from_secs(10);
/// A node is reachable while its last report is younger than this and a stream is open.
pub(crate) const REPORT_FRESH: Duration = Duration::from_secs(5);
/// First and longest pause between a waiting call's looks at the reports of all replicas.
pub(crate) const WAIT_POLL: Duration = Duration::from_millis(5);
/// The longest.
pub(crate) const WAIT_POLL_MOST: Duration = Duration::from_millis(250);
/// Longest time of a question to another replica.
pub(crate) const PEER_CALL: Duration = Duration::from_secs(2);
/// The same for a replica whose stream is down: it answers soon or not at all.
pub(crate) const PEER_CALL_LOST: Duration = Duration::from_millis(300);
/// Longest wait for a leader before a pod's name is looked up in the state as it is known here.
pub(crate) const NAME_CHECK: Duration = Duration::from_secs(1);
/// An answer leaves this much, and at most an eighth of the time, before the caller gives up, so that it is heard.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// Shortest and longest life of a token, seconds.
pub(crate) const TOKEN_TTL_S: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Life of a token when none is given, seconds.
pub(crate) const TOKEN_TTL_DEFAULT_S: u32 = 1_800;
/// Objects watched by one stream of `Admin.WatchObjects` are compared at most this often.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_millis(50);
/// Mutations that wait for the replica task; at the bound a caller waits to its deadline, then is told "busy".
pub(crate) const PROPOSALS: usize = 1_024;
/// Reads, waits and looks at the state that wait for the replica task; at the bound callers wait to their deadline.
pub(crate) const QUESTIONS: usize = 1_024;
/// Messages of other replicas that wait for the replica task; at the bound their streams stand still.
pub(crate) const EVENTS: usize = 256;
/// Inputs that the replica takes at once: they share drafts and messages.
pub(crate) const INPUTS_AT_ONCE: usize = 256;
/// Writes that wait for the disk; above, no new mutation is taken until some are done.
pub(crate) const DISK_WAITING: usize = 512;
/// Bytes of the texts of one Apply.
pub(crate) const APPLY_BYTES: usize = 1_572_864;
/// Times that one Apply begins again because others changed the same objects in between.
pub(crate) const APPLY_CONFLICTS: usize = 32;
/// Pods beyond which a policy that is written isn't held against them: copying them would keep the replica's thread too long.
pub(crate) const POLICY_WARNING_PODS: usize = 20_000;
/// Kinds of ends that policies tell apart beyond which two states aren't compared: the work grows with their square.
pub(crate) const POLICY_GROUPS: usize = 1024;
/// Lines of what a change opens and closes that are told.
pub(crate) const POLICY_SHIFTS: usize = 64;
/// Addresses and ranges beyond which nodes aren't asked for connections that a change ends.
pub(crate) const CUT_ADDRESSES: usize = 60_000;
/// Octets of that question: it goes over the stream that a node follows, whose frames have a limit.
pub(crate) const CUT_BYTES: usize = 2 << 20;
/// Nodes that are asked for them at once.
pub(crate) const CUT_ASKS: usize = 64;
/// How long they may take.
pub(crate) const CUT_WAIT: Duration = Duration::from_millis(1500);
/// Rows of connections that are told.
pub(crate) const CUTS_TOLD: usize = 100;
/// Bytes of a command; the gate of other replicas refuses larger entries.
pub(crate) const COMMAND_BYTES: usize = 2 << 20;
/// Pause before a mutation or read is tried again when nobody could take it.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Messages that wait for one replica; beyond, the oldest go (Raft sends again what matters).
pub(crate) const OUTBOX_MESSAGES: usize = 1_024;
/// Bytes of entries that wait for one replica; beyond, the oldest messages go.
pub(crate) const OUTBOX_BYTES: usize = 16 << 20;
/// Bytes of entries in one message on the wire, unless one entry alone has more.
pub(crate) const APPEND_BYTES: usize = 1 << 20;
/// Messages taken from a replica between two acknowledgements.
pub(crate) const ACK_EVERY: u64 = 64;
/// Bytes of one part of a snapshot.
pub(crate) const SNAPSHOT_CHUNK: usize = 256 << 10;
/// Bytes of a whole snapshot; a longer one is refused.
pub(crate) const SNAPSHOT_BYTES: u64 = 1 << 30;
/// Longest time that one part of a snapshot may take; then the transfer has failed.
pub(crate) const SNAPSHOT_PART_TIME: Duration = Duration::from_secs(10);
/// First and longest pause before a lost replica is called again.
pub(crate) const RECONNECT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(1);
/// Longest time that a stopping leader waits for another one to take over.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(300);
/// How often a replica looks whether its certificate is due.
pub(crate) const RENEWAL_CHECK: Duration = Duration::from_mins(1);
/// How often a replica looks how full its disk is.
pub(crate) const SPACE_CHECK: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted.
pub(crate) const ACCEPT_QUEUE: u32 = 1_024;
/// A call is given back to its caller after so long without a leader: another replica may have one.
pub(crate) const LEADERLESS_CALL: Duration = Duration::from_millis(1_500);
/// An agent's stream ends after so long without a leader; longer than an election takes, short enough for the removal of
/// a node to reach everybody in 5 s.
pub(crate) const LEADERLESS_STREAM: Duration = Duration::from_secs(3);
/// How often a leader looks which nodes live, while nodes give signs of life.
pub(crate) const OWNER_LOOK: Duration = Duration::from_millis(20);
/// How often it looks whether they do, and after a look that failed.
pub(crate) const OWNER_REST: Duration = Duration::from_millis(250);
/// A leader whose look comes so late stood still, and may have left signs of life unread.
pub(crate) const OWNER_LATE: Duration = Duration::from_millis(100);
/// While the same nodes live, owners are decided at most this often, when objects changed.
pub(crate) const OWNER_REVISIONS: Duration = Duration::from_millis(100);
/// While no address moves, successors are written at most this often: one that comes and goes many times a second would fill the log.
pub(crate) const OWNER_SUCCESSORS: Duration = Duration::from_secs(1);
/// How often a replica tells the leader which of its nodes gave signs of life.
pub(crate) const PULSE_EVERY: Duration = Duration::from_millis(50);
/// Longest time of that call.
pub(crate) const PULSE_CALL: Duration = Duration::from_millis(500);
/// How often a leader looks which nodes are silent, and how often it is told who isn't while nobody gives pulses.
pub(crate) const SILENCE_LOOK: Duration = Duration::from_millis(250);
/// A leader whose look comes so late stood still, and may have left much unread.
pub(crate) const SILENCE_LATE: Duration = Duration::from_secs(1);
/// Nodes in one such call; further ones follow with the next.
pub(crate) const PULSE_NODES: usize = 10_000;
/// Events that a replica remembers; beyond, the oldest go.
pub(crate) const EVENTS_KEPT: usize = 10_000;
/// How long it remembers them.
pub(crate) const EVENT_LIFE: Duration = Duration::from_secs(3_600);
/// An event that comes again within this is counted instead of told anew.
pub(crate) const EVENT_FOLD: Duration = Duration::from_mins(10);
