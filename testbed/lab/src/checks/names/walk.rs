//! A walk of the specification: every form of record for every kind of service, asked by another implementation in pods of two nodes,
//! over UDP and TCP, and compared record by record: names in the question's case, times to live, data, all sections.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{ask, cluster_addresses, forward_to, kind_of, servers};
use crate::checks::{Cast, eventually};
use crate::fabric::{Pod, on};
use crate::probe::names::{ADDRESS_4, ADDRESS_6};
use crate::{Fabric, Result};

/// The cluster's domain.
const Z: &str = "cluster.local";
/// Behind what is denied; the serial is the state's revision and isn't compared.
const SOA: &str = "SOA ns.dns.cluster.local. hostmaster.cluster.local. * 7200 1800 86400 5";
/// Endpoints that don't fit into a datagram.
const MANY: u16 = 100;
/// What has been made is known within this.
const KNOWN: Duration = Duration::from_secs(10);

/// One question and its answer, as records in words.
struct Case {
    name: String,
    kind: &'static str,
    rcode: &'static str,
    answers: BTreeSet<String>,
    authority: BTreeSet<String>,
    additional: BTreeSet<String>,
}

/// What is there.
struct Stage<'a> {
    fabric: &'a Fabric,
    cast: &'a Cast,
    /// A pod with a host name in a headless service's name.
    member: Pod,
    /// One that never is ready, of a service that tells of it all the same.
    unready: Pod,
    families: Vec<&'static str>,
}

/// Services of every kind; `ENDPOINTS` are those of a headless one.
const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: walk-single}
spec: {ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-dual}
spec: {type: NodePort, ipFamilyPolicy: PreferDualStack, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-balanced}
spec: {type: LoadBalancer, ipFamilyPolicy: PreferDualStack, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-headless}
spec: {clusterIP: None, ipFamilyPolicy: PreferDualStack, ports: [{name: peer, port: 1}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-early}
spec: {clusterIP: None, ipFamilyPolicy: PreferDualStack, publishNotReadyAddresses: true, selector: {walk: early}}
---
apiVersion: v1
kind: Service
metadata: {name: walk-empty}
spec: {clusterIP: None, ports: [{name: peer, port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-big}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: walk-set}
spec: {clusterIP: None, ipFamilyPolicy: PreferDualStack, selector: {walk: member}}
---
apiVersion: v1
kind: Service
metadata: {name: walk-out}
spec: {type: ExternalName, externalName: www.example.test}
---
apiVersion: v1
kind: Service
metadata: {name: walk-in}
spec: {type: ExternalName, externalName: walk-dual.default.svc.cluster.local}
---
apiVersion: v1
kind: Pod
metadata: {name: walk-member, labels: {walk: member}}
spec: {hostname: first, subdomain: walk-set}
---
apiVersion: v1
kind: Pod
metadata: {name: walk-unready, labels: {walk: early}}
spec:
  hostname: early
  subdomain: walk-early
  containers: [{name: main, image: main, readinessProbe: {tcpSocket: {port: 9}}}]
";

/// Walks, and says how many questions that were.
pub fn walked(fabric: &Fabric, cast: &Cast) -> Result<String> {
    let endpoints = endpoints(cast);
    let text = format!("{SERVICES}---\n{endpoints}");
    fabric.apply(&text)?;
    let upstream = fabric.background(on(&fabric.outside()), &["serve", "names:53"], &[])?;
    forward_to(fabric, &fabric.machine(&fabric.outside())?.addresses())?;
    let member = fabric.labelled_pod(cast.c.node(), "walk-member", &[("walk", "member")], &[])?;
    let unready = fabric.labelled_pod(cast.a.node(), "walk-unready", &[("walk", "early")], &[])?;
    let families: BTreeSet<_> = cast.a.addresses().iter().map(kind_of).collect();
    let stage = Stage { fabric, cast, member, unready, families: families.into_iter().collect() };
    let cases = stage.cases()?;
    let mut asked = 0;
    for pod in [&cast.a, &cast.c] {
        for server in servers(fabric)? {
            // The pod that has just been made is known when its name is.
            asked += eventually(KNOWN, || stage.walk(pod, server, &cases))?;
        }
    }
    stage.too_long(servers(fabric)?[0])?;
    [&stage.member, &stage.unready].into_iter().try_for_each(|pod| fabric.detach(pod))?;
    upstream.stop()?;
    forward_to(fabric, &[])?;
    fabric.erase(&text)?;
    Ok(format!(
        "{} names and types, {asked} answers over UDP and TCP on two nodes, all as the specification says",
        cases.len()
    ))
}

/// Endpoints by hand: pod a is ready and has a host name, c is ready without one, b has one and isn't ready; and many of one service.
fn endpoints(cast: &Cast) -> String {
    let slice = |service: &str, address: &IpAddr, number: usize, host: &str, ready: bool| {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let host = if host.is_empty() { String::new() } else { format!("hostname: {host}, ") };
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-{}-{number}, labels: \
             {{kubernetes.io/service-name: {service}}}}}\naddressType: {family}\nports: [{{name: peer, port: 7000}}]\nendpoints:\n- \
             {{addresses: [\"{address}\"], {host}conditions: {{ready: {ready}}}}}\n",
            family.to_lowercase()
        )
    };
    let mut all = Vec::new();
    for (number, (pod, host, ready)) in
        [(&cast.a, "web-0", true), (&cast.c, "", true), (&cast.b, "web-2", false)].iter().enumerate()
    {
        let of_pod = pod.addresses().iter();
        all.extend(of_pod.map(|address| slice("walk-headless", address, number, host, *ready)));
    }
    // Of the family that pods have first.
    let is_v4 = cast.a.addresses().first().is_some_and(IpAddr::is_ipv4);
    let (family, first) = if is_v4 { ("IPv4", "198.18.1.") } else { ("IPv6", "2001:2::") };
    let many: Vec<String> =
        (1..=MANY).map(|last| format!("- {{addresses: [\"{first}{last}\"]}}\n")).collect();
    all.push(format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: walk-big-1, labels: {{kubernetes.io/service-name: \
         walk-big}}}}\naddressType: {family}\nports: [{{port: 80}}]\nendpoints:\n{}",
        many.concat()
    ));
    all.join("---\n")
}

impl Case {
    fn new(name: impl Into<String>, kind: &'static str) -> Self {
        let [answers, authority, additional] = [const { BTreeSet::new() }; 3];
        Self { name: name.into(), kind, rcode: "NoError", answers, authority, additional }
    }

    /// With a record of the fabric's own, which counts for five seconds.
    fn with(mut self, owner: &str, data: impl std::fmt::Display) -> Self {
        self.answers.insert(format!("{owner}. 5 {data}"));
        self
    }

    fn with_all(self, owner: &str, addresses: &[IpAddr]) -> Self {
        let kind = self.kind;
        addresses
            .iter()
            .filter(|a| kind_of(a) == kind)
            .fold(self, |case, a| case.with(owner, format!("{kind} {a}")))
    }

    fn beside(mut self, owner: &str, addresses: &[IpAddr]) -> Self {
        self.additional.extend(addresses.iter().map(|a| format!("{owner}. 5 {} {a}", kind_of(a))));
        self
    }

    /// Nothing of that type, or nothing at all.
    fn denied(mut self, rcode: &'static str, zone: &str) -> Self {
        self.rcode = rcode;
        self.authority.insert(format!("{zone}. 5 {SOA}"));
        self
    }

    /// Denied when there is no answer.
    fn or_nothing(self) -> Self {
        if self.answers.is_empty() { self.denied("NoError", Z) } else { self }
    }
}

impl Stage<'_> {
    /// Every question with its answer.
    fn cases(&self) -> Result<Vec<Case>> {
        let mut cases = self.of_services()?;
        cases.extend(self.of_headless());
        cases.extend(self.of_others()?);
        cases.extend(self.denials()?);
        Ok(cases)
    }

    /// Services with addresses: of each type, asked for each family, in any case, backwards.
    fn of_services(&self) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for service in ["walk-single", "walk-dual", "walk-balanced"] {
            let (name, addresses) =
                (format!("{service}.default.svc.{Z}"), cluster_addresses(self.fabric, service)?);
            let expected = if service == "walk-single" { 1 } else { self.families.len() };
            ensure!(addresses.len() == expected, "{service} has {addresses:?}");
            for owner in [name.clone(), name.to_uppercase()] {
                for kind in ["A", "AAAA"] {
                    cases.push(Case::new(&owner, kind).with_all(&owner, &addresses).or_nothing());
                }
            }
            cases.push(Case::new(&name, "TXT").denied("NoError", Z));
            for address in &addresses {
                let owner = backwards(*address);
                cases.push(Case::new(&owner, "PTR").with(&owner, format!("PTR {name}.")));
            }
        }
        for (service, port, protocol, number) in [
            ("walk-single", "http", "tcp", 80),
            ("walk-single", "dns", "udp", 53),
            ("walk-dual", "http", "tcp", 8080),
        ] {
            let name = format!("{service}.default.svc.{Z}");
            let owner = format!("_{port}._{protocol}.{name}");
            let case = Case::new(&owner, "SRV").with(&owner, format!("SRV 0 100 {number} {name}."));
            cases.push(case.beside(&name, &cluster_addresses(self.fabric, service)?));
            cases.push(Case::new(owner, "A").denied("NoError", Z));
        }
        Ok(cases)
    }

    /// Headless services: all endpoints that are ready, each by its name and by its address, and the ports of each.
    fn of_headless(&self) -> Vec<Case> {
        let (named, plain) = (self.cast.a.addresses(), self.cast.c.addresses());
        let name = format!("walk-headless.default.svc.{Z}");
        let all = [named, plain].concat();
        let mut hosts = vec![(format!("web-0.{name}"), named.to_vec())];
        hosts.extend(plain.iter().map(|address| (format!("{}.{name}", dashed(*address)), vec![*address])));
        let srv = format!("_peer._tcp.{name}");
        let weight = 100 / hosts.len();
        let ports = hosts.iter().fold(Case::new(&srv, "SRV"), |case, (host, addresses)| {
            case.with(&srv, format!("SRV 0 {weight} 7000 {host}.")).beside(host, addresses)
        });
        let mut cases = vec![ports];
        let early = format!("walk-early.default.svc.{Z}");
        let set = format!("walk-set.default.svc.{Z}");
        hosts.extend([
            (name.clone(), all),
            (early.clone(), self.unready.addresses().to_vec()),
            (format!("early.{early}"), self.unready.addresses().to_vec()),
            (set.clone(), self.member.addresses().to_vec()),
            (format!("first.{set}"), self.member.addresses().to_vec()),
            (format!("walk-member.{set}"), self.member.addresses().to_vec()),
        ]);
        for (host, addresses) in &hosts {
            let of_kind = |kind| Case::new(host, kind).with_all(host, addresses).or_nothing();
            cases.extend(["A", "AAAA"].map(of_kind));
        }
        for (pod, host) in [
            (&self.cast.a, format!("web-0.{name}")),
            (&self.member, format!("first.{set}")),
            (&self.unready, format!("early.{early}")),
        ] {
            for address in pod.addresses() {
                let owner = backwards(*address);
                cases.push(Case::new(&owner, "PTR").with(&owner, format!("PTR {host}.")));
            }
        }
        let idle = ["walk-empty", "web-2.walk-headless", "_peer._tcp.walk-empty"];
        cases
            .extend(idle.map(|idle| Case::new(format!("{idle}.default.svc.{Z}"), "A").denied("NXDomain", Z)));
        cases
    }

    /// Pods, nodes, aliases, and what the zone says of itself.
    fn of_others(&self) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for pod in [&self.cast.b, &self.member] {
            for address in pod.addresses() {
                let name = format!("{}.default.pod.{Z}", dashed(*address));
                let of_kind = |kind| Case::new(&name, kind).with_all(&name, &[*address]).or_nothing();
                cases.extend(["A", "AAAA"].map(of_kind));
            }
        }
        for address in self.cast.b.addresses() {
            let (owner, pod) = (backwards(*address), format!("{}.default.pod.{Z}", dashed(*address)));
            cases.push(Case::new(&owner, "PTR").with(&owner, format!("PTR {pod}.")));
        }
        for node in self.fabric.nodes()? {
            let seen = self.fabric.weft_json(&["get", "node", &node])?;
            let mesh = seen["status"]["mesh"].as_array().into_iter().flatten();
            let mesh: Vec<IpAddr> = mesh.filter_map(|a| a.as_str()?.parse().ok()).collect();
            let name = format!("{node}.node.{Z}");
            let of_kind = |kind| Case::new(&name, kind).with_all(&name, &mesh).or_nothing();
            cases.extend(["A", "AAAA"].map(of_kind));
            for address in mesh {
                let owner = backwards(address);
                cases.push(Case::new(&owner, "PTR").with(&owner, format!("PTR {name}.")));
            }
        }
        let (out, target) = (format!("walk-out.default.svc.{Z}"), "www.example.test.");
        cases.push(Case::new(&out, "CNAME").with(&out, format!("CNAME {target}")));
        for (kind, address) in [("A", IpAddr::V4(ADDRESS_4)), ("AAAA", IpAddr::V6(ADDRESS_6))] {
            let mut case = Case::new(&out, kind).with(&out, format!("CNAME {target}"));
            // Others' times to live run.
            case.answers.insert(format!("{target} - {kind} {address}"));
            cases.push(case);
        }
        let (inside, dual) = (format!("walk-in.default.svc.{Z}"), format!("walk-dual.default.svc.{Z}"));
        let addresses = cluster_addresses(self.fabric, "walk-dual")?;
        for kind in ["A", "AAAA"] {
            let case = Case::new(&inside, kind).with_all(&dual, &addresses).or_nothing();
            cases.push(case.with(&inside, format!("CNAME {dual}.")));
        }
        let (version, server) = (format!("dns-version.{Z}"), format!("ns.dns.{Z}"));
        let own: Vec<IpAddr> = servers(self.fabric)?.into_iter().step_by(2).collect();
        cases.extend([
            Case::new(&version, "TXT").with(&version, "TXT 1.1.0"),
            Case::new(Z, "SOA").with(Z, SOA),
            Case::new(Z, "NS").with(Z, format!("NS {server}.")).beside(&server, &own),
        ]);
        cases.extend(["A", "AAAA"].map(|kind| Case::new(&server, kind).with_all(&server, &own).or_nothing()));
        Ok(cases)
    }

    /// What isn't there, and what is there without records of that type.
    fn denials(&self) -> Result<Vec<Case>> {
        let missing = [
            "nobody.default.svc",
            "walk-single.nowhere.svc",
            "x.walk-single.default.svc",
            "a.b.c.walk-single.default.svc",
            "_nope._tcp.walk-single.default.svc",
            "_http._udp.walk-single.default.svc",
            "x.walk-out.default.svc",
            "10-255-255-1.default.pod",
            "nobody.node",
            "x",
        ];
        let empty = ["svc", "default.svc", "pod", "default.pod", "node", "_tcp.walk-single.default.svc"];
        let mut cases: Vec<Case> =
            missing.iter().map(|name| Case::new(format!("{name}.{Z}"), "A").denied("NXDomain", Z)).collect();
        cases.extend(empty.iter().map(|name| Case::new(format!("{name}.{Z}"), "A").denied("NoError", Z)));
        cases.push(Case::new(Z, "A").denied("NoError", Z));
        Ok(cases)
    }

    /// Asks everything in one pod at one server; how many answers that were.
    fn walk(&self, pod: &Pod, server: IpAddr, cases: &[Case]) -> Result<usize> {
        let server = server.to_string();
        let questions: Vec<String> =
            cases.iter().map(|case| format!("{}/{}", case.name, case.kind)).collect();
        let mut arguments = vec!["dns-each", server.as_str()];
        arguments.extend(questions.iter().map(String::as_str));
        let seen = self.fabric.probe(pod.place(), &arguments)?;
        ensure!(seen["ok"] == true, "{} asks {server}: {seen}", pod.name());
        let answers = seen["answers"].as_array().context("no answers")?;
        ensure!(answers.len() == cases.len());
        for (case, both) in cases.iter().zip(answers) {
            for (transport, answer) in ["UDP", "TCP"].into_iter().zip(both.as_array().into_iter().flatten()) {
                let what =
                    || format!("{} asks {server} over {transport}: {} {}", pod.name(), case.name, case.kind);
                let is = answer["rcode"] == case.rcode && answer["aa"] == true && answer["tc"] == false;
                ensure!(is, "{}: {} was expected: {answer}", what(), case.rcode);
                for (section, wanted) in [
                    ("answers", &case.answers),
                    ("authority", &case.authority),
                    ("additional", &case.additional),
                ] {
                    let records = records(&answer[section]);
                    // The zone's name stands in the question's case, too.
                    let same = |text: &String| {
                        if section == "authority" { text.to_lowercase() } else { text.clone() }
                    };
                    let same_records = records.iter().map(same).eq(wanted.iter().map(same));
                    ensure!(same_records, "{}: {section} {records:?} instead of {wanted:?}", what());
                }
            }
        }
        Ok(2 * cases.len())
    }

    /// What doesn't fit is cut, and whole over TCP.
    fn too_long(&self, server: IpAddr) -> Result {
        let (place, kind) = (self.cast.a.place(), self.cast.a.addresses().first().map_or("A", kind_of));
        for (edns, most) in [("1232", 1232), ("4096", 1232), ("512", 512), ("0", 512)] {
            let name = format!("walk-big.default.svc.{Z}");
            let cut = ask(self.fabric, &place, server, &[&name, "--type", kind, "--edns", edns])?;
            ensure!(cut["tc"] == true && cut["bytes"].as_u64() <= Some(most), "EDNS {edns}: {cut}");
            let whole =
                ask(self.fabric, &place, server, &[&name, "--type", kind, "--edns", edns, "--tcp", "1"])?;
            let count = whole["answers"].as_array().map_or(0, Vec::len);
            ensure!(
                whole["tc"] == false && count == usize::from(MANY),
                "{count} of {MANY} came over TCP: {whole}"
            );
        }
        Ok(())
    }
}

/// Records in words, each once.
fn records(section: &Value) -> BTreeSet<String> {
    let one = |record: &Value| {
        let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let (name, kind, mut data) = (word("name"), word("type"), word("data"));
        let is_own = name.to_lowercase().ends_with(&format!("{Z}.")) || name.ends_with(".arpa.");
        let ttl = if is_own { record["ttl"].to_string() } else { "-".to_owned() };
        if kind == "SOA" {
            let words = data.split(' ').enumerate().map(|(place, word)| if place == 2 { "*" } else { word });
            data = words.collect::<Vec<_>>().join(" ");
        }
        format!("{name} {ttl} {kind} {data}")
    };
    section.as_array().into_iter().flatten().map(one).collect()
}

/// An address as a label.
fn dashed(address: IpAddr) -> String {
    let text = address.to_string().replace(['.', ':'], "-");
    if text.ends_with('-') { text + "0" } else { text }
}

/// The name by which an address is looked up.
fn backwards(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles =
                address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}", octet & 0xf, octet >> 4));
            format!("{}.ip6.arpa", nibbles.collect::<Vec<_>>().join("."))
        }
    }
}
