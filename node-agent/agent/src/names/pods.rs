//! Which pods of this node ask from which addresses, and how they search.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weft_model::PodName;
use weft_proto::{convert::address_to_wire, v1};

/// What the DNS process knows of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) pod: PodName,
    /// Container whose setup says the search domains.
    pub(super) container: String,
    pub(super) search: Vec<String>,
}

/// All of them, by address.
pub(super) type Askers = BTreeMap<IpAddr, Asker>;

/// Everything.
pub(super) fn whole(askers: &Askers) -> v1::NamesPods {
    v1::NamesPods { whole: true, came: askers.iter().map(to_wire).collect(), went: Vec::new() }
}

/// What differs; `None`: nothing.
pub(super) fn difference(old: &Askers, new: &Askers) -> Option<v1::NamesPods> {
    let came: Vec<_> =
        new.iter().filter(|(address, asker)| old.get(address) != Some(*asker)).map(to_wire).collect();
    let gone: BTreeSet<_> = old.keys().filter(|address| !new.contains_key(address)).collect();
    let went: Vec<_> = gone.into_iter().map(|address| address_to_wire(*address)).collect();
    let nothing = came.is_empty() && went.is_empty();
    (!nothing).then_some(v1::NamesPods { whole: false, came, went })
}

fn to_wire((address, asker): (&IpAddr, &Asker)) -> v1::NamesPod {
    v1::NamesPod {
        address: address_to_wire(*address),
        pod: Some((&asker.pod).into()),
        search: asker.search.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn askers(list: &[(u8, &str)]) -> Askers {
        let one = |(n, pod): &(u8, &str)| {
            let asker = Asker { pod: pod.parse().unwrap(), container: String::new(), search: Vec::new() };
            (IpAddr::from([10, 1, 0, *n]), asker)
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let check = |old: &[(u8, &str)], new: &[(u8, &str)], expected: Option<(usize, usize)>| {
            let told = difference(&askers(old), &askers(new));
            assert_eq!(told.map(|told| (told.came.len(), told.went.len())), expected, "{old:?} {new:?}");
        };
        check(&[(1, "a/b")], &[(1, "a/b")], None);
        check(&[(1, "a/b")], &[(1, "a/c"), (2, "a/d")], Some((2, 0)));
        check(&[(1, "a/b"), (2, "a/d")], &[(2, "a/d")], Some((0, 1)));
        assert!(whole(&askers(&[(1, "a/b")])).whole);
    }
}
