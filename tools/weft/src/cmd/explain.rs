//! `weft explain CODE`: the table of codes, offline.

use serde_json::{Value, json};
use weft_errors::{ALL, Code, Error, NOT_FOUND};

use super::Run;
use crate::{
    args::Explain,
    fail::Outcome,
    table::{at, column},
};

/// One code, or all of them as a list.
pub(crate) fn run(args: &Explain, run: &Run) -> Outcome {
    let Some(wanted) = &args.code else {
        let items: Vec<Value> = ALL.iter().map(|code| value(code)).collect();
        let columns = [
            column("CODE", |v| at(v, "/code")),
            column("REASON", |v| at(v, "/reason")),
            column("SUMMARY", |v| at(v, "/summary")),
        ];
        run.printer.list(&json!({"kind": "CodeList", "items": items}), &columns);
        return Ok(());
    };
    let Some(code) = ALL.iter().find(|code| {
        code.to_string().eq_ignore_ascii_case(wanted) || code.reason.eq_ignore_ascii_case(wanted)
    }) else {
        return Err(Error::new(&NOT_FOUND, format!("{wanted:?} is no code of this version"))
            .try_this("list the codes", "weft explain")
            .into());
    };
    let text = format!(
        "{code} {}\n{}\n\nusual cause  {}\nwhat to do   {}\nexit status  {}\nretryable    {}\n",
        code.reason,
        code.summary,
        code.causes,
        code.remedy,
        code.exit as u8,
        if code.retryable { "yes" } else { "no" }
    );
    run.printer.value(&value(code), &text);
    Ok(())
}

fn value(code: &Code) -> Value {
    json!({
        "kind": "Code",
        "code": code.to_string(),
        "reason": code.reason,
        "summary": code.summary,
        "cause": code.causes,
        "remedy": code.remedy,
        "exit": code.exit as u8,
        "retryable": code.retryable,
    })
}
