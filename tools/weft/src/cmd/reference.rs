//! `weft reference errors|cli`: the pages of docs/reference, so that they can't drift from the binary.

use std::fmt::Write;

use weft_errors::ALL;

use crate::{
    args::tree,
    fail::{Failure, Outcome},
    output::out,
};

/// Prints one page.
pub(crate) fn run(page: &str) -> Outcome {
    let text = match page {
        "errors" => errors(),
        "cli" => cli(),
        _ => {
            return Err(Failure::new(
                &weft_errors::USAGE,
                format!("there is no page {page:?}: errors or cli"),
            ));
        }
    };
    out(&text);
    Ok(())
}

fn errors() -> String {
    let mut text = "# Error codes\n\nGenerated from the table in `proto/errors`; `weft explain W2203` shows one of them.\n".to_owned();
    for code in ALL {
        let retry = if code.retryable { ", may be retried" } else { "" };
        let exit = code.exit as u8;
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n## {code} {}\n\n{}.\n\n- Usual cause: {}.\n- What to do: {}.\n- Exit status {exit}{retry}.\n",
            code.reason, code.summary, code.causes, code.remedy
        );
    }
    text
}

fn cli() -> String {
    let mut root = tree().term_width(100);
    root.build();
    let mut text = "# weft\n\nGenerated from the program's own help.\n".to_owned();
    section(&mut root, "weft", &mut text);
    text
}

fn section(command: &mut clap::Command, path: &str, text: &mut String) {
    let help: String =
        command.render_long_help().to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let _ = write!(text, "\n## {path}\n\n```\n{help}```\n");
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        if let Some(sub) = command.find_subcommand_mut(&name) {
            section(sub, &format!("{path} {name}"), text);
        }
    }
}
