//! Wrong use of the command line as an error with a code: what was wrong, what was meant, where help is.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use weft_errors::{Error, Remedy, USAGE};

use crate::args::tree;

/// What clap found; `None` when nothing was wrong and help or version was asked for.
pub(crate) fn error_of(found: &clap::Error, arguments: &[OsString]) -> Option<Error> {
    let kind = found.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    if matches!(kind, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
        return Some(Error::new(&USAGE, "no command was given").try_this("see the commands", "weft --help"));
    }
    let mut error = Error::new(&USAGE, message(found));
    error.remedy = suggestion(found).into_iter().collect();
    error.remedy.push(Remedy {
        text: "see its arguments".to_owned(),
        command: format!("{} --help", command_of(arguments)),
    });
    Some(error)
}

/// The first paragraph of clap's text, on one line.
fn message(found: &clap::Error) -> String {
    let text = found.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let line = words.join(" ");
    line.strip_prefix("error: ").map(str::to_owned).unwrap_or(line)
}

fn suggestion(found: &clap::Error) -> Option<Remedy> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let word = kinds.into_iter().find_map(|kind| {
        let value = found.get(kind)?;
        if let ContextValue::String(word) = value {
            return Some(word.clone());
        }
        if let ContextValue::Strings(words) = value { words.first().cloned() } else { None }
    })?;
    Some(Remedy { text: format!("did you mean {word}?"), command: String::new() })
}

/// The command as far as it was understood: `weft node show`.
fn command_of(arguments: &[OsString]) -> String {
    let tree = tree();
    let (mut command, mut path) = (&tree, "weft".to_owned());
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(sub) = command.find_subcommand(word) {
            command = sub;
            path += &format!(" {}", sub.get_name());
        }
    }
    path
}

/// Whether `-o json` was asked for, by a command line that can't be read otherwise.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let given = words.iter().enumerate().find_map(|(i, word)| {
        let joined =
            word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o").filter(|v| !v.is_empty()));
        match *word {
            "-o" | "--output" => words.get(i + 1).copied(),
            _ => joined.map(|value| value.trim_start_matches('=')),
        }
    });
    match given {
        Some(format) => format == "json",
        None => std::env::var("WEFT_OUTPUT").is_ok_and(|format| format == "json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    fn check(line: &str, message: &str, suggested: Option<&str>, help: &str) {
        let words = words(line);
        let Err(found) = Cli::read(&words) else { panic!("{line} can be read") };
        let Some(error) = error_of(&found, &words) else { panic!("{line} asks for help") };
        assert!(error.code == "W0001" && error.message.contains(message), "{line}: {error}");
        let remedies: Vec<&str> = error.remedy.iter().map(|r| r.text.as_str()).collect();
        match suggested {
            Some(word) => {
                assert_eq!(remedies.first(), Some(&format!("did you mean {word}?").as_str()), "{line}")
            }
            None => assert_eq!(remedies.len(), 1, "{line}: {remedies:?}"),
        }
        assert_eq!(error.remedy.last().map(|r| r.command.as_str()), Some(help), "{line}");
    }

    #[test]
    fn wrong_use_says_what_was_wrong_and_what_was_meant() {
        check("weft statsu", "unrecognized subcommand 'statsu'", Some("status"), "weft --help");
        check(
            "weft get pods --outpt json",
            "unexpected argument '--outpt'",
            Some("--output"),
            "weft get --help",
        );
        check("weft get", "required arguments were not provided: <KIND>", None, "weft get --help");
        check("weft get pods -o jsom", "invalid value 'jsom'", Some("json"), "weft get --help");
        check(
            "weft token create --role king",
            "use node, replica, admin or viewer",
            None,
            "weft token create --help",
        );
        check("weft token create --ttl 10s", "a token lives 1m to 24h", None, "weft token create --help");
        check("weft ipam who here", "invalid IP address", None, "weft ipam who --help");
        check("weft get pods web-0 -l app=web", "cannot be used with", None, "weft get --help");
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["weft --help", "weft get --help", "weft --version"] {
            let words = words(line);
            assert!(Cli::read(&words).is_err_and(|found| error_of(&found, &words).is_none()), "{line}");
        }
    }

    #[test]
    fn json_is_recognised_in_every_spelling() {
        for line in [
            "weft x -o json",
            "weft -ojson x",
            "weft x --output json",
            "weft --output=json x",
            "weft -o=json",
        ] {
            assert!(wants_json(&words(line)), "{line}");
        }
        for line in ["weft x -o yaml", "weft json", "weft x -o"] {
            assert!(!wants_json(&words(line)), "{line}");
        }
    }
}
