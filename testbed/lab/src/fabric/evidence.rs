//! Captures as evidence: on every underlay link at once, or on one interface of a machine.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::bail;

use super::Fabric;
use crate::capture::verdict::{Verdict, Wanted};
use crate::capture::{judge, pcapng};
use crate::client::unexpected;
use crate::probe::MARKER;
use crate::protocol::{Captured, Place, Request, Response};
use crate::{Result, client};

/// A capture of one interface.
#[derive(Debug)]
pub struct Capture {
    client: client::Client,
    number: u64,
    /// The file that it fills.
    pub file: PathBuf,
}

/// A capture of every underlay link.
#[derive(Debug)]
pub struct SwitchCapture {
    parts: Vec<Capture>,
}

impl Fabric {
    /// Starts to capture `interface` at `place` into a file named `label`.
    pub fn capture(&self, place: Place, interface: &str, label: &str) -> Result<Capture> {
        let file = self.client.layout().captures().join(format!("{label}.pcapng"));
        let response = self.client.call(&Request::Capture(place, interface.to_owned(), file.clone()))?;
        let Response::Capturing(number) = response else { return Err(unexpected(&response)) };
        Ok(Capture { client: self.client.clone(), number, file })
    }

    /// Starts to capture the links of these machines, at the switch.
    pub fn capture_links(&self, machines: &[String], label: &str) -> Result<SwitchCapture> {
        let each = machines.iter().map(|m| self.capture(Place::Switch, m, &format!("{label}-{m}")));
        Ok(SwitchCapture { parts: each.collect::<Result<_>>()? })
    }
}

impl Capture {
    /// Ends it.
    pub fn stop(&self) -> Result<Captured> {
        let response = self.client.call(&Request::CaptureEnd(self.number))?;
        let Response::Captured(captured) = response else { return Err(unexpected(&response)) };
        Ok(captured)
    }

    /// Ends it and reads the frames.
    pub fn frames(&self) -> Result<Vec<pcapng::Record>> {
        self.stop()?;
        pcapng::read(&self.file)
    }
}

impl SwitchCapture {
    /// Ends it and judges all frames: addresses of pods, the marker, and everything that has no business there.
    /// Fails when nothing was captured: then it proves nothing.
    pub fn judge(self, addresses: &[IpAddr]) -> Result<(Verdict, Captured)> {
        let mut sum = Captured::default();
        for part in &self.parts {
            let captured = part.stop()?;
            sum.frames += captured.frames;
            sum.missed += captured.missed;
        }
        let wanted = Wanted { addresses: addresses.to_vec(), marker: MARKER.to_vec() };
        let verdict = judge(self.parts.iter().map(|part| part.file.as_path()), wanted)?;
        if verdict.frames == 0 {
            bail!("the capture is empty: it proves nothing");
        }
        Ok((verdict, sum))
    }
}
