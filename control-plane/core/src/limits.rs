//! Every bound of the state, with what happens at it (reliability, section 6).

/// Clients whose last answer is remembered; beyond it the one that was silent longest is forgotten.
pub const MAX_CLIENTS: usize = 10_000;
/// Milliseconds of silence, by the stamps of commands, after which a client is forgotten: 24 h.
pub const CLIENT_TTL_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Forgotten clients per command: bounds the work of one command, still outruns what comes in.
pub const MAX_FORGOTTEN_PER_COMMAND: usize = 8;
/// Objects in one write; more are refused.
pub const MAX_OBJECTS_PER_WRITE: usize = 1000;
/// Labels of one object; more are refused.
pub const MAX_LABELS: usize = weft_model::MAX_LABELS;
/// Named ports of one pod; more are refused.
pub const MAX_PORTS: usize = 100;
/// Ranges of one purpose; more are refused.
pub const MAX_RANGES_PER_PURPOSE: usize = 32;
/// Masquerade exceptions of the fabric; more are refused.
pub const MAX_EXCEPTIONS: usize = 64;
/// Underlay addresses of one node; more are refused.
pub const MAX_UNDERLAY: usize = 16;
/// Host routes that one node may publish; more are refused.
pub const MAX_HOST_ROUTES: usize = 4096;
/// Blocks of one family that one node may hold; more are refused.
pub const MAX_BLOCKS_PER_NODE: usize = 256;
/// Join tokens that are kept; more are refused until some have expired.
pub const MAX_TOKENS: usize = 10_000;
/// Milliseconds for which an expired or used token stays visible in lists: 24 h.
pub const TOKEN_KEPT_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Old tokens dropped when a new one is made.
pub const MAX_DROPPED_TOKENS: usize = 32;
/// Characters of names of people, token ids, container ids and interface names.
pub const MAX_TEXT: usize = 253;
