//! How often this node gives a sign of life: many times a second while a load balancer's address depends on it.

use std::time::Duration;

use weft_model::{NodeName, ServiceType};
use weft_view::View;

/// When signs of life come, and how long each holds: two may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The pause between two.
    pub every: Duration,
    /// A node without another one for so long is dead.
    pub lasts: Duration,
}

impl Rhythm {
    /// Of an owner, and of who would take over.
    pub const FAST: Self = Self { every: Duration::from_millis(50), lasts: Duration::from_millis(150) };
    /// Of who could become one.
    pub const SLOW: Self = Self { every: Duration::from_secs(1), lasts: Duration::from_secs(3) };
}

/// `None`: there is no load balancer, so nobody needs to know.
pub fn rhythm(view: &View, node: &NodeName) -> Option<Rhythm> {
    let counts =
        |owner: &weft_model::AddressOwner| owner.node == *node || owner.successor.as_ref() == Some(node);
    if view.owners().values().any(counts) {
        return Some(Rhythm::FAST);
    }
    let is_balanced = || view.services().values().any(|service| service.kind == ServiceType::LoadBalancer);
    (!view.owners().is_empty() || is_balanced()).then_some(Rhythm::SLOW)
}

#[cfg(test)]
mod tests {
    use weft_model::{AddressOwner, Item, Revision};
    use weft_view::Update;

    use super::*;

    fn owner(last: u8, node: &str, successor: Option<&str>) -> Item {
        let name = |name: &str| NodeName::new(name).unwrap();
        Item::Owner(AddressOwner {
            address: [192, 0, 2, last].into(),
            node: name(node),
            successor: successor.map(name),
            epoch: 1,
            revision: Revision(1),
        })
    }

    #[test]
    fn owners_and_successors_are_fast_and_nobody_speaks_without_a_load_balancer() {
        let mut view = View::default();
        let n1 = NodeName::new("n1").unwrap();
        assert_eq!(rhythm(&view, &n1), None);
        for (revision, upserts, expected) in [
            (1, vec![owner(1, "n2", Some("n3"))], Rhythm::SLOW),
            (2, vec![owner(2, "n2", Some("n1"))], Rhythm::FAST),
            (3, vec![owner(2, "n1", None)], Rhythm::FAST),
            (4, vec![owner(2, "n3", None)], Rhythm::SLOW),
        ] {
            view.fold(Update::Delta { revision: Revision(revision), upserts, deletes: Vec::new() }).unwrap();
            assert_eq!(rhythm(&view, &n1), Some(expected), "{revision}");
        }
    }
}
