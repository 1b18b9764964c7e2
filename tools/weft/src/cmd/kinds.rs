//! Words for kinds, short and plural forms included.

use weft_errors::{Error, UNKNOWN_KIND, USAGE};
use weft_model::Kind;

use super::did_you_mean;
use crate::fail::{Failure, Outcome};

/// What `get` can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// An object of the store.
    Object(Kind),
    /// Services with their endpoints, as nodes hold them.
    Endpoints,
    /// Derived peers.
    Peers,
    /// Derived routes.
    Routes,
    /// What happened.
    Events,
}

/// The words of each kind; the plural first, then the singular.
const WORDS: &[(&[&str], Shown)] = &[
    (&["nodes", "node", "no"], Shown::Object(Kind::Node)),
    (&["pods", "pod", "po"], Shown::Object(Kind::Pod)),
    (&["blocks", "block", "leases", "lease"], Shown::Object(Kind::Lease)),
    (&["members", "member", "replicas", "replica"], Shown::Object(Kind::Member)),
    (&["fabrics", "fabric", "fab"], Shown::Object(Kind::Fabric)),
    (&["services", "service", "svc"], Shown::Object(Kind::Service)),
    (&["endpoints", "endpoint", "ep"], Shown::Endpoints),
    (&["endpointslices", "endpointslice", "eps"], Shown::Object(Kind::Slice)),
    (&["namespaces", "namespace", "ns"], Shown::Object(Kind::Namespace)),
    (&["loadbalancerpools", "loadbalancerpool", "lbpools", "lbpool"], Shown::Object(Kind::Pool)),
    (&["networkpolicies", "networkpolicy", "netpols", "netpol"], Shown::Object(Kind::NetworkPolicy)),
    (&["podspecs", "podspec"], Shown::Object(Kind::PodSpec)),
    (&["owners", "owner"], Shown::Object(Kind::Owner)),
    (&["peers", "peer"], Shown::Peers),
    (&["routes", "route"], Shown::Routes),
    (&["events", "event", "ev"], Shown::Events),
];

impl Shown {
    /// The kind in the store; peers and routes have none.
    pub(crate) fn object_kind(self, word: &str) -> Outcome<Kind> {
        match self {
            Self::Object(kind) => Ok(kind),
            Self::Endpoints | Self::Peers | Self::Routes | Self::Events => {
                let from = match self {
                    Self::Endpoints => "derived from services and pods",
                    Self::Events => "remembered by replicas, not stored",
                    Self::Object(_) | Self::Peers | Self::Routes => "derived from nodes and blocks",
                };
                let error = Error::new(&USAGE, format!("{word} are {from}"));
                Err(error.try_this("they can be listed", format!("weft get {}", self.plural())).into())
            }
        }
    }

    /// Whether its objects are in namespaces.
    pub(crate) const fn has_namespace(self) -> bool {
        match self {
            Self::Object(kind) => has_namespace(kind),
            Self::Endpoints | Self::Events => true,
            Self::Peers | Self::Routes => false,
        }
    }

    /// `node`.
    pub(crate) fn singular(self) -> &'static str {
        let words = WORDS.iter().find(|(_, shown)| *shown == self);
        words.and_then(|(words, _)| words.get(1).copied()).unwrap_or_default()
    }

    /// `nodes`.
    pub(crate) fn plural(self) -> &'static str {
        let words = WORDS.iter().find(|(_, shown)| *shown == self);
        words.and_then(|(words, _)| words.first().copied()).unwrap_or_default()
    }
}

/// Whether objects of a kind are in namespaces.
pub(crate) const fn has_namespace(kind: Kind) -> bool {
    match kind {
        Kind::Pod | Kind::Service | Kind::Slice | Kind::PodSpec | Kind::NetworkPolicy => true,
        Kind::Fabric
        | Kind::Node
        | Kind::Lease
        | Kind::Member
        | Kind::Namespace
        | Kind::Pool
        | Kind::Owner => false,
    }
}

/// Namespace and name of what was typed: `NAMESPACE/NAME`, or a bare name in the chosen namespace. Kinds without a
/// namespace take the word as it is.
pub(crate) fn split_name<'a>(kind: Kind, word: &'a str, chosen: &'a str) -> (&'a str, &'a str) {
    match word.split_once('/') {
        _ if !has_namespace(kind) => ("", word),
        Some((namespace, name)) => (namespace, name),
        None => (chosen, word),
    }
}

/// The kind of a word, with a suggestion for an unknown one.
pub(crate) fn kind_of(word: &str) -> Outcome<Shown> {
    let lower = word.to_lowercase();
    if let Some((_, shown)) = WORDS.iter().find(|(words, _)| words.contains(&lower.as_str())) {
        return Ok(*shown);
    }
    let kinds: Vec<&str> = WORDS.iter().filter_map(|(words, _)| words.first().copied()).collect();
    let error = Error::new(&UNKNOWN_KIND, format!("{word:?} is no kind"))
        .try_this(format!("the kinds are {}", kinds.join(", ")), "weft get KIND");
    let known = WORDS.iter().flat_map(|(words, _)| words.iter().copied()).filter(|word| word.len() > 3);
    Err(Failure::from(did_you_mean(error, &lower, known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_short_and_plural_words_and_unknown_ones_a_hint() {
        for (word, kind) in [
            ("no", Kind::Node),
            ("Pods", Kind::Pod),
            ("po", Kind::Pod),
            ("fab", Kind::Fabric),
            ("svc", Kind::Service),
            ("eps", Kind::Slice),
            ("ns", Kind::Namespace),
            ("lbpool", Kind::Pool),
            ("netpol", Kind::NetworkPolicy),
        ] {
            assert!(kind_of(word).is_ok_and(|shown| shown == Shown::Object(kind)), "{word}");
        }
        for (word, hint) in [("ndoe", "did you mean node?"), ("ingress", "the kinds are nodes, pods, blocks")]
        {
            let Err(Failure::Error(error)) = kind_of(word) else { panic!("{word} is no kind") };
            assert!(error.remedy[0].text.starts_with(hint), "{error}");
        }
        assert_eq!(Shown::Object(Kind::Fabric).plural(), "fabrics");
        for kind in Kind::ALL {
            let shown = Shown::Object(kind);
            assert_eq!(shown.plural(), weft_model::plural(shown.singular()), "{kind}");
        }
        assert_eq!(kind_of("ep").ok(), Some(Shown::Endpoints));
        assert_eq!(split_name(Kind::Service, "shop/web", "default"), ("shop", "web"));
        assert_eq!(split_name(Kind::Service, "web", "default"), ("default", "web"));
        assert_eq!(split_name(Kind::Lease, "10.0.0.0/24", "default"), ("", "10.0.0.0/24"));
    }
}
