//! Packets on the links: taken from the kernel, kept in files, judged and shown.

pub mod decode;
pub mod filter;
pub mod pcapng;
pub mod sniff;
pub mod verdict;

use std::path::Path;

use crate::Result;

/// Judges every frame of the files together.
pub fn judge<'a>(
    files: impl IntoIterator<Item = &'a Path>,
    wanted: verdict::Wanted,
) -> Result<verdict::Verdict> {
    let mut judge = verdict::Judge::new(wanted);
    for file in files {
        for record in pcapng::read(file)? {
            judge.frame(&record.bytes);
        }
    }
    Ok(judge.end())
}
