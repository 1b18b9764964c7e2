//! Entries as bytes: the payload of a journal record.
//!
//! Little-endian, lengths before texts. The first byte is the version of the format, the second the kind of the entry;
//! a reader refuses what it doesn't know, so an older agent stops instead of forgetting addresses.

use std::net::IpAddr;

use weft_model::{
    AddressRange, AttachmentId, Block, Epoch, Labels, Name, NamespaceName, PodName, PodUid, Revision,
    WallTime,
};

use crate::{BlockState, BootId, Entry, Holding, Origin, Serving, Uptime, probing};

const VERSION: u8 = 1;

/// Why a payload isn't an entry.
pub(crate) type Why = &'static str;

pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    match entry {
        Entry::Boot { boot, at } => {
            out.u8(1);
            out.0.extend(boot.0);
            out.u64(at.0);
        }
        Entry::Block { block, epoch, state, fresh } => {
            out.u8(2);
            out.block(*block);
            out.u64(epoch.0);
            out.u8(match state {
                BlockState::Open => 0,
                BlockState::Retiring => 1,
                BlockState::Withdrawn => 2,
            });
            out.0.extend(fresh.to_le_bytes());
        }
        Entry::BlockGone { block } => {
            out.u8(3);
            out.block(*block);
        }
        Entry::Hold(holding) => {
            out.u8(4);
            out.holding(holding);
        }
        Entry::Attached { attachment } => {
            out.u8(5);
            out.attachment(attachment);
        }
        Entry::Release { attachment, at } => {
            out.u8(6);
            out.attachment(attachment);
            out.u64(at.0);
        }
        Entry::Rest { address, since } => {
            out.u8(7);
            out.address(*address);
            out.u64(since.0);
        }
        Entry::Seen { revision } => {
            out.u8(8);
            out.u64(revision.0);
        }
        Entry::Probed { attachment, probes } => {
            out.u8(9);
            out.attachment(attachment);
            probing::write(&mut out, probes);
        }
        Entry::Judged { attachment, ready } => {
            out.u8(10);
            out.attachment(attachment);
            out.u8(u8::from(*ready));
        }
        Entry::Draining { attachment, until } => {
            out.u8(11);
            out.attachment(attachment);
            out.u64(until.0);
        }
    }
    out.0
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, Why> {
    let mut input = Reader(bytes);
    if input.u8()? != VERSION {
        return Err("its format is of a newer version");
    }
    let entry = match input.u8()? {
        1 => Entry::Boot { boot: BootId(input.array()?), at: Uptime(input.u64()?) },
        2 => Entry::Block {
            block: input.block()?,
            epoch: Epoch(input.u64()?),
            state: match input.u8()? {
                0 => BlockState::Open,
                1 => BlockState::Retiring,
                2 => BlockState::Withdrawn,
                _ => return Err("it has an unknown block state"),
            },
            fresh: u128::from_le_bytes(input.array()?),
        },
        3 => Entry::BlockGone { block: input.block()? },
        4 => Entry::Hold(Box::new(input.holding()?)),
        5 => Entry::Attached { attachment: input.attachment()? },
        6 => Entry::Release { attachment: input.attachment()?, at: Uptime(input.u64()?) },
        8 => Entry::Seen { revision: Revision(input.u64()?) },
        7 => Entry::Rest { address: input.address()?, since: Uptime(input.u64()?) },
        9 => Entry::Probed { attachment: input.attachment()?, probes: Box::new(probing::read(&mut input)?) },
        10 => Entry::Judged { attachment: input.attachment()?, ready: input.u8()? != 0 },
        11 => Entry::Draining { attachment: input.attachment()?, until: Uptime(input.u64()?) },
        _ => return Err("its kind is unknown"),
    };
    if !input.0.is_empty() {
        return Err("it is longer than its content");
    }
    Ok(entry)
}

pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    /// Counts and lengths: everything that is written here is far below 4 GiB, see `MAX_RECORD`.
    pub(crate) fn length(&mut self, value: usize) {
        self.0.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(a) => {
                self.u8(4);
                self.0.extend(a.octets());
            }
            IpAddr::V6(a) => {
                self.u8(6);
                self.0.extend(a.octets());
            }
        }
    }

    fn block(&mut self, block: Block) {
        self.address(block.first());
        self.u8(block.prefix());
    }

    fn attachment(&mut self, attachment: &AttachmentId) {
        self.text(&attachment.container);
        self.text(&attachment.interface);
    }

    fn holding(&mut self, holding: &Holding) {
        let Holding {
            attachment,
            uid,
            pod,
            labels,
            addresses,
            netns,
            link,
            mac,
            mtu,
            origin,
            created,
            attached,
            // In entries of its own.
            serving: _,
        } = holding;
        self.attachment(attachment);
        self.0.extend(uid.0);
        self.text(pod.namespace.as_str());
        self.text(pod.name.as_str());
        self.length(labels.len());
        for (key, value) in labels {
            self.text(key);
            self.text(value);
        }
        self.length(addresses.len());
        addresses.iter().for_each(|address| self.address(*address));
        self.text(netns);
        self.text(link);
        self.0.extend(mac);
        self.0.extend(mtu.to_le_bytes());
        match origin {
            Origin::Weft => self.u8(0),
            Origin::Cni { network } => {
                self.u8(1);
                self.text(network);
            }
        }
        self.u64(created.0);
        self.u8(u8::from(*attached));
    }
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Why> {
        let (head, tail) = self.0.split_at_checked(count).ok_or("it is shorter than its content")?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        self.take(N)?.try_into().map_err(|_| "it is shorter than its content")
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Why> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Why> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn length(&mut self) -> Result<usize, Why> {
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| "a length doesn't fit")
    }

    pub(crate) fn text(&mut self) -> Result<String, Why> {
        let length = self.length()?;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| "a text isn't UTF-8")
    }

    fn address(&mut self) -> Result<IpAddr, Why> {
        match self.u8()? {
            4 => Ok(IpAddr::from(self.array::<4>()?)),
            6 => Ok(IpAddr::from(self.array::<16>()?)),
            _ => Err("an address is of no known family"),
        }
    }

    fn block(&mut self) -> Result<Block, Why> {
        let bad = "a block isn't a range";
        let address = self.address()?;
        let net = ipnet::IpNet::new(address, self.u8()?).map_err(|_| bad)?;
        AddressRange::new(net).map_err(|_| bad)
    }

    fn attachment(&mut self) -> Result<AttachmentId, Why> {
        Ok(AttachmentId { container: self.text()?, interface: self.text()? })
    }

    fn holding(&mut self) -> Result<Holding, Why> {
        let attachment = self.attachment()?;
        let uid = PodUid(self.array()?);
        let namespace = NamespaceName::new(self.text()?).map_err(|_| "a namespace isn't one")?;
        let name = Name::new(self.text()?).map_err(|_| "a pod's name isn't one")?;
        let mut labels = Labels::new();
        for _ in 0..self.length()? {
            let key = self.text()?;
            labels.insert(key, self.text()?);
        }
        let mut addresses = Vec::new();
        for _ in 0..self.length()? {
            addresses.push(self.address()?);
        }
        let netns = self.text()?;
        let link = self.text()?;
        let mac = self.array()?;
        let mtu = u32::from_le_bytes(self.array()?);
        let origin = match self.u8()? {
            0 => Origin::Weft,
            1 => Origin::Cni { network: self.text()? },
            _ => return Err("its origin is unknown"),
        };
        let created = WallTime(self.u64()?);
        let attached = self.u8()? != 0;
        let pod = PodName { namespace, name };
        Ok(Holding {
            attachment,
            uid,
            pod,
            labels,
            addresses,
            netns,
            link,
            mac,
            mtu,
            origin,
            created,
            attached,
            serving: Serving::default(),
        })
    }
}
