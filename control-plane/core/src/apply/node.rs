//! Nodes: how one joins, what it publishes, how it goes.

use weft_model::{
    Answer, Dual, Fabric, Family, Labels, Node, NodeFacts, NodeName, NodeState, NodeUid, Object, Role,
};

use crate::{
    Error, State, admit,
    apply::{lease, token},
    edit::Edit,
};

/// What a joining node says.
pub(crate) struct Joining<'a> {
    pub(crate) name: &'a NodeName,
    pub(crate) uid: NodeUid,
    pub(crate) labels: &'a Labels,
    pub(crate) facts: &'a NodeFacts,
}

/// A node joins: it gets a mesh address and a first block of each family. The token is spent only if all succeeds.
pub(crate) fn join(edit: &mut Edit<'_>, hash: &[u8; 32], joining: &Joining<'_>) -> Result<Answer, Error> {
    let token = token::redeem(edit, hash, &[Role::Node])?;
    let Joining { name, uid, labels, facts } = *joining;
    let state = edit.state();
    let fabric = state.fabric().cloned().ok_or(Error::NotFounded)?;
    if state.nodes().get(name).is_some_and(|node| node.state == NodeState::Active) {
        return Err(Error::AlreadyExists { kind: "node", name: name.to_string() });
    }
    if state.index.uids.contains_key(&uid) {
        // Also that of a removed node: its certificate must stay refused.
        return Err(Error::invalid("node", name, "metadata.uid", "its identity has been used before"));
    }
    admit::check_labels("node", name.as_str(), labels)?;
    admit::check_facts(state, &fabric, name, facts)?;
    let mesh = grant_mesh(state, &fabric, name)?;
    let node = Node {
        name: name.clone(),
        uid,
        state: NodeState::Active,
        labels: labels.clone(),
        mesh,
        wireguard_key: None,
        endpoint: None,
        underlay: Vec::new(),
        uplink_mac: None,
        host_routes: Vec::new(),
        joined: edit.time(),
        silent: None,
        revision: edit.revision(),
    };
    let node = with_facts(node, facts);
    edit.put_object(Object::Node(node.clone()));
    let families = fabric.families.list().iter().copied();
    let leases =
        families.map(|family| lease::grant(edit, &fabric, name, family)).collect::<Result<_, _>>()?;
    token::spend(edit, token, format!("node/{name}"));
    Ok(Answer::Node(node, leases))
}

fn grant_mesh(state: &State, fabric: &Fabric, name: &NodeName) -> Result<Dual<std::net::IpAddr>, Error> {
    let exhausted = |family| Error::MeshExhausted { node: name.clone(), family };
    let grant = |family| {
        let free = || state.free_mesh(fabric, family).ok_or_else(|| exhausted(family));
        fabric.families.has(family).then(free).transpose()
    };
    Dual::new(grant(Family::V4)?, grant(Family::V6)?).ok_or_else(|| exhausted(fabric.families.primary()))
}

fn with_facts(node: Node, facts: &NodeFacts) -> Node {
    let NodeFacts { wireguard_key, endpoint, underlay, uplink_mac, host_routes } = facts.clone();
    Node { wireguard_key, endpoint, underlay, uplink_mac, host_routes, ..node }
}

/// A node publishes what it is: all of its facts, in place of the ones before.
pub(crate) fn publish(
    edit: &mut Edit<'_>,
    name: &NodeName,
    uid: NodeUid,
    facts: &NodeFacts,
) -> Result<Answer, Error> {
    let state = edit.state();
    let node = state.active_node(name, uid)?;
    let fabric = state.fabric().ok_or(Error::NotFounded)?;
    admit::check_facts(state, fabric, name, facts)?;
    let node = with_facts(node.clone(), facts);
    edit.put_object(Object::Node(node));
    Ok(Answer::Done)
}

/// The node as a person's writing makes it: labels are theirs, all else is the node's own.
pub(crate) fn merge_node(state: &State, wanted: &Node) -> Result<Node, Error> {
    let name = &wanted.name;
    let node =
        state.nodes().get(name).ok_or_else(|| Error::NotFound { kind: "node", name: name.to_string() })?;
    if node.state == NodeState::Removed {
        return Err(Error::NodeRemoved { node: name.clone() });
    }
    admit::check_labels("node", name.as_str(), &wanted.labels)?;
    Ok(Node { labels: wanted.labels.clone(), ..node.clone() })
}

/// A node goes for good, with its pods and leases. Its row stays: that refuses its certificate. Again is fine.
pub(crate) fn remove(edit: &mut Edit<'_>, name: &NodeName) -> Result<Answer, Error> {
    let state = edit.state();
    let node =
        state.nodes().get(name).ok_or_else(|| Error::NotFound { kind: "node", name: name.to_string() })?;
    if node.state == NodeState::Removed {
        return Ok(Answer::Done);
    }
    let gone =
        Node { state: NodeState::Removed, silent: None, ..with_facts(node.clone(), &NodeFacts::default()) };
    let pods: Vec<_> = state.node_pods(name).map(|pod| pod.uid).collect();
    let leases: Vec<_> = state.node_leases(name).cloned().collect();
    for uid in pods {
        super::pods::delete(edit, uid);
    }
    for held in leases {
        lease::free(edit, &held);
    }
    edit.put_object(Object::Node(gone));
    Ok(Answer::Done)
}
