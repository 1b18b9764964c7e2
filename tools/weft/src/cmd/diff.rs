//! `weft diff -f FILE`: what `weft apply` of the same files would change, object by object and for who reaches whom. It asks the
//! control plane as a dry run does, so the two can't disagree.

use serde_json::{Value, json};
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
/// Lines of two texts, multiplied, beyond which they aren't compared line by line.
const COMPARED: usize = 4 << 20;
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

/// A line of both texts or of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

fn hunks(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let lines = compared(&old, &new);
    let differs: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !matches!(line, Line::Same(_)))
        .map(|(at, _)| at)
        .collect();
    let mut text = String::new();
    let mut at = 0;
    while at < differs.len() {
        let mut last = at;
        while differs.get(last + 1).is_some_and(|next| next - differs[last] <= 2 * CONTEXT + 1) {
            last += 1;
        }
        let first = differs[at].saturating_sub(CONTEXT);
        let end = (differs[last] + CONTEXT + 1).min(lines.len());
        text += &hunk(&lines, first, end);
        at = last + 1;
    }
    text
}

fn hunk(lines: &[Line<'_>], first: usize, end: usize) -> String {
    let of = |lines: &[Line<'_>], new: bool| {
        let counts = |line: &&Line<'_>| match line {
            Line::Same(_) => true,
            Line::Gone(_) => !new,
            Line::New(_) => new,
        };
        lines.iter().filter(counts).count()
    };
    let (before, inside) = (&lines[..first], &lines[first..end]);
    let span = |new: bool| {
        let (start, length) = (of(before, new), of(inside, new));
        // An empty span stands behind the line before it.
        format!("{},{length}", if length == 0 { start } else { start + 1 })
    };
    let mut text = format!("@@ -{} +{} @@\n", span(false), span(true));
    for line in inside {
        let (mark, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Gone(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text += &format!("{mark}{line}\n");
    }
    text
}

/// The lines of both texts, by their longest common subsequence; of texts that are too long all lines between their common
/// beginning and end.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let same = |a: &&str, b: &&str| a == b;
    let head = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| same(a, b)).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if a.len().saturating_mul(b.len()) > COMPARED {
        lines.extend(a.iter().map(|line| Line::Gone(line)).chain(b.iter().map(|line| Line::New(line))));
    } else {
        lines.extend(middle(a, b));
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    lines
}

fn middle<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Line<'a>> {
    let width = b.len() + 1;
    // Length of the longest common subsequence of what is left from each pair of places.
    let mut common = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            lines.push(Line::Gone(a[i]));
            i += 1;
        } else {
            lines.push(Line::New(b[j]));
            j += 1;
        }
    }
    lines
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
