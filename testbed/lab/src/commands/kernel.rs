//! `kernel`: fetches what virtual machines boot.

use super::print;
use crate::Result;
use crate::vm::fetch;

pub(crate) fn run() -> Result {
    let kernel = fetch()?;
    print(format_args!("kernel {} for virtual machines: {}", kernel.version(), kernel.image.display()))
}
