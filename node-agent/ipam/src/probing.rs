//! Probes as bytes of a journal entry.

use weft_model::{Probe, ProbeHandler, Probes};

use crate::codec::{Reader, Why, Writer};

pub(crate) fn write(out: &mut Writer, probes: &Probes) {
    for probe in [&probes.readiness, &probes.startup] {
        out.u8(u8::from(probe.is_some()));
        if let Some(probe) = probe {
            write_probe(out, probe);
        }
    }
}

pub(crate) fn read(input: &mut Reader<'_>) -> Result<Probes, Why> {
    let mut next = || match input.u8()? {
        0 => Ok(None),
        1 => read_probe(input).map(Some),
        _ => Err("a probe is there or not"),
    };
    Ok(Probes { readiness: next()?, startup: next()? })
}

fn write_probe(out: &mut Writer, probe: &Probe) {
    let Probe { handler, initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold } =
        probe;
    match handler {
        ProbeHandler::Tcp { port } => {
            out.u8(0);
            out.u64((*port).into());
        }
        ProbeHandler::Http { port, path, tls, host, headers } => {
            out.u8(1);
            out.u64((*port).into());
            out.text(path);
            out.u8(u8::from(*tls));
            out.text(host);
            out.length(headers.len());
            for (name, value) in headers {
                out.text(name);
                out.text(value);
            }
        }
        ProbeHandler::Grpc { port, service } => {
            out.u8(2);
            out.u64((*port).into());
            out.text(service);
        }
    }
    for number in [initial_delay_ms, period_ms, timeout_ms, success_threshold, failure_threshold] {
        out.u64((*number).into());
    }
}

fn read_probe(input: &mut Reader<'_>) -> Result<Probe, Why> {
    let kind = input.u8()?;
    let port = u16::try_from(input.u64()?).map_err(|_| "a port is too large")?;
    let handler = match kind {
        0 => ProbeHandler::Tcp { port },
        1 => {
            let path = input.text()?;
            let tls = input.u8()? != 0;
            let host = input.text()?;
            let mut headers = Vec::new();
            for _ in 0..input.length()? {
                let name = input.text()?;
                headers.push((name, input.text()?));
            }
            ProbeHandler::Http { port, path, tls, host, headers }
        }
        2 => ProbeHandler::Grpc { port, service: input.text()? },
        _ => return Err("its probe is of an unknown kind"),
    };
    let mut number = || u32::try_from(input.u64()?).map_err(|_| "a number of a probe is too large");
    Ok(Probe {
        handler,
        initial_delay_ms: number()?,
        period_ms: number()?,
        timeout_ms: number()?,
        success_threshold: number()?,
        failure_threshold: number()?,
    })
}
