//! The zone.
use weft_view::{Touched, View};
pub(crate) struct Tables {
    seed: u64,
}
impl Tables {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }
    pub(crate) fn octets(&self) -> usize {
        std::mem::size_of_val(&self.seed)
    }
}
#[derive(Default)]
pub(crate) struct Zone;
impl Zone {
    pub(crate) fn fold(&mut self, _tables: &Tables, _view: &View, _touched: &Touched) -> bool {
        true
    }
    pub(crate) fn octets(&self) -> usize {
        0
    }
}
