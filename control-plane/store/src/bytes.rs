//! Fixed-width fields in order: the encoding of the small files and rows of this crate.

use weft_model::ReplicaId;
use weft_raft::Conf;

/// Writes fields.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn conf(self, conf: &Conf) -> Self {
        let writer = self.number(conf.voters.len() as u64).number(conf.learners.len() as u64);
        conf.all().fold(writer, |writer, id| writer.number(id.0))
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields; every method is `None` beyond the end.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    pub(crate) fn raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn conf(&mut self) -> Option<Conf> {
        let (voters, learners) = (self.number()?, self.number()?);
        // A configuration has at most some dozens of replicas: a damaged count must not reserve memory.
        (voters <= 1024 && learners <= 1024).then_some(())?;
        let mut ids = |count| (0..count).map(|_| self.number().map(ReplicaId)).collect::<Option<Vec<_>>>();
        Some(Conf { voters: ids(voters)?, learners: ids(learners)? })
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}
