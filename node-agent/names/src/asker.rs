//! Who asks: known by its source address, which port security ties to its port.

use std::net::IpAddr;

use weft_model::PodName;

use crate::message::DomainName;

/// A pod of this node, or a process of the node itself. The driver keeps one per address, behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    address: IpAddr,
    search: Option<Search>,
}

/// The search list of a pod, if it begins as ours do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// `N.svc.Z`: the first suffix that the pod's resolver tries.
    pub(crate) first: DomainName,
    /// The label `N`, lower case.
    pub(crate) namespace: Box<[u8]>,
    /// What stands in the list behind `N.svc.Z`, `svc.Z` and `Z`: the node's own domains, the pod's `dnsConfig`.
    pub(crate) others: Box<[DomainName]>,
}

/// Most further search domains for which the short cut is taken.
const MAX_OTHERS: usize = 6;

impl Asker {
    /// A process of the node, or a pod whose resolver nothing is known of: no short cut of search domains.
    pub const fn plain(address: IpAddr) -> Self {
        Self { address, search: None }
    }

    /// A pod with the search list that stands in its resolv.conf. The short cut is taken only when the list begins with
    /// `N.svc.Z`, `svc.Z`, `Z` and goes on with at most six valid domains.
    pub fn pod(address: IpAddr, pod: &PodName, search: &[String], domain: &str) -> Self {
        Self { address, search: own_list(pod, search, domain) }
    }

    /// The address it asks from.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) const fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}

fn own_list(pod: &PodName, search: &[String], domain: &str) -> Option<Search> {
    let names = search.iter().map(|text| text.parse().ok()).collect::<Option<Vec<DomainName>>>()?;
    let own = [format!("{}.svc.{domain}", pod.namespace), format!("svc.{domain}"), domain.to_owned()];
    let own = own.iter().map(|text| text.parse().ok()).collect::<Option<Vec<DomainName>>>()?;
    let others = names.strip_prefix(own.as_slice()).filter(|others| others.len() <= MAX_OTHERS)?;
    Some(Search {
        first: own.first()?.clone(),
        namespace: pod.namespace.as_str().as_bytes().into(),
        others: others.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_search_list_counts() {
        let check = |list: &str, expected: Option<usize>| {
            let list: Vec<_> = list.split_whitespace().map(str::to_owned).collect();
            let asker =
                Asker::pod([10, 1, 0, 2].into(), &"shop/web".parse().unwrap(), &list, "cluster.local");
            assert_eq!(asker.search().map(|search| search.others.len()), expected, "{list:?}");
        };
        check("shop.svc.cluster.local svc.cluster.local cluster.local", Some(0));
        check("shop.svc.cluster.local svc.cluster.local cluster.local corp.example", Some(1));
        check("shop.svc.cluster.local. svc.cluster.local. CLUSTER.local.", Some(0));
        check("corp.example shop.svc.cluster.local svc.cluster.local cluster.local", None);
        check("dev.svc.cluster.local svc.cluster.local cluster.local", None);
        check("shop.svc.cluster.local svc.cluster.local", None);
        check("shop.svc.cluster.local svc.cluster.local cluster.local a..b", None);
        check("shop.svc.cluster.local svc.cluster.local cluster.local a b c d e f g", None);
        check("", None);
    }
}
