//! `weft explain CODE|KIND[.FIELD]`: the table of codes and the fields of kinds, offline.

use serde_json::{Value, json};
use weft_errors::{ALL, Code, Error, NOT_FOUND};

use super::{
    Run, did_you_mean,
    kinds::{Shown, kind_of},
    schema::{FieldHelp, KINDS, KindHelp},
};
use crate::{
    args::Explain,
    fail::Outcome,
    table::{Style, at, column, render},
};

/// One code, one kind or field, or all codes as a list.
pub(crate) fn run(args: &Explain, run: &Run) -> Outcome {
    let Some(wanted) = &args.what else {
        codes(run);
        return Ok(());
    };
    let named = |code: &&&Code| {
        code.to_string().eq_ignore_ascii_case(wanted) || code.reason.eq_ignore_ascii_case(wanted)
    };
    if let Some(code) = ALL.iter().find(named) {
        run.printer.value(&code_value(code), &code_screen(code));
        return Ok(());
    }
    let (name, path) = wanted.split_once('.').unwrap_or((wanted, ""));
    let short = kind_of(name).map_or("", Shown::singular);
    let called = |kind: &&KindHelp| {
        kind.name.eq_ignore_ascii_case(name)
            || kind.name.eq_ignore_ascii_case(short)
            || weft_model::plural(kind.name).eq_ignore_ascii_case(name)
    };
    let Some(kind) = KINDS.iter().find(called) else { return Err(unknown(wanted).into()) };
    let fields: Vec<&FieldHelp> = kind.fields.iter().filter(|field| is_below(field.path, path)).collect();
    if fields.is_empty() {
        return Err(unknown(wanted).into());
    }
    let rows: Vec<Value> =
        fields.iter().map(|f| json!({"path": f.path, "form": f.form, "text": f.text})).collect();
    let value = json!({"kind": "Explanation", "metadata": {"name": kind.name}, "summary": kind.summary, "writer": kind.writer, "fields": rows});
    run.printer.value(&value, &kind_screen(kind, &rows));
    Ok(())
}

/// `spec.ranges.pods` is below `spec.ranges`, and below nothing in particular.
fn is_below(field: &str, path: &str) -> bool {
    path.is_empty() || field == path || field.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}

fn codes(run: &Run) {
    let items: Vec<Value> = ALL.iter().map(|code| code_value(code)).collect();
    let columns = [
        column("CODE", |v| at(v, "/code")),
        column("REASON", |v| at(v, "/reason")),
        column("SUMMARY", |v| at(v, "/summary")),
    ];
    run.printer.list(&json!({"kind": "CodeList", "items": items}), &columns);
}

fn unknown(wanted: &str) -> Error {
    let error = Error::new(&NOT_FOUND, format!("{wanted:?} is no code, kind or field of this version"))
        .try_this("list the codes; the kinds are those of weft get", "weft explain");
    let paths = KINDS.iter().flat_map(|kind| {
        kind.fields.iter().map(|field| format!("{}.{}", kind.name.to_lowercase(), field.path))
    });
    let known: Vec<String> = KINDS
        .iter()
        .map(|kind| kind.name.to_lowercase())
        .chain(paths)
        .chain(ALL.iter().map(|code| code.reason.to_owned()))
        .collect();
    did_you_mean(error, wanted, known.iter().map(String::as_str))
}

fn kind_screen(kind: &KindHelp, rows: &[Value]) -> String {
    let columns = [
        column("FIELD", |v| format!("  {}", at(v, "/path"))),
        column("FORM", |v| at(v, "/form")),
        column("MEANING", |v| at(v, "/text")),
    ];
    let style = Style { wide: true, no_headers: true };
    format!("{}   {}\n{}\n\n{}", kind.name, kind.summary, kind.writer, render(&columns, rows, style))
}

fn code_screen(code: &Code) -> String {
    format!(
        "{code} {}\n{}\n\nusual cause  {}\nwhat to do   {}\nexit status  {}\nretryable    {}\n",
        code.reason,
        code.summary,
        code.causes,
        code.remedy,
        code.exit as u8,
        if code.retryable { "yes" } else { "no" }
    )
}

fn code_value(code: &Code) -> Value {
    json!({
        "kind": "Code",
        "metadata": {"name": code.to_string()},
        "code": code.to_string(),
        "reason": code.reason,
        "summary": code.summary,
        "cause": code.causes,
        "remedy": code.remedy,
        "exit": code.exit as u8,
        "retryable": code.retryable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_itself_and_what_is_below() {
        for (field, path, holds) in [
            ("spec.ranges.pods", "", true),
            ("spec.ranges.pods", "spec.ranges", true),
            ("spec.ranges.pods", "spec.ranges.pods", true),
            ("spec.ranges.pods", "spec.range", false),
        ] {
            assert_eq!(is_below(field, path), holds, "{field} {path}");
        }
    }

    #[test]
    fn an_unknown_word_comes_with_a_near_one() {
        let near = |word: &str| unknown(word).remedy[0].text.clone();
        assert_eq!(near("fabrik"), "did you mean fabric?");
        assert_eq!(near("fabric.spec.famlies"), "did you mean fabric.spec.families?");
        assert_eq!(near("RangeOverlp"), "did you mean RangeOverlap?");
        assert!(near("zzz").starts_with("list the codes"));
    }
}
