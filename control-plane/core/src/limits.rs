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
/// Namespaces that always exist.
pub const FIXED_NAMESPACES: [&str; 3] = ["default", "kube-system", "weft-system"];
/// Ports of one service; more are refused.
pub const MAX_SERVICE_PORTS: usize = 250;
/// External addresses of one service, and ranges of its clients; more are refused.
pub const MAX_SERVICE_RANGES: usize = 100;
/// Bytes of an object's annotations, keys and values, as Kubernetes has it; more are refused.
pub const MAX_ANNOTATION_BYTES: usize = 256 * 1024;
/// Endpoints of one slice; more are refused.
pub const MAX_SLICE_ENDPOINTS: usize = 1_000;
/// Ports of one slice; more are refused.
pub const MAX_SLICE_PORTS: usize = 100;
/// Addresses of one endpoint; more are refused.
pub const MAX_ENDPOINT_ADDRESSES: usize = 100;
/// Zones, or nodes, in the hints of one endpoint, as Kubernetes has it; more are refused.
pub const MAX_HINTS: usize = 8;
/// Endpoints in all slices that people wrote; more are refused.
pub const MAX_ENDPOINTS: usize = 100_000;
/// Headers of one HTTP probe; more are refused.
pub const MAX_PROBE_HEADERS: usize = 32;
/// Pools of load-balancer addresses; more are refused.
pub const MAX_POOLS: usize = 1_000;
/// Namespaces that are written; more are refused.
pub const MAX_NAMESPACES: usize = 10_000;
/// Services, and likewise slices and pods of which people say something; more are refused.
pub const MAX_NAMESPACED: usize = 100_000;
/// Network policies, each of which goes to every node; more are refused.
pub const MAX_POLICIES: usize = 10_000;
/// Seconds for which an answer of the DNS may count, as CoreDNS has it.
pub const MAX_DNS_TTL: u32 = 3_600;
/// Upstreams of the DNS, and servers of one of its stub domains; more are refused.
pub const MAX_DNS_SERVERS: usize = 8;
/// Stub domains of the DNS; more are refused.
pub const MAX_STUB_DOMAINS: usize = 64;
/// Servers of a pod's `dnsConfig`, as Kubernetes has it; more are refused.
pub const MAX_POD_NAMESERVERS: usize = 3;
/// Search domains of a pod's `dnsConfig`, as Kubernetes has it; more are refused.
pub const MAX_POD_SEARCHES: usize = 32;
/// Characters of these search domains with the spaces between them, as Kubernetes has it; more are refused.
pub const MAX_POD_SEARCH_CHARACTERS: usize = 2_048;
/// Options of a pod's `dnsConfig`; more are refused.
pub const MAX_POD_OPTIONS: usize = 32;
/// Characters of one of these options; more are refused.
pub const MAX_POD_OPTION_CHARACTERS: usize = 253;
/// Owners that the leader changes by one command; the others follow with the next.
pub const MAX_OWNERS_PER_COMMAND: usize = 1_000;
/// Nodes that the leader finds silent, or hears again, by one command; the others follow with the next.
pub const MAX_SILENCES_PER_COMMAND: usize = 1_000;
/// Seconds without a sign of life after which a node may count as silent, as a fabric may say.
pub const NODE_GRACE: std::ops::RangeInclusive<u16> = 5..=600;
