//! Elements of a dump, kept small: there may be hundreds of thousands, nearly all of them a short key and a short value.

use crate::ObservedElement;

/// Elements in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    /// Plain ones: length of the key (never 0), key, 0 or 1 more than the length of the value, value.
    plain: Vec<u8>,
    /// Those that have more to say.
    others: Vec<ObservedElement>,
}

impl Packed {
    pub(crate) fn push(&mut self, element: ObservedElement) {
        match lengths(&element) {
            Some((key, value)) => {
                self.plain.push(key);
                self.plain.extend(&element.key);
                self.plain.push(value);
                self.plain.extend(element.value.iter().flatten());
            }
            None => self.others.push(element),
        }
    }

    /// Whether one is for all keys that have none.
    pub(crate) fn has_one_for_all(&self) -> bool {
        self.others.iter().any(|element| element.key.is_empty())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ObservedElement> + '_ {
        let mut rest = self.plain.as_slice();
        let plain = std::iter::from_fn(move || {
            let key = take(&mut rest)?.to_vec();
            let value = match rest.split_first() {
                Some((0, behind)) => {
                    rest = behind;
                    None
                }
                Some((more, behind)) => {
                    let (value, behind) = behind.split_at_checked(usize::from(more - 1))?;
                    rest = behind;
                    Some(value.to_vec())
                }
                None => return None,
            };
            Some(ObservedElement { key, value, ..ObservedElement::default() })
        });
        plain.chain(self.others.iter().cloned())
    }
}

/// What stands before key and value of a plain element; `None`: it isn't one.
fn lengths(element: &ObservedElement) -> Option<(u8, u8)> {
    let ObservedElement {
        key,
        value,
        key_end: None,
        is_end: false,
        verdict: None,
        timeout_ms: None,
        counted: None,
    } = element
    else {
        return None;
    };
    if key.is_empty() {
        return None;
    }
    let value = value.as_ref().map_or(Some(0), |value| u8::try_from(value.len()).ok()?.checked_add(1))?;
    Some((u8::try_from(key.len()).ok()?, value))
}

/// Bytes with their length before them.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first()?;
    let (bytes, behind) = behind.split_at_checked(usize::from(*length))?;
    *rest = behind;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = ObservedElement> {
        let bytes = || {
            prop_oneof![0..24_usize, 250..260_usize]
                .prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
        };
        let key_end = prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..4));
        let number = || prop::option::weighted(0.2, any::<u64>());
        let rare = (key_end, prop::bool::weighted(0.2), number(), number());
        (bytes(), prop::option::of(bytes()), rare).prop_map(
            |(key, value, (key_end, is_end, timeout_ms, packets))| {
                let counted = packets.map(|packets| crate::Counted { packets, octets: 1 });
                ObservedElement { key, value, key_end, is_end, verdict: None, timeout_ms, counted }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_packed_comes_out_again(all in prop::collection::vec(element(), 0..20)) {
            let mut packed = Packed::default();
            all.iter().cloned().for_each(|element| packed.push(element));
            let (plain, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| lengths(e).is_some());
            let out: Vec<_> = packed.iter().collect();
            prop_assert_eq!(out, plain.into_iter().chain(others).collect::<Vec<_>>());
        }
    }
}
