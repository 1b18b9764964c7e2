//! The living pods of the fabric, shared between one View and the next: there may be 150 000, and a change of one clones
//! one shard of references, not all of them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use weft_model::{PodItem, PodName};

/// Shards; a power of two, so that one holds a few hundred pods of the largest fabric.
const SHARDS: usize = 256;

/// One shard, in order of the names.
type Shard = Arc<Vec<Arc<PodItem>>>;

/// All living pods. Equal contents are equal values, however they came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    shards: Arc<Vec<Shard>>,
    count: usize,
}

impl Default for Pods {
    fn default() -> Self {
        Self { shards: Arc::new(vec![Shard::default(); SHARDS]), count: 0 }
    }
}

impl Pods {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One pod.
    pub fn get(&self, name: &PodName) -> Option<&PodItem> {
        let shard = self.shards.get(place(name))?;
        let at = shard.binary_search_by(|pod| pod.name.cmp(name)).ok()?;
        shard.get(at).map(Arc::as_ref)
    }

    /// All pods, in an order that follows from their names alone, but isn't theirs.
    pub fn iter(&self) -> impl Iterator<Item = &PodItem> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(Arc::as_ref)
    }

    pub(crate) fn insert(&mut self, pod: PodItem) {
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(place(&pod.name)) else { return };
        let shard = Arc::make_mut(shard);
        match shard.binary_search_by(|other| other.name.cmp(&pod.name)) {
            Ok(at) => {
                if let Some(there) = shard.get_mut(at) {
                    *there = Arc::new(pod);
                }
            }
            Err(at) => {
                shard.insert(at, Arc::new(pod));
                self.count += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, name: &PodName) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(place(name)) else { return false };
        Arc::make_mut(shard).retain(|pod| pod.name != *name);
        self.count -= 1;
        true
    }
}

/// The shard of a name: the same in every process of one build.
fn place(name: &PodName) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pod(index: u16, address: u8) -> PodItem {
        PodItem {
            name: format!("shop/web-{index}").parse().unwrap(),
            addresses: vec![[10, 1, 0, address].into()],
            hostname: String::new(),
            subdomain: String::new(),
            identity: weft_model::IdentityId(u64::from(index)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pods_are_a_map_and_an_older_copy_stays_as_it_was(
            steps in prop::collection::vec((0_u16..400, prop::option::of(0_u8..3)), 0..300),
        ) {
            let (mut pods, mut model) = (Pods::default(), BTreeMap::new());
            for (index, address) in steps {
                let (before, count) = (pods.clone(), pods.len());
                let name = pod(index, 0).name;
                match address {
                    Some(address) => {
                        pods.insert(pod(index, address));
                        model.insert(name.clone(), pod(index, address));
                    }
                    None => prop_assert_eq!(pods.remove(&name), model.remove(&name).is_some()),
                }
                prop_assert_eq!(pods.get(&name), model.get(&name));
                prop_assert_eq!(before.iter().count(), count, "a copy doesn't follow");
            }
            prop_assert_eq!((pods.len(), pods.is_empty()), (model.len(), model.is_empty()));
            let mut again = Pods::default();
            model.values().rev().cloned().for_each(|pod| again.insert(pod));
            prop_assert_eq!(&again, &pods, "the way there doesn't matter");
            let listed: BTreeMap<_, _> = pods.iter().map(|pod| (pod.name.clone(), pod.clone())).collect();
            prop_assert_eq!(listed, model);
        }
    }
}
