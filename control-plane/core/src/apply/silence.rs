//! Which nodes are silent: the leader hears, here it is written down.

use weft_model::{Answer, Node, NodeSilence, NodeState, Object};

use crate::edit::Edit;

/// Takes over what the leader found; what the state has outrun meanwhile is passed over. Since when a node is silent stays as
/// it was said first.
pub(crate) fn note(edit: &mut Edit<'_>, nodes: &[NodeSilence]) -> Answer {
    for found in nodes {
        let node = edit.state().nodes().get(&found.node);
        let active = node.filter(|node| node.state == NodeState::Active && node.uid == found.uid);
        let Some(node) = active.filter(|node| node.silent.is_some() != found.since.is_some()) else {
            continue;
        };
        let node = Node { silent: found.since, ..node.clone() };
        edit.put_object(Object::Node(node));
    }
    Answer::Done
}
