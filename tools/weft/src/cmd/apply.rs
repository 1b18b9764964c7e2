//! `weft apply -f FILE`: text goes to the control plane, which validates and stores it whole or not at all.

use std::{io::Read, path::Path, time::Instant};

use serde_json::{Value, json};
use weft_errors::{Error, ExitCode, FILE_UNREADABLE};
use weft_proto::v1;

use super::{Run, wait};
use crate::{
    args::Apply,
    client::object,
    fail::{Failure, Outcome},
    table::{at, column},
};

/// Runs the command: one request per file.
pub(crate) async fn run(args: &Apply, run: &Run) -> Outcome {
    let session = run.session()?;
    let mut items = Vec::new();
    let mut revision = 0;
    for (file, text) in texts(&args.filename)? {
        let request = v1::ApplyRequest {
            mutation: Some(session.mutation()),
            text,
            file,
            dry_run: args.dry_run.is_some(),
            more: Vec::new(),
        };
        let answer = session
            .admin()?
            .apply(session.request(request))
            .await
            .map_err(|s| session.failure(s))?
            .into_inner();
        answer.warnings.iter().for_each(|warning| run.printer.note(&format!("warning: {warning}")));
        revision = answer.revision;
        for applied in answer.objects {
            items.push(row(applied)?);
        }
    }
    let columns = [
        column("OBJECT", |v| format!("{}/{}", at(v, "/kind").to_lowercase(), at(v, "/metadata/name"))),
        column("RESULT", |v| at(v, "/result")),
        column("DIFFERENCE", |v| crate::table::joined(v, "/differences")),
    ];
    let whole = json!({"kind": "ApplyResult", "dryRun": args.dry_run.is_some(), "metadata": {"resourceVersion": revision.to_string()}, "items": items});
    run.printer.list(&whole, &columns);
    if args.dry_run.is_some() {
        run.printer.note(&format!("dry run at revision {revision}: nothing was stored"));
        return Ok(());
    }
    if !args.wait {
        run.printer.note(&format!("revision {revision}"));
        return Ok(());
    }
    let start = Instant::now();
    let answer = wait::until_applied(&session, run, revision).await?;
    run.printer.note(&format!("{} in {} ms", wait::sentence(&answer), start.elapsed().as_millis()));
    if answer.done { Ok(()) } else { Err(Failure::Answer(ExitCode::Timeout)) }
}

fn row(applied: v1::AppliedObject) -> Outcome<Value> {
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

/// The texts of files, folders (their .yaml, .yml and .json files by name) and standard input.
fn texts(paths: &[std::path::PathBuf]) -> Outcome<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| unreadable(path, &e))?;
            texts.push(("-".to_owned(), text));
        } else if path.is_dir() {
            let mut files: Vec<_> = std::fs::read_dir(path)
                .map_err(|e| unreadable(path, &e))?
                .filter_map(|entry| entry.ok().map(|e| e.path()))
                .filter(|f| f.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
                .collect();
            files.sort();
            for file in files {
                texts.push(read(&file)?);
            }
        } else {
            texts.push(read(path)?);
        }
    }
    Ok(texts)
}

fn read(path: &Path) -> Outcome<(String, String)> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Ok((path.display().to_string(), text))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Error::new(&FILE_UNREADABLE, format!("{}: {error}", path.display()))
        .object("file", "", path.display())
        .into()
}
