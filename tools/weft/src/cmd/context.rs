//! `weft context list|use|show|add|remove`.

use serde_json::{Value, json};
use weft_errors::{Error, NOT_FOUND, USAGE};

use super::{Run, confirm};
use crate::{
    args::ContextCommand,
    client::join_person,
    context::{Context, Contexts, load, path, save},
    fail::{Failure, Outcome},
    table::{at, column, joined},
};

/// Runs the subcommand.
pub(crate) async fn run(args: ContextCommand, run: &Run) -> Outcome {
    let file = path();
    let mut contexts = load(&file)?;
    match args {
        ContextCommand::List => {
            let items: Vec<Value> =
                contexts.context.iter().map(|(name, context)| row(&contexts, name, context)).collect();
            let columns = [
                column(
                    "CURRENT",
                    |v| if at(v, "/current") == "yes" { "*".to_owned() } else { String::new() },
                ),
                column("NAME", |v| at(v, "/metadata/name")),
                column("ENDPOINTS", |v| joined(v, "/endpoints")),
                column("NAMESPACE", |v| at(v, "/namespace")),
            ];
            run.printer.list(&json!({"kind": "ContextList", "items": items}), &columns);
            Ok(())
        }
        ContextCommand::Show => {
            let (name, context) = contexts.pick(run.global.context.as_deref(), &file)?;
            let value = row(&contexts, &name, &context);
            run.printer.value(&value, &format!("{name}   {}", context.endpoints.join(", ")));
            Ok(())
        }
        ContextCommand::Use { name } => {
            let (name, _) = contexts.pick(Some(&name), &file)?;
            contexts.current = Some(name.clone());
            save(&file, &contexts)?;
            run.printer.note(&format!("context {name}"));
            Ok(())
        }
        ContextCommand::Add { name, token, ca } => {
            if run.global.endpoint.is_empty() {
                return Err(Failure::new(&USAGE, "--endpoint HOST:7443 must say where to join"));
            }
            let context = join_person(&name, &token, &ca, &run.global, &file).await?;
            contexts.context.insert(name.clone(), context);
            contexts.current.get_or_insert_with(|| name.clone());
            save(&file, &contexts)?;
            run.printer.note(&format!("context {name} added to {}", file.display()));
            Ok(())
        }
        ContextCommand::Remove { name, yes } => {
            let Some(context) = contexts.context.get(&name).cloned() else {
                return Err(Error::new(&NOT_FOUND, format!("context {name:?} doesn't exist")).into());
            };
            confirm(&format!("forget context {name} and its key"), yes)?;
            contexts.context.remove(&name);
            if contexts.current.as_deref() == Some(&name) {
                contexts.current = None;
            }
            save(&file, &contexts)?;
            let folder = file.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
            for secret in [context.cert_file, context.key_file] {
                // The context is gone already; a file that is gone too is what was wanted.
                let _ = std::fs::remove_file(folder.join(secret));
            }
            Ok(())
        }
    }
}

fn row(contexts: &Contexts, name: &str, context: &Context) -> Value {
    json!({
        "kind": "Context",
        "metadata": {"name": name},
        "current": contexts.current.as_deref() == Some(name),
        "endpoints": context.endpoints,
        "ca": context.ca,
        "namespace": context.namespace,
        "protect": context.protect,
    })
}
