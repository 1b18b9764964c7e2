//! Logs go to stderr: text on a terminal, one `key=value` line otherwise, JSON when asked for.

use std::{
    env, fmt,
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::Error;

/// Environment variable that holds the filter, for example `debug` or `info,weft_server=trace`.
const FILTER_VARIABLE: &str = "WEFT_LOG";

/// Quiet at rest: libraries say only what is wrong. gotatun's device says an error per packet to a peer without endpoint;
/// what ends it weft-tunnel reports itself.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,hyper_util=warn,tonic=warn,rustls=warn,tower=warn,\
    raft=warn,raft_engine=warn,sled=warn,gotatun=warn,gotatun::device=off";

/// Form of the log lines (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, `key=value` lines otherwise.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown log format {text:?}: use text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Installs the process's logger. A second call in one process has no effect.
///
/// Fails with [`Error::LogFilter`] when `WEFT_LOG` can't be understood.
pub fn init_logs(component: &'static str, format: LogFormat) -> Result<(), Error> {
    let filter = parse_filter(&env::var(FILTER_VARIABLE).unwrap_or_default())?;
    let terminal = io::stderr().is_terminal();
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
        }
        LogFormat::Text if terminal => tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(env::var_os("NO_COLOR").is_none())
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .event_format(KeyValue { component })
            .with_ansi(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    // An error means that a logger is there already: tests of one process do that.
    let _already = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}

fn parse_filter(text: &str) -> Result<EnvFilter, Error> {
    let text = if text.is_empty() { DEFAULT_FILTER } else { text };
    EnvFilter::try_new(text)
        .map_err(|error| Error::LogFilter { text: text.to_owned(), why: error.to_string() })
}

/// One line of `key=value` pairs per event, values quoted where needed.
struct KeyValue {
    component: &'static str,
}

impl<S, N> FormatEvent<S, N> for KeyValue
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(writer, " level={level} component={} target={}", self.component, metadata.target())?;
        let mut pairs = Pairs { line: String::new() };
        event.record(&mut pairs);
        writeln!(writer, "{}", pairs.line)
    }
}

/// Collects the fields of one event.
struct Pairs {
    line: String,
}

impl Pairs {
    fn push(&mut self, name: &str, value: &str) {
        let plain = !value.is_empty()
            && value.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\'));
        self.line.push(' ');
        self.line.push_str(name);
        self.line.push('=');
        if plain {
            self.line.push_str(value);
        } else {
            // Escapes line breaks and quotes: one event stays one line.
            self.line.push_str(&format!("{value:?}"));
        }
    }
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_of_pairs() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(KeyValue { component: "weftd" })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(node = "n1", revision = 7, why = "a\nb", "node joined");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("time=") && text.contains(" level=info component=weftd target="), "{text}");
        assert!(text.ends_with(" message=\"node joined\" node=n1 revision=7 why=\"a\\nb\"\n"), "{text}");
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = parse_filter("weft=loud").unwrap_err();
        assert!(error.to_string().contains("weft=loud"), "{error}");
        assert!(parse_filter("").is_ok() && parse_filter("debug,h2=off").is_ok());
    }
}
