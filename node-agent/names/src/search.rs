//! The short cut of search domains: what a pod's resolver would find after five questions, told at the first.
//!
//! With `ndots:5` a pod that looks up `www.example.com` asks for `www.example.com.N.svc.Z`, `….svc.Z`, `….Z`, the node's domains, and then
//! for the name itself, twice each for both families. The first of these says it all: the server knows from the source address
//! that the pod is in `N` and what its search list is. So it walks the list itself and answers with a CNAME to the hit.
//!
//! Only where the name can't be one of the cluster's: two labels or more, whose last is neither a service of the pod's namespace,
//! nor a namespace, nor a word of our zone; types A and AAAA alone, which are what lists are walked for.
//!
//! The trade-off: (1) who asks for `www.example.com.N.svc.Z.` as a whole name, with a dot at its end, is told of an alias that doesn't
//! exist. (2) Who has fewer `ndots` or another list than its resolv.conf says doesn't ask that question, so nothing changes for it.
//! (3) A namespace that is called as a top-level domain (`com`) switches the short cut off for names below that domain. (4) A name of the
//! cluster written in full (`web.shop.svc.Z`, four dots) is found at once too, before the node's own domains are tried. (5) A final
//! miss is walked by the client all the same, from the cache: each later suffix is denied by our zone, the name itself by
//! the remembered denial. `spec.dns.searchPath: false` switches it off.

use crate::{
    DomainName,
    asker::Search,
    message::Lowered,
    zone::{Head, Lookup},
};

/// Where a question leads that our zone has no name for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a name of our zone, that was written in full; wire form.
    Own(Vec<u8>),
    /// To the first of these that exists.
    First(Box<[DomainName]>),
}

/// The way of a question; `None`: the name is denied.
pub(crate) fn way(lookup: Lookup<'_>, head: &Head, search: &Search, name: &Lowered) -> Option<Way> {
    let is_walked = head.search_path && lookup.kind.is_address();
    let first_labels = search.first.labels().count();
    let labels = name.above(search.first.wire(), first_labels).filter(|labels| is_walked && *labels >= 2)?;
    let prefix = &name.wire()[..name.start(labels)];
    let whole = [prefix, &[0]].concat();
    if crate::message::within(&whole, head.origin.wire()).is_some() {
        return Some(Way::Own(whole));
    }
    if lookup.may_be_ours(name.label(labels - 1), &search.namespace) {
        return None;
    }
    let others = search.others.iter().filter_map(|other| DomainName::under(prefix, other.wire()));
    Some(Way::First(others.chain(DomainName::from_wire(&whole)).collect()))
}
