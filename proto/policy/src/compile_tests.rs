//! What the compiler costs and keeps to: an event touches what it concerns, bounds close, addresses inherit nothing.

use std::net::Ipv4Addr;

use weft_errors::Coded;
use weft_model::{
    Direction, IdentityId, LabelSelector, PolicyPeer, PolicyPort, PolicyRule, PortMatch, Protocol,
};

use super::*;
use crate::{
    Key, Part, ProfileId, Transport, Verdict,
    fixture::{labels, policy, selector},
    limits::{PROFILE_PARTS, PROFILE_PEERS},
    whole_identity,
};

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
}

fn identity(namespace: &str, text: &str) -> (IdentityId, Arc<Identity>) {
    let namespace = NamespaceName::new(namespace).unwrap();
    let (id, identity) = whole_identity(&namespace, &labels(text), &[]);
    (id, Arc::new(identity))
}

/// A compiler and short words for its calls.
struct Node(Compiler);

impl Node {
    fn new() -> Self {
        let mut node = Self(Compiler::new());
        for name in ["shop", "dev"] {
            node.0.put_namespace(name.parse().unwrap(), labels(&format!("ns={name}")));
        }
        node
    }

    fn policy(&mut self, text: &str) {
        let (name, spec) = policy(text);
        self.0.put_policy(&name, spec);
    }

    fn pod(&mut self, place: Place, name: &str, text: &str, at: u32) {
        let name: PodName = name.parse().unwrap();
        let (id, identity) = identity(name.namespace.as_str(), text);
        self.0.put_identity(id, identity);
        self.0.put_pod(place, &name, &[address(at)], id);
    }

    fn asks(&self, from: u32, to: u32) -> Verdict {
        let transport = Transport::Port(Protocol::Tcp, 80);
        self.0.tables().ask(Direction::Ingress, address(to), address(from), transport)
    }

    /// Settles, and holds the tables against those made anew.
    fn settle(&mut self) -> Changes {
        let changes = self.0.settle();
        assert_eq!(*self.0.tables(), self.0.full());
        changes
    }
}

#[test]
fn a_pod_that_comes_or_goes_is_one_element_an_address() {
    let mut node = Node::new();
    node.policy("shop/in app=db: in from pods app=web");
    node.pod(Place::Local, "shop/db", "app=db", 1);
    node.pod(Place::Anywhere, "shop/web-0", "app=web", 2);
    node.settle();
    node.pod(Place::Anywhere, "shop/web-1", "app=web", 3);
    let changes = node.settle();
    assert_eq!((changes.delete.len(), changes.add.len()), (0, 1), "{changes:?}");
    assert_eq!(node.asks(3, 1), Verdict::Allow);
    node.0.remove_pod(Place::Anywhere, &"shop/web-1".parse().unwrap());
    let changes = node.settle();
    assert_eq!((changes.delete.len(), changes.add.len()), (1, 0), "{changes:?}");
    assert_eq!(node.asks(3, 1), Verdict::Deny);
    node.pod(Place::Local, "shop/db-1", "app=db", 4);
    let changes = node.settle();
    assert_eq!((changes.delete.len(), changes.add.len()), (0, 3), "identity, and a profile each way");
}

#[test]
fn work_for_an_identity_doesnt_grow_with_policies_that_dont_concern_it() {
    let looks = |policies: u32| {
        let mut node = Node::new();
        node.policy("shop/in app=db: in from pods app=web or ns ns=dev pods role=client");
        node.pod(Place::Local, "shop/db", "app=db", 1);
        for number in 0..policies {
            node.policy(&format!(
                "shop/p{number} app=db: in from pods app=x{number}; in from ns ns=y{number}"
            ));
            node.policy(&format!("shop/q{number} app=other{number}: in from pods app=web"));
            node.policy(&format!("dev/p{number} app=db: in from pods app=web"));
        }
        node.0.settle();
        let before = node.0.looks();
        node.pod(Place::Anywhere, "shop/web", "app=web,k=v", 9);
        node.0.settle();
        let identity = node.0.looks() - before;
        node.pod(Place::Local, "dev/new", "app=none", 10);
        node.0.settle();
        (identity, node.0.looks() - before - identity)
    };
    assert_eq!(looks(0), (1, 0));
    assert_eq!(looks(500), (1, 0));
}

#[test]
fn a_policy_touches_only_profiles_of_its_namespace() {
    let mut node = Node::new();
    for number in 0..50 {
        node.pod(Place::Local, &format!("shop/p{number}"), &format!("app=a{number}"), number);
    }
    node.pod(Place::Local, "dev/p", "app=a1", 100);
    node.settle();
    let before = node.0.looks();
    node.policy("dev/in app=a1: in none");
    let changes = node.settle();
    assert_eq!((changes.delete.len(), changes.add.len()), (1, 1), "one profile of one pod: {changes:?}");
    assert_eq!(node.0.looks() - before, 2, "one local pod, one policy that isolates it");
    node.policy("dev/other app=none: in none");
    assert!(node.settle().is_empty());
}

#[test]
fn labels_that_change_move_the_pod_in_one_step() {
    let mut node = Node::new();
    node.policy("shop/a app=a: in from pods app=web");
    node.policy("shop/b app=b: in from ns ns=dev");
    node.pod(Place::Local, "shop/p", "app=a", 1);
    node.pod(Place::Anywhere, "shop/web", "app=web", 2);
    node.pod(Place::Anywhere, "dev/one", "app=x", 3);
    node.settle();
    assert_eq!((node.asks(2, 1), node.asks(3, 1)), (Verdict::Allow, Verdict::Deny));
    node.pod(Place::Local, "shop/p", "app=b", 1);
    node.0.remove_identity(identity("shop", "app=a").0);
    let changes = node.settle();
    assert_eq!((node.asks(2, 1), node.asks(3, 1)), (Verdict::Deny, Verdict::Allow));
    let profile = Key::Profile(Direction::Ingress, address(1));
    assert!(changes.delete.iter().any(|(key, _)| *key == profile));
    assert!(changes.add.iter().any(|(key, _)| *key == profile));
    assert_eq!(node.0.profiles(), 1, "what nobody has any more is gone");
}

#[test]
fn what_isnt_known_is_closed() {
    let mut node = Node::new();
    let pod: PodName = "shop/p".parse().unwrap();
    let (id, content) = identity("shop", "app=a");
    node.0.put_pod(Place::Local, &pod, &[address(1)], id);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny, "nobody has said what the identity is");
    node.0.put_identity(id, content);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Allow);
    assert_eq!(node.0.tables().get(&Key::Profile(Direction::Ingress, address(1))), Some(ProfileId::OPEN.0));
    node.0.remove_identity(id);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny);
}

#[test]
fn an_identity_lives_as_long_as_somebody_holds_it() {
    let mut node = Node::new();
    node.policy("shop/in app=db: in from pods app=web");
    node.pod(Place::Local, "shop/db", "app=db", 1);
    node.pod(Place::Anywhere, "shop/web", "app=web", 2);
    let (id, content) = identity("shop", "app=web");
    node.0.hold_identity(id, content.clone());
    node.0.hold_identity(id, content);
    node.0.remove_identity(id);
    node.0.release_identity(id);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Allow);
    node.0.release_identity(id);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny);
}

#[test]
fn nobody_inherits_what_another_may() {
    let mut node = Node::new();
    node.policy("shop/in app=db: in from pods app=web");
    node.pod(Place::Local, "shop/db", "app=db", 1);
    node.pod(Place::Anywhere, "shop/web", "app=web", 2);
    node.pod(Place::Anywhere, "shop/new", "app=new", 2);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny, "two claim the address");
    node.0.remove_pod(Place::Anywhere, &"shop/new".parse().unwrap());
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Allow);
    node.pod(Place::Local, "shop/mine", "app=mine", 2);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny, "the node knows its own pods better");
    node.0.put_resolver(Some(Resolver::at(vec![address(1)])));
    node.settle();
    assert_eq!(node.asks(9, 1), Verdict::Deny, "the resolver's address is no local pod's");
    assert_eq!(node.0.tables().get(&Key::Profile(Direction::Ingress, address(1))), None);
    node.0.put_resolver(None);
    node.settle();
    assert!(node.0.tables().get(&Key::Profile(Direction::Ingress, address(1))).is_some());
}

#[test]
fn a_node_explains_what_it_drops() {
    let mut node = Node::new();
    node.policy("shop/in app=db: in from pods app=web");
    node.policy("shop/ops app=db: in from ns ns=ops");
    node.pod(Place::Local, "shop/db", "app=db", 1);
    node.pod(Place::Anywhere, "shop/cart", "app=cart", 2);
    node.settle();
    let flow = crate::Flow::new(address(2), address(1), Transport::Port(Protocol::Tcp, 80));
    let told = node.0.explain(&flow, &[address(99)]);
    assert_eq!(told.source.unwrap().to_string(), "shop/cart");
    assert_eq!(told.decision.ingress.to_string(), "isolated by shop/in, shop/ops; no rule matches");
    let closest = "closest: networkpolicy shop/in rule 1: the peer lacks app=web";
    assert_eq!(told.closest.unwrap().to_string(), closest);
    let isolated = node.0.isolated_by(Direction::Ingress, address(1));
    assert_eq!(isolated.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/in", "shop/ops"]);
    assert_eq!(node.0.isolated_by(Direction::Egress, address(1)), []);
    let flow = crate::Flow::new(address(99), address(1), Transport::Port(Protocol::Tcp, 80));
    assert!(node.0.explain(&flow.by_process(), &[address(99)]).decision.verdict.allows());
}

#[test]
fn a_profile_with_too_many_parts_closes_its_pods_and_says_so() {
    let mut node = Node::new();
    node.pod(Place::Local, "shop/db", "app=db", 1);
    node.pod(Place::Local, "shop/web", "app=web", 2);
    let peer = |number: usize| {
        let labels = [("app".to_owned(), format!("v{number}"))].into();
        let pods = Some(LabelSelector { labels, ..LabelSelector::default() });
        PolicyPeer::Pods { namespaces: None, pods }
    };
    let rule = PolicyRule { peers: (0..=PROFILE_PARTS).map(peer).collect(), ports: Vec::new() };
    let (name, spec) = policy("shop/huge app=db: in from pods app=web");
    let mut huge = (*spec).clone();
    huge.ingress.push(rule);
    node.0.put_policy(&name, Arc::new(huge));
    node.settle();
    assert_eq!((node.asks(2, 1), node.asks(1, 2)), (Verdict::Deny, Verdict::Allow));
    let problems = node.0.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().starts_with("shop/huge: 8194 peers"), "{}", problems[0]);
    assert_eq!(problems[0].envelope().object.unwrap().to_string(), "networkpolicy/shop/huge");
    node.0.put_policy(&name, spec);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Allow);
    assert_eq!(node.0.problems(), []);
}

#[test]
fn a_profile_that_lists_too_many_is_closed_until_there_are_fewer() {
    let mut node = Node::new();
    node.policy("shop/in app=db: in from ns ns=dev");
    node.pod(Place::Local, "shop/db", "app=db", 1);
    let namespace = NamespaceName::new("dev").unwrap();
    let content = Arc::new(Identity { namespace, labels: Labels::new(), ports: Vec::new() });
    let last = PROFILE_PEERS as u64 + 1;
    (1..=last).for_each(|id| node.0.put_identity(IdentityId(id), content.clone()));
    node.0.put_pod(Place::Anywhere, &"dev/one".parse().unwrap(), &[address(2)], IdentityId(1));
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny);
    let problems = node.0.problems();
    assert!(
        matches!(&problems[..], [Error::ProfileTooLarge { part: Part::Identities, count, .. }] if *count == PROFILE_PEERS + 1),
        "{problems:?}"
    );
    node.0.remove_identity(IdentityId(last));
    node.settle();
    assert_eq!((node.asks(2, 1), node.0.problems()), (Verdict::Allow, Vec::new()));
    node.0.put_identity(IdentityId(last), content);
    node.settle();
    assert_eq!(node.asks(2, 1), Verdict::Deny, "one by one it comes to the same");
}

#[test]
fn what_overlaps_too_much_is_counted_before_it_is_built() {
    let block = |number: u32| {
        let hole = weft_model::AddressRange::host(address(number));
        PolicyPeer::Block {
            range: weft_model::AddressRange::new("0.0.0.0/0".parse().unwrap()).unwrap(),
            except: vec![hole],
        }
    };
    let blocks = |from: u32| PolicyRule { peers: (from..from + 180).map(block).collect(), ports: Vec::new() };
    let nested = |from: u16| {
        let rule = |number: u16| PolicyRule {
            peers: vec![PolicyPeer::Pods {
                namespaces: None,
                pods: Some(selector(&format!("app=v{from}-{number}"))),
            }],
            ports: vec![PolicyPort {
                protocol: Protocol::Tcp,
                port: PortMatch::Numbers(from + number, 60_000 - number),
            }],
        };
        (1..=180).map(rule).collect::<Vec<_>>()
    };
    let (name, spec) = policy("shop/p app=a0: in none");
    let with = |rules: Vec<PolicyRule>| Arc::new(PolicySpec { ingress: rules, ..(*spec).clone() });
    let size = |rules| crate::Oversized::alone(&name, &with(rules));
    assert_eq!(size(vec![blocks(0)]), None);
    assert_eq!(
        size(vec![blocks(0), blocks(1000)]).unwrap().to_string(),
        "shop/p: 130320 overlaps of blocks or port ranges, more than the 65536 that a node holds"
    );
    let mut twice = nested(1);
    twice.extend(nested(1000));
    assert_eq!(size(nested(1)), None);
    assert!(size(twice).is_some());
    // Each is small enough, together they aren't: the node goes on, and nothing passes by them.
    let mut node = Node::new();
    node.pod(Place::Anywhere, "dev/one", "app=x", 5000);
    for number in 0..9_u16 {
        node.pod(
            Place::Local,
            &format!("shop/p{number}"),
            &format!("app=a{number}"),
            6000 + u32::from(number),
        );
        let (name, _) = policy(&format!("shop/p{number} app=a{number}: in none"));
        let mut spec = (*with(vec![blocks(u32::from(number) * 200)])).clone();
        spec.ingress.extend(nested(1 + number * 400));
        spec.pods = selector(&format!("app=a{number}"));
        node.0.put_policy(&name, Arc::new(spec));
    }
    node.settle();
    assert_eq!(node.asks(5000, 6000), Verdict::Deny);
    let problems: Vec<_> = node.0.problems().iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with("IPv4 blocks of policies overlap"), "{problems:?}");
    (1..9).for_each(|number| node.0.remove_policy(&format!("shop/p{number}").parse().unwrap()));
    node.settle();
    assert_eq!((node.asks(5000, 6000), node.0.problems()), (Verdict::Allow, Vec::new()));
}
