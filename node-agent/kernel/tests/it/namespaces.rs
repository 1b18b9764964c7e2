//! Namespaces, the host's facts, features, monitor, probes.

use std::{collections::BTreeSet, path::Path, time::Duration};

use weft_errors::{Coded, NAMESPACE_FAILED};
use weft_kernel::{
    Echo, Error, Look, Monitor, Namespace, Pinger, create_namespace, detect_features, read_host,
    remove_namespace,
};
use weft_plan::{Feature, UnderlayChoice, choose_underlay};

use crate::world::{in_namespace, ip};

#[test]
fn a_named_namespace_lasts_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let made = create_namespace(directory.path(), "one").unwrap();
    let again = Namespace::open_foreign(directory.path().join("one")).unwrap();
    assert_eq!(made.identity(), again.identity());
    let links = made.run(|| ip("-o link")).unwrap();
    assert_eq!(links.lines().count(), 1, "only lo: {links}");
    assert!(create_namespace(directory.path(), "one").is_err(), "a name is made once");
    remove_namespace(directory.path(), "one").unwrap();
    remove_namespace(directory.path(), "one").unwrap();
    assert!(!directory.path().join("one").exists());
    assert!(made.run(|| ()).is_ok(), "a handle keeps it alive");
}

#[test]
fn what_is_no_pods_namespace_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let uts = Path::new("/proc/self/ns/uts");
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        (Path::new("/nowhere/net"), "can't be opened"),
        (file.path(), "isn't a network namespace"),
        (uts, "isn't a network namespace"),
        (&pipe, "isn't a network namespace"),
        (Path::new("/proc/self/ns/net"), "is the node's own"),
    ] {
        let error = Namespace::open_foreign(path).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(matches!(error, Error::Namespace { .. }));
        assert_eq!(error.code(), &NAMESPACE_FAILED);
    }
}

#[test]
fn the_host_is_read_and_its_underlay_chosen() {
    in_namespace(|| {
        ip("link set lo up");
        ip("link add eth0 address 02:00:00:00:00:07 mtu 1400 type bridge");
        ip("link set eth0 up");
        ip("addr add 192.168.1.11/24 dev eth0");
        ip("-6 addr add fd99::11/64 dev eth0 nodad");
        ip("link add weftbr0 type bridge");
        ip("link set weftbr0 up");
        ip("addr add 10.9.0.1/24 dev weftbr0");
        ip("route add default via 192.168.1.1");
        let host = read_host().unwrap();
        assert!(host.link("weftbr0").is_none() && host.link("lo").unwrap().loopback);
        assert!(!host.addresses.iter().any(|a| a.address.to_string() == "10.9.0.1"));
        let reserved: Vec<String> = host.reserved().iter().map(ToString::to_string).collect();
        assert_eq!(reserved, ["192.168.1.0/24", "fd99::/64"]);
        let underlay = choose_underlay(&host, &UnderlayChoice::default()).unwrap();
        assert_eq!((underlay.interface.as_str(), underlay.mtu), ("eth0", 1400));
        assert_eq!(underlay.mac, Some([2, 0, 0, 0, 0, 7]));
        let addresses: Vec<String> = underlay.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.168.1.11", "fd99::11"]);
        assert_eq!(host.link("eth0").unwrap().accept_ra, Some(1));
    });
}

#[test]
fn features_are_found_by_trying() {
    let features = detect_features();
    // What this suite itself relies on must be found; the rest depends on the machine and is only printed.
    for (name, feature) in
        [("bridge", &features.bridge), ("veth", &features.veth), ("rules", &features.rules_v4)]
    {
        assert_eq!(*feature, Feature::Present, "{name}");
    }
    println!("{features:?}");
    assert_ne!(features.wireguard, Feature::Untried);
}

#[test]
fn the_monitor_tells_what_to_look_at() {
    in_namespace(|| {
        ip("link set lo up");
        ip("link add weftbr0 type bridge");
        ip("link set weftbr0 up");
        let mut monitor = Monitor::open().unwrap();
        let mut looks = |action: &str| {
            ip(action);
            let mut all = BTreeSet::new();
            while let Some(more) =
                Some(monitor.wait(Duration::from_millis(50)).unwrap()).filter(|l| !l.is_empty())
            {
                all.extend(more);
            }
            all
        };
        assert_eq!(looks("rule add pref 100 lookup 8701 protocol 87"), BTreeSet::new(), "additions of ours");
        assert_eq!(looks("rule del pref 100"), [Look::Routes].into());
        assert_eq!(looks("rule add pref 5 lookup 7"), BTreeSet::new(), "rules of others");
        looks("route add unreachable 10.1.0.0/16 proto 87");
        assert_eq!(looks("route del unreachable 10.1.0.0/16"), [Look::Routes].into());
        assert_eq!(looks("link add weft0 type bridge"), [Look::Links, Look::Mesh].into(), "its settings too");
        assert_eq!(looks("link add eth9 type bridge"), [Look::Host].into());
        let setting = |path: &str, value: &str| {
            weft_kernel::write_setting(&weft_plan::Setting::new(path), value).unwrap();
        };
        setting("ipv4/conf/eth9/rp_filter", "1");
        assert_eq!(looks("route list"), BTreeSet::new(), "settings of others");
        setting("ipv4/conf/weftbr0/rp_filter", "1");
        assert_eq!(looks("route list"), [Look::Links].into());
        setting("ipv4/ip_forward", "0");
        setting("ipv4/ip_forward", "1");
        assert_eq!(looks("route list"), [Look::Links].into());
        assert!(looks("link del weftbr0").contains(&Look::Links));
    });
}

#[test]
fn echo_requests_come_back_or_say_why_not() {
    in_namespace(|| {
        ip("link set lo up");
        ip("link add eth0 mtu 1400 type bridge");
        ip("link set eth0 up");
        ip("addr add 192.168.1.1/24 dev eth0");
        let limit = Duration::from_millis(300);
        let echo = |to: &str, from: Option<&str>, size| {
            let mut pinger = Pinger::open(to.parse().unwrap(), from.map(|a| a.parse().unwrap())).unwrap();
            pinger.echo(size, limit).unwrap()
        };
        for (to, from) in [("127.0.0.1", None), ("::1", None), ("127.0.0.1", Some("127.0.0.2"))] {
            assert!(matches!(echo(to, from, 1200), Echo::Replied { .. }), "{to} from {from:?}");
        }
        assert!(matches!(echo("192.168.1.9", None, 1401), Echo::TooLarge { mtu: Some(1400) }));
        assert!(!matches!(echo("192.168.1.9", None, 1400), Echo::TooLarge { .. }), "it fits");
        assert_eq!(echo("10.0.0.1", None, 100), Echo::Unreachable);
        assert!(Pinger::open("127.0.0.1".parse().unwrap(), Some("10.3.3.3".parse().unwrap())).is_err());
    });
}
