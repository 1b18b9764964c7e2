//! What `weft pod add` says of a pod before it is made: how it asks for names, and by which it is found. The control plane keeps it
//! as it keeps what a file says; a pod's node heeds it when it makes the pod.

use serde_json::{Map, Value, json};
use weft_errors::{DEADLINE, Error};
use weft_model::PodName;
use weft_proto::v1;

use super::wait;
use crate::{args::PodNames, client::Session, fail::Outcome};

/// `spec` of the Pod; `None`: nothing is to be said.
pub(super) fn spec(names: &PodNames) -> Option<Value> {
    let mut spec = Map::new();
    if let Some(policy) = names.dns_policy {
        spec.insert("dnsPolicy".to_owned(), json!(policy.to_string()));
    }
    let option = |text: &String| match text.split_once(':') {
        Some((name, value)) => json!({"name": name, "value": value}),
        None => json!({"name": text}),
    };
    let mut config = Map::new();
    let servers = names.nameservers.iter().map(ToString::to_string);
    for (field, list) in [
        ("nameservers", servers.map(Value::from).collect::<Vec<_>>()),
        ("searches", names.searches.iter().cloned().map(Value::from).collect()),
        ("options", names.options.iter().map(option).collect()),
    ] {
        if !list.is_empty() {
            config.insert(field.to_owned(), list.into());
        }
    }
    if !config.is_empty() {
        spec.insert("dnsConfig".to_owned(), config.into());
    }
    for (field, text) in [("hostname", &names.hostname), ("subdomain", &names.subdomain)] {
        if let Some(text) = text {
            spec.insert(field.to_owned(), json!(text));
        }
    }
    if names.no_service_links {
        spec.insert("enableServiceLinks".to_owned(), json!(false));
    }
    (!spec.is_empty()).then_some(spec.into())
}

/// Says it, and returns when nodes know it: a pod that is made then is made by it.
pub(super) async fn say(session: &Session, pod: &PodName, spec: Value) -> Outcome {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace.as_str(), "name": pod.name.as_str()},
        "spec": spec,
    });
    let request = v1::ApplyRequest {
        mutation: Some(session.mutation()),
        text: object.to_string(),
        file: "the command line".to_owned(),
        ..v1::ApplyRequest::default()
    };
    let answer =
        session.call(request, |mut admin, request| async move { admin.apply(request).await }).await?;
    let waited = wait::until_applied(session, answer.revision).await?;
    if waited.done {
        return Ok(());
    }
    let error = Error::new(&DEADLINE, format!("nodes don't know yet how pod {pod} asks for names"));
    let error = error.object("pod", pod.namespace.as_str(), &pod.name).because(wait::sentence(&waited));
    Err(error.try_this("make it once they do", format!("weft wait --revision {}", answer.revision)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_what_a_file_would_say() {
        assert_eq!(spec(&PodNames::default()), None);
        let names = PodNames {
            dns_policy: Some(weft_model::DnsPolicy::None),
            nameservers: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
            searches: vec!["corp.example".to_owned()],
            options: vec!["ndots:2".to_owned(), "edns0".to_owned()],
            hostname: Some("web-0".to_owned()),
            subdomain: Some("peers".to_owned()),
            no_service_links: true,
        };
        let expected = json!({
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["192.0.2.53", "2001:db8::53"],
                "searches": ["corp.example"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
            },
            "hostname": "web-0",
            "subdomain": "peers",
            "enableServiceLinks": false,
        });
        assert_eq!(spec(&names), Some(expected.clone()));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web"}, "spec": expected});
        let options = weft_yaml::Options { namespace: "default", skip_unknown: false };
        weft_yaml::parse(&pod.to_string(), "the command line", &options).unwrap();
        let links = PodNames { no_service_links: true, ..PodNames::default() };
        assert_eq!(spec(&links), Some(json!({"enableServiceLinks": false})));
    }
}
