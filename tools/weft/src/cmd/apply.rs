//! `weft apply -f FILE`: texts go to the control plane, which validates and stores all of them or none.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, FILE_UNREADABLE, TOO_LARGE, USAGE};
use weft_proto::v1;

use super::{Run, change, wait};
use crate::{
    args::Apply,
    client::{Session, object},
    fail::{Failure, Outcome},
    output::Format,
    table::{at, column, joined, render},
};

/// Most bytes of one file; the server takes less in one request and says how much.
const FILE_LIMIT: u64 = 4 << 20;

/// Runs the command: one request for all files.
pub(crate) async fn run(args: &Apply, run: &Run) -> Outcome {
    let files = files(&args.filename)?;
    let session = run.session()?;
    let dry_run = args.dry_run.is_some();
    let mut request = request(files, &session);
    (request.dry_run, request.skip_unknown) = (dry_run, args.skip_unknown);
    let answer =
        session.call(request, |mut admin, request| async move { admin.apply(request).await }).await?;
    answer.warnings.iter().for_each(|warning| run.printer.note(&format!("warning: {warning}")));
    let (revision, policy) = (answer.revision, answer.policy_change);
    let items = answer.objects.into_iter().map(row).collect::<Outcome<Vec<Value>>>()?;
    let table = matches!(run.printer.format, Format::Table | Format::Wide);
    if table {
        crate::output::out(&rows(&items));
        let told = policy.as_ref().map(if dry_run { change::before } else { change::after });
        told.filter(|text| !text.is_empty()).iter().for_each(|text| crate::output::out(text));
    }
    let start = Instant::now();
    let waited = match args.wait && !dry_run {
        true => Some(wait::until_applied(&session, revision).await?),
        false => None,
    };
    let last = match &waited {
        Some(answer) => format!("{} in {} ms", wait::sentence(answer), start.elapsed().as_millis()),
        None if dry_run => format!("dry run at revision {revision}: nothing was stored"),
        None => format!("revision {revision}"),
    };
    if table {
        crate::output::out(&last);
    } else {
        run.printer.note(&last);
        let whole = json!({
            "kind": "ApplyResult",
            "dryRun": dry_run,
            "metadata": {"resourceVersion": revision.to_string()},
            "wait": waited.as_ref().map(wait::value),
            "policyChange": policy.as_ref().map(change::value),
            "items": items,
        });
        run.printer.list(&whole, &[]);
    }
    if waited.is_none_or(|answer| answer.done) { Ok(()) } else { Err(Failure::Answer(ExitCode::Timeout)) }
}

/// What is asked of the control plane for all files together; there is at least one.
pub(super) fn request(mut files: Vec<v1::ApplyFile>, session: &Session) -> v1::ApplyRequest {
    let more = if files.is_empty() { Vec::new() } else { files.split_off(1) };
    let first = files.pop().unwrap_or_default();
    v1::ApplyRequest {
        mutation: Some(session.mutation()),
        text: first.text,
        file: first.file,
        more,
        namespace: session.namespace().to_owned(),
        tell_changes: true,
        ..v1::ApplyRequest::default()
    }
}

pub(super) fn row(applied: v1::AppliedObject) -> Outcome<Value> {
    let result = match applied.change() {
        v1::Change::Created => "created",
        v1::Change::Changed => "changed",
        v1::Change::Unchanged => "unchanged",
        v1::Change::Unspecified => "",
    };
    let mut value = weft_yaml::object_value(&object(applied.object)?);
    if let Value::Object(map) = &mut value {
        map.insert("result".to_owned(), json!(result));
        map.insert("differences".to_owned(), json!(applied.differences));
    }
    Ok(value)
}

/// `fabric/main   changed   spec.ranges.pods: [...] -> [...]`, a line per object.
pub(super) fn rows(items: &[Value]) -> String {
    let columns = [
        column("OBJECT", crate::output::name),
        column("RESULT", |v| at(v, "/result")),
        column("DIFFERENCE", |v| joined(v, "/differences")),
    ];
    let style = crate::table::Style { wide: true, no_headers: true };
    render(&columns, items, style)
        .lines()
        .map(|line| format!("{}\n", line.trim_end_matches([' ', '-'])))
        .collect()
}

/// The texts of files, folders (their .yaml, .yml and .json files by name) and standard input; at least one.
pub(super) fn files(paths: &[PathBuf]) -> Outcome<Vec<v1::ApplyFile>> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            bounded(std::io::stdin(), path, &mut text)?;
            files.push(v1::ApplyFile { text, file: "-".to_owned() });
        } else if path.is_dir() {
            for file in inside(path)? {
                files.push(read(&file)?);
            }
        } else {
            files.push(read(path)?);
        }
    }
    if files.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let error = Error::new(&USAGE, format!("{} holds no .yaml, .yml or .json file", names.join(", ")));
        return Err(error
            .object("directory", "", names.join(", "))
            .try_this("name a file", "weft apply -f FILE")
            .into());
    }
    Ok(files)
}

fn inside(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let wanted = |file: &PathBuf| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, &e))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|e| unreadable(folder, &e))?.path());
    }
    files.retain(wanted);
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Outcome<v1::ApplyFile> {
    let mut text = String::new();
    bounded(std::fs::File::open(path).map_err(|e| unreadable(path, &e))?, path, &mut text)?;
    Ok(v1::ApplyFile { text, file: path.display().to_string() })
}

/// Reads to the end, but never much more than a request may hold: a device has no end.
fn bounded(source: impl Read, path: &Path, text: &mut String) -> Outcome {
    source.take(FILE_LIMIT + 1).read_to_string(text).map_err(|e| unreadable(path, &e))?;
    if text.len() as u64 > FILE_LIMIT {
        let message = format!("{} has more than {FILE_LIMIT} bytes", path.display());
        return Err(Error::new(&TOO_LARGE, message).object("file", "", path.display()).into());
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Error::new(&FILE_UNREADABLE, format!("{} can't be read", path.display()))
        .object("file", "", path.display())
        .because(error)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_end_is_refused_and_one_at_the_limit_is_read() {
        let path = Path::new("/dev/zero");
        let mut text = String::new();
        let Err(Failure::Error(error)) = bounded(std::io::repeat(b' '), path, &mut text) else {
            panic!("it has no end")
        };
        assert!(error.code == "W3201" && error.message.contains("/dev/zero"), "{error}");
        let mut text = String::new();
        assert!(bounded(std::io::repeat(b' ').take(FILE_LIMIT), path, &mut text).is_ok());
        assert_eq!(text.len() as u64, FILE_LIMIT);
    }

    #[test]
    fn a_folder_gives_its_texts_in_order_and_an_empty_one_is_wrong_use() {
        let folder = tempfile::tempdir().unwrap();
        let Err(Failure::Error(error)) = files(&[folder.path().to_owned()]) else { panic!("it is empty") };
        assert!(error.code == "W0001" && error.message.contains("holds no .yaml"), "{error}");
        for name in ["b.yml", "a.yaml", "c.json", "d.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let texts: Vec<String> =
            files(&[folder.path().to_owned()]).unwrap().into_iter().map(|f| f.text).collect();
        assert_eq!(texts, ["a.yaml", "b.yml", "c.json"]);
        let Err(Failure::Error(error)) = files(&[folder.path().join("none.yaml")]) else {
            panic!("it isn't there")
        };
        assert!(error.code == "W0002" && error.message.contains("none.yaml"), "{error}");
    }

    #[test]
    fn a_row_ends_with_what_changed() {
        let object = |name: &str, result: &str, differences: Value| json!({"kind": "Node", "metadata": {"name": name}, "result": result, "differences": differences});
        let items = [
            object("n1", "changed", json!(["metadata.labels.a: null -> \"1\""])),
            object("n12", "unchanged", json!([])),
        ];
        assert_eq!(
            rows(&items),
            "node/n1   changed    metadata.labels.a: null -> \"1\"\nnode/n12  unchanged\n"
        );
    }
}
