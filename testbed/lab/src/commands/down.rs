//! `down`: ends labs and proves that nothing of them remains.

use anyhow::bail;
use clap::Args;

use super::progress;
use crate::layout::Layout;
use crate::{Refusal, Result, substrate};

/// `cargo lab down`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The lab
    #[arg(env = "WEFT_LAB", default_value = "default", conflicts_with = "all")]
    name: String,
    /// Every lab
    #[arg(long)]
    all: bool,
}

impl Down {
    pub(crate) fn run(self) -> Result {
        let layouts = if self.all { Layout::all()? } else { vec![Layout::of(&self.name)?] };
        let mut remains = false;
        for layout in layouts {
            for left in substrate::stop(&layout)? {
                remains = true;
                progress(&format!("lab {}: {left} remains", layout.name()));
            }
        }
        if remains { bail!(Refusal::Ended(1)) } else { Ok(()) }
    }
}
