//! `weft env POD`: what a pod was given when it was made: its namespace's services as variables, its resolv.conf.

use serde_json::{Value, json};
use weft_model::{Kind, PodName};
use weft_proto::v1::{self, answer_request, ask};

use super::{
    Run,
    get::one,
    pod::{ask_node, local_namespace, named, unexpected},
};
use crate::{args::Env, client::LocalAgent, fail::Outcome, table::at};

/// Runs the command.
pub(crate) async fn run(args: &Env, run: &Run) -> Outcome {
    let (name, given) = given(&args.pod, run).await?;
    if !given.recorded {
        run.printer.note(&format!(
            "nothing was written down when pod {name} was made; this is what it would get if it were made now"
        ));
    }
    let variables = given.variables.iter();
    let text: String = if args.resolv_conf {
        given.resolv_conf.clone()
    } else if args.export {
        variables.map(|v| format!("export {}={}\n", v.name, quoted(&v.value))).collect()
    } else {
        variables.map(|v| format!("{}={}\n", v.name, v.value)).collect()
    };
    run.printer.value(&value(&name, &given), &text);
    Ok(())
}

/// Asks the agent of the pod's node: that of this machine if the pod is here, which needs no control plane.
async fn given(pod: &str, run: &Run) -> Outcome<(PodName, v1::SetupResult)> {
    let local = named(pod, &local_namespace(run))?;
    if let Ok(mut agent) = LocalAgent::open()
        && agent.has_pod(&local, run.global.timeout).await?
    {
        let given = agent.setup(&local, run.global.timeout).await?;
        return Ok((local, given));
    }
    let session = run.session()?;
    let name = named(pod, session.namespace())?;
    let (value, _) = one(&session, Kind::Pod, &name.to_string()).await?;
    let node = at(&value, "/spec/nodeName");
    let question = ask::What::Setup(v1::Setup { pod: name.to_string() });
    let answer = ask_node(&session, &node, question, None).await?;
    let answer_request::What::Setup(given) = answer else { return Err(unexpected(&node)) };
    Ok((name, given))
}

fn value(name: &PodName, given: &v1::SetupResult) -> Value {
    let variable = |v: &v1::Variable| json!({"name": v.name, "value": v.value});
    json!({
        "kind": "Environment",
        "metadata": {"namespace": name.namespace.as_str(), "name": name.name.as_str()},
        "recorded": given.recorded,
        "folder": given.folder,
        "env": given.variables.iter().map(variable).collect::<Vec<_>>(),
        "resolvConf": given.resolv_conf,
    })
}

/// In single quotes, for a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_exported() {
        assert_eq!(quoted("tcp://[fd00::1]:80"), "'tcp://[fd00::1]:80'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_value_has_the_form_of_a_containers_env() {
        let given = v1::SetupResult {
            variables: vec![v1::Variable {
                name: "WEB_PORT".to_owned(),
                value: "tcp://10.112.0.2:80".to_owned(),
            }],
            resolv_conf: "nameserver 10.112.0.10\n".to_owned(),
            recorded: true,
            folder: "/run/weft/setup/c1".to_owned(),
        };
        let value = value(&"shop/web".parse().unwrap(), &given);
        assert_eq!(value["env"], json!([{"name": "WEB_PORT", "value": "tcp://10.112.0.2:80"}]));
        assert_eq!(
            (at(&value, "/metadata/name"), at(&value, "/folder")),
            ("web".to_owned(), "/run/weft/setup/c1".to_owned())
        );
    }
}
