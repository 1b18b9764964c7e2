//! `capture`: frames of one interface as lines, or into a file.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{Which, print, progress};
use crate::capture::decode::{Frame, frame};
use crate::capture::filter::Filter;
use crate::capture::pcapng::Writer;
use crate::capture::sniff::Tap;
use crate::capture::verdict::describe;
use crate::client::Client;
use crate::enter::{Depth, enter, find};
use crate::fault::Link;
use crate::plan::Machine;
use crate::protocol::{Description, Place};
use crate::record::Record;
use crate::{Refusal, Result};

/// `cargo lab capture`.
#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// A machine (its own link, or --interface), a pod, or a path between two machines: n1-n2
    place: String,
    /// Interface on the machine, for example weftbr0
    #[arg(short, long)]
    interface: Option<String>,
    /// Write pcapng here instead of printing lines
    #[arg(short, long)]
    write: Option<PathBuf>,
    /// End after so many frames
    #[arg(short, long)]
    count: Option<u64>,
    /// End after this time: 500ms, 5s, 2m
    #[arg(long = "for", value_parser = span)]
    span: Option<Duration>,
    #[command(flatten)]
    which: Which,
    /// host A, net CIDR, port N, proto P, and, or, not
    #[arg(last = true)]
    filter: Vec<String>,
}

impl Capture {
    pub(crate) fn run(self) -> Result {
        let filter = Filter::parse(&self.filter)?;
        let layout = self.which.layout()?;
        let client = Client::open(layout.clone())?;
        let (description, lifeline) = (client.describe()?, client.lifeline()?);
        let (place, interface, partner) = self.target(&description)?;
        let mut file = self.write.as_ref().map(|path| Writer::create(path, &interface)).transpose()?;
        enter(&Record::read(&layout)?, &description, &place, Depth::Links)?;
        let tap = Tap::open(&interface)?;
        let end = self.span.map(|span| Instant::now() + span);
        // What captures keeps the lab's namespaces alive: it must end with the lab.
        let over = || end.is_some_and(|end| Instant::now() >= end) || lifeline.is_cut();
        let mut frames = 0;
        let missed = tap.run(&over, |at, bytes| {
            let Some(seen) = frame(bytes) else { return Ok(!over()) };
            if filter.matches(&seen) && partner.as_ref().is_none_or(|p| concerns(p, &seen, bytes)) {
                frames += 1;
                match &mut file {
                    Some(writer) => {
                        writer.frame(at, bytes)?;
                        writer.flush()?;
                    }
                    None => print(format_args!("{} {}", clock(at), describe(&seen)))?,
                }
            }
            Ok(!over() && self.count.is_none_or(|count| frames < count))
        })?;
        let missed = if missed > 0 { format!(", {missed} missed") } else { String::new() };
        let ended = if lifeline.is_cut() { "; the lab has ended" } else { "" };
        progress(&format!("{frames} frames{missed}{ended}"));
        Ok(())
    }

    /// Where to capture: place, interface, and the machine at the other end of a path.
    fn target(&self, description: &Description) -> Result<(Place, String, Option<Machine>)> {
        if let Ok(place) = find(description, &self.place) {
            let own = description.machines.iter().find(|m| place == Place::Machine(m.machine.name.clone()));
            // What a virtual machine's link carries is seen at its other end, the switch.
            if self.interface.is_none() && own.is_some_and(|m| m.is_virtual) {
                return Ok((Place::Switch, self.place.trim_start_matches("node/").to_owned(), None));
            }
            let interface = self.interface.clone().unwrap_or_else(|| "eth0".to_owned());
            return Ok((place, interface, None));
        }
        let unknown = || Refusal::NotFound(format!("the lab has no machine, pod or link {:?}", self.place));
        let Link { a, b: Some(b) } = Link::parse(&self.place)? else { return Err(unknown().into()) };
        let machine = |name: &str| description.plan.machine(name).cloned().ok_or_else(unknown);
        machine(&a)?;
        Ok((Place::Switch, a, Some(machine(&b)?)))
    }
}

/// Whether a frame on one machine's link comes from or goes to `partner`.
fn concerns(partner: &Machine, frame: &Frame<'_>, bytes: &[u8]) -> bool {
    let mac = partner.mac_bytes();
    let by_address = |p: &crate::capture::decode::Packet<'_>| {
        partner.addresses().iter().any(|a| *a == p.source || *a == p.destination)
    };
    bytes[..6] == mac || bytes[6..12] == mac || frame.packet.as_ref().is_some_and(by_address)
}

/// Time of day in UTC, to the microsecond.
fn clock(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, since.subsec_micros())
}

fn span(text: &str) -> core::result::Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().map_err(|_| format!("{text:?} isn't a time such as 500ms or 5s"))?;
    match &text[at..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("{text:?} isn't a time such as 500ms or 5s")),
    }
}
