//! Names while everything behind them changes: services come and go, endpoints become ready and unready, pods are attached and
//! detached; pods of two nodes ask all the time, over UDP and TCP, and every answer is held against what was true.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;

use super::ledger::{Answer, Fact, Ledger, Moment, Wrong};
use super::{DOMAIN, in_service_ranges, servers};
use crate::checks::Cast;
use crate::fabric::{Background, Pod, READY};
use crate::probe::{Change, now_us};
use crate::wait::pass;
use crate::{Fabric, Result};

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Changes per second.
    pub rate: u32,
    /// For how long.
    pub span: Duration,
    /// How far an answer may be behind. Whoever keeps it for its time to live is behind by that time more.
    pub lag: Duration,
    /// Milliseconds that those who ask rest after each answer.
    pub rest: u32,
    /// What the changes may take at most, in spans.
    pub patience: f64,
}

impl Load {
    /// Beside other tests, on a machine that may be busy.
    pub const SHORT: Self =
        Self { rate: 50, span: Duration::from_secs(5), lag: Duration::from_secs(1), rest: 5, patience: 10.0 };
    /// What the issue asks for.
    pub const LONG: Self = Self {
        rate: 50,
        span: Duration::from_mins(1),
        lag: Duration::from_millis(100),
        rest: 2,
        patience: 1.25,
    };
    /// Enough to be noticed.
    const LATE: Self = Self { span: Duration::from_secs(1), lag: Duration::from_millis(500), ..Self::SHORT };
}

/// Headless services, with endpoints that have names.
const MANY: usize = 20;
/// Endpoints of each. The first stays ready, the others come and go.
const ENDPOINTS: usize = 4;
/// Services that stay, whose endpoint comes and goes; and services that come and go themselves.
const SINGLE: usize = 10;
/// Where in the ranges of services the addresses of those begin that people choose.
const KEPT_AT: u32 = 100;
const BRIEF_AT: u32 = 150;
/// Names of pods that come and go.
const PODS: [&str; 4] = ["names-pod-0", "names-pod-1", "names-pod-2", "names-pod-3"];
/// Pods that are there at the same time.
const PODS_AT_ONCE: usize = 2;
/// Between two pods.
const POD_PAUSE: Duration = Duration::from_millis(50);
/// Writers at the same time, each for services of its own.
const WRITERS: usize = 2;
/// Longest time to live of an answer about the fabric, seconds.
const TTL: u64 = 5;
/// Wrong answers that are told.
const MOST_TOLD: usize = 5;

/// Services and pods whose names are asked for.
pub struct Names<'a> {
    fabric: &'a Fabric,
    cast: &'a Cast,
    /// Per service that stays, then per service that comes and goes.
    chosen: [Vec<Vec<IpAddr>>; 2],
}

/// Something that became true or false.
struct Turn {
    fact: Fact,
    holds: bool,
}

/// Changes of a writer, and what each of them means.
type Script = (Vec<Change>, Vec<Vec<Turn>>);

/// What became of pods: fact, whether it holds, and when that began and was done.
type PodTurns = Vec<(Fact, bool, Moment, Moment)>;

/// What those who asked saw.
struct Seen {
    answers: u64,
    /// Of the oldest answer, microseconds.
    oldest: u64,
}

impl<'a> Names<'a> {
    /// Makes the services.
    pub fn set(fabric: &'a Fabric, cast: &'a Cast) -> Result<Self> {
        let chosen = |first: u32| -> Result<Vec<_>> {
            (0..SINGLE).zip(first..).map(|(_, at)| in_service_ranges(fabric, at)).collect()
        };
        let names = Self { fabric, cast, chosen: [chosen(KEPT_AT)?, chosen(BRIEF_AT)?] };
        fabric.apply(&names.manifest()?)?;
        fabric.settle_all()?;
        Ok(names)
    }

    /// Takes them away.
    pub fn strike(self) -> Result {
        // Those that come and go may be away.
        for number in 0..SINGLE {
            self.fabric.store(&self.single("brief", number)?)?;
        }
        self.fabric.erase(&self.manifest()?)
    }

    fn manifest(&self) -> Result<String> {
        let mut text = "apiVersion: v1\nkind: Service\nmetadata: {name: names-pods}\nspec: {clusterIP: None, ipFamilyPolicy: \
                        PreferDualStack, selector: {names: churn}}\n"
            .to_owned();
        for number in 0..MANY {
            write!(
                text,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: names-many-{number}}}\nspec: {{clusterIP: None, ports: [{{port: \
                 80}}]}}\n"
            )?;
            for endpoint in 0..ENDPOINTS {
                write!(text, "---\n{}", self.slice(&format!("names-many-{number}"), number, endpoint, true))?;
            }
        }
        for number in 0..SINGLE {
            let (kept, brief) = (self.single("kept", number)?, self.single("brief", number)?);
            let slice = self.slice(&format!("names-kept-{number}"), MANY + number, 0, true);
            write!(text, "---\n{kept}---\n{slice}---\n{brief}")?;
        }
        Ok(text)
    }

    /// A service at addresses that were chosen for it.
    fn single(&self, kind: &str, number: usize) -> Result<String> {
        let all: Vec<String> = self.addresses(kind, number)?.iter().map(|a| format!("\"{a}\"")).collect();
        Ok(format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: names-{kind}-{number}}}\nspec: {{ipFamilyPolicy: PreferDualStack, \
             clusterIP: {}, clusterIPs: [{}], ports: [{{port: 80}}]}}\n",
            all.first().context("no range of services")?,
            all.join(", ")
        ))
    }

    fn addresses(&self, kind: &str, number: usize) -> Result<&[IpAddr]> {
        let all = &self.chosen[usize::from(kind == "brief")];
        all.get(number).map(Vec::as_slice).context("no such service")
    }

    /// One endpoint of a service, in a slice of its own: of the family that pods have first.
    fn slice(&self, service: &str, group: usize, endpoint: usize, ready: bool) -> String {
        let address = self.endpoint(group, endpoint);
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-{endpoint}, labels: \
             {{kubernetes.io/service-name: {service}}}}}\naddressType: {family}\nports: [{{port: 80}}]\nendpoints:\n- {{addresses: \
             [\"{address}\"], hostname: e{endpoint}, conditions: {{ready: {ready}}}}}\n"
        )
    }

    /// From the ranges for benchmarks (RFC 2544, RFC 5180).
    fn endpoint(&self, group: usize, endpoint: usize) -> IpAddr {
        let (group, endpoint) =
            (u8::try_from(group).unwrap_or(u8::MAX), u8::try_from(endpoint).unwrap_or(u8::MAX));
        let first = self.cast.a.addresses().first();
        if first.is_some_and(IpAddr::is_ipv4) {
            Ipv4Addr::new(198, 18, group, endpoint + 1).into()
        } else {
            Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, u16::from(group), u16::from(endpoint) + 1).into()
        }
    }

    /// Every name that is asked for.
    fn names(&self) -> Vec<String> {
        let of_pods = PODS.iter().map(|pod| format!("{pod}.names-pods.{DOMAIN}"));
        let many = (0..MANY).flat_map(|number| {
            let of_endpoints =
                (0..ENDPOINTS).map(move |endpoint| format!("e{endpoint}.names-many-{number}.{DOMAIN}"));
            of_endpoints.chain([format!("names-many-{number}.{DOMAIN}")])
        });
        let single = ["kept", "brief"].into_iter();
        let single =
            single.flat_map(|kind| (0..SINGLE).map(move |number| format!("names-{kind}-{number}.{DOMAIN}")));
        of_pods.chain([format!("names-pods.{DOMAIN}")]).chain(many).chain(single).collect()
    }

    /// What is true before anything changes.
    fn ledger(&self) -> Result<Ledger> {
        let (mut ledger, now) = (Ledger::default(), now_us());
        let mut holds = |fact: Fact| ledger.set(fact, true, now, now);
        for number in 0..MANY {
            holds(Fact::Exists(format!("names-many-{number}.{DOMAIN}")));
            self.endpoint_turns(number, None, true).into_iter().for_each(|turn| holds(turn.fact));
        }
        for kind in ["kept", "brief"] {
            for number in 0..SINGLE {
                self.single_turns(kind, number, true)?.into_iter().for_each(|turn| holds(turn.fact));
            }
        }
        Ok(ledger)
    }

    /// What one endpoint of a headless service means, or all of them.
    fn endpoint_turns(&self, number: usize, endpoint: Option<usize>, holds: bool) -> Vec<Turn> {
        let all = (0..ENDPOINTS).filter(|one| endpoint.is_none_or(|endpoint| endpoint == *one));
        all.flat_map(|one| {
            let (service, address) = (format!("names-many-{number}.{DOMAIN}"), self.endpoint(number, one));
            let host = format!("e{one}.{service}");
            [Fact::Exists(host.clone()), Fact::At(host, address), Fact::At(service, address)]
        })
        .map(|fact| Turn { fact, holds })
        .collect()
    }

    fn single_turns(&self, kind: &str, number: usize, holds: bool) -> Result<Vec<Turn>> {
        let name = format!("names-{kind}-{number}.{DOMAIN}");
        let addresses = self.addresses(kind, number)?.iter().map(|address| Fact::At(name.clone(), *address));
        let all = addresses.chain([Fact::Exists(name.clone())]);
        Ok(all.map(|fact| Turn { fact, holds }).collect())
    }

    /// So many changes for each writer: half of them of endpoints that have names, a quarter of the only endpoint of a service, a
    /// quarter of whole services.
    fn scripts(&self, changes: usize) -> Result<Vec<Script>> {
        let script = |writer: usize| -> Result<Script> {
            let mut script = Script::default();
            let mut is = [[[true; ENDPOINTS]; MANY], [[true; ENDPOINTS]; MANY], [[true; ENDPOINTS]; MANY]];
            let own = |count: usize, all: usize| writer + WRITERS * (count % (all / WRITERS));
            for turn in 0..changes / WRITERS {
                let (round, count) = (turn / 4, turn / 4 + (turn % 4) * MANY);
                let (change, turns) = match turn % 4 {
                    2 => {
                        let number = own(round, SINGLE);
                        is[1][number][0] ^= true;
                        let name = format!("names-kept-{number}");
                        (Change::Apply(self.slice(&name, MANY + number, 0, is[1][number][0])), Vec::new())
                    }
                    3 => {
                        let number = own(round, SINGLE);
                        is[2][number][0] ^= true;
                        let turns = self.single_turns("brief", number, is[2][number][0])?;
                        let change = if is[2][number][0] {
                            Change::Apply(self.single("brief", number)?)
                        } else {
                            Change::Delete(format!("names-brief-{number}"))
                        };
                        (change, turns)
                    }
                    _ => {
                        let number = own(count, MANY);
                        let endpoint = 1 + count / (MANY / WRITERS) % (ENDPOINTS - 1);
                        is[0][number][endpoint] ^= true;
                        let ready = is[0][number][endpoint];
                        let text = self.slice(&format!("names-many-{number}"), number, endpoint, ready);
                        (Change::Apply(text), self.endpoint_turns(number, Some(endpoint), ready))
                    }
                };
                script.0.push(change);
                script.1.push(turns);
            }
            Ok(script)
        };
        (0..WRITERS).map(script).collect()
    }

    /// Writes, and notes what became true when.
    fn write(&self, load: &Load, ledger: &mut Ledger) -> Result<(usize, Value)> {
        let changes = usize::try_from(load.span.as_millis())? * usize::try_from(load.rate)? / 1000;
        let (texts, turns): (Vec<_>, Vec<_>) = self.scripts(changes)?.into_iter().unzip();
        let within = load.span.mul_f64(load.patience);
        let (told, seen) = self.fabric.change_and_tell(&texts, f64::from(load.rate), within)?;
        for (turns, [begun, done]) in turns.into_iter().flatten().zip(told.into_iter().flatten()) {
            turns.into_iter().for_each(|turn| ledger.set(turn.fact, turn.holds, begun, done));
        }
        Ok((changes, seen))
    }

    /// Pods come and go until it is told to end.
    fn pods(&self, end: &AtomicBool) -> Result<PodTurns> {
        let nodes = [self.cast.a.node(), self.cast.c.node()];
        let (mut turns, mut there) = (PodTurns::new(), VecDeque::<Pod>::new());
        let note = |turns: &mut PodTurns, pod: &Pod, holds: bool, begun: Moment| {
            let (service, done) = (format!("names-pods.{DOMAIN}"), now_us());
            for address in pod.addresses() {
                for name in [service.clone(), format!("{}.{service}", pod.name())] {
                    turns.push((Fact::At(name, *address), holds, begun, done));
                }
            }
        };
        for (name, node) in PODS.iter().cycle().zip(nodes.into_iter().cycle()) {
            let leaves = end.load(Ordering::Relaxed);
            if there.len() == PODS_AT_ONCE || leaves {
                let Some(pod) = there.pop_front() else { break };
                let begun = now_us();
                self.fabric.detach(&pod)?;
                note(&mut turns, &pod, false, begun);
            }
            if !leaves {
                let begun = now_us();
                let pod = self.fabric.labelled_pod(node, name, &[("names", "churn")], &[])?;
                note(&mut turns, &pod, true, begun);
                there.push_back(pod);
            }
            pass(POD_PAUSE);
        }
        Ok(turns)
    }

    /// Pods that ask for everything all the time.
    fn watch(&self, load: &Load, pods: &[&Pod]) -> Result<Vec<Background>> {
        let (names, rest, servers) = (self.names(), load.rest.to_string(), servers(self.fabric)?);
        let start = |(place, pod): (usize, &&Pod)| {
            let server = servers[place % servers.len()].to_string();
            let mut arguments = vec!["dns-answers", "--types", "A,AAAA", "--rest", &rest, &server];
            arguments.extend(names.iter().map(String::as_str));
            self.fabric.background(pod.place(), &arguments, &[])
        };
        let watching = pods.iter().enumerate().map(start).collect::<Result<_>>()?;
        pass(Duration::from_millis(300));
        Ok(watching)
    }

    /// Everything changes while pods ask: no answer tells what was withdrawn longer ago than it may be behind, and none leaves out what
    /// was there throughout.
    pub fn under_change(&self, load: &Load) -> Result<String> {
        let mut ledger = self.ledger()?;
        let watching = self.watch(load, &[&self.cast.a, &self.cast.c])?;
        let end = AtomicBool::new(false);
        let (written, pods) = std::thread::scope(|scope| {
            let pods = scope.spawn(|| self.pods(&end));
            let written = self.write(load, &mut ledger);
            end.store(true, Ordering::Relaxed);
            (written, pods.join().map_err(|_| anyhow!("the thread of pods panicked")))
        });
        pass(load.lag);
        let seen = watching.into_iter().map(Background::stop).collect::<Result<Vec<Value>>>()?;
        let ((changes, writers), pods) = (written?, pods??);
        let came = pods.iter().filter(|(_, holds, ..)| *holds).count();
        pods.into_iter().for_each(|(fact, holds, begun, done)| ledger.set(fact, holds, begun, done));
        let seen = self.judge(&ledger, load, &seen)?;
        let least = load.span.as_secs() * 100;
        ensure!(seen.answers >= least, "only {} answers, {least} at least", seen.answers);
        Ok(format!(
            "{changes} changes of services and endpoints in {:.1} s, {} pods came and went; {} answers over UDP and TCP on two nodes, none \
             wrong; the oldest told what had been withdrawn {:.1} ms before it was asked ({} ms are allowed)",
            writers["ms"].as_f64().unwrap_or(f64::NAN) / 1000.0,
            came / (2 * self.cast.a.addresses().len()),
            seen.answers,
            seen.oldest as f64 / 1000.0,
            load.lag.as_millis(),
        ))
    }

    /// Holds every answer against what was true.
    fn judge(&self, ledger: &Ledger, load: &Load, seen: &[Value]) -> Result<Seen> {
        let names = self.names();
        let lag = u64::try_from(load.lag.as_micros())?;
        let (mut sum, mut wrong) = (Seen { answers: 0, oldest: 0 }, Vec::new());
        for seen in seen {
            ensure!(seen["ok"] == true, "{} questions weren't answered: {}", seen["failed"], seen["told"]);
            let states = seen["states"].as_array().context("no states")?;
            let states = states.iter().map(state).collect::<Result<Vec<_>>>()?;
            for row in seen["answers"].as_array().context("no answers")? {
                let row: [u64; 6] = serde_json::from_value(row.clone())?;
                let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
                let name = names.get(place(row[0])).context("an answer to nothing")?;
                let (denied, addresses) = states.get(place(row[5])).context("an answer without a state")?;
                let answer = Answer {
                    name,
                    v4: row[1] == 0,
                    denied: *denied,
                    addresses,
                    sent: row[3],
                    received: row[4],
                };
                sum.answers += 1;
                sum.oldest = sum.oldest.max(ledger.age(&answer));
                if let Some(why) = ledger.judge(&answer, lag) {
                    wrong.push(format!(
                        "{name} {}: {}",
                        if row[2] == 1 { "over TCP" } else { "over UDP" },
                        words(&why)
                    ));
                }
            }
        }
        if wrong.is_empty() {
            return Ok(sum);
        }
        bail!(
            "{} of {} answers were wrong: {}",
            wrong.len(),
            sum.answers,
            wrong[..wrong.len().min(MOST_TOLD)].join("; ")
        )
    }
}

/// Whether it says that there is no such name, and its addresses.
fn state(state: &Value) -> Result<(bool, BTreeSet<IpAddr>)> {
    let denied = match state["rcode"].as_str() {
        Some("NoError") => false,
        Some("NXDomain") => true,
        _ => bail!("a failure was answered: {state}"),
    };
    ensure!(state["ttl"].as_u64().unwrap_or(0) <= TTL, "it counts for too long: {state}");
    let data = state["data"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses = data.map(|data| data.parse().with_context(|| format!("no address: {data}")));
    Ok((denied, addresses.collect::<Result<_>>()?))
}

fn words(wrong: &Wrong) -> String {
    let ms = |us: &u64| *us as f64 / 1000.0;
    match wrong {
        Wrong::Withdrawn(address, ago) => {
            format!("{address} was told, which had been withdrawn {:.1} ms before it was asked", ms(ago))
        }
        Wrong::Unknown(address) => format!("{address} was told, which it never had"),
        Wrong::Missing(address, held) => {
            format!("{address} was missing, which had been there for {:.1} ms", ms(held))
        }
        Wrong::Denied(held) => format!("it was denied, and had been there for {:.1} ms", ms(held)),
    }
}

/// Proves that the proof can fail: on a node whose DNS process is told nothing any more, old answers are noticed.
pub fn late_is_noticed(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let names = Names::set(fabric, cast)?;
    let (mut ledger, load, node) = (names.ledger()?, Load::LATE, cast.a.node());
    let watching = names.watch(&load, &[&cast.a])?;
    fabric.hold(node, "agent")?;
    let written = names.write(&load, &mut ledger);
    pass(load.lag * 2);
    let seen = watching.into_iter().map(Background::stop).collect::<Result<Vec<Value>>>();
    fabric.release(node, "agent")?;
    fabric.client().ready(node, "agent", READY)?;
    fabric.settle_all()?;
    written?;
    let Err(noticed) = names.judge(&ledger, &load, &seen?) else {
        bail!("nobody noticed that nothing was told to the DNS process");
    };
    let text = noticed.to_string();
    ensure!(
        text.contains("withdrawn") && text.contains("answers were wrong"),
        "noticed something else: {text}"
    );
    names.strike()?;
    Ok(format!("noticed: {text}"))
}
