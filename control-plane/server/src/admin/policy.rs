//! What policies are held against when something is written or deleted: everything they depend on, as it is and as it would be;
//! and what people are told of those they wrote. Refused is only what no node could hold (`fit`; of two applies at once each is held
//! against the state without the other, and nodes close what is too large together).
//!
//! The replica's thread only copies what the questions depend on; answers are made elsewhere.

use std::{collections::BTreeSet, sync::Arc};

use weft_core::{Change, Outcome, State};
use weft_errors::{Coded, DEFAULT_POLICY_KEPT, Error, INTERNAL};
use weft_model::{
    Action, Command, DEFAULT_POLICY_LABEL, Draft, Item, ItemKey, Key, Kind, Labels, NamespaceName, Object,
    PodName, PodPhase, PolicyName, PolicySettings, PolicySpec, RecordKey, Written, resolver_addresses,
};
use weft_policy::{Oversized, Resolver, World, WorldPod};

use crate::{context::Context, limits::POLICY_WARNING_PODS};

/// A change as policies see it.
pub(super) enum Sight {
    /// Before and after.
    Worlds(Box<(World, World)>),
    /// More pods live than are copied on the replica's thread.
    TooManyPods,
}

/// Whether an action may change who reaches whom.
pub(super) fn concerns(action: &Action) -> bool {
    let kind =
        |kind: Kind| matches!(kind, Kind::NetworkPolicy | Kind::Namespace | Kind::PodSpec | Kind::Fabric);
    // All else isn't what people write.
    if let Action::Write { objects } = action {
        objects.iter().any(|object| kind(object.key().kind()))
    } else if let Action::Delete { keys } = action {
        keys.iter().any(|key| kind(key.kind()))
    } else {
        false
    }
}

/// Whether policies are among what an action writes.
pub(super) fn writes_policies(action: &Action) -> bool {
    matches!(action, Action::Write { objects } if objects.iter().any(|object| object.key().kind() == Kind::NetworkPolicy))
}

/// What a command would do now, and the world before and after it; the state stays as it is.
pub(super) async fn preview(context: &Context, command: Command) -> Result<(Outcome, Option<Sight>), Error> {
    let (outcome, before, touched) = context.handle.preview(command, world, touched).await?;
    let sight = match (before, touched) {
        (_, None) => None,
        (None, Some(_)) => Some(Sight::TooManyPods),
        (Some(before), Some(touched)) => {
            let mut after = before.clone();
            touched.into_iter().for_each(|one| one.put(&mut after));
            Some(Sight::Worlds(Box::new((before, after))))
        }
    };
    Ok((outcome, sight))
}

/// Refuses what makes policies larger than nodes can hold: one alone, those that some pod then has together, or all together.
/// What was too large before and doesn't grow is left.
pub(super) async fn fit(sight: &Sight, objects: &[Object]) -> Result<(), Error> {
    let mut spaces = BTreeSet::new();
    let mut alone = Vec::new();
    for object in objects {
        if let Object::NetworkPolicy(policy) = object {
            spaces.insert(policy.name.namespace.clone());
            alone.extend(Oversized::alone(&policy.name, &policy.spec));
        }
        if let Object::PodSpec(spec) = object {
            spaces.insert(spec.name.namespace.clone());
        }
    }
    if let Some(first) = alone.first() {
        return Err(first.envelope());
    }
    let Sight::Worlds(worlds) = sight else { return Ok(()) };
    if spaces.is_empty() {
        return Ok(());
    }
    let (before, after) = (worlds.0.clone(), worlds.1.clone());
    let grown = tokio::task::spawn_blocking(move || grown(&before, &after, &spaces)).await;
    match grown {
        Ok(Some(first)) => Err(first.envelope()),
        Ok(None) => Ok(()),
        Err(error) => Err(Error::new(&INTERNAL, "measuring policies broke off").because(error)),
    }
}

/// The first thing that is too large after a change and wasn't so large before.
fn grown(before: &World, after: &World, spaces: &BTreeSet<NamespaceName>) -> Option<Oversized> {
    let sizes = |world: &World| {
        let of_spaces = spaces.iter().flat_map(|space| world.oversized_in(space));
        of_spaces.chain(world.overlapping()).collect::<Vec<_>>()
    };
    let found = sizes(after);
    if found.is_empty() {
        return None;
    }
    let known = sizes(before);
    let was = |one: &Oversized| {
        known.iter().any(|old| {
            old.policies == one.policies
                && old.part == one.part
                && old.pods >= one.pods
                && old.count >= one.count
        })
    };
    found.into_iter().find(|one| !was(one))
}

/// Warnings about the policies among written objects, with their codes.
pub(super) async fn warnings(sight: &Sight, written: &[(Object, Written)]) -> Vec<String> {
    let policies: BTreeSet<PolicyName> = written
        .iter()
        .filter(|(_, written)| *written != Written::Unchanged)
        .filter_map(
            |(object, _)| if let Object::NetworkPolicy(policy) = object { Some(policy) } else { None },
        )
        .map(|policy| policy.name.clone())
        .collect();
    if policies.is_empty() {
        return Vec::new();
    }
    let after = match sight {
        Sight::Worlds(worlds) => worlds.1.clone(),
        Sight::TooManyPods => {
            let many = format!("more than {POLICY_WARNING_PODS} pods live");
            return vec![format!(
                "policies weren't held against pods, because {many}: weft policy lint does"
            )];
        }
    };
    let linted = tokio::task::spawn_blocking(move || lint(&after, &policies));
    // It is written, whether anything can be told of it or not.
    linted.await.unwrap_or_default()
}

fn lint(world: &World, policies: &BTreeSet<PolicyName>) -> Vec<String> {
    let mut told = Vec::new();
    for name in policies {
        for warning in world.lint_policy(name) {
            told.push(format!("networkpolicy {name}: {}: {warning} ({})", warning.field(), warning.code()));
        }
    }
    told
}

/// Namespaces of which a text doesn't say what holds by default in them.
pub(super) fn silent_namespaces(drafts: &[Draft]) -> BTreeSet<NamespaceName> {
    let silent = |draft: &Draft| match draft {
        Draft::Whole(Object::Namespace(space)) if !space.labels.contains_key(DEFAULT_POLICY_LABEL) => {
            Some(space.name.clone())
        }
        Draft::Whole(_) | Draft::Fabric(_) | Draft::Node(_) => None,
    };
    drafts.iter().filter_map(silent).collect()
}

/// What is told of namespaces that keep what holds by default in them, though the text doesn't name it.
pub(super) fn kept(silent: &BTreeSet<NamespaceName>, written: &[(Object, Written)]) -> Vec<String> {
    let told = |(object, _): &(Object, Written)| {
        let Object::Namespace(space) = object else { return None };
        let word = space.labels.get(DEFAULT_POLICY_LABEL).filter(|_| silent.contains(&space.name))?;
        Some(format!(
            "namespace {}: metadata.labels[{DEFAULT_POLICY_LABEL}]: it keeps {word}, which the text doesn't name; write it \
             there, or \"\" to go by the fabric's default ({})",
            space.name, &DEFAULT_POLICY_KEPT
        ))
    };
    written.iter().filter_map(told).collect()
}

/// Everything that policies depend on; `None` where that is too much to copy on the replica's thread.
fn world(state: &State) -> Option<World> {
    if state.pods().len() > POLICY_WARNING_PODS {
        return None;
    }
    let mut world = World::default();
    if let Some(settings) = settings(state) {
        settings.put(&mut world);
    }
    for name in state.nodes().keys() {
        if let Some(Item::Peer(peer)) = state.item(&ItemKey::Peer(name.clone())) {
            let mesh = peer.mesh.iter().map(|(_, address)| *address);
            world.put_node(peer.node.clone(), mesh.chain(peer.underlay.iter().copied()).collect());
        }
    }
    for name in state.existing_namespaces() {
        Touched::Namespace(labels(state, &name), name).put(&mut world);
    }
    for pod in state.pods().values().filter(|pod| pod.phase == PodPhase::Active) {
        if let Some(known) = self::pod(state, &pod.name) {
            world.put_pod(pod.name.clone(), known);
        }
    }
    for (name, policy) in state.policies() {
        world.put_policy(name.clone(), Arc::new(policy.spec.clone()));
    }
    Some(world)
}

/// Something that policies depend on, as it is then; absent: it is gone.
enum Touched {
    Settings(PolicySettings, Option<Resolver>),
    Namespace(Option<Labels>, NamespaceName),
    Pod(PodName, Option<WorldPod>),
    Policy(PolicyName, Option<Arc<PolicySpec>>),
}

impl Touched {
    fn put(self, world: &mut World) {
        match self {
            Self::Settings(settings, resolver) => {
                world.put_settings(settings);
                world.put_resolver(resolver);
            }
            Self::Namespace(Some(labels), name) => world.put_namespace(name, labels),
            Self::Namespace(None, name) => world.remove_namespace(&name),
            Self::Pod(name, Some(pod)) => world.put_pod(name, pod),
            Self::Pod(name, None) => world.remove_pod(&name),
            Self::Policy(name, Some(spec)) => world.put_policy(name, spec),
            Self::Policy(name, None) => world.remove_policy(&name),
        }
    }
}

/// What changes say of it, read where they have been made.
fn touched(state: &State, changes: &[Change]) -> Vec<Touched> {
    let key = |change: &Change| match change {
        Change::Put(record) => record.key(),
        Change::Delete(key) => key.clone(),
    };
    let object = |key| if let RecordKey::Object(key) = key { Some(key) } else { None };
    let keys = changes.iter().map(key).filter_map(object);
    keys.filter_map(|key| match key {
        Key::Fabric => settings(state),
        Key::Namespace(name) => Some(Touched::Namespace(labels(state, &name), name)),
        Key::PodSpec(name) => {
            let pod = pod(state, &name);
            Some(Touched::Pod(name, pod))
        }
        Key::NetworkPolicy(name) => {
            let spec = state.policies().get(&name).map(|policy| Arc::new(policy.spec.clone()));
            Some(Touched::Policy(name, spec))
        }
        Key::Node(_)
        | Key::Pod(_)
        | Key::Lease(_)
        | Key::Member(_)
        | Key::Service(_)
        | Key::Slice(_)
        | Key::Pool(_)
        | Key::Owner(_) => None,
    })
    .collect()
}

fn settings(state: &State) -> Option<Touched> {
    let Some(Item::Fabric(fabric)) = state.item(&ItemKey::Fabric) else { return None };
    let addresses: Vec<_> = resolver_addresses(&fabric).collect();
    let resolver = (!addresses.is_empty()).then(|| Resolver::at(addresses));
    Some(Touched::Settings(fabric.policy, resolver))
}

fn labels(state: &State, name: &NamespaceName) -> Option<Labels> {
    let Some(Item::Namespace(item)) = state.item(&ItemKey::Namespace(name.clone())) else { return None };
    Some(item.labels)
}

fn pod(state: &State, name: &PodName) -> Option<WorldPod> {
    let known = state.effective_pod(name)?;
    let (labels, ports) = (known.labels(), known.ports().to_vec());
    Some(WorldPod {
        labels,
        addresses: known.pod.addresses.clone(),
        ports,
        node: Some(known.pod.node.clone()),
    })
}
