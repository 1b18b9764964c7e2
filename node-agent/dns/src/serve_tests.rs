//! Serving with real sockets on loopback: over UDP and TCP, questions to an upstream, and what waits in a socket that is taken away.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};
use weft_model::{
    ClusterId, DnsSettings, FabricItem, FabricRanges, Families, Item, ItemKey, Overlay, Revision,
};
use weft_names::{ForwardConfig, Limits, RecordType, question, show};
use weft_proto::v1;
use weft_view::{Touched, View};

use super::*;
use crate::sockets::bind_at;

const SOON: Duration = Duration::from_secs(5);

fn fabric() -> FabricItem {
    let range = |text: &str| vec![text.parse().unwrap()];
    FabricItem {
        cluster: ClusterId([1; 16]),
        families: Families::V4,
        ranges: FabricRanges {
            pods: range("10.128.0.0/14"),
            services: range("10.96.0.0/12"),
            nodes: range("10.200.0.0/24"),
            load_balancers: Vec::new(),
        },
        overlay: Overlay::Wireguard,
        domain: "cluster.local".to_owned(),
        dns: DnsSettings::default(),
        masquerade_exceptions: Vec::new(),
        node_port_addresses: Vec::new(),
        node_port_range: (30000, 32767),
        policy: weft_model::PolicySettings::default(),
        replicas: Vec::new(),
    }
}

/// Everything but the agent.
struct World {
    runtime: Runtime,
    tasks: Tasks,
    serving: Serving,
    names: Names,
    chance: StdRng,
    orders: mpsc::Sender<Order>,
    counts: Arc<Counts>,
    watch: Arc<Watch>,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let chance = clock::chance().unwrap();
        let (mut names, forwarder) = weft_names::open(1, Limits::default());
        let view = View::restored(Revision(7), [Item::Fabric(fabric())]);
        names.fold(&view, &Touched { keys: [ItemKey::Fabric].into(), became_in_sync: false });
        let (asks, asked) = mpsc::channel(16);
        let (orders, ordered) = mpsc::channel(1);
        let (listening, listeners) = mpsc::channel(16);
        let (tasks, counts) = (Tasks::new(), Arc::<Counts>::default());
        let watch = Arc::<Watch>::default();
        let common = Common {
            clock: Clock::new(),
            askers: Askers::default(),
            counts: Arc::clone(&counts),
            asks,
            watch: Arc::clone(&watch),
        };
        let connections = Connections::default();
        let serving = Serving::new(common.clone(), tasks.clone(), listening);
        let chance_of_asks = clock::chance().unwrap();
        let inside = runtime.enter();
        let asking = ask_outside(
            forwarder,
            common.clone(),
            asked,
            ordered,
            connections.clone(),
            chance_of_asks,
            tasks.token(),
        );
        tasks.spawn("outside", asking);
        tasks.spawn("tcp", connections.serve(common, listeners, tasks.token()));
        drop(inside);
        Self { runtime, tasks, serving, names, chance, orders, counts, watch }
    }

    /// Serves sockets of a new port; its address.
    fn serve(&mut self) -> SocketAddr {
        // TCP and UDP of one port: the kernel gives a free one of TCP, and that of UDP is nobody's in a test.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let sockets = bind_at(free).unwrap();
        self.serving.serve(sockets, &self.names, &mut self.chance).unwrap();
        free
    }

    fn end(self) {
        self.serving.end();
        let stopped = self.runtime.block_on(self.tasks.finish());
        assert!(stopped.hanging.is_empty() && stopped.failure.is_none(), "{stopped:?}");
    }
}

fn query(id: u16, name: &str) -> Vec<u8> {
    question(id, &name.parse().unwrap(), RecordType::TXT)
}

fn client(server: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

/// Number and code of an answer.
fn read(answer: &[u8]) -> (u16, String) {
    let id = u16::from_be_bytes([answer[0], answer[1]]);
    (id, show(answer).unwrap().rcode.to_string())
}

fn heard(client: &UdpSocket) -> (u16, String) {
    let mut answer = [0; 2048];
    let length = client.recv(&mut answer).unwrap();
    read(&answer[..length])
}

fn by_stream(stream: &mut TcpStream) -> (u16, String) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    read(&answer)
}

#[test]
fn questions_are_answered_over_udp_and_tcp_and_all_ends_in_order() {
    let mut world = World::new();
    let server = world.serve();
    let client = client(server);
    for (id, name, rcode) in [(1, "dns-version.cluster.local", "NOERROR"), (2, "x.cluster.local", "NXDOMAIN")]
    {
        client.send(&query(id, name)).unwrap();
        assert_eq!(heard(&client), (id, rcode.to_owned()));
    }
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let framed = |id| {
        let query = query(id, "dns-version.cluster.local");
        [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat()
    };
    // Two whole ones and the beginning of a third.
    let third = framed(5);
    stream.write_all(&[&framed(3)[..], &framed(4), &third[..7]].concat()).unwrap();
    assert_eq!([(); 2].map(|()| by_stream(&mut stream).0), [3, 4]);
    stream.write_all(&third[7..]).unwrap();
    assert_eq!(by_stream(&mut stream), (5, "NOERROR".to_owned()));
    drop(stream);
    let counts = Arc::clone(&world.counts);
    world.end();
    let event = |name: &str| counts.state().events.iter().find(|event| event.name == name).unwrap().count;
    assert_eq!((event("udp"), event("tcp")), (2, 3), "numbers outlive the threads");
}

#[test]
fn what_waits_in_a_socket_that_is_taken_away_is_answered() {
    let mut world = World::new();
    let server = world.serve();
    let client = client(server);
    for id in 0..100 {
        client.send(&query(id, "dns-version.cluster.local")).unwrap();
    }
    let other = world.serve();
    let ids: std::collections::BTreeSet<u16> = (0..100).map(|_| heard(&client).0).collect();
    assert_eq!(ids.len(), 100);
    let client = self::client(other);
    client.send(&query(7, "dns-version.cluster.local")).unwrap();
    assert_eq!(heard(&client).0, 7);
    world.end();
}

#[test]
fn foreign_names_are_asked_of_the_upstream_and_its_answer_goes_back() {
    let mut world = World::new();
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(SOON)).unwrap();
    let mut fabric = fabric();
    fabric.dns.upstreams = vec![upstream.local_addr().unwrap()];
    let (config, problems) = ForwardConfig::new(&fabric, &[]);
    assert!(problems.is_empty(), "{problems:?}");
    world.orders.blocking_send(Order::Configure(config)).unwrap();
    let server = world.serve();
    let answering = std::thread::spawn(move || {
        let mut asked = [0; 512];
        loop {
            let (length, from) = upstream.recv_from(&mut asked).unwrap();
            // The question comes back as it came, as an answer that there is no such name.
            let mut answer = asked[..length].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x83]);
            upstream.send_to(&answer, from).unwrap();
            let is_ours = asked[..length].windows(7).any(|part| part.eq_ignore_ascii_case(b"foreign"));
            if is_ours {
                return from;
            }
        }
    });
    let client = client(server);
    client.send(&query(9, "foreign.example")).unwrap();
    assert_eq!(heard(&client), (9, "NXDOMAIN".to_owned()));
    let asker = answering.join().unwrap();
    assert_ne!(asker.port(), server.port(), "from a port of its own");
    assert_eq!(asker.ip(), IpAddr::from([127, 0, 0, 1]));
    world.end();
}

#[test]
fn who_watches_hears_of_queries_over_udp_and_tcp_and_of_those_that_go_outside() {
    let mut world = World::new();
    let server = world.serve();
    let client = client(server);
    let ask = |id: u16, name: &str| {
        client.send(&query(id, name)).unwrap();
        assert_eq!(heard(&client).0, id);
    };
    ask(1, "dns-version.cluster.local");
    assert!(world.watch.told().is_none(), "nobody watches");
    world.watch.turn_on(["192.0.2.1".parse().unwrap()].into());
    ask(2, "dns-version.cluster.local");
    assert!(world.watch.told().is_none(), "somebody else is watched");
    world.watch.turn_on(["127.0.0.1".parse().unwrap()].into());
    ask(3, "Dns-Version.cluster.local");
    // Without an upstream: the thread of the outside says so.
    ask(4, "www.example.com");
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let framed = query(5, "x.cluster.local");
    stream.write_all(&[&u16::try_from(framed.len()).unwrap().to_be_bytes()[..], &framed].concat()).unwrap();
    assert_eq!(by_stream(&mut stream).0, 5);
    let told = world.watch.told().unwrap();
    let shown: Vec<_> = told
        .queries
        .iter()
        .map(|q| format!("{} {} {} {} {} {}", q.name, q.r#type, q.rcode, q.source, q.answers, q.tcp))
        .collect();
    let expected = [
        "dns-version.cluster.local. TXT NOERROR zone 1 false",
        "www.example.com. TXT SERVFAIL own 0 false",
        "x.cluster.local. TXT NXDOMAIN zone 0 true",
    ];
    assert_eq!(shown, expected);
    assert_eq!(told.dropped, 0);
    let count = |list: &[v1::NamesCount], name: &str| list.iter().find(|c| c.name == name).unwrap().count;
    drop(stream);
    let counts = Arc::clone(&world.counts);
    world.end();
    let state = counts.state();
    assert_eq!((count(&state.zones, "cluster"), count(&state.zones, "foreign")), (4, 1));
    assert_eq!((count(&state.cache, "misses"), count(&state.rcodes, "NXDOMAIN")), (1, 1));
}
