//! What is printed, and the exit status.

use std::{io::Write, process::ExitCode};

use serde_json::Value;
use weft_errors::Error;

use crate::args::Format;

/// Prints a result: the JSON document, or the text for people. A closed output is the reader's choice.
pub(crate) fn print(format: Format, value: &Value, text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = match format {
        Format::Text => writeln!(out, "{text}"),
        Format::Json => writeln!(out, "{value:#}"),
    };
}

/// Prints an error where it belongs, and gives the status of the process.
pub(crate) fn end(outcome: Result<(), Error>, format: Format) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&error).unwrap_or_else(|e| e.to_string());
            writeln!(std::io::stdout().lock(), "{text}")
        }
        Format::Text => writeln!(std::io::stderr().lock(), "{error}"),
    };
    ExitCode::from(error.registered().exit as u8)
}
