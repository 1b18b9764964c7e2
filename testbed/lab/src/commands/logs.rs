//! `logs`: what the services of a lab wrote, merged by time; also of a lab that has ended.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::{Which, print};
use crate::{Refusal, Result, wait};

/// `cargo lab logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Only this machine's
    machine: Option<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

impl Logs {
    pub(crate) fn run(self) -> Result {
        let mut read = BTreeMap::new();
        let first = self.news(&mut read)?;
        if read.is_empty() {
            bail!(Refusal::NotFound(format!("no logs in {}", self.which.layout()?.logs().display())));
        }
        show(first)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            wait::pass(Duration::from_millis(200));
            show(self.news(&mut read)?)?;
        }
    }

    /// Lines written since the last call, by file.
    fn news(&self, read: &mut BTreeMap<PathBuf, u64>) -> Result<Vec<Line>> {
        let folder = self.which.layout()?.logs();
        let mut lines = Vec::new();
        let entries = std::fs::read_dir(&folder)
            .map_err(|_| Refusal::NotFound(format!("no logs in {}", folder.display())))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (machine, service) = stem.split_once('.').unwrap_or((&stem, ""));
            if self.machine.as_deref().is_some_and(|wanted| wanted != machine) {
                continue;
            }
            let from = read.entry(path.clone()).or_default();
            let mut text = Vec::new();
            let mut file = std::fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
            file.seek(SeekFrom::Start(*from))?;
            file.read_to_end(&mut text)?;
            let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            *from += whole as u64;
            let mut time = String::new();
            for line in String::from_utf8_lossy(&text[..whole]).lines() {
                // A line without a time belongs to the one before.
                if let Some(own) = time_of(line) {
                    time = own.to_owned();
                }
                let source = format!("{machine} {service}");
                lines.push(Line { time: time.clone(), source, text: line.to_owned() });
            }
        }
        Ok(lines)
    }
}

struct Line {
    time: String,
    source: String,
    text: String,
}

fn show(mut lines: Vec<Line>) -> Result {
    lines.sort_by(|a, b| a.time.cmp(&b.time));
    lines.iter().try_for_each(|line| print(format_args!("{:<14} {}", line.source, line.text)))
}

/// The RFC 3339 time that a line begins with, also as the first field of a JSON line.
fn time_of(line: &str) -> Option<&str> {
    let start = line.find(|c: char| c.is_ascii_digit())?;
    let rest = &line[start..];
    let time = rest.split([' ', '"']).next()?;
    let stamped = start <= 14 && time.len() >= 20 && time.as_bytes().get(10) == Some(&b'T');
    stamped.then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_placed_by_its_own_time() {
        let time = "2025-11-24T05:37:00.123456Z";
        assert_eq!(time_of(&format!("{time}  INFO started")), Some(time));
        assert_eq!(time_of(&format!("{{\"timestamp\":\"{time}\",\"level\":\"INFO\"}}")), Some(time));
        assert_eq!(time_of("# lab: agent ended: exit status: 0"), None);
        assert_eq!(time_of("   at 10 of something"), None);
    }
}
