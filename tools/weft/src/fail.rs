//! How a command ends: exit status, and errors with their four parts.

use std::io::{IsTerminal, Write};

use weft_errors::{Code, Coded, Error, ExitCode};

/// Why a command doesn't end with 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error to print.
    Error(Box<Error>),
    /// The answer was printed already and is no (or partial, or late).
    Answer(ExitCode),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

impl Failure {
    /// An error of a code.
    pub(crate) fn new(code: &Code, message: impl Into<String>) -> Self {
        Error::new(code, message).into()
    }

    /// An error of a crate.
    pub(crate) fn of(error: &dyn Coded) -> Self {
        error.envelope().into()
    }

    /// Exit status of the process.
    pub(crate) fn exit(&self) -> ExitCode {
        match self {
            Self::Error(error) => error.registered().exit,
            Self::Answer(code) => *code,
        }
    }

    /// Prints what there is to print: one document on stdout for JSON, text on stderr otherwise.
    pub(crate) fn print(&self, json: bool, color: bool) {
        let Self::Error(error) = self else { return };
        // A closed output is the reader's choice.
        let _ = if json {
            let text = serde_json::to_string_pretty(error).unwrap_or_else(|e| e.to_string());
            writeln!(std::io::stdout().lock(), "{text}")
        } else if std::io::stderr().is_terminal() {
            write!(anstream::stderr().lock(), "{}", blocks(error, color))
        } else {
            writeln!(std::io::stderr().lock(), "{error}")
        };
    }
}

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// The form for people: a headline and a line per part.
fn blocks(error: &Error, color: bool) -> String {
    let (on, off) = if color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = format!("{on}error[{}]{off}: {}\n", error.code, error.message);
    if let Some(object) = &error.object {
        text += &format!("  object   {object}\n");
    }
    if !error.field.is_empty() {
        text += &format!("  at       {}\n", error.field);
    }
    for cause in &error.cause {
        text += &format!("  because  {cause}\n");
    }
    for remedy in &error.remedy {
        let command =
            if remedy.command.is_empty() { String::new() } else { format!("    ({})", remedy.command) };
        text += &format!("  try      {}{command}\n", remedy.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use weft_errors::RANGE_OVERLAP;

    use super::*;

    #[test]
    fn an_error_shows_its_four_parts_and_its_exit_code() {
        let error = Error::new(&RANGE_OVERLAP, "pod range 10.0.0.0/8 overlaps service range 10.1.0.0/16")
            .object("fabric", "", "main")
            .field("spec.ranges.pods[0]")
            .because("both were given")
            .try_this("choose another", "weft apply -f fabric.yaml");
        let text = blocks(&error, false);
        for part in [
            "error[W2203]: pod range",
            "object   fabric/main",
            "at       spec.ranges.pods[0]",
            "because  both",
            "try      choose another    (weft apply",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(Failure::from(error).exit(), ExitCode::Refused);
    }
}
