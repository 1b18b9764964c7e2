//! A sorted map that mostly has one entry, kept without an allocation of its own then: there are tens of thousands of them.

/// Entries in order of their keys.
#[derive(Clone, Debug)]
pub(crate) enum Few<K, V> {
    /// The usual case.
    One((K, V)),
    /// None, or several.
    More(Vec<(K, V)>),
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Few<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl<K: Eq, V: Eq> Eq for Few<K, V> {}

impl<K: Ord, V> Few<K, V> {
    /// Whether there is no entry.
    pub(crate) const fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let all = self.all();
        let place = all.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        Some(&all[place].1)
    }

    /// Puts a value under a key.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let mut all = std::mem::take(self).into_list();
        match all.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(place) => all[place].1 = value,
            Err(place) => {
                all.reserve_exact(1);
                all.insert(place, (key, value));
            }
        }
        *self = Self::of(all);
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.all().binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        let mut all = std::mem::take(self).into_list();
        let (_, value) = all.remove(place);
        *self = Self::of(all);
        Some(value)
    }

    fn into_list(self) -> Vec<(K, V)> {
        match self {
            Self::One(one) => vec![one],
            Self::More(all) => all,
        }
    }

    fn of(mut all: Vec<(K, V)>) -> Self {
        match all.pop() {
            Some(one) if all.is_empty() => Self::One(one),
            Some(last) => {
                all.push(last);
                Self::More(all)
            }
            None => Self::default(),
        }
    }
}

impl<K, V> Few<K, V> {
    /// All entries.
    pub(crate) const fn all(&self) -> &[(K, V)] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all.as_slice(),
        }
    }

    /// The entry with the smallest key.
    pub(crate) const fn first(&self) -> Option<&(K, V)> {
        self.all().first()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((0_u8..4, any::<Option<u8>>()), 0..30)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (key, value) in steps {
                match value {
                    Some(value) => { few.insert(key, value); map.insert(key, value); }
                    None => prop_assert_eq!(few.remove(&key), map.remove(&key)),
                }
                prop_assert_eq!(few.all().to_vec(), map.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(few.get(&key), map.get(&key));
                prop_assert_eq!(few.is_empty(), map.is_empty());
                prop_assert_eq!(few.first().is_some(), !map.is_empty());
                let is_one = matches!(few, Few::One(_));
                prop_assert_eq!(is_one, map.len() == 1);
            }
        }
    }
}
