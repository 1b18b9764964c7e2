//! Network policy, with packets: who reaches whom in every kind of families, from a pod's first moment on, and without agent or
//! control plane.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use weft_e2e::{each_family, in_family};
use weft_lab::checks::{Cast, TCP, UDP};
use weft_lab::fabric::{Pod, on};
use weft_lab::topology::Family;
use weft_lab::{Fabric, Result};

/// How long a probe waits before it says that nothing came.
const SILENCE: &str = "250";
/// What is allowed comes within this, also on a busy machine.
const PATIENCE: &str = "4000";

const SERVERS: [&str; 2] = ["tcp:9000", "udp:9001"];

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
    )
}

/// Whether a pod, or whoever is at a place, hears a server at every one of these addresses; or at none.
fn hears(
    fabric: &Fabric,
    from: &weft_lab::protocol::Place,
    to: &[IpAddr],
    protocol: &str,
    expected: bool,
    why: &str,
) -> Result {
    let port = if protocol == "tcp" { TCP } else { UDP };
    for address in to {
        let within = if expected { PATIENCE } else { SILENCE };
        let seen = fabric.probe(from.clone(), &[protocol, &address.to_string(), port, "--within", within])?;
        ensure!(
            seen["ok"] == expected,
            "{why}: {protocol} from {from:?} to {address} should be {expected}: {seen}"
        );
    }
    Ok(())
}

fn role(name: &str) -> [(&str, &str); 1] {
    [("role", name)]
}

/// Three roles over two nodes.
struct Roles {
    web: Pod,
    db: Pod,
    log: Pod,
}

impl Roles {
    fn attach(fabric: &Fabric, cast: &Cast) -> Result<Self> {
        let (first, second) = (cast.a.node(), cast.c.node());
        Ok(Self {
            web: fabric.labelled_pod(first, "pol-web", &role("web"), &SERVERS)?,
            db: fabric.labelled_pod(second, "pol-db", &role("db"), &SERVERS)?,
            log: fabric.labelled_pod(first, "pol-log", &role("log"), &SERVERS)?,
        })
    }

    fn detach(&self, fabric: &Fabric) -> Result {
        [&self.web, &self.db, &self.log].into_iter().try_for_each(|pod| fabric.detach(pod))
    }
}

const DB_IN: &str = "{podSelector: {matchLabels: {role: db}}, ingress: [{from: [{podSelector: {matchLabels: {role: web}}}], \
                     ports: [{port: 9000}]}]}";
const WEB_OUT: &str = "{podSelector: {matchLabels: {role: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: \
                       {matchLabels: {role: db}}}]}]}";

fn judged(fabric: &Fabric, cast: &Cast) -> Result {
    let roles = Roles::attach(fabric, cast)?;
    fabric.settle()?;
    let (web, db, log) = (roles.web.place(), roles.db.place(), roles.log.place());
    let to_db = roles.db.addresses();
    hears(fabric, &log, to_db, "tcp", true, "nothing isolates")?;
    fabric.apply(&policy("db-in", DB_IN))?;
    hears(fabric, &web, to_db, "tcp", true, "the role that may")?;
    hears(fabric, &web, to_db, "udp", false, "another protocol")?;
    hears(fabric, &log, to_db, "tcp", false, "another role")?;
    hears(fabric, &on(cast.c.node()), to_db, "tcp", true, "the pod's own node")?;
    hears(fabric, &on(cast.a.node()), to_db, "tcp", false, "another node")?;
    hears(fabric, &db, roles.log.addresses(), "tcp", true, "ingress alone is isolated")?;
    fabric.apply(&policy("web-out", WEB_OUT))?;
    hears(fabric, &web, to_db, "tcp", true, "both ends allow")?;
    hears(fabric, &web, roles.log.addresses(), "tcp", false, "on the same node, and no rule for it")?;
    hears(fabric, &log, roles.web.addresses(), "tcp", true, "egress alone is isolated")?;
    // A pod's own labels decide, as soon as they are others.
    fabric.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: pol-log, namespace: default, labels: {role: web}}}",
    )?;
    hears(fabric, &log, to_db, "tcp", true, "it is of the role now")?;
    for name in ["db-in", "web-out"] {
        fabric.erase(&policy(name, "{podSelector: {}}"))?;
    }
    fabric.settle()?;
    hears(fabric, &web, to_db, "udp", true, "nothing isolates any more")?;
    fabric.erase("{apiVersion: v1, kind: Pod, metadata: {name: pol-log, namespace: default}}")?;
    roles.detach(fabric)
}

#[test]
fn policies_are_kept_in_every_kind_of_families() -> Result {
    each_family("small", judged)
}

#[test]
fn a_pod_is_judged_from_its_first_moment_and_while_nobody_is_there() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        fabric.apply(&policy("db-in", DB_IN))?;
        let roles = Roles::attach(fabric, cast)?;
        let (web, log, to_db) = (roles.web.place(), roles.log.place(), roles.db.addresses());
        // ADD has returned: the pod's own rules are in force, whatever its peers' nodes know of it yet.
        hears(fabric, &log, to_db, "tcp", false, "from the first moment")?;
        fabric.settle()?;
        hears(fabric, &web, to_db, "tcp", true, "and who may comes in")?;
        let node = roles.db.node();
        fabric.hold(node, "agent")?;
        hears(fabric, &log, to_db, "tcp", false, "without the agent")?;
        hears(fabric, &web, to_db, "tcp", true, "without the agent")?;
        fabric.release(node, "agent")?;
        fabric.settle_all()?;
        hears(fabric, &log, to_db, "tcp", false, "after its return")?;
        hears(fabric, &web, to_db, "tcp", true, "after its return")?;
        for family in ["ip", "ip6"] {
            let removed = fabric.on(on(node), &["nft", "delete", "table", family, "weft_policy"])?;
            removed.success("nft delete table")?;
        }
        let began = Instant::now();
        let mended = weft_lab::wait::until(Duration::from_secs(5), Duration::from_millis(5), || {
            let list = fabric.on(on(node), &["nft", "list", "table", "ip6", "weft_policy"]).ok()?;
            list.success("nft list table").ok().map(drop)
        });
        mended.context("tables that somebody removed are made again")?;
        eprintln!(
            "policy: tables that were removed are there again after {} ms at most",
            began.elapsed().as_millis()
        );
        hears(fabric, &web, to_db, "tcp", true, "mended")?;
        hears(fabric, &log, to_db, "tcp", false, "mended")?;
        roles.detach(fabric)?;
        fabric.erase(&policy("db-in", "{podSelector: {}}"))
    })
}

const CLOSED: &str = "{podSelector: {matchLabels: {role: web}}, policyTypes: [Egress]}";
const NAMES_OPEN: &str = "{podSelector: {matchLabels: {role: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: \
                          {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: \
                          kube-dns}}}], ports: [{port: 53, protocol: UDP}]}]}";

#[test]
fn an_isolated_pod_asks_for_names_where_a_rule_says_so() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let roles = Roles::attach(fabric, cast)?;
        fabric.settle()?;
        let server =
            *weft_lab::checks::names::servers(fabric)?.first().context("the fabric has a resolver")?;
        let asks = |expected: bool, why: &str| -> Result {
            let question = [
                "kubernetes.default.svc.cluster.local",
                "--within",
                if expected { PATIENCE } else { SILENCE },
            ];
            let seen = weft_lab::checks::names::ask(fabric, &roles.web.place(), server, &question)?;
            ensure!(seen["rcode"].is_string() == expected, "{why}: {seen}");
            Ok(())
        };
        asks(true, "nothing isolates")?;
        fabric.apply(&policy("out", CLOSED))?;
        asks(false, "no rule")?;
        fabric.apply(&policy("out", NAMES_OPEN))?;
        asks(true, "the resolver is the system's pod")?;
        hears(fabric, &roles.web.place(), roles.db.addresses(), "tcp", false, "and nothing else")?;
        fabric.erase(&policy("out", "{podSelector: {}}"))?;
        roles.detach(fabric)
    })
}
