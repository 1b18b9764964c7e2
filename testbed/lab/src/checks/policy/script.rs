//! Cases as steps: what a case's lines change, and the whole matrix that its rows mean.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use super::cases::Case;
use super::grid::Grid;
use super::state::{self, Key, State};
use super::{NAMESPACES, PODS, PORTS};
use crate::probe::grid::{Ask, Denied, Step};

/// Ports with names that every pod has at first.
const NAMED: &str = "{name: serve-80-tcp, containerPort: 80}, {name: serve-81-tcp, containerPort: 81}, \
                     {name: serve-80-udp, containerPort: 80, protocol: UDP}, {name: serve-81-udp, containerPort: 81, protocol: UDP}";
/// What the fabric says of policy at first.
const SETTINGS: &str = "{default: allow, nodeEgress: policy}";

/// Everything as a case has it.
#[derive(Clone)]
struct Desk {
    /// Labels and ports of each pod.
    pods: BTreeMap<String, (String, String)>,
    namespaces: BTreeMap<String, String>,
    settings: String,
    /// Policies, services and others.
    objects: BTreeMap<Key, String>,
}

/// Who of all others is in a row, for which ports.
struct Row {
    ingress: bool,
    pods: Vec<usize>,
    ports: Vec<usize>,
    /// With the family that alone is meant: whether it is IPv6.
    peers: Vec<(usize, Option<bool>)>,
}

/// What is seen at once.
#[derive(Default)]
struct Look {
    rows: Vec<Row>,
    more: Vec<Ask>,
    is_due: bool,
}

/// Steps of these cases, and back to where they began.
pub(super) fn steps(grid: &mut Grid<'_>, cases: &[Case]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (name, text) in cases {
        let mut case = Reader { grid, name, desk: Desk::base(), look: Look::default(), steps: &mut steps };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            case.line(line).with_context(|| format!("{name}: {line}"))?;
        }
        case.see()?;
    }
    let changes = grid.state.become_(Desk::base().state());
    steps.push(Step { name: "afterwards".to_owned(), changes, matrix: open(grid), ..Step::default() });
    Ok(steps)
}

/// The state without any policy.
pub(super) fn base() -> State {
    Desk::base().state()
}

/// The matrix that a row means.
pub(super) fn looked(grid: &mut Grid<'_>, row: &str) -> Result<String> {
    let mut steps = Vec::new();
    let mut reader = Reader { grid, name: row, desk: Desk::base(), look: Look::default(), steps: &mut steps };
    reader.line(row)?;
    let look = std::mem::take(&mut reader.look);
    Ok(look.matrix(grid))
}

/// A matrix in which everything passes.
pub(super) fn open(grid: &Grid<'_>) -> String {
    let asked: usize = grid.pods.iter().map(|pod| pod.addresses().len() * PORTS.len()).sum();
    "+".repeat(grid.pods.len() * asked)
}

impl Desk {
    fn base() -> Self {
        let pods = NAMESPACES.iter().flat_map(|namespace| {
            PODS.map(|pod| (format!("{namespace}/{pod}"), (format!("pod: {pod}"), NAMED.to_owned())))
        });
        let namespaces = NAMESPACES.map(|name| (name.to_owned(), format!("ns: {name}")));
        Self {
            pods: pods.collect(),
            namespaces: namespaces.into(),
            settings: SETTINGS.to_owned(),
            objects: BTreeMap::new(),
        }
    }

    fn state(&self) -> State {
        let mut state = State::default();
        let mut put = |(key, text)| state.put(key, text);
        put(state::settings(&self.settings));
        self.namespaces.iter().for_each(|(name, labels)| put(state::namespace(name, labels)));
        self.pods.iter().for_each(|(name, (labels, ports))| put(state::pod(name, labels, ports)));
        self.objects.iter().for_each(|(key, text)| put((key.clone(), text.clone())));
        state
    }
}

struct Reader<'a, 'b> {
    grid: &'a mut Grid<'b>,
    name: &'a str,
    desk: Desk,
    look: Look,
    steps: &'a mut Vec<Step>,
}

impl Reader<'_, '_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let line = self.replaced(line)?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if matches!(verb, "in" | "out" | "+" | "-e" | "-i" | "all") {
            self.look.is_due = true;
        } else {
            // The rows before belong to what was.
            self.see()?;
        }
        let pod = |desk: &mut Desk| desk.pods.get(name).cloned().with_context(|| format!("no pod {name}"));
        match verb {
            "all" => {}
            "in" | "out" => self.row(verb == "in", rest)?,
            "+" | "-e" | "-i" => self.question(verb, rest)?,
            "p" => {
                let (key, text) = state::policy(name, text);
                self.desk.objects.insert(key, text);
            }
            "d" => {
                let gone = self.desk.objects.remove(&state::key("KIND_NETWORK_POLICY", name));
                ensure!(gone.is_some(), "no policy {name}");
            }
            "s" => {
                let (key, text) = state::service(name, text);
                self.desk.objects.insert(key, text);
            }
            "pool" => {
                let whole = format!(
                    "{{apiVersion: weft.io/v1, kind: LoadBalancerPool, metadata: {{name: {name}}}, spec: {text}}}"
                );
                self.desk.objects.insert(state::key("KIND_POOL", name), whole);
            }
            "l" => {
                let (_, ports) = pod(&mut self.desk)?;
                self.desk.pods.insert(name.to_owned(), (text.to_owned(), ports));
            }
            "ports" => {
                let (labels, _) = pod(&mut self.desk)?;
                self.desk.pods.insert(name.to_owned(), (labels, text.to_owned()));
            }
            "n" => {
                ensure!(self.desk.namespaces.contains_key(name), "no namespace {name}");
                self.desk.namespaces.insert(name.to_owned(), text.to_owned());
            }
            "fabric" => self.desk.settings = rest.to_owned(),
            _ => bail!("what is {verb:?}?"),
        }
        Ok(())
    }

    /// A line with selectors and places written out.
    fn replaced(&self, line: &str) -> Result<String> {
        let mut line = line.to_owned();
        for pod in PODS {
            line = line.replace(&format!("${pod}"), &format!("{{matchLabels: {{pod: {pod}}}}}"));
        }
        for namespace in NAMESPACES {
            line = line.replace(&format!("${namespace}"), &format!("{{matchLabels: {{ns: {namespace}}}}}"));
        }
        while let Some((before, rest)) = line.split_once('<') {
            let (word, after) = rest.split_once('>').context("no end of <")?;
            // The family that comes first.
            let word = match word.strip_prefix("1:") {
                Some(what) => {
                    format!("{}:{what}", if self.grid.pods[0].addresses()[0].is_ipv4() { 4 } else { 6 })
                }
                None => word.to_owned(),
            };
            line = format!("{before}{}{after}", self.grid.place(&word)?);
        }
        Ok(line)
    }

    fn row(&mut self, ingress: bool, rest: &str) -> Result<()> {
        let (head, peers) = rest.split_once(':').context("a row is `in POD PORTS: PEERS`")?;
        let (pods, ports) = head.split_once(' ').unwrap_or((head, ""));
        let ports = match ports.trim() {
            "" => (0..PORTS.len()).collect(),
            text => text.split(',').map(|one| port_place(one.trim())).collect::<Result<_>>()?,
        };
        let mut all = Vec::new();
        for word in peers.split_whitespace() {
            let (name, family) = match word.split_once('@') {
                Some((name, "4")) => (name, Some(false)),
                Some((name, "6")) => (name, Some(true)),
                Some((name, "1")) => (name, Some(self.grid.pods[0].addresses()[0].is_ipv6())),
                Some(_) => bail!("which family is {word:?}?"),
                None => (word, None),
            };
            all.extend(pods_of(name)?.into_iter().map(|pod| (pod, family)));
        }
        self.look.rows.push(Row { ingress, pods: pods_of(pods)?, ports, peers: all });
        Ok(())
    }

    fn question(&mut self, verb: &str, rest: &str) -> Result<()> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (from, to, port, at) = match words.as_slice() {
            [from, to, port] => (*from, *to, *port, None),
            [from, to, port, at] => (*from, *to, *port, Some(*at)),
            _ => bail!("a question is `{verb} FROM TO PORT AT`"),
        };
        let from_place =
            Grid::names().iter().position(|name| name == from).with_context(|| format!("who is {from}?"))?;
        let (number, protocol) = port.split_once('/').context("a port is 80/tcp")?;
        let addresses = match self.grid.pod(to) {
            Some(pod) => pod.addresses().to_vec(),
            None => vec![to.parse::<IpAddr>()?],
        };
        let own = if verb == "-e" { from } else { to };
        let counted = at.unwrap_or(own);
        for address in addresses {
            let denied = if verb == "+" {
                None
            } else {
                let pod = self.grid.pod(counted).with_context(|| format!("{counted} is no pod"))?;
                let at = pod.addresses().iter().find(|one| one.is_ipv4() == address.is_ipv4());
                Some(Denied { egress: verb == "-e", at: *at.context("no address of that family")? })
            };
            let to = SocketAddr::new(address, number.parse()?);
            self.look.more.push(Ask { from: from_place, to, tcp: protocol == "tcp", denied });
        }
        Ok(())
    }

    /// Ends what is seen at once, if anything is.
    fn see(&mut self) -> Result<()> {
        let look = std::mem::take(&mut self.look);
        if look.is_due {
            let changes = self.grid.state.become_(self.desk.state());
            let (name, matrix) = (self.name.to_owned(), look.matrix(self.grid));
            self.steps.push(Step { name, changes, matrix, more: look.more });
        }
        Ok(())
    }
}

impl Look {
    fn matrix(&self, grid: &Grid<'_>) -> String {
        let mut matrix = String::new();
        for from in 0..grid.pods.len() {
            for (to, pod) in grid.pods.iter().enumerate() {
                for address in pod.addresses() {
                    for port in 0..PORTS.len() {
                        let v6 = address.is_ipv6();
                        let said = match (
                            self.allows(false, from, to, v6, port),
                            self.allows(true, to, from, v6, port),
                        ) {
                            _ if from == to => '+',
                            (false, _) => 'e',
                            (true, false) => 'i',
                            (true, true) => '+',
                        };
                        matrix.push(said);
                    }
                }
            }
        }
        matrix
    }

    /// What the rows of a pod say of one peer; a pod without rows is open.
    fn allows(&self, ingress: bool, pod: usize, peer: usize, v6: bool, port: usize) -> bool {
        let mut own =
            self.rows.iter().filter(|row| row.ingress == ingress && row.pods.contains(&pod)).peekable();
        own.peek().is_none()
            || own.any(|row| {
                let has_peer = row
                    .peers
                    .iter()
                    .any(|(one, family)| *one == peer && family.is_none_or(|only| only == v6));
                has_peer && row.ports.contains(&port)
            })
    }
}

/// Places of the pods that a word means.
fn pods_of(word: &str) -> Result<Vec<usize>> {
    let names = Grid::names();
    let pods = names.iter().take(NAMESPACES.len() * PODS.len()).enumerate();
    let fits = |name: &str| match word {
        "all" => true,
        "none" => false,
        _ => match word.split_once('/') {
            Some((namespace, "*")) => name.split('/').next() == Some(namespace),
            Some(("*", pod)) => name.split('/').nth(1) == Some(pod),
            _ => name == word,
        },
    };
    let found: Vec<usize> = pods.filter(|(_, name)| fits(name)).map(|(place, _)| place).collect();
    ensure!(!found.is_empty() || word == "none", "nobody is {word}");
    Ok(found)
}

fn port_place(word: &str) -> Result<usize> {
    let (number, protocol) = word.split_once('/').context("a port is 80/tcp")?;
    let port = (number.parse()?, protocol == "tcp");
    PORTS.iter().position(|one| *one == port).with_context(|| format!("no pod serves {word}"))
}
