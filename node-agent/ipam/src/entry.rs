//! What can happen to a ledger, as data: the content of the journal.

use std::{fmt, net::IpAddr};

use weft_model::{AttachmentId, Block, Epoch, Labels, PodName, PodUid, Probes, Revision, WallTime};

/// Milliseconds since the machine started (CLOCK_BOOTTIME): never set back, comparable within one boot only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub u64);

impl Uptime {
    /// Milliseconds that have passed since an earlier moment; 0 for a later one.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Identity of one boot of the machine (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Who asked for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A container runtime through CNI, for the network of that name.
    Cni {
        /// Name of the network in the configuration.
        network: String,
    },
    /// `weft pod add`: the namespace is ours too and goes with the pod.
    Weft,
}

/// Whether services may send to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    /// How it is asked.
    pub probes: Box<Probes>,
    /// The last verdict; `None`: it was never asked.
    pub verdict: Option<bool>,
    /// It is about to end, and is removed then; `None`: it isn't.
    pub drained_at: Option<Uptime>,
}

impl Serving {
    /// Whether it takes new connections as far as its node knows: whoever is asked isn't ready before the first answer.
    pub fn is_ready(&self) -> bool {
        self.verdict.unwrap_or(self.probes.is_empty())
    }

    /// Whether it is about to end.
    pub const fn is_terminating(&self) -> bool {
        self.drained_at.is_some()
    }
}

/// One attached pod and all that is needed to make it again, check it, and publish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The attachment.
    pub attachment: AttachmentId,
    /// Identity of this life of the pod.
    pub uid: PodUid,
    /// Namespace and name.
    pub pod: PodName,
    /// Labels.
    pub labels: Labels,
    /// Addresses, primary family first.
    pub addresses: Vec<IpAddr>,
    /// Path of the pod's network namespace.
    pub netns: String,
    /// Name of the node's end of the veth.
    pub link: String,
    /// MAC of the pod's end.
    pub mac: [u8; 6],
    /// MTU that both ends were made with, bytes.
    pub mtu: u32,
    /// Who asked for it.
    pub origin: Origin,
    /// When it was made.
    pub created: WallTime,
    /// Whether everything was made and the answer could leave; one that isn't is undone at the next start.
    pub attached: bool,
    /// Whether services may send to it.
    pub serving: Serving,
}

impl Holding {
    /// The entries that add up to it.
    pub fn entries(&self) -> Vec<Entry> {
        let Serving { probes, verdict, drained_at } = &self.serving;
        let attachment = || self.attachment.clone();
        let bare = Self { serving: Serving::default(), ..self.clone() };
        let mut entries = vec![Entry::Hold(Box::new(bare))];
        if !probes.is_empty() {
            entries.push(Entry::Probed { attachment: attachment(), probes: probes.clone() });
        }
        entries.extend(verdict.map(|ready| Entry::Judged { attachment: attachment(), ready }));
        entries.extend(drained_at.map(|until| Entry::Draining { attachment: attachment(), until }));
        entries
    }
}

/// What may be done with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Gives out addresses.
    Open,
    /// Is being given back: gives out nothing, goes when the control plane has agreed.
    Retiring,
    /// Was taken away while pods held addresses: gives out nothing, goes with the last of them.
    Withdrawn,
}

/// One step of a ledger. The kinds and their numbers are the format of the journal: they are only ever added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The machine runs under this boot id. Another one than before: no pod lives any more, its addresses rest.
    Boot {
        /// The boot.
        boot: BootId,
        /// When this was noticed.
        at: Uptime,
    },
    /// A block as it is now.
    Block {
        /// The block.
        block: Block,
        /// Epoch of the lease.
        epoch: Epoch,
        /// What may be done with it.
        state: BlockState,
        /// First position that was never given out.
        fresh: u128,
    },
    /// A block went.
    BlockGone {
        /// The block.
        block: Block,
    },
    /// Addresses are held by a pod.
    Hold(Box<Holding>),
    /// All of it is made.
    Attached {
        /// By which attachment.
        attachment: AttachmentId,
    },
    /// The addresses of an attachment are free and rest.
    Release {
        /// The attachment.
        attachment: AttachmentId,
        /// When.
        at: Uptime,
    },
    /// An address rests (in snapshots, and for addresses found in the kernel without a pod).
    Rest {
        /// The address.
        address: IpAddr,
        /// Since when.
        since: Uptime,
    },
    /// Blocks were made to agree with a View of this revision: older ones say nothing of them.
    Seen {
        /// The revision.
        revision: Revision,
    },
    /// How a pod is asked whether it is ready.
    Probed {
        /// Its attachment.
        attachment: AttachmentId,
        /// How.
        probes: Box<Probes>,
    },
    /// What a pod's answers amount to. Written with the next entry: it can be asked again.
    Judged {
        /// Its attachment.
        attachment: AttachmentId,
        /// Whether it is ready.
        ready: bool,
    },
    /// A pod is about to end.
    Draining {
        /// Its attachment.
        attachment: AttachmentId,
        /// It is removed then.
        until: Uptime,
    },
}
