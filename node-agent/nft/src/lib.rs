//! Typed nf_tables objects, their netlink bytes and their nft text.
//!
//! In: tables, chains, rules, sets and elements as values. Out: one transaction as bytes (`Batch`), and text for people (`table_text`).
//! Back: the kernel's answers and dumps as values (`messages`, `Observed`), and how they differ from what is wanted.
//! Not here: sockets (weft-kernel), and what the rules are for (weft-plan, `guard`).

mod attr;
mod batch;
mod elements;
mod error;
mod expr;
mod field;
#[cfg(test)]
mod fixture;
mod foreign;
pub mod limits;
mod lower;
mod mend;
mod object;
mod observed;
#[cfg(test)]
mod observed_tests;
mod packed;
mod reply;
mod request;
mod statement;
mod term;
mod text;
mod value;
mod wire;

pub use batch::{Batch, Object, SetChange};
pub use elements::Elements;
pub use error::Error;
pub use field::Field;
pub use foreign::DropPolicy;
pub use mend::Mend;
pub use object::{
    Base, Chain, ChainKind, Data, Element, Hook, MapData, Policy, Rule, Set, SetRef, Table, TableFamily,
    TableRef, Verdict,
};
pub use observed::{Difference, Observed};
pub use reply::{
    Counted, Failure, Generation, Message, ObservedChain, ObservedElement, ObservedRule, ObservedSet, Reply,
    messages,
};
pub use request::Request;
pub use statement::{
    AddressKind, CtDirection, CtState, CtStatus, Mark, Op, Recall, Reject, Statement, Translate,
};
pub use term::Term;
pub use text::table as table_text;
pub use value::{DataType, Value};
