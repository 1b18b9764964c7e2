//! Truth tables: cases of the specification, written from its words.
//!
//! The pods are `a`, `b` (first node) and `c` (second node) of namespaces `x`, `y`, `z`, labelled `pod` and `ns`; each serves 80 and 81
//! over TCP and UDP, and has names for these ports (`serve-80-tcp`). A line changes something: `p NAME SPEC` puts a policy, `d NAME`
//! deletes one, `l POD LABELS`, `ports POD PORTS`, `n NAMESPACE LABELS`, `s NAME SPEC` (a service), `pool NAME SPEC` (of load balancers),
//! `fabric SPEC` (its policy). Or it says what is then seen: `in POD PORTS: PEERS` (exactly these of all others reach the pod, over these
//! ports or all four; rows of a pod add up, and a pod without rows is open), `out POD PORTS: PEERS` the other way, `all` (everything passes); and beside the whole
//! matrix `+ FROM TO PORT` (it is answered), `-e FROM TO PORT [POD]` and `-i FROM TO PORT [POD]` (dropped by egress or ingress, and
//! counted there). Ends: pods, `node:1` (a process of the first node), `out` (a machine outside). `PEERS`: `x/b`, `x/*`, `*/b`,
//! `all`, `none`, with `@4` or `@6` of one family alone, `@1` the first of the fabric's families. `$a` is the selector of pods `a`, `$x` that of namespace `x`; `<4:…>` see
//! [`super::grid::Grid`].

#[path = "cases/blocks.rs"]
mod blocks;
#[path = "cases/changes.rs"]
mod changes;
#[path = "cases/isolation.rs"]
mod isolation;
#[path = "cases/peers.rs"]
mod peers;
#[path = "cases/ports.rs"]
mod ports;
#[path = "cases/services.rs"]
mod services;

/// What it is about, and its lines. With a `*` in front of it, it is also run in the other kinds of families.
pub type Case = (&'static str, &'static str);

/// All cases, for a fabric with both families.
pub const CASES: [&[Case]; 6] =
    [isolation::CASES, peers::CASES, blocks::CASES, ports::CASES, changes::CASES, services::CASES];

/// Those that are run in every kind of families.
pub fn everywhere() -> Vec<Case> {
    CASES.iter().flat_map(|cases| cases.iter().copied()).filter(|(name, _)| name.starts_with('*')).collect()
}
