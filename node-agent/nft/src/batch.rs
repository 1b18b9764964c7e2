//! One transaction: messages in order, each with the object that it is about.
//!
//! In: objects. Out: the bytes between `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`, which the kernel takes wholly or not at all
//! (net/netfilter/nfnetlink.c, `nfnetlink_rcv_batch`). Not here: sending (weft-kernel).

pub(crate) mod element;
mod message;

use std::fmt;

use message::Message;
pub use message::Object;
pub(crate) use message::{Frame, attrs, frame, joined_type, set_flags};

use crate::{
    Chain, Element, Error, Set, SetRef, Table, TableRef, limits,
    wire::{self, msg},
};

/// A transaction under construction, and ready to be sent at any time.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    sets: u32,
}

impl Batch {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the table as given, whatever it was before; its sets are empty then.
    ///
    /// Adding first makes the deletion succeed on a machine that has no such table.
    pub fn replace_table(&mut self, table: &Table) {
        self.remove_table(&table.id);
        self.make_table(&table.id);
        table.sets.iter().for_each(|set| self.make_set(&table.id, set));
        self.add_chains(&table.id, &table.chains);
    }

    /// Adds chains with their rules to a table that is there; none of them may be there yet.
    pub fn add_chains<'a>(&mut self, table: &TableRef, chains: impl IntoIterator<Item = &'a Chain> + Clone) {
        // All chains before any rule: rules jump to chains that stand further down.
        chains.clone().into_iter().for_each(|chain| self.make_chain(table, chain));
        self.fill_chains(table, chains);
    }

    /// Makes a table, or makes sure that it is there and awake.
    pub(crate) fn make_table(&mut self, table: &TableRef) {
        self.messages.push(Message::table(msg::NEWTABLE, table));
    }

    /// Makes a set of a table, empty.
    pub(crate) fn make_set(&mut self, table: &TableRef, set: &Set) {
        self.sets += 1;
        self.messages.push(Message::set(table, set, self.sets));
    }

    /// Removes a set with its elements; no rule may use it since.
    pub(crate) fn remove_set(&mut self, table: &TableRef, set: &str) {
        self.messages.push(Message::set_gone(table, set));
    }

    /// Makes a chain of a table, empty.
    pub(crate) fn make_chain(&mut self, table: &TableRef, chain: &Chain) {
        self.messages.push(Message::chain(table, chain));
    }

    /// Adds the rules of chains that are there.
    pub(crate) fn fill_chains<'a>(&mut self, table: &TableRef, chains: impl IntoIterator<Item = &'a Chain>) {
        for chain in chains {
            for (index, rule) in chain.rules.iter().enumerate() {
                self.messages.push(Message::rule(table, chain, index, rule));
            }
        }
    }

    /// Removes all rules of a table.
    pub(crate) fn flush_rules(&mut self, table: &TableRef) {
        self.messages.push(Message::table(msg::DELRULE, table));
    }

    /// Removes a chain that has no rules; nothing may lead to it since.
    pub(crate) fn remove_empty_chain(&mut self, table: &TableRef, chain: &str) {
        self.messages.push(Message::chain_gone(msg::DELCHAIN, table, chain));
    }

    /// Removes chains of a table with their rules; they must be there, and nothing may lead to them since the last transaction.
    pub fn remove_chains(&mut self, table: &TableRef, chains: &[String]) {
        for kind in [msg::DELRULE, msg::DELCHAIN] {
            self.messages.extend(chains.iter().map(|chain| Message::chain_gone(kind, table, chain)));
        }
    }

    /// Adds everything of another transaction behind this one's; not for two that both make tables.
    pub fn append(&mut self, other: Self) {
        self.messages.extend(other.messages);
        self.sets += other.sets;
    }

    /// Removes the table if it is there.
    pub fn remove_table(&mut self, table: &TableRef) {
        self.make_table(table);
        self.messages.push(Message::table(msg::DELTABLE, table));
    }

    /// Adds elements to a set of a table. An element that is there already stays.
    pub fn add_elements<'a>(
        &mut self,
        table: &TableRef,
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        self.messages.extend(element::messages(msg::NEWSETELEM, table, set, elements));
    }

    /// Removes elements from a set of a table. An element that isn't there fails the transaction.
    pub fn remove_elements<'a>(
        &mut self,
        table: &TableRef,
        set: &Set,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        self.messages.extend(element::messages(msg::DELSETELEM, table, set, elements));
    }

    /// Removes all elements of a set of a table; none is fine.
    pub fn flush_set(&mut self, table: &TableRef, set: &Set) {
        self.messages.push(element::flush(msg::DELSETELEM, table, set));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Number of messages, without begin and end.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Size of the encoded transaction in bytes, generation included.
    pub fn size(&self) -> usize {
        const FRAME: usize = 2 * (wire::MESSAGE_HEADER + wire::GENERIC_HEADER) + 8;
        FRAME + self.messages.iter().map(Message::size).sum::<usize>()
    }

    /// The bytes to send. Sequence numbers are `first` for begin, then one more per message.
    ///
    /// With `generation` the kernel refuses (`ERESTART`) when somebody else has committed since. Only the last message asks to be
    /// acknowledged; one that fails answers anyway. Fails with `TooLarge` above `limits::TRANSACTION_BYTES`.
    pub fn encode(&self, first: u32, generation: Option<u32>) -> Result<Vec<u8>, Error> {
        let size = self.size();
        if size > limits::TRANSACTION_BYTES {
            return Err(Error::TooLarge { size });
        }
        let mut out = Vec::with_capacity(size);
        message::begin(&mut out, first, generation);
        for (i, message) in (0..).zip(&self.messages) {
            let is_last = usize::try_from(i).is_ok_and(|i: usize| i + 1 == self.messages.len());
            message.encode(&mut out, first.wrapping_add(1).wrapping_add(i), is_last);
        }
        message::end(&mut out, first.wrapping_add(1).wrapping_add(self.message_count()));
        Ok(out)
    }

    /// The sequence number whose acknowledgement means that all went well.
    pub fn last_sequence(&self, first: u32) -> u32 {
        first.wrapping_add(self.message_count())
    }

    /// What failed, from the sequence number of an error and the offset that the kernel may have given with it.
    ///
    /// `None` when the number is the transaction's own: it failed as a whole.
    pub fn object(&self, first: u32, sequence: u32, offset: Option<u32>) -> Option<Object> {
        let index = sequence.wrapping_sub(first).checked_sub(1)?;
        Some(self.messages.get(usize::try_from(index).ok()?)?.object(offset))
    }

    fn message_count(&self) -> u32 {
        u32::try_from(self.messages.len()).expect("a transaction is bounded in size")
    }
}

impl fmt::Display for Batch {
    /// One line per message, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.messages.iter().try_for_each(|m| writeln!(f, "{m}"))
    }
}

/// The changes of one set's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetChange {
    /// Which set.
    pub set: SetRef,
    /// Elements to remove, before any is added.
    pub remove: Vec<Element>,
    /// Elements to add.
    pub add: Vec<Element>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_last_message_alone_asks_for_an_acknowledgement() {
        let mut batch = Batch::new();
        batch.replace_table(&fixture::table());
        let bytes = batch.encode(100, Some(7)).unwrap();
        assert_eq!(bytes.len(), batch.size());
        let mut acks = Vec::new();
        let (mut at, mut sequence) = (0, 100_u32);
        while at < bytes.len() {
            let word = |o: usize| u32::from_ne_bytes(*bytes[at + o..].first_chunk().unwrap());
            assert_eq!(word(8), sequence);
            if u16::from_ne_bytes(*bytes[at + 6..].first_chunk().unwrap()) & wire::F_ACK != 0 {
                acks.push(sequence);
            }
            at += usize::try_from(word(0)).unwrap();
            sequence += 1;
        }
        assert_eq!(acks, [batch.last_sequence(100)]);
        assert_eq!(sequence, batch.last_sequence(100) + 2);
    }

    #[test]
    fn a_sequence_number_names_its_object() {
        let mut batch = Batch::new();
        batch.replace_table(&fixture::table());
        let name = |sequence| batch.object(100, sequence, None).map(|o| o.to_string());
        assert_eq!(name(100), None);
        assert_eq!(name(101).unwrap(), "table bridge weft");
        assert_eq!(name(104).unwrap(), "set bridge weft ports4");
        assert_eq!(name(105).unwrap(), "chain bridge weft ingress");
        assert_eq!(name(107).unwrap(), "rule 1 of chain bridge weft ingress (pods)");
        assert_eq!(name(999), None);
    }

    #[test]
    fn a_transaction_has_a_largest_size() {
        let (table, elements) = (fixture::table(), fixture::elements(12_000));
        let mut batch = Batch::new();
        batch.add_elements(&table.id, &table.sets[0], &elements);
        assert!(matches!(batch.encode(1, None), Err(Error::TooLarge { size }) if size == batch.size()));
    }
}
