//! `weft create namespace|service`: small objects without a file. What is there already is refused.

use std::collections::BTreeMap;

use weft_errors::{Error, USAGE};
use weft_model::{
    ClusterAddresses, Namespace, NamespaceName, Object, ObjectName, ObjectUid, Revision, Service,
    ServiceSpec, ServiceType, WallTime,
};
use weft_proto::v1;

use super::{Run, apply, columns::columns, endpoints::protocol, kinds::Shown};
use crate::{
    args::{Create, NewService},
    fail::{Failure, Outcome},
    output::Format,
};

/// Runs the subcommand: the object goes the same way as one of a file.
pub(crate) async fn run(args: Create, run: &Run) -> Outcome {
    let session = run.session()?;
    let object = match args {
        Create::Namespace { name } => namespace(&name)?,
        Create::Service(args) => service(args, session.namespace())?,
    };
    let shown = Shown::Object(object.key().kind());
    let request = v1::ApplyRequest {
        mutation: Some(session.mutation()),
        text: weft_yaml::object_value(&object).to_string(),
        file: "the command line".to_owned(),
        create: true,
        ..v1::ApplyRequest::default()
    };
    let answer =
        session.call(request, |mut admin, request| async move { admin.apply(request).await }).await?;
    answer.warnings.iter().for_each(|warning| run.printer.note(&format!("warning: {warning}")));
    for applied in answer.objects {
        let value = apply::row(applied)?;
        match run.printer.format {
            Format::Table => {
                crate::output::out(&format!(
                    "{}   created\nrevision {}",
                    crate::output::name(&value),
                    answer.revision
                ));
            }
            Format::Wide | Format::Json | Format::Yaml | Format::Name => {
                run.printer.object(&value, &columns(shown, true));
            }
        }
    }
    Ok(())
}

fn bad(why: impl std::fmt::Display) -> Failure {
    Failure::new(&USAGE, why.to_string())
}

fn namespace(name: &str) -> Outcome<Object> {
    Ok(Object::Namespace(Namespace {
        name: NamespaceName::new(name).map_err(bad)?,
        labels: BTreeMap::new(),
        created: WallTime(0),
        revision: Revision(0),
    }))
}

fn service(args: NewService, chosen: &str) -> Outcome<Object> {
    let name = if args.name.contains('/') { args.name } else { format!("{chosen}/{}", args.name) };
    let name: ObjectName = name.parse().map_err(bad)?;
    let mut selector = BTreeMap::new();
    for pair in args.selector {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(bad(format!("{pair:?} is no label: write KEY=VALUE")));
        };
        selector.insert(key.to_owned(), value.to_owned());
    }
    let mut ports = args.port;
    if ports.is_empty()
        && args.kind != ServiceType::ExternalName
        && args.cluster_ip.as_deref() != Some("None")
    {
        let error = Error::new(&USAGE, "a service with an address has a port");
        return Err(error.try_this("name one", "weft create service NAME --port 80:8080").into());
    }
    if ports.len() > 1 {
        // Several ports need names: `tcp-80`, `udp-53`.
        for port in &mut ports {
            port.name = format!("{}-{}", protocol(port.protocol).to_lowercase(), port.port);
        }
    }
    let addresses = match args.cluster_ip.as_deref() {
        None => ClusterAddresses::Wanted,
        Some("None") => ClusterAddresses::None,
        Some(text) => ClusterAddresses::Given(vec![
            text.parse().map_err(|_| bad(format!("{text:?} is neither an address nor None")))?,
        ]),
    };
    let spec = ServiceSpec {
        kind: args.kind,
        selector,
        addresses,
        ports,
        external_name: args.external_name.unwrap_or_default(),
        allocate_node_ports: true,
        ..ServiceSpec::default()
    };
    Ok(Object::Service(Service {
        name,
        uid: ObjectUid([0; 16]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec,
        load_balancer: Vec::new(),
        generation: 0,
        created: WallTime(0),
        revision: Revision(0),
    }))
}

#[cfg(test)]
mod tests {
    use weft_model::Draft;

    use super::*;
    use crate::args::{Cli, Command};

    fn of(line: &str) -> Outcome<Object> {
        let words: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
        let Ok(Cli { command: Command::Create { command: Create::Service(args) }, .. }) = Cli::read(&words)
        else {
            panic!("{line}")
        };
        service(args, "shop")
    }

    #[test]
    fn a_service_of_the_command_line_is_one_of_a_file() {
        let object = of("weft create service dns --port 53/udp,53:5353/tcp -l app=dns").ok().unwrap();
        let text = weft_yaml::object_value(&object).to_string();
        let parsed = weft_yaml::parse(&text, "f", &weft_yaml::Options::default()).unwrap();
        let [drafted] = parsed.objects.as_slice() else { panic!("{text}") };
        assert_eq!(drafted.draft, Draft::Whole(object.clone()));
        let Object::Service(service) = object else { panic!("{text}") };
        assert_eq!(service.name.to_string(), "shop/dns");
        let names: Vec<&str> = service.spec.ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["udp-53", "tcp-53"]);
    }

    #[test]
    fn what_can_not_be_meant_is_wrong_use() {
        for line in [
            "weft create service web -l app=web",
            "weft create service web --port 80 -l app",
            "weft create service web --port 80 --cluster-ip none",
            "weft create service Web --port 80",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
        assert!(of("weft create service db --cluster-ip None -l app=db").is_ok(), "headless needs no port");
        assert!(of("weft create service db --type ExternalName --external-name db.example").is_ok());
    }
}
