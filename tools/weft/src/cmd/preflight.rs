//! What a machine says of itself before there is a fabric: `weft check --pre`, and the first lines of `weft init`.
//!
//! In: the kernel, the host's links, routes and firewalls, the ports that Weft wants. Out: findings, as an agent makes them.
//! Not here: what is judged (weft-plan) and how the kernel is asked (weft-kernel). Nothing is changed.

use serde_json::{Value, json};
use weft_errors::{Error, LINK_FAILED, RANGE_OVERLAP};
use weft_kernel::{NftSocket, detect_features, read_host, udp_port_holder};
use weft_model::{
    AddressRange, NodeName,
    ownership::{BRIDGE, MESH_DEVICES, MESH_PORTS},
};
use weft_plan::{Facts, Finding, Intent, PortUse, Surroundings, UnderlayChoice, choose_underlay};

use crate::{
    fail::{Failure, Outcome},
    table::count,
};

/// The oldest kernel that Weft is tried on.
const LEAST_KERNEL: (u32, u32) = (6, 1);
/// Bit of CAP_SYS_ADMIN in a set of capabilities (capabilities(7)): without it nothing can be tried.
const SYS_ADMIN: u32 = 21;
/// Program of the agent and of its tunnel: a port that they hold is where it belongs.
const AGENT: &str = "weft-agent";

/// What was found on this machine.
pub(crate) struct Preflight(Vec<Finding>);

impl Preflight {
    /// Looks at this machine as a node of such a fabric.
    pub(crate) fn look(intent: Intent<'_>) -> Outcome<Self> {
        let node = NodeName::new("here").map_err(|e| Failure::new(&weft_errors::INTERNAL, e.to_string()))?;
        let mut facts = Facts::new(node);
        facts.host = read_host().map_err(|e| Failure::of(&e))?;
        facts.underlay = choose_underlay(&facts.host, &UnderlayChoice::default()).ok();
        if may_try() {
            facts.features = detect_features();
        }
        let mut found = vec![kernel()];
        found.extend(weft_plan::preflight(&facts, &surroundings(), intent));
        Ok(Self(found))
    }

    /// Adds what another program found: `{"check", "ok", "detail", "error"}`.
    pub(crate) fn add(&mut self, findings: &Value) {
        for value in findings.as_array().into_iter().flatten() {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            self.0.push(Finding {
                name: text("check"),
                detail: text("detail"),
                ok: value["ok"] == true,
                error: serde_json::from_value(value["error"].clone()).ok(),
            });
        }
    }

    /// The overlap of ranges with a route of this machine, which no fabric is made over.
    pub(crate) fn overlap(&self) -> Option<Error> {
        let errors = self.0.iter().filter_map(|finding| finding.error.as_ref());
        let overlap = errors.into_iter().find(|error| error.registered() == &RANGE_OVERLAP)?.clone();
        Some(overlap.try_this("choose ranges that this machine has no routes to", "weft init --pods CIDR …"))
    }

    /// What isn't well under a name.
    pub(crate) fn wrong(&self, name: &str) -> Option<Error> {
        self.0.iter().find(|finding| finding.name == name && !finding.ok)?.error.clone()
    }

    /// All findings as values.
    pub(crate) fn values(&self) -> Vec<Value> {
        let value = |Finding { name, detail, ok, error }: &Finding| json!({"check": name, "ok": ok, "detail": detail, "error": error});
        self.0.iter().map(value).collect()
    }

    /// `Preflight        14 passed, 1 warning`, and a line per warning.
    pub(crate) fn text(&self) -> String {
        let noted: Vec<_> =
            self.0.iter().filter_map(|finding| Some((finding.ok, finding.error.as_ref()?))).collect();
        let passed = self.0.len() - noted.len();
        let mut text = format!("Preflight        {passed} passed");
        if !noted.is_empty() {
            text += &format!(", {}", count(noted.len(), "warning"));
        }
        text.push('\n');
        for (ok, error) in noted {
            text += &format!("  warning {}  {}\n", error.code, error.message);
            for remedy in error.remedy.iter().take(1).filter(|_| !ok) {
                text += &format!("                 {}\n", remedy.text);
            }
        }
        text
    }
}

/// Ranges in the form that `weftd init` prints: a list of texts per purpose.
pub(crate) fn ranges(made: &Value) -> Vec<AddressRange> {
    let purposes = made["ranges"].as_object().into_iter().flat_map(|all| all.values());
    let texts = purposes.flat_map(|list| list.as_array().into_iter().flatten());
    texts.filter_map(|text| text.as_str()?.parse().ok()).collect()
}

fn kernel() -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let (major, minor) = LEAST_KERNEL;
    let error = match version(release) {
        Some(found) if found < LEAST_KERNEL => Some(Error::new(
            &LINK_FAILED,
            format!("Linux {release} is older than {major}.{minor}, the oldest that Weft is tried on"),
        )),
        _ => None,
    };
    Finding { name: "kernel".to_owned(), detail: release.to_owned(), ok: error.is_none(), error }
}

/// `6.12.9-amd64` → (6, 12).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this process has the right to try what the kernel can do; without it nothing is known, and nothing is claimed.
fn may_try() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & (1 << SYS_ADMIN) != 0)
}

fn surroundings() -> Surroundings {
    let [mesh, _] = MESH_DEVICES;
    let firewalls = NftSocket::open().and_then(|mut socket| socket.survey());
    let port = |port| match udp_port_holder(port) {
        None => PortUse::Free,
        Some(holder) if holder.process.as_ref().is_some_and(|(_, name)| name == AGENT) => PortUse::Ours,
        Some(holder) => PortUse::Other(holder.to_string()),
    };
    Surroundings {
        // Who may not read them sees none; the agent, which may, tells of them later.
        firewalls: firewalls.map(|seen| seen.drop_policies(&[BRIDGE, mesh])).unwrap_or_default(),
        mesh_ports: MESH_PORTS.map(port),
        ..Surroundings::default()
    }
}

#[cfg(test)]
mod tests {
    use weft_errors::USERSPACE_TUNNEL;

    use super::*;

    fn finding(name: &str, ok: bool, error: Option<Error>) -> Finding {
        Finding { name: name.to_owned(), detail: String::new(), ok, error }
    }

    #[test]
    fn a_wall_of_green_is_one_line_and_a_warning_has_its_remedy() {
        let mut preflight = Preflight(vec![finding("kernel", true, None), finding("underlay", true, None)]);
        assert_eq!(preflight.text(), "Preflight        2 passed\n");
        let tunnel = Error::new(&USERSPACE_TUNNEL, "the built-in userspace tunnel is used");
        preflight.0.push(finding("mesh engine", true, Some(tunnel)));
        let overlap = Error::new(&RANGE_OVERLAP, "range a overlaps the route b");
        preflight.add(&json!([{"check": "host routes", "ok": false, "detail": "d", "error": overlap}]));
        let lines: Vec<String> = preflight.text().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "Preflight        2 passed, 2 warnings");
        assert_eq!(lines[1], "  warning W4107  the built-in userspace tunnel is used");
        assert!(preflight.text().contains("  warning W2203  range a overlaps the route b"));
        assert!(preflight.overlap().is_some_and(|error| error.to_string().contains("weft init --pods")));
        assert!(preflight.wrong("host routes").is_some() && preflight.wrong("mesh engine").is_none());
        assert_eq!(preflight.values().len(), 4);
    }

    #[test]
    fn releases_and_ranges_are_read() {
        assert_eq!(version("6.12.9-amd64"), Some((6, 12)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("strange"), None);
        let made = json!({"ranges": {"pods": ["10.1.0.0/16", "fd00::/48"], "nodes": ["10.2.0.0/24"]}});
        assert_eq!(ranges(&made).len(), 3);
        assert!(ranges(&json!({})).is_empty());
    }
}
