//! Service tables that somebody changed, or that an older version made, are mended under clients that go on connecting.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::Linger};
use weft_kernel::NftSocket;
use weft_model::{ClientAffinity, Overlay, Protocol};
use weft_nft::{Batch, Chain, DataType, Elements, Set, SetChange, Table};
use weft_plan::{Facts, Scope, Services, Sweep};
use weft_view::View;

use crate::{
    service::{endpoint, many, service, with_services},
    world::{facts, in_namespace, ip},
};

/// A refusal fails at once; a packet that is lost on a busy machine is sent again after one second and after three.
const PATIENCE: Duration = Duration::from_secs(4);
/// A client that connects as fast as it can comes back with the same port before that is forgotten behind another service.
const PACE: Duration = Duration::from_micros(500);
/// Enough that making the tables anew takes many times as long as a connection.
const SERVICES: u32 = 1500;

/// What clients met.
#[derive(Default)]
struct Met {
    ends: AtomicBool,
    connected: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Met {
    fn fail(&self, what: &str, error: &dyn std::fmt::Display) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what}: {error}"));
    }

    /// Connects until the end, each time anew.
    fn connect(&self, to: SocketAddr) {
        while !self.ends.load(Ordering::Relaxed) {
            match TcpStream::connect_timeout(&to, PATIENCE) {
                Ok(stream) => {
                    // Cut off, so that no end waits and refuses the same port behind another service for a minute (TIME-WAIT).
                    let cut = libc::linger { l_onoff: 1, l_linger: 0 };
                    setsockopt(&stream, Linger, &cut).unwrap();
                    self.connected.fetch_add(1, Ordering::Relaxed);
                    thread::park_timeout(PACE);
                }
                Err(error) => self.fail(&to.to_string(), &error),
            }
        }
    }

    /// Asks by datagrams, each from a port of its own.
    fn ask(&self, to: SocketAddr) {
        while !self.ends.load(Ordering::Relaxed) {
            let asked = UdpSocket::bind("10.111.0.1:0").and_then(|socket| {
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.connect(to)?;
                socket.send(b"?")?;
                socket.recv(&mut [0; 8])
            });
            match asked {
                Ok(_) => drop(self.connected.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.fail(&to.to_string(), &error),
            }
        }
    }

    /// Waits until so many more have been served.
    fn wait(&self, more: usize) {
        let (from, begin) = (self.connected.load(Ordering::Relaxed), Instant::now());
        while self.connected.load(Ordering::Relaxed) < from + more {
            assert!(begin.elapsed() < Duration::from_secs(20), "clients get on");
            thread::yield_now();
        }
    }

    fn check(&self, after: &str) {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(failed.is_empty(), "after {after} {} failed, first {:?}", failed.len(), failed);
    }
}

/// A node with two backends and many services, all on its loopback device.
fn view_of_this() -> View {
    let sockets = [(Protocol::Tcp, 80), (Protocol::Udp, 53)];
    let backends =
        || vec![endpoint("10.1.1.1", 1, &[8080, 5300]), endpoint("fd00:0:0:1::1", 1, &[8080, 5300])];
    let plain = service("shop/plain", &["10.112.0.1", "fd12::1"], &sockets, backends());
    let mut affine = service("shop/affine", &["10.112.0.2", "fd12::2"], &sockets, backends());
    affine.affinity = Some(ClientAffinity { timeout_seconds: 600 });
    with_services(Overlay::Wireguard, [plain, affine].into_iter().chain(many(SERVICES)))
}

fn prepare() {
    ip("link set lo up");
    for address in ["10.1.1.1/32", "10.111.0.1/32"] {
        ip(&format!("addr add {address} dev lo"));
    }
    for address in ["fd00:0:0:1::1/128", "fd11::1/128"] {
        ip(&format!("addr add {address} dev lo nodad"));
    }
    ip("route add 10.112.0.0/16 dev lo src 10.111.0.1");
    ip("route add fd12::/112 dev lo src fd11::1");
}

/// Servers of the backends; they end with the process of the test.
fn serve() {
    for address in ["10.1.1.1", "fd00:0:0:1::1"] {
        let address: std::net::IpAddr = address.parse().unwrap();
        let tcp = TcpListener::bind((address, 8080)).unwrap();
        thread::spawn(move || {
            // Each stays open until its client cuts it off.
            let wait =
                |stream: std::io::Result<TcpStream>| stream.and_then(|mut open| open.read(&mut [0; 8]));
            tcp.incoming().for_each(|stream| drop(wait(stream)));
        });
        let udp = UdpSocket::bind((address, 5300)).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 8];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                // A client that went away is its own affair.
                let _ = udp.send_to(&buffer[..len], from);
            }
        });
    }
}

/// A script for the `nft` program, all or nothing.
fn nft(script: &str) {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

fn listed(what: &str) -> String {
    let output = Command::new("nft").args(["-a", "list"]).args(what.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The number that the kernel gave a set when it was made.
fn handle(set: &str) -> String {
    let text = listed(&format!("map {set}"));
    let line = text.lines().find(|line| line.contains("# handle")).unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Looks, and mends what differs.
fn mend(socket: &mut NftSocket, services: &mut Services) -> usize {
    services.observed(&socket.observe(&services.tables()).unwrap());
    let mut count = 0;
    while let Some(transaction) = services.next(Sweep::Allowed) {
        socket.commit(&transaction.batch).unwrap_or_else(|error| panic!("{error}"));
        services.committed(transaction);
        count += 1;
    }
    count
}

fn services_of(view: &View, facts: &Facts) -> Services {
    let mut services = Services::new();
    services.want(view, facts, Scope::All);
    services
}

/// Changes by others that harm no packet by themselves, each with what it is.
const TAMPERED: &[(&str, &str)] = &[
    ("rules that went", "flush chain ip weft unserved\nflush chain ip6 weft unserved_outside"),
    (
        "a strange base chain",
        "add chain ip weft stranger { type filter hook input priority 5; }\nadd rule ip weft stranger counter",
    ),
    (
        "strange chains, sets and rules that lead to each other",
        "add set ip weft odd { type ipv4_addr; }\nadd element ip weft odd { 10.9.9.9 }\nadd chain ip weft aside\n\
         add rule ip weft aside ip saddr @odd drop\nadd rule ip weft from_pods jump aside\n\
         insert rule ip weft sent_here ip saddr { 10.9.9.8, 10.9.9.7 } drop\n\
         add rule ip weft served ip saddr 10.9.9.6 jump { drop; }",
    ),
    (
        "a strange way out of our map",
        "add chain ip weft aside\nadd element ip weft classes { 0xfe : goto aside }",
    ),
    (
        "a base chain that stands elsewhere",
        "flush chain ip weft unserved_in\ndelete chain ip weft unserved_in\n\
         add chain ip weft unserved_in { type filter hook input priority 7; }",
    ),
    ("a chain that went", "flush chain ip6 weft unserved_here\ndelete chain ip6 weft unserved_here"),
];

/// Runs while clients connect by both families and both protocols, and ends them.
fn with_clients(test: impl FnOnce(&Met)) {
    let met = Met::default();
    thread::scope(|scope| {
        for to in ["10.112.0.1:80", "[fd12::1]:80", "10.112.0.2:80"] {
            let met = &met;
            scope.spawn(move || met.connect(to.parse().unwrap()));
        }
        scope.spawn(|| met.ask("10.112.0.1:53".parse().unwrap()));
        let result = catch_unwind(AssertUnwindSafe(|| {
            met.wait(100);
            met.check("nothing");
            test(&met);
        }));
        met.ends.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

#[test]
fn changed_rules_are_mended_and_no_client_meets_it() {
    in_namespace(|| {
        prepare();
        serve();
        let (view, facts) = (view_of_this(), facts(&[]));
        let mut socket = NftSocket::open().unwrap();
        let mut services = services_of(&view, &facts);
        assert!(mend(&mut socket, &mut services) > 0);
        with_clients(|met| {
            let kept = ["ip weft backends", "ip weft services", "ip6 weft backends", "ip weft affinity"];
            let before = kept.map(handle);
            for (what, script) in TAMPERED {
                nft(script);
                assert_eq!(mend(&mut socket, &mut services), 1, "{what} is found, and mended at once");
                assert!(services.is_settled());
                assert_eq!(mend(&mut socket, &mut services), 0, "after {what} all is as wanted");
                met.wait(100);
                met.check(what);
            }
            assert_eq!(kept.map(handle), before, "sets stay the same, with their elements");
            let remembered = listed("map ip weft affinity");
            assert!(remembered.contains("10.111.0.1 . "), "{remembered}");
        });
    });
}

/// Tables as another version has them: changed, with the elements that they have now.
fn load_other(socket: &mut NftSocket, mut services: Services, change: impl Fn(&mut Table)) {
    // Then it knows the chains of time-outs.
    services.observed(&socket.observe(&services.tables()).unwrap());
    let tables = services.tables();
    let elements = socket.observe(&tables).unwrap().elements(&tables);
    let mut others = tables;
    others.iter_mut().for_each(change);
    for table in &others {
        let mut batch = Batch::new();
        batch.replace_table(table);
        socket.commit(&batch).unwrap();
    }
    for change in elements.changes_from(&Elements::default()) {
        for part in change.add.chunks(1000) {
            let part = SetChange { set: change.set.clone(), remove: Vec::new(), add: part.to_vec() };
            let mut batch = Batch::new();
            batch.change_elements(&others, &[part]);
            if !batch.is_empty() {
                socket.commit(&batch).unwrap();
            }
        }
    }
}

/// Without a set, and without the rules that ask it.
fn without(table: &mut Table, name: &str) {
    let asks = |rule: &weft_nft::Rule| format!("{rule:?}").contains(&format!("{name:?}"));
    table.sets.retain(|set| set.name != name);
    table.chains.iter_mut().for_each(|chain| chain.rules.retain(|rule| !asks(rule)));
}

/// A change to a table, with its words.
type Change = (&'static str, fn(&mut Table));

#[test]
fn tables_of_another_version_become_ours_and_no_client_meets_it() {
    let changes: [Change; 4] = [
        ("new sets and rules", |table| ["pingable", "balanced"].iter().for_each(|set| without(table, set))),
        ("a set that went", |table| table.sets.push(Set::exact("old", &[DataType::Mark], 0))),
        ("another declaration", |table| {
            table.sets.iter_mut().filter(|set| set.name == "services").for_each(|set| set.size = 50_000);
        }),
        ("all of these", |table| {
            without(table, "pingable");
            table.sets.push(Set::exact("old", &[DataType::Mark], 0));
            table.sets.iter_mut().filter(|set| set.name == "node_ports").for_each(|set| set.size = 50_000);
            table.chains.push(Chain { name: "old".to_owned(), base: None, rules: Vec::new() });
        }),
    ];
    in_namespace(|| {
        prepare();
        serve();
        let (view, facts) = (view_of_this(), facts(&[]));
        let mut socket = NftSocket::open().unwrap();
        mend(&mut socket, &mut services_of(&view, &facts));
        for (what, change) in changes {
            load_other(&mut socket, services_of(&view, &facts), change);
            with_clients(|met| {
                let mut services = services_of(&view, &facts);
                assert!(mend(&mut socket, &mut services) > 0, "{what}: found");
                assert!(services.is_settled());
                assert_eq!(
                    mend(&mut socket, &mut services_of(&view, &facts)),
                    0,
                    "after {what} all is as wanted"
                );
                met.wait(100);
                met.check(what);
            });
        }
    });
}

#[test]
fn what_cant_be_mended_is_made_anew() {
    in_namespace(|| {
        let (view, facts) = (view_of_this(), facts(&[]));
        let mut socket = NftSocket::open().unwrap();
        let mut services = services_of(&view, &facts);
        mend(&mut socket, &mut services);
        assert!(!services.refused(), "another way is left only for a mending");
        nft("flush chain ip weft unserved");
        let mut look = |services: &mut Services| {
            services.observed(&socket.observe(&services.tables()).unwrap());
            services.next(Sweep::Allowed).unwrap().batch.to_string()
        };
        let first = look(&mut services);
        assert!(first.contains("flush table ip weft") && !first.contains("ip6"), "{first}");
        assert!(services.refused(), "as if the kernel had");
        let second = look(&mut services);
        assert!(second.contains("delete table ip weft") && !second.contains("ip6"), "{second}");
        mend(&mut socket, &mut services);
        assert!(services.is_settled());
        nft("add element ip weft classes { * : goto silent }");
        mend(&mut socket, &mut services);
        let classes = listed("map ip weft classes");
        assert!(!classes.contains('*'), "an element for all keys that have none: {classes}");
        assert!(services.is_settled());
    });
}
