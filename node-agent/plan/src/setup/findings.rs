//! What `weft check` says of how this node and its pods ask for names.

use weft_errors::{DNS_BYPASSED, DNS_DOMAIN_CLASH, Error};
use weft_model::{FabricItem, PodName, is_own_resolver};

use super::ResolvConf;
use crate::Finding;

/// Pods that are named; of more there is only a number.
const NAMED: usize = 3;

/// Findings about the node's own resolv.conf and those of its pods. Nothing where the fabric has no DNS.
pub fn name_findings<'a>(
    fabric: &FabricItem,
    node: &ResolvConf,
    pods: impl IntoIterator<Item = (&'a PodName, &'a ResolvConf)>,
) -> Vec<Finding> {
    if !fabric.dns.enabled {
        return Vec::new();
    }
    clash(fabric, node).into_iter().chain(bypass(fabric, pods)).collect()
}

/// The node itself looks for names in the fabric's domain: what its own server says of them is something else than what pods hear.
fn clash(fabric: &FabricItem, node: &ResolvConf) -> Option<Finding> {
    let domain = fabric.domain.as_str();
    let inside = |search: &&String| {
        search.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let search = node.searches.iter().find(inside)?;
    let asks_us = node.nameservers.iter().all(|server| is_own_resolver(&fabric.ranges, *server));
    let message =
        format!("this node's resolv.conf searches in {search}, and the fabric's domain is {domain}");
    (!asks_us || node.nameservers.is_empty())
        .then(|| Finding::wrong("dns domain", Error::new(&DNS_DOMAIN_CLASH, message)))
}

/// Pods that ask others first. It is their wish, so it is well, but worth knowing.
fn bypass<'a>(
    fabric: &FabricItem,
    pods: impl IntoIterator<Item = (&'a PodName, &'a ResolvConf)>,
) -> Option<Finding> {
    let asks_us = |conf: &ResolvConf| {
        conf.nameservers.first().is_some_and(|server| is_own_resolver(&fabric.ranges, *server))
    };
    let others: Vec<_> =
        pods.into_iter().filter(|(_, conf)| !asks_us(conf)).map(|(pod, _)| pod.to_string()).collect();
    let named = others.get(..NAMED).unwrap_or(&others).join(", ");
    let detail = match others.len() {
        0 => return None,
        1 => format!("pod {named} asks other servers for names than its node's"),
        n if n <= NAMED => format!("{n} pods ask other servers for names than their node's: {named}"),
        n => format!("{n} pods ask other servers for names than their node's: {named}, …"),
    };
    let error = Error::new(&DNS_BYPASSED, detail.clone());
    Some(Finding { name: "dns of pods".to_owned(), detail, ok: true, error: Some(error) })
}

#[cfg(test)]
mod tests {
    use weft_model::{Families, Overlay};

    use super::*;
    use crate::world;

    fn check(
        change: impl FnOnce(&mut FabricItem),
        node: &str,
        pods: &[(&str, &str)],
        expected: &[(&str, bool)],
    ) {
        let mut fabric = world::fabric(Families::Dual, Overlay::Wireguard);
        fabric.ranges.services = vec!["10.112.0.0/16".parse().unwrap(), "fd5a:7eff::/112".parse().unwrap()];
        change(&mut fabric);
        let pods: Vec<(PodName, ResolvConf)> =
            pods.iter().map(|(name, text)| (name.parse().unwrap(), ResolvConf::parse(text))).collect();
        let pods = pods.iter().map(|(name, conf)| (name, conf));
        let found = name_findings(&fabric, &ResolvConf::parse(node), pods);
        let shown: Vec<_> = found.iter().map(|finding| (finding.detail.as_str(), finding.ok)).collect();
        assert_eq!(shown, expected, "{node:?}");
    }

    #[test]
    fn a_node_that_looks_for_names_in_the_fabrics_domain_is_found() {
        let clash =
            "this node's resolv.conf searches in x.cluster.local, and the fabric's domain is cluster.local";
        check(|_| {}, "nameserver 192.0.2.1\nsearch corp.example x.cluster.local\n", &[], &[(clash, false)]);
        check(|_| {}, "nameserver 192.0.2.1\nsearch corp.example local mycluster.local\n", &[], &[]);
        check(|f| f.dns.enabled = false, "nameserver 192.0.2.1\nsearch x.cluster.local\n", &[], &[]);
        check(
            |f| f.dns.upstreams = vec!["192.0.2.1:53".parse().unwrap()],
            "nameserver 10.112.0.10\nsearch x.cluster.local\n",
            &[],
            &[],
        );
    }

    #[test]
    fn pods_that_ask_others_are_named_up_to_a_number() {
        let (ours, theirs) = ("nameserver 10.112.0.10\n", "nameserver 192.0.2.1\n");
        check(|_| {}, "", &[("shop/a", ours), ("shop/b", "nameserver 169.254.1.53\n")], &[]);
        let one = "pod shop/b asks other servers for names than its node's";
        check(|_| {}, "", &[("shop/a", ours), ("shop/b", theirs)], &[(one, true)]);
        let two = "2 pods ask other servers for names than their node's: shop/a, shop/b";
        check(|_| {}, "", &[("shop/a", ""), ("shop/b", theirs)], &[(two, true)]);
        let four = "4 pods ask other servers for names than their node's: shop/a, shop/b, shop/c, …";
        let all = [("shop/a", theirs), ("shop/b", theirs), ("shop/c", theirs), ("shop/d", theirs)];
        check(|_| {}, "", &all, &[(four, true)]);
    }
}
