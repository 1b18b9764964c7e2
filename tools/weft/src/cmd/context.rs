//! `weft context list|use|show|add|remove`.

use serde_json::{Value, json};
use weft_errors::{Error, USAGE};

use super::{Run, confirm};
use crate::{
    args::ContextCommand,
    client::join_person,
    context::{Context, Contexts, load, path, save},
    fail::Outcome,
    table::{at, column, joined},
};

/// Runs the subcommand.
pub(crate) async fn run(args: ContextCommand, run: &Run) -> Outcome {
    let file = path();
    let mut contexts = load(&file)?;
    match args {
        ContextCommand::List => {
            list(&contexts, &file, run);
            Ok(())
        }
        ContextCommand::Show => {
            let (name, context) = contexts.pick(run.global.context.as_deref(), &file)?;
            run.printer.value(&row(&contexts, &name, &context), &screen(&name, &context));
            Ok(())
        }
        ContextCommand::Use { name } => {
            let (name, context) = contexts.pick(Some(&name), &file)?;
            contexts.current = Some(name.clone());
            save(&file, &contexts)?;
            run.printer.value(&row(&contexts, &name, &context), &format!("context/{name}   in use"));
            Ok(())
        }
        ContextCommand::Add { name, token, ca } => {
            plain(&name)?;
            if run.global.endpoint.is_empty() {
                return Err(Error::new(&USAGE, "nothing says where to join")
                    .field("--endpoint")
                    .try_this("name a replica", format!("weft context add {name} --endpoint HOST:7443 …"))
                    .into());
            }
            if contexts.context.contains_key(&name) {
                return Err(Error::new(
                    &weft_errors::ALREADY_EXISTS,
                    format!("context {name:?} exists already"),
                )
                .object("context", "", &name)
                .try_this("choose another name, or forget that one", format!("weft context remove {name}"))
                .into());
            }
            let context = join_person(&name, &token, &ca, &run.global, &file).await?;
            contexts.context.insert(name.clone(), context.clone());
            contexts.current.get_or_insert_with(|| name.clone());
            save(&file, &contexts)?;
            run.printer.value(
                &row(&contexts, &name, &context),
                &format!("context/{name}   added to {}", file.display()),
            );
            Ok(())
        }
        ContextCommand::Remove { name, yes } => remove(contexts, &name, yes, &file, run),
    }
}

/// A context's name becomes the name of its files.
fn plain(name: &str) -> Outcome {
    let fine = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fine {
        return Ok(());
    }
    Err(Error::new(&USAGE, format!("{name:?} can't be a context's name"))
        .try_this("use letters, digits, - and _", "")
        .into())
}

fn list(contexts: &Contexts, file: &std::path::Path, run: &Run) {
    let items: Vec<Value> =
        contexts.context.iter().map(|(name, context)| row(contexts, name, context)).collect();
    let current = |v: &Value| if at(v, "/current") == "yes" { "*".to_owned() } else { " ".to_owned() };
    let columns = [
        column("CURRENT", current),
        column("NAME", |v| at(v, "/metadata/name")),
        column("ENDPOINTS", |v| joined(v, "/endpoints")),
        column("NAMESPACE", |v| at(v, "/namespace")),
    ];
    if items.is_empty() {
        run.printer.note(&format!("No contexts in {}.", file.display()));
    }
    run.printer.list(&json!({"kind": "ContextList", "items": items}), &columns);
}

fn remove(mut contexts: Contexts, name: &str, yes: bool, file: &std::path::Path, run: &Run) -> Outcome {
    let Some(context) = contexts.context.get(name).cloned() else {
        return Err(contexts.missing(name, file));
    };
    let word = if context.protect { name } else { "yes" };
    confirm(&format!("forget context {name} and its key"), word, yes)?;
    contexts.context.remove(name);
    if contexts.current.as_deref() == Some(name) {
        contexts.current = None;
    }
    save(file, &contexts)?;
    let folder = file.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    for secret in [context.cert_file, context.key_file] {
        // Two contexts may share a certificate. The context is gone already; a file that is gone too is what was wanted.
        if contexts.context.values().all(|other| other.cert_file != secret && other.key_file != secret) {
            let _ = std::fs::remove_file(folder.join(secret));
        }
    }
    let value = json!({"kind": "Context", "metadata": {"name": name}, "removed": true});
    run.printer.value(&value, &format!("context/{name}   removed"));
    Ok(())
}

fn screen(name: &str, context: &Context) -> String {
    let ca = context.ca.clone().unwrap_or_else(|| "in a file".to_owned());
    let namespace = context.namespace.as_deref().unwrap_or("default");
    let mut text = format!(
        "{name}\nEndpoints   {}\nAuthority   {ca}\nNamespace   {namespace}\nCertificate {}\n",
        context.endpoints.join(", "),
        context.cert_file.display()
    );
    if context.protect {
        text += "Protected   destructive commands ask for the context's name\n";
    }
    text
}

fn row(contexts: &Contexts, name: &str, context: &Context) -> Value {
    json!({
        "kind": "Context",
        "metadata": {"name": name},
        "current": contexts.current.as_deref() == Some(name),
        "endpoints": context.endpoints,
        "ca": context.ca,
        "certFile": context.cert_file,
        "namespace": context.namespace,
        "protect": context.protect,
    })
}
