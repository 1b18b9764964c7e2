//! Which words make a difference, and where.

use super::*;
use crate::fixture::{labels, policy};

fn named(name: &str, protocol: Protocol, port: u16) -> NamedPort {
    NamedPort { name: name.to_owned(), protocol, port }
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn only_words_that_count_make_a_difference() {
    let shop = NamespaceName::new("shop").unwrap();
    let of = |text: &str| identity_of(&shop, &labels(text), &[], &set(&["app"]), &set(&[])).0;
    assert_eq!(of("app=web,hash=1"), of("app=web,hash=2"));
    assert_ne!(of("app=web"), of("app=db"));
    assert_ne!(of("app=web"), of("hash=1"));
    let ports = [named("web", Protocol::Tcp, 80), named("dns", Protocol::Udp, 53)];
    let (_, identity) = identity_of(&shop, &labels("app=web"), &ports, &set(&[]), &set(&["dns"]));
    assert_eq!(identity.ports, [named("dns", Protocol::Udp, 53)]);
    assert!(identity.labels.is_empty());
}

#[test]
fn numbers_part_what_differs_anywhere() {
    let mut seen = BTreeSet::new();
    for namespace in ["a", "b"] {
        for text in ["*", "k=v", "k=w", "kv=", "l=v"] {
            for ports in [
                vec![],
                vec![named("p", Protocol::Tcp, 1)],
                vec![named("p", Protocol::Udp, 1)],
                vec![named("p", Protocol::Tcp, 2)],
                vec![named("q", Protocol::Tcp, 1)],
            ] {
                let namespace = NamespaceName::new(namespace).unwrap();
                assert!(seen.insert(whole_identity(&namespace, &labels(text), &ports).0), "{text} {ports:?}");
            }
        }
    }
}

#[test]
fn order_and_repetition_of_ports_make_no_difference() {
    let shop = NamespaceName::new("shop").unwrap();
    let (a, b) = (named("a", Protocol::Tcp, 1), named("b", Protocol::Tcp, 2));
    let one = whole_identity(&shop, &Labels::new(), &[a.clone(), b.clone()]).0;
    assert_eq!(one, whole_identity(&shop, &Labels::new(), &[b, a.clone(), a]).0);
}

#[test]
fn a_policy_touches_where_its_words_are_new() {
    let mut relevance = Relevance::default();
    let mut put = |old: Option<&str>, new: Option<&str>| {
        let (old, new) = (old.map(policy), new.map(policy));
        let name = new.as_ref().or(old.as_ref()).unwrap().0.clone();
        relevance.replace(&name, old.as_ref().map(|(_, s)| &**s), new.as_ref().map(|(_, s)| &**s))
    };
    let shop = || Touched::Namespace(NamespaceName::new("shop").unwrap());
    let own = "shop/a app=db: in from pods app=web";
    assert_eq!(put(None, Some(own)), shop());
    assert_eq!(put(None, Some("shop/b app=web: in none")), Touched::Nothing, "the word is known");
    let far = "shop/c app=web: in from ns * pods tier=a";
    assert_eq!(put(None, Some(far)), Touched::Everything);
    assert_eq!(put(Some(far), Some("shop/c app=web: in from ns * pods tier=b")), Touched::Nothing);
    assert_eq!(put(Some("shop/c app=web: in from ns * pods tier=b"), None), Touched::Everything);
    assert_eq!(put(None, Some("shop/d app: in ports tcp/http")), shop(), "looked up on the selected pods");
    assert_eq!(put(None, Some("shop/e app: eg ports tcp/http")), Touched::Everything, "on any pod");
    assert_eq!(put(None, Some("shop/f app: eg to pods app=db ports tcp/sql")), shop());
    assert_eq!(put(None, Some("shop/g app: idle-eg to pods unheard ports tcp/unheard")), Touched::Nothing);
    assert_eq!(put(Some(own), None), Touched::Nothing, "others use the word");
    let db = labels("app=db,tier=x,other=y");
    let (shop, dev) = (NamespaceName::new("shop").unwrap(), NamespaceName::new("dev").unwrap());
    assert_eq!(relevance.identity_of(&shop, &db, &[]).1.labels, labels("app=db"));
    assert_eq!(relevance.identity_of(&dev, &db, &[]).1.labels, labels("*"));
}
