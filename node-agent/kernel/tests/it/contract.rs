//! What every executor of links and routes must do: the fake and the real kernel pass the same suite.

use std::fmt::Debug;

use weft_kernel::{Error, FakeKernel, LinkExecutor, Op, RouteExecutor};
use weft_model::{Overlay, ownership::TABLE_FABRIC};
use weft_plan::{
    Executor, Link, LinkKey, LinkValue, LocalPod, Path, Route, RouteKey, RouteValue, Scope, Step, Subject,
    Sweep, Tracker,
};
use weft_view::View;

use crate::world::{facts, in_namespace, ip, node, pod, view};

/// A kernel, real or not, and how to meddle with it.
trait Kernel {
    fn links(&mut self) -> &mut dyn Executor<Link, Error = Error>;
    fn routes(&mut self) -> &mut dyn Executor<Route, Error = Error>;
    fn add_pod_link(&mut self, pod: &LocalPod);
    fn add_foreign_route(&mut self, key: &RouteKey);
    fn has_foreign_route(&mut self, key: &RouteKey) -> bool;
    fn tamper_link(&mut self, key: &LinkKey);
    fn tamper_route(&mut self, key: &RouteKey);
}

impl Kernel for FakeKernel {
    fn links(&mut self) -> &mut dyn Executor<Link, Error = Error> {
        self
    }
    fn routes(&mut self) -> &mut dyn Executor<Route, Error = Error> {
        self
    }
    fn add_pod_link(&mut self, pod: &LocalPod) {
        Self::add_pod_link(self, &pod.link, pod.uid);
    }
    fn add_foreign_route(&mut self, key: &RouteKey) {
        Self::add_foreign_route(self, key.clone());
    }
    fn has_foreign_route(&mut self, key: &RouteKey) -> bool {
        Self::has_foreign_route(self, key)
    }
    fn tamper_link(&mut self, key: &LinkKey) {
        Self::tamper_link(self, key);
    }
    fn tamper_route(&mut self, key: &RouteKey) {
        Self::tamper_route(self, key);
    }
}

struct Linux {
    links: LinkExecutor,
    routes: RouteExecutor,
}

impl Kernel for Linux {
    fn links(&mut self) -> &mut dyn Executor<Link, Error = Error> {
        &mut self.links
    }
    fn routes(&mut self) -> &mut dyn Executor<Route, Error = Error> {
        &mut self.routes
    }
    fn add_pod_link(&mut self, pod: &LocalPod) {
        ip(&format!("link add {} type veth peer name p{}", pod.link, &pod.link[2..]));
        ip(&format!("link set {} group {}", pod.link, weft_model::ownership::LINK_GROUP_PODS));
        let alias = format!("{}{}", weft_model::ownership::VETH_ALIAS_PREFIX, pod.uid);
        let arguments = ["link", "set", &pod.link, "alias", &alias];
        assert!(std::process::Command::new("ip").args(arguments).status().unwrap().success());
    }
    fn add_foreign_route(&mut self, key: &RouteKey) {
        let RouteKey::Route { table, destination } = key else { panic!("{key} is no route") };
        ip(&format!("route add blackhole {destination} table {table} proto static"));
    }
    fn has_foreign_route(&mut self, key: &RouteKey) -> bool {
        let RouteKey::Route { table, destination } = key else { panic!("{key} is no route") };
        ip(&format!("route show table {table}")).contains(&format!("blackhole {destination}"))
    }
    fn tamper_link(&mut self, key: &LinkKey) {
        match key {
            LinkKey::Setting(setting) => weft_kernel::write_setting(setting, "1").unwrap(),
            LinkKey::Bridge => drop(ip("link del weftbr0")),
            LinkKey::Address(address, prefix) => {
                drop(ip(&format!("addr del {address}/{prefix} dev weftbr0")))
            }
            LinkKey::Port(name) => drop(ip(&format!("link del {name}"))),
            LinkKey::Forwarding(_) | LinkKey::Renamed(_) => panic!("no test removes {key}"),
            LinkKey::Neighbour(address) => drop(ip(&format!("neigh del {address} dev weftbr0"))),
        }
    }
    fn tamper_route(&mut self, key: &RouteKey) {
        match key {
            RouteKey::Route { table, destination } => {
                drop(ip(&format!("route del {destination} table {table}")));
            }
            RouteKey::Foreign(_) => panic!("no test removes {key}"),
            RouteKey::Rule(rule) => {
                let family = if rule.family == weft_model::Family::V4 { 4 } else { 6 };
                drop(ip(&format!("-{family} rule del pref {}", rule.priority)));
            }
        }
    }
}

/// A subject's tracker with the executor it is driven by.
fn settle<S>(
    tracker: &mut Tracker<S::Key, S::Value>,
    executor: &mut dyn Executor<S, Error = Error>,
    sweep: Sweep,
) -> usize
where
    S: Subject,
    S::Value: Debug,
{
    let mut driver = Driver(executor);
    tracker.observe::<S, _>(&mut driver).unwrap();
    let (steps, failures) = tracker.converge::<S, _>(&mut driver, sweep);
    assert!(
        failures.is_empty(),
        "{}: {:?}",
        S::NAME,
        failures.iter().map(|f| f.error.to_string()).collect::<Vec<_>>()
    );
    assert!(tracker.steps::<S>(sweep).is_empty(), "nothing is pending after execute");
    tracker.observe::<S, _>(&mut driver).unwrap();
    let left: Vec<String> = tracker.steps::<S>(sweep).iter().map(ToString::to_string).collect();
    assert!(left.is_empty(), "an equal state gives no steps, but {}: {left:#?}", S::NAME);
    let again: Vec<_> = driver.0.execute(&steps).err().unwrap_or_default();
    assert!(
        again.is_empty(),
        "twice is once: {:?}",
        again.iter().map(|f| f.error.to_string()).collect::<Vec<_>>()
    );
    steps.len()
}

struct Driver<'a, S: Subject>(&'a mut dyn Executor<S, Error = Error>);

impl<S: Subject> Executor<S> for Driver<'_, S> {
    type Error = Error;
    fn observe(&mut self, wanted: &[&S::Key]) -> Result<Vec<(S::Key, S::Value)>, Error> {
        self.0.observe(wanted)
    }
    fn execute(&mut self, steps: &[S::Step]) -> Result<(), Vec<weft_plan::Failure<Error>>> {
        self.0.execute(steps)
    }
}

fn contract(kernel: &mut dyn Kernel) {
    let fabric = view(Overlay::Wireguard);
    let pods = [pod(1), pod(2)];
    pods.iter().for_each(|pod| kernel.add_pod_link(pod));
    let mut links = Tracker::new();
    let mut routes = Tracker::new();
    let want =
        |links: &mut Tracker<_, _>, routes: &mut Tracker<_, _>, view: &View, pods: &[LocalPod], probed| {
            let mut facts = facts(pods);
            facts.probed_mtus.extend(probed);
            links.want(Scope::All, Link::desired(view, &facts, Scope::All));
            routes.want(Scope::All, Route::desired(view, &facts, Scope::All));
        };
    want(&mut links, &mut routes, &fabric, &pods, None);
    assert!(settle::<Link>(&mut links, kernel.links(), Sweep::Forbidden) > 15);
    assert!(settle::<Route>(&mut routes, kernel.routes(), Sweep::Forbidden) > 30);
    assert_eq!(settle::<Link>(&mut links, kernel.links(), Sweep::Allowed), 0);
    assert_eq!(settle::<Route>(&mut routes, kernel.routes(), Sweep::Allowed), 0);

    // A narrower path changes routes in place.
    want(&mut links, &mut routes, &fabric, &pods, Some((node(2), 1328)));
    assert_eq!(
        settle::<Route>(&mut routes, kernel.routes(), Sweep::Forbidden),
        6,
        "2 blocks, 2 mesh, 2 underlay"
    );
    let changed = RouteKey::Route { table: TABLE_FABRIC, destination: "fd00:0:0:2::/64".parse().unwrap() };
    let expected = RouteValue::Route {
        path: Path::Device("weft0".to_owned()),
        source: Some("fd11::1".parse().unwrap()),
        mtu: Some(1328),
    };
    assert_eq!(routes.actual().get(&changed), Some(&expected));

    repairs(kernel, &mut links, &mut routes);
    foreign_things_stay(kernel, &mut routes);

    // A pod goes: nothing is removed before it may be, then all of it.
    want(&mut links, &mut routes, &fabric, &pods[..1], Some((node(2), 1328)));
    assert_eq!(settle::<Link>(&mut links, kernel.links(), Sweep::Forbidden), 0);
    assert_eq!(settle::<Route>(&mut routes, kernel.routes(), Sweep::Forbidden), 0);
    assert_eq!(settle::<Route>(&mut routes, kernel.routes(), Sweep::Allowed), 2);
    assert_eq!(settle::<Link>(&mut links, kernel.links(), Sweep::Allowed), 4, "2 neighbours, entry, port");
    let gone = LinkKey::Port(pods[1].link.clone());
    assert!(
        !links.actual().contains_key(&gone)
            && links.actual().contains_key(&LinkKey::Port(pods[0].link.clone()))
    );

    // A pod whose link is gone can't be repaired here: that step fails, the others are done.
    want(&mut links, &mut routes, &fabric, &pods, None);
    let mut driver = Driver::<Link>(kernel.links());
    links.observe::<Link, _>(&mut driver).unwrap();
    let (steps, failures) = links.converge::<Link, _>(&mut driver, Sweep::Forbidden);
    assert_eq!(steps.len(), 4);
    assert!(failures.iter().all(|f| matches!(f.error, Error::PortGone { .. })), "{failures:?}");
    assert_eq!(failures.len(), 2, "the port and its forwarding entry; neighbours were set");
}

/// Whatever somebody else removes comes back by the next observation.
fn repairs(
    kernel: &mut dyn Kernel,
    links: &mut Tracker<LinkKey, LinkValue>,
    routes: &mut Tracker<RouteKey, RouteValue>,
) {
    let address = |text: &str| LinkKey::Neighbour(text.parse().unwrap());
    for key in [
        address("10.1.1.1"),
        address("fd00:0:0:1::1"),
        LinkKey::Address("fd11::1".parse().unwrap(), 128),
        LinkKey::Setting(weft_plan::Setting::new("ipv4/conf/weftbr0/send_redirects")),
    ] {
        assert!(links.actual().contains_key(&key), "{key}");
        kernel.tamper_link(&key);
        assert_eq!(settle::<Link>(links, kernel.links(), Sweep::Forbidden), 1, "{key}");
        settle::<Route>(routes, kernel.routes(), Sweep::Forbidden);
    }
    let keys: Vec<_> = routes.actual().keys().cloned().collect();
    for key in keys.iter().step_by(4) {
        kernel.tamper_route(key);
        assert_eq!(settle::<Route>(routes, kernel.routes(), Sweep::Forbidden), 1, "{key}");
    }
    // All of the bridge: what hung on it, and routes through it, are back.
    let before = (links.actual().clone(), routes.actual().clone());
    kernel.tamper_link(&LinkKey::Bridge);
    assert!(settle::<Link>(links, kernel.links(), Sweep::Forbidden) > 10);
    settle::<Route>(routes, kernel.routes(), Sweep::Forbidden);
    assert!(before == (links.actual().clone(), routes.actual().clone()));
}

fn foreign_things_stay(kernel: &mut dyn Kernel, routes: &mut Tracker<RouteKey, RouteValue>) {
    let route = |table, text: &str| RouteKey::Route { table, destination: text.parse().unwrap() };
    let beside = route(254, "10.77.0.0/16");
    kernel.add_foreign_route(&beside);
    assert_eq!(settle::<Route>(routes, kernel.routes(), Sweep::Allowed), 0);
    assert!(kernel.has_foreign_route(&beside), "what isn't ours isn't swept");
    // Somebody takes the place of a route of ours: it isn't overwritten, and the others are still looked after.
    let taken = route(254, "10.112.0.0/16");
    let other = route(TABLE_FABRIC, "10.1.3.0/24");
    kernel.tamper_route(&taken);
    kernel.tamper_route(&other);
    kernel.add_foreign_route(&taken);
    let mut driver = Driver::<Route>(kernel.routes());
    routes.observe::<Route, _>(&mut driver).unwrap();
    let (steps, failures) = routes.converge::<Route, _>(&mut driver, Sweep::Allowed);
    assert_eq!((steps.len(), failures.len()), (2, 1), "{steps:?}");
    assert!(matches!(failures[0].error, Error::RouteTaken { .. }), "{}", failures[0].error);
    assert_eq!(steps[failures[0].step].key(), &taken);
    assert!(kernel.has_foreign_route(&taken));
    assert!(matches!(&steps[1], Step::Put { key, .. } if *key == other));
    assert!(routes.actual().contains_key(&other));
    // Its owner takes it away again.
    kernel.tamper_route(&taken);
    assert_eq!(settle::<Route>(routes, kernel.routes(), Sweep::Allowed), 1);

    // A table of ours is ours as a whole: what others put there goes once it may, and never keeps a place of ours.
    let stray = route(TABLE_FABRIC, "10.78.0.0/16");
    kernel.add_foreign_route(&stray);
    assert_eq!(
        settle::<Route>(routes, kernel.routes(), Sweep::Forbidden),
        0,
        "nothing is taken away while removal is held"
    );
    assert!(kernel.has_foreign_route(&stray));
    assert_eq!(settle::<Route>(routes, kernel.routes(), Sweep::Allowed), 1);
    assert!(!kernel.has_foreign_route(&stray));
    let own = route(TABLE_FABRIC, "10.1.3.0/24");
    kernel.tamper_route(&own);
    kernel.add_foreign_route(&own);
    assert!(settle::<Route>(routes, kernel.routes(), Sweep::Allowed) >= 1);
    assert!(!kernel.has_foreign_route(&own) && routes.actual().contains_key(&own));
    assert!(kernel.has_foreign_route(&beside), "what isn't ours isn't swept");
}

#[test]
fn the_fake_keeps_the_contract() {
    let mut kernel = FakeKernel::new();
    kernel.add_device("eth0");
    kernel.add_device("weft0");
    contract(&mut kernel);
}

#[test]
fn linux_keeps_the_contract() {
    in_namespace(|| {
        ip("link set lo up");
        for device in ["eth0", "weft0"] {
            ip(&format!("link add {device} type bridge"));
            ip(&format!("link set {device} up"));
        }
        ip("addr add 192.168.1.11/24 dev eth0");
        let links = LinkExecutor::open().unwrap();
        let routes = RouteExecutor::open().unwrap();
        contract(&mut Linux { links, routes });
    });
}

#[test]
fn devices_that_somebody_renamed_leave_no_duplicates() {
    use weft_model::ownership::BRIDGE;
    in_namespace(|| {
        ip("link set lo up");
        let mut links = Tracker::new();
        let facts = facts(&[]);
        links.want(Scope::All, Link::desired(&view(Overlay::Wireguard), &facts, Scope::All));
        let mut executor = LinkExecutor::open().unwrap();
        ip("link add weft0 type bridge");
        settle::<Link>(&mut links, &mut executor, Sweep::Allowed);
        for command in [
            "link set weftbr0 down",
            "link set weftbr0 name mine",
            "link set mine up",
            "link add theirs type bridge",
        ] {
            ip(command);
        }
        settle::<Link>(&mut links, &mut executor, Sweep::Forbidden);
        assert!(
            ip("-br link show type bridge").contains("mine"),
            "nothing is taken away while removal is held"
        );
        settle::<Link>(&mut links, &mut executor, Sweep::Allowed);
        let left = ip("-br link show type bridge");
        let names: Vec<_> = left.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(names.contains(&BRIDGE) && names.contains(&"theirs") && !names.contains(&"mine"), "{left}");

        ip("link del weft0");
        weft_kernel::ensure_tun("weft0", None).unwrap();
        weft_kernel::configure_mesh_device("weft0", 1400).unwrap();
        assert_eq!(weft_kernel::remove_renamed_mesh_devices().unwrap(), Vec::<String>::new());
        for command in ["link set weft0 down", "link set weft0 name mesh7", "tuntap add dev theirs1 mode tun"]
        {
            ip(command);
        }
        assert_eq!(weft_kernel::remove_renamed_mesh_devices().unwrap(), ["mesh7"]);
        assert!(ip("-br link show").contains("theirs1"));
    });
}

#[test]
fn a_failure_of_any_step_is_repaired_by_the_next_round() {
    let fabric = view(Overlay::Wireguard);
    let facts = facts(&[pod(1)]);
    let rounds =
        Route::desired(&fabric, &facts, Scope::All).iter().map(|(_, list)| list.len()).sum::<usize>();
    for failing in 0..rounds {
        let mut kernel = FakeKernel::new();
        kernel.add_device("weft0");
        Kernel::add_pod_link(&mut kernel, &pod(1));
        let mut links = Tracker::new();
        links.want(Scope::All, Link::desired(&fabric, &facts, Scope::All));
        settle::<Link>(&mut links, &mut kernel, Sweep::Forbidden);
        let mut routes = Tracker::new();
        routes.want(Scope::All, Route::desired(&fabric, &facts, Scope::All));
        kernel.fail_after(Op::Put, failing);
        let (_, failures) = routes.converge::<Route, _>(&mut kernel, Sweep::Forbidden);
        assert_eq!(failures.len(), 1);
        assert_eq!(routes.pending().len(), 1, "only the refused one is pending");
        assert_eq!(settle::<Route>(&mut routes, &mut kernel, Sweep::Forbidden), 1);
    }
}
