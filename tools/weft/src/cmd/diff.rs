//! `weft diff -f FILE`: what `weft apply` of the same files would change, object by object and for who reaches whom. It asks the
//! control plane as a dry run does, so the two can't disagree.

use std::time::Duration;

use serde_json::{Value, json};
use similar::TextDiff;
use weft_errors::ExitCode;

use super::{Run, apply, change};
use crate::{
    args::Diff,
    client::object,
    fail::{Failure, Outcome},
    output::{Format, name, out},
    table::count,
};

/// Lines around a difference.
const CONTEXT: usize = 3;
/// After so long the rest of two texts counts as different.
const COMPARING: Duration = Duration::from_millis(500);
/// What nobody writes: it says nothing of what is meant.
const GIVEN: [&str; 4] = ["resourceVersion", "generation", "uid", "creationTimestamp"];

/// Runs the command: status 1 where something would change.
pub(crate) async fn run(args: &Diff, run: &Run) -> Outcome {
    let files = apply::files(&args.filename)?;
    let session = run.session()?;
    let mut request = apply::request(files, &session);
    (request.dry_run, request.skip_unknown) = (true, args.skip_unknown);
    let answer =
        session.call(request, |mut admin, request| async move { admin.apply(request).await }).await?;
    answer.warnings.iter().for_each(|warning| run.printer.note(&format!("warning: {warning}")));
    let revision = answer.revision;
    let (mut items, mut text, mut changed) = (Vec::new(), String::new(), 0);
    for applied in answer.objects {
        let before = applied.before.clone().map(|before| object(Some(before))).transpose()?;
        let mut item = apply::row(applied)?;
        let differs = item["result"] != json!("unchanged");
        let old = before.map(|before| written(&weft_yaml::object_value(&before)));
        let unified = if differs { unified(&item, old.as_deref(), revision) } else { String::new() };
        changed += usize::from(differs);
        text += &unified;
        if let Value::Object(map) = &mut item {
            map.insert("diff".to_owned(), json!(unified));
        }
        items.push(item);
    }
    let policy = answer.policy_change.as_ref();
    text += &policy.map(change::before).unwrap_or_default();
    let last = match changed {
        0 => format!("no difference to revision {revision}"),
        n => format!("{} differ from revision {revision}", count(n, "object"))
            .replace("1 object differ ", "1 object differs "),
    };
    if matches!(run.printer.format, Format::Table | Format::Wide) {
        out(&format!("{text}{last}"));
    } else {
        run.printer.note(&last);
        let whole = json!({
            "kind": "Diff",
            "metadata": {"resourceVersion": revision.to_string()},
            "differs": changed > 0,
            "policyChange": policy.map(change::value),
            "items": items,
        });
        run.printer.list(&whole, &[]);
    }
    if changed == 0 { Ok(()) } else { Err(Failure::Answer(ExitCode::No)) }
}

/// An object as people write it.
fn written(value: &Value) -> String {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        for key in ["status", "result", "differences"] {
            map.remove(key);
        }
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            GIVEN.iter().for_each(|key| drop(metadata.remove(*key)));
        }
    }
    weft_yaml::to_yaml(&value)
}

/// The unified form (POSIX `diff -u`) of one object.
fn unified(item: &Value, before: Option<&str>, revision: u64) -> String {
    let (name, new) = (name(item), written(item));
    let old = before.unwrap_or_default();
    let live = before.map_or_else(|| "/dev/null".to_owned(), |_| format!("{name} live@{revision}"));
    format!("--- {live}\n+++ {name} as written\n{}", hunks(old, &new))
}

/// What differs, with lines around it; nothing where nothing does.
fn hunks(old: &str, new: &str) -> String {
    TextDiff::configure()
        .timeout(COMPARING)
        .diff_lines(old, new)
        .unified_diff()
        .context_radius(CONTEXT)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, expected: &str) {
        let text = |letters: &str| letters.chars().map(|letter| format!("{letter}\n")).collect::<String>();
        assert_eq!(hunks(&text(old), &text(new)), expected, "{old} {new}");
    }

    #[test]
    fn differences_are_told_as_diff_does() {
        check("abc", "abc", "");
        check("", "ab", "@@ -0,0 +1,2 @@\n+a\n+b\n");
        check("ab", "", "@@ -1,2 +0,0 @@\n-a\n-b\n");
        check("abcdefgh", "abcdXfgh", "@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+X\n f\n g\n h\n");
        check(
            "abcdefghijklmnopqr",
            "Xbcdefghijklmnopq",
            "@@ -1,4 +1,4 @@\n-a\n+X\n b\n c\n d\n@@ -15,4 +15,3 @@\n o\n p\n q\n-r\n",
        );
        check("acbd", "abd", "@@ -1,4 +1,3 @@\n a\n-c\n b\n d\n");
    }

    #[test]
    fn what_nobody_writes_is_no_difference() {
        let item = json!({
            "kind": "NetworkPolicy", "metadata": {"name": "db", "namespace": "shop", "uid": "1", "generation": 2},
            "spec": {"podSelector": {}}, "status": {"selectedPods": 1}, "result": "created", "differences": [],
        });
        let text = unified(&item, None, 7);
        assert!(
            text.starts_with("--- /dev/null\n+++ networkpolicy/shop/db as written\n@@ -0,0 +1,"),
            "{text}"
        );
        assert!(
            !text.contains("uid") && !text.contains("status") && text.contains("+  podSelector: {}\n"),
            "{text}"
        );
        assert!(unified(&item, Some(&written(&item)), 7).ends_with("as written\n"), "the same");
    }
}
