//! Probes as they are typed: `tcp:8080`, `http:8080/ready,period=1s`, `grpc:50051/shop`.

use std::time::Duration;

use weft_model::{Probe, ProbeHandler};

use super::value::duration;

/// Reads a probe; what isn't said is as Kubernetes has it.
pub(super) fn probe(text: &str) -> Result<Probe, String> {
    let mut parts = text.split(',');
    let mut probe = Probe {
        handler: handler(parts.next().unwrap_or_default())?,
        initial_delay_ms: 0,
        period_ms: 10_000,
        timeout_ms: 1000,
        success_threshold: 1,
        failure_threshold: 3,
    };
    for part in parts {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} isn't KEY=VALUE"))?;
        match key {
            "delay" => probe.initial_delay_ms = milliseconds(value)?,
            "period" => probe.period_ms = milliseconds(value)?,
            "timeout" => probe.timeout_ms = milliseconds(value)?,
            "successes" => probe.success_threshold = count(value)?,
            "failures" => probe.failure_threshold = count(value)?,
            _ => return Err(format!("unknown {key:?}: use delay, period, timeout, successes, failures")),
        }
    }
    Ok(probe)
}

fn handler(text: &str) -> Result<ProbeHandler, String> {
    let wrong = || format!("{text:?} isn't tcp:PORT, http:PORT/PATH, https:PORT/PATH or grpc:PORT/SERVICE");
    let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (port, path) = rest.split_at(at);
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    match kind {
        "tcp" if path.is_empty() => Ok(ProbeHandler::Tcp { port }),
        "http" | "https" => {
            let path = if path.is_empty() { "/" } else { path }.to_owned();
            let (host, headers) = (String::new(), Vec::new());
            Ok(ProbeHandler::Http { port, path, tls: kind == "https", host, headers })
        }
        "grpc" => Ok(ProbeHandler::Grpc { port, service: path.trim_start_matches('/').to_owned() }),
        _ => Err(wrong()),
    }
}

fn milliseconds(text: &str) -> Result<u32, String> {
    let long = |_| format!("{text:?} is too long");
    duration(text).and_then(|time: Duration| u32::try_from(time.as_millis()).map_err(long))
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("{text:?} isn't a number from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(port: u16, path: &str, tls: bool) -> ProbeHandler {
        ProbeHandler::Http { port, path: path.to_owned(), tls, host: String::new(), headers: Vec::new() }
    }

    #[test]
    fn probes_are_read_as_they_are_typed() {
        let check = |text: &str, expected: ProbeHandler| {
            assert_eq!(probe(text).map(|probe| probe.handler), Ok(expected), "{text}");
        };
        check("tcp:8080", ProbeHandler::Tcp { port: 8080 });
        check("http:80", http(80, "/", false));
        check("http:80/ready?full=1", http(80, "/ready?full=1", false));
        check("https:8443/ready", http(8443, "/ready", true));
        check("grpc:50051", ProbeHandler::Grpc { port: 50051, service: String::new() });
        check("grpc:50051/shop.v1", ProbeHandler::Grpc { port: 50051, service: "shop.v1".to_owned() });
        let full = probe("tcp:1,delay=5s,period=500ms,timeout=250ms,successes=2,failures=4").unwrap();
        let numbers = (full.initial_delay_ms, full.period_ms, full.timeout_ms);
        assert_eq!(numbers, (5000, 500, 250));
        assert_eq!((full.success_threshold, full.failure_threshold), (2, 4));
    }

    #[test]
    fn what_is_no_probe_is_refused_in_words() {
        for text in
            ["", "tcp", "tcp:0", "tcp:70000", "tcp:80/x", "udp:53", "http:/x", "tcp:80,period", "tcp:80,x=1"]
        {
            assert!(probe(text).is_err(), "{text}");
        }
        assert!(probe("tcp:80,failures=0").unwrap_err().contains("from 1"));
    }
}
