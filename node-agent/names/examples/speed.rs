//! How fast, how large: the table of 100,000 services, its start, a change, and answers on one thread.
//!
//! `cargo run --release -p weft-names --example speed`. Prints numbers; asserts nothing, since machines differ.

use std::{hint::black_box, io::Write, net::Ipv4Addr, time::Instant};

use weft_model::{
    ClusterId, DnsSettings, FabricItem, FabricRanges, Families, Item, ObjectUid, Overlay, Protocol, Revision,
    ServiceItem, ServicePortItem, ServiceType, TrafficPolicy,
};
use weft_names::{Asker, Limits, Moment, Names, Reader, RecordType, Response, Transport, open, question};
use weft_view::{Touched, Update, View};

const SERVICES: u32 = 100_000;
const ROUNDS: u32 = 2_000_000;

fn fabric() -> FabricItem {
    let range = |texts: [&str; 2]| texts.iter().map(|text| text.parse().expect("a range")).collect();
    FabricItem {
        cluster: ClusterId([1; 16]),
        families: Families::Dual,
        ranges: FabricRanges {
            pods: range(["10.128.0.0/10", "fd00::/48"]),
            services: range(["10.64.0.0/12", "fd12::/108"]),
            nodes: range(["10.111.0.0/24", "fd11::/64"]),
            load_balancers: Vec::new(),
        },
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30_000, 32_767),
        policy: weft_model::PolicySettings::default(),
        replicas: Vec::new(),
    }
}

fn service(index: u32, port: u16) -> ServiceItem {
    let v4 = Ipv4Addr::from(0x0a40_0100 + index);
    let v6 = format!("fd12::{:x}:{:x}", index >> 16, (index & 0xffff) + 0x100);
    let item = |name: &str, port| ServicePortItem {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
        node_port: 0,
    };
    let name = format!("team-{}/service-{index}", index % 500);
    ServiceItem {
        name: name.parse().expect("a name"),
        uid: ObjectUid([1; 16]),
        kind: ServiceType::ClusterIp,
        addresses: vec![v4.into(), v6.parse().unwrap_or_else(|_| v4.into())],
        external_ips: Vec::new(),
        load_balancer: Vec::new(),
        external_name: String::new(),
        ports: vec![item("http", port), item("metrics", 9090)],
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        health_check_node_port: 0,
        source_ranges: Vec::new(),
        endpoints: Vec::new(),
    }
}

/// Milliseconds and octets of a start; the names.
fn start(view: &View) -> (Names, f64) {
    let (mut names, _) = open(7, Limits { queries_per_second: 0, ..Limits::default() });
    let begun = Instant::now();
    names.fold(view, &Touched::default());
    let millis = begun.elapsed().as_secs_f64() * 1000.0;
    (names, millis)
}

/// Microseconds of a change: the middle one and the worst of a hundred.
fn change(names: &mut Names, view: &mut View) -> [f64; 3] {
    let mut times: Vec<f64> = (0..10_000_u32)
        .map(|round| {
            let index = round.wrapping_mul(7919) % SERVICES;
            let upserts = vec![Item::Service(service(index, 80 + u16::try_from(round % 5000).unwrap_or(1)))];
            let revision = view.revision().next();
            let touched =
                view.fold(Update::Delta { revision, upserts, deletes: Vec::new() }).expect("in order");
            let begun = Instant::now();
            names.fold(view, &touched);
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [50, 99, 100].map(|part| times[(times.len() - 1) * part / 100])
}

/// Nanoseconds of an answer.
fn answers(reader: &mut Reader, queries: &[Vec<u8>]) -> f64 {
    let asker = Asker::plain([10, 128, 0, 2].into());
    let mut out = vec![0; 1232];
    let mut length_sum = 0;
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let query = &queries[round as usize % queries.len()];
        match reader.respond(&asker, Transport::Udp, Moment(u64::from(round) / 1000), query, &mut out) {
            Response::Answer { length, .. } => length_sum += length,
            Response::Ask(_) | Response::Drop(_) => {}
        }
    }
    black_box(length_sum);
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let items = (0..SERVICES).map(|index| Item::Service(service(index, 80))).chain([Item::Fabric(fabric())]);
    let mut view = View::restored(Revision(1), items);
    let (mut names, millis) = start(&view);
    writeln!(
        out,
        "{SERVICES} services: start {millis:.0} ms, {:.1} MiB",
        names.octets() as f64 / 1_048_576.0
    )?;
    let [middle, most, worst] = change(&mut names, &mut view);
    writeln!(out, "one change: p50 {middle:.1} us, p99 {most:.1} us, worst {worst:.1} us")?;
    let mut reader = names.reader(1);
    let ask = |count: u32, name: &dyn Fn(u32) -> String, kind| -> Vec<Vec<u8>> {
        let step = SERVICES / count;
        let query = |index: u32| question(1, &name(index * step).parse().expect("a name"), kind);
        (0..count).map(query).collect()
    };
    let own = |index: u32| format!("service-{index}.team-{}.svc.cluster.local", index % 500);
    let port = |index: u32| format!("_http._tcp.{}", own(index));
    let none = |index: u32| format!("x{}", own(index));
    let reverse = |index: u32| {
        let [a, b, c, d] = Ipv4Addr::from(0x0a40_0100 + index).octets();
        format!("{d}.{c}.{b}.{a}.in-addr.arpa")
    };
    for (what, count, name, kind) in [
        ("A, one name", 1, &own as &dyn Fn(u32) -> String, RecordType::A),
        ("A, 10,000 names", 10_000, &own, RecordType::A),
        ("A, 100,000 names", 100_000, &own, RecordType::A),
        ("AAAA, 10,000 names", 10_000, &own, RecordType::AAAA),
        ("SRV, 10,000 names", 10_000, &port, RecordType::SRV),
        ("PTR, 10,000 names", 10_000, &reverse, RecordType::PTR),
        ("NXDOMAIN, 10,000 names", 10_000, &none, RecordType::A),
    ] {
        let queries = ask(count, name, kind);
        let nanos = answers(&mut reader, &queries);
        writeln!(out, "{what}: {nanos:.0} ns, {:.2} million a second", 1000.0 / nanos)?;
    }
    Ok(())
}
