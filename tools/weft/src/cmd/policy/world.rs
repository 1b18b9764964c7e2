//! What questions about policies are asked of: a cluster as its control plane knows it now, or files alone.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use weft_model::{
    DnsSettings, Draft, Item, Kind, Labels, NAMESPACE_NAME_LABEL, NamespaceName, Object, PodPhase,
    PolicySettings, SYSTEM_NAMESPACES, Service,
    ownership::{DNS_LOCAL_V4, DNS_LOCAL_V6},
    resolver_addresses,
};
use weft_policy::{Resolver, World, WorldPod};
use weft_proto::v1;
use weft_yaml::Options;

use super::{
    super::{
        Run, apply,
        delete::first_of,
        get::{items, typed},
    },
    backends::Services,
    held,
};
use crate::fail::Outcome;

/// Everything that questions depend on.
pub(super) struct Known {
    /// What policies mean in it.
    pub(super) world: World,
    /// Who is behind services.
    pub(super) services: Services,
    /// `revision 7`, or where it is from.
    pub(super) source: String,
    /// Namespace of names without one.
    pub(super) namespace: String,
    /// What nodes say that they can't hold of policies.
    pub(super) unheld: BTreeMap<String, String>,
}

/// The cluster, or what the files say.
pub(super) async fn known(paths: &[PathBuf], run: &Run) -> Outcome<Known> {
    if paths.is_empty() { of_cluster(run).await } else { of_files(paths, run) }
}

async fn of_cluster(run: &Run) -> Outcome<Known> {
    let session = run.session()?;
    let (fabric, revision) = items(&session, v1::ItemKind::Fabric, "", "").await?;
    let (mut world, mut services) = (World::default(), Services::default());
    let mut all = fabric;
    for kind in [v1::ItemKind::Peer, v1::ItemKind::Namespace, v1::ItemKind::Policy, v1::ItemKind::Service] {
        all.extend(items(&session, kind, "", "").await?.0);
    }
    for item in all {
        put(&mut world, &mut services, item);
    }
    let (pods, _) = typed(&session, Kind::Pod, "", "").await?;
    for object in pods {
        if let Object::Pod(pod) = object
            && pod.phase == PodPhase::Active
        {
            let (labels, addresses, ports) = (pod.labels, pod.addresses, pod.ports);
            world.put_pod(pod.name, WorldPod { labels, addresses, ports, node: Some(pod.node) });
        }
    }
    let namespace = session.namespace().to_owned();
    let unheld = held::nodes(&session).await?;
    Ok(Known { world, services, source: format!("revision {revision}"), namespace, unheld })
}

fn put(world: &mut World, services: &mut Services, item: Item) {
    match item {
        Item::Fabric(fabric) => {
            world.put_settings(fabric.policy);
            let addresses: Vec<IpAddr> = resolver_addresses(&fabric).collect();
            world.put_resolver((!addresses.is_empty()).then(|| Resolver::at(addresses)));
        }
        Item::Peer(peer) => {
            let mesh = peer.mesh.iter().map(|(_, address)| *address);
            let addresses = mesh.chain(peer.underlay.iter().copied()).collect();
            world.put_node(peer.node, addresses);
        }
        Item::Namespace(namespace) => world.put_namespace(namespace.name, namespace.labels),
        Item::Policy(policy) => world.put_policy(policy.name, Arc::new(policy.spec)),
        Item::Service(service) => services.put_item(&service),
        Item::Route(_)
        | Item::Probe(_)
        | Item::Owner(_)
        | Item::Pod(_)
        | Item::Setup(_)
        | Item::Identity(_) => {}
    }
}

fn of_files(paths: &[PathBuf], run: &Run) -> Outcome<Known> {
    let namespace = run.global.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let options = Options { namespace: &namespace, skip_unknown: true };
    let mut drafts = Vec::new();
    for file in apply::files(paths)? {
        let parsed = weft_yaml::parse(&file.text, &file.file, &options).map_err(first_of)?;
        drafts.extend(parsed.objects.into_iter().map(|object| object.draft));
    }
    Ok(Known::of_drafts(drafts, namespace))
}

impl Known {
    /// What people wrote, without a cluster.
    pub(super) fn of_drafts(drafts: Vec<Draft>, namespace: String) -> Self {
        let written: Vec<Service> = drafts.iter().filter_map(service).cloned().collect();
        let world = of_drafts(drafts);
        let mut services = Services::default();
        written.iter().for_each(|service| services.put_written(service, &world));
        Self {
            world,
            services,
            source: "of files, without a cluster".to_owned(),
            namespace,
            unheld: BTreeMap::new(),
        }
    }
}

fn service(draft: &Draft) -> Option<&Service> {
    if let Draft::Whole(Object::Service(service)) = draft { Some(service) } else { None }
}

/// A world of what people wrote: pods get addresses in the order in which they stand there. Nodes answer for names unless a Fabric says
/// otherwise, as in a cluster.
fn of_drafts(drafts: Vec<Draft>) -> World {
    let mut world = World::default();
    let mut dns = DnsSettings::default();
    // Namespaces that a cluster always has.
    let always = SYSTEM_NAMESPACES.into_iter().chain(["default"]);
    let mut names: Vec<NamespaceName> = always.filter_map(|name| name.parse().ok()).collect();
    for draft in drafts {
        match draft {
            Draft::Fabric(fabric) => {
                world.put_settings(fabric.policy.onto(PolicySettings::default()));
                dns = fabric.dns.onto(dns);
            }
            Draft::Whole(Object::Namespace(namespace)) => {
                world.put_namespace(namespace.name.clone(), named(namespace.labels, &namespace.name));
            }
            Draft::Whole(Object::NetworkPolicy(policy)) => {
                names.push(policy.name.namespace.clone());
                world.put_policy(policy.name, Arc::new(policy.spec));
            }
            Draft::Whole(Object::PodSpec(pod)) => {
                names.push(pod.name.namespace.clone());
                let number = u32::try_from(world.pods().count()).unwrap_or(u32::MAX).saturating_add(2);
                let addresses = vec![
                    IpAddr::V4(Ipv4Addr::from(0x0a80_0000_u32.saturating_add(number))),
                    IpAddr::V6(Ipv6Addr::from((0xfd5a_7e00_u128 << 96) + u128::from(number))),
                ];
                world.put_pod(
                    pod.name,
                    WorldPod { labels: pod.labels, addresses, ports: pod.ports, node: None },
                );
            }
            Draft::Node(_) | Draft::Whole(_) => {}
        }
    }
    let local = || vec![IpAddr::V4(DNS_LOCAL_V4), IpAddr::V6(DNS_LOCAL_V6)];
    world.put_resolver(dns.enabled.then(|| Resolver::at(local())));
    for name in names {
        if world.namespaces().all(|(known, _)| *known != name) {
            let labels = named(Labels::new(), &name);
            world.put_namespace(name, labels);
        }
    }
    world
}

fn named(mut labels: Labels, name: &NamespaceName) -> Labels {
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_string());
    labels
}
