//! `down`: ends labs and proves that nothing of them remains.

use anyhow::bail;
use clap::Args;

use super::{print, progress};
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
            let (name, was_there) = (layout.name().to_owned(), layout.record().is_file());
            let left = substrate::stop(&layout)?;
            match (left.is_empty(), was_there) {
                (true, true) => {
                    print(format_args!("lab {name} is down: nothing of it remains but its logs"))?
                }
                (true, false) => print(format_args!("there is no lab {name}"))?,
                (false, _) => remains = true,
            }
            left.iter().for_each(|left| progress(&format!("lab {name}: {left} remains")));
        }
        if remains { bail!(Refusal::Ended(1)) } else { Ok(()) }
    }
}
