//! Numbers that are made of content: equal content has the same number on every machine and after every restart.
//!
//! A number is the first eight bytes, big-endian, of the SHA-256 (FIPS 180-4) of: the domain and its version as a text, then
//! the content's fields in a fixed order. A text is its length as eight bytes, big-endian, and its bytes; a number is eight
//! bytes, big-endian; a list is its length as a number and its entries. So no two contents have the same bytes. The two
//! numbers with a meaning of their own, 0 and all ones, are never given.

use sha2::{Digest, Sha256};

/// Content on its way to a number.
pub(crate) struct Content(Sha256);

impl Content {
    /// Begins content of one kind; change the domain when what is fed changes.
    pub(crate) fn of(domain: &str) -> Self {
        let mut content = Self(Sha256::new());
        content.text(domain);
        content
    }

    /// Feeds a text.
    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    /// Feeds a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    /// Feeds the length of a list whose entries follow.
    pub(crate) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    /// The number.
    pub(crate) fn finish(self) -> u64 {
        let digest = self.0.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first).clamp(1, u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(texts: &[&str]) -> u64 {
        let mut content = Content::of("test 1");
        texts.iter().for_each(|text| content.text(text));
        content.finish()
    }

    #[test]
    fn texts_dont_run_into_each_other_and_domains_part() {
        assert_ne!(number(&["ab", "c"]), number(&["a", "bc"]));
        assert_ne!(number(&[""]), number(&[]));
        assert_ne!(Content::of("a").finish(), Content::of("b").finish());
    }

    #[test]
    fn the_encoding_stays_as_it_is_documented() {
        // printf '\0\0\0\0\0\0\0\6test 1\0\0\0\0\0\0\0\1a' | sha256sum
        assert_eq!(number(&["a"]), TEST_NUMBER);
    }

    const TEST_NUMBER: u64 = 0xf164_ce94_9168_dfda;
}
