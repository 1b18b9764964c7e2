//! Commands of the log.

use weft_model::{
    Action, Command, Epoch, NodeName, NodeSilence, PodReport, ReplicaName, Revision, Sequence, Stamp, Token,
    WallTime,
};

use super::{
    fabric::family_from_wire,
    member::replica_id_from_wire,
    role::role_from_wire,
    shape::{
        ShapeError, Within, client_from_wire, cluster_from_wire, copied, exactly, list, list_by, missing,
        node_uid_from_wire, pod_uid_from_wire, required,
    },
};
use crate::{
    internal::{self, command::Action as Wire},
    v1,
};

impl TryFrom<internal::Command> for Command {
    type Error = ShapeError;

    fn try_from(wire: internal::Command) -> Result<Self, ShapeError> {
        Ok(Self {
            client: client_from_wire("client", &wire.client)?,
            sequence: Sequence(wire.sequence),
            stamp: Stamp { time: WallTime(wire.time_ms), random: exactly("random", &wire.random)? },
            action: action_from_wire(wire.action.ok_or_else(missing).within("action")?)?,
        })
    }
}

impl From<&Command> for internal::Command {
    fn from(command: &Command) -> Self {
        Self {
            client: copied(&command.client.0),
            sequence: command.sequence.0,
            time_ms: command.stamp.time.0,
            random: copied(&command.stamp.random),
            action: Some(action_to_wire(&command.action)),
        }
    }
}

fn action_from_wire(wire: Wire) -> Result<Action, ShapeError> {
    match wire {
        Wire::Found(found) => found_from_wire(found).within("found"),
        Wire::Write(write) => Ok(Action::Write { objects: list("write.objects", write.objects)? }),
        Wire::Delete(delete) => Ok(Action::Delete { keys: list("delete.keys", delete.keys)? }),
        Wire::AssignOwners(assign) => {
            Ok(Action::AssignOwners { owners: list("assign_owners.owners", assign.owners)? })
        }
        Wire::NoteSilence(note) => {
            Ok(Action::NoteSilence { nodes: list_by("note_silence.nodes", note.nodes, silence_from_wire)? })
        }
        Wire::CreateToken(token) => {
            Ok(Action::CreateToken { token: token.try_into().within("create_token")? })
        }
        Wire::RevokeToken(id) => Ok(Action::RevokeToken { id }),
        Wire::JoinNode(join) => join_node_from_wire(join).within("join_node"),
        Wire::JoinReplica(join) => join_replica_from_wire(join).within("join_replica"),
        Wire::JoinPerson(join) => {
            Ok(Action::JoinPerson { token: exactly("join_person.token", &join.token)?, name: join.name })
        }
        Wire::PublishNode(publish) => publish_node_from_wire(publish).within("publish_node"),
        Wire::LeaseBlock(lease) => lease_block_from_wire(lease).within("lease_block"),
        Wire::ReturnBlock(back) => return_block_from_wire(back).within("return_block"),
        Wire::PublishPods(publish) => publish_pods_from_wire(publish).within("publish_pods"),
        Wire::RemoveNode(name) => Ok(Action::RemoveNode { name: NodeName::new(name).within("remove_node")? }),
        Wire::ChangeMember(member) => {
            Ok(Action::ChangeMember { member: member.try_into().within("change_member")? })
        }
        Wire::RemoveMember(id) => Ok(Action::RemoveMember { id: replica_id_from_wire("remove_member", id)? }),
    }
}

fn found_from_wire(wire: internal::Found) -> Result<Action, ShapeError> {
    Ok(Action::Found {
        cluster: cluster_from_wire("cluster", &wire.cluster)?,
        fabric: required("fabric", wire.fabric)?,
        member: required("member", wire.member)?,
    })
}

fn join_node_from_wire(wire: internal::JoinNode) -> Result<Action, ShapeError> {
    Ok(Action::JoinNode {
        token: exactly("token", &wire.token)?,
        name: NodeName::new(wire.name).within("name")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        labels: wire.labels,
        facts: required("facts", wire.facts)?,
    })
}

fn silence_from_wire(wire: internal::NodeSilence) -> Result<NodeSilence, ShapeError> {
    Ok(NodeSilence {
        node: NodeName::new(wire.node).within("node")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        since: wire.since_ms.map(WallTime),
    })
}

fn join_replica_from_wire(wire: internal::JoinReplica) -> Result<Action, ShapeError> {
    Ok(Action::JoinReplica {
        token: exactly("token", &wire.token)?,
        name: ReplicaName::new(wire.name).within("name")?,
        address: required("address", wire.address)?,
    })
}

fn publish_node_from_wire(wire: internal::PublishNode) -> Result<Action, ShapeError> {
    Ok(Action::PublishNode {
        node: NodeName::new(wire.node).within("node")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        facts: required("facts", wire.facts)?,
    })
}

fn lease_block_from_wire(wire: internal::LeaseBlock) -> Result<Action, ShapeError> {
    Ok(Action::LeaseBlock {
        node: NodeName::new(wire.node).within("node")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        family: family_from_wire("family", wire.family)?,
    })
}

fn return_block_from_wire(wire: internal::ReturnBlock) -> Result<Action, ShapeError> {
    Ok(Action::ReturnBlock {
        node: NodeName::new(wire.node).within("node")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        block: required("block", wire.block)?,
        epoch: Epoch(wire.epoch),
    })
}

fn publish_pods_from_wire(wire: internal::PublishPods) -> Result<Action, ShapeError> {
    Ok(Action::PublishPods(PodReport {
        node: NodeName::new(wire.node).within("node")?,
        uid: node_uid_from_wire("uid", &wire.uid)?,
        complete: wire.complete,
        upserts: list("upserts", wire.upserts)?,
        deletes: list_by("deletes", wire.deletes, |uid| pod_uid_from_wire("", &uid))?,
    }))
}

fn action_to_wire(action: &Action) -> Wire {
    match action {
        Action::Found { cluster, fabric, member } => Wire::Found(internal::Found {
            cluster: copied(&cluster.0),
            fabric: Some(fabric.into()),
            member: Some(member.into()),
        }),
        Action::Write { objects } => {
            Wire::Write(internal::Write { objects: objects.iter().map(Into::into).collect() })
        }
        Action::Delete { keys } => {
            Wire::Delete(internal::Delete { keys: keys.iter().map(Into::into).collect() })
        }
        Action::AssignOwners { owners } => {
            Wire::AssignOwners(internal::AssignOwners { owners: owners.iter().map(Into::into).collect() })
        }
        Action::NoteSilence { nodes } => {
            let silence = |silence: &NodeSilence| internal::NodeSilence {
                node: silence.node.to_string(),
                uid: copied(&silence.uid.0),
                since_ms: silence.since.map(|since| since.0),
            };
            Wire::NoteSilence(internal::NoteSilence { nodes: nodes.iter().map(silence).collect() })
        }
        Action::CreateToken { token } => Wire::CreateToken(token.into()),
        Action::RevokeToken { id } => Wire::RevokeToken(id.clone()),
        Action::JoinNode { token, name, uid, labels, facts } => Wire::JoinNode(internal::JoinNode {
            token: copied(token),
            name: name.to_string(),
            uid: copied(&uid.0),
            labels: labels.clone(),
            facts: Some(facts.into()),
        }),
        Action::JoinReplica { token, name, address } => Wire::JoinReplica(internal::JoinReplica {
            token: copied(token),
            name: name.to_string(),
            address: Some(address.into()),
        }),
        Action::JoinPerson { token, name } => {
            Wire::JoinPerson(internal::JoinPerson { token: copied(token), name: name.clone() })
        }
        Action::PublishNode { node, uid, facts } => Wire::PublishNode(internal::PublishNode {
            node: node.to_string(),
            uid: copied(&uid.0),
            facts: Some(facts.into()),
        }),
        Action::LeaseBlock { node, uid, family } => Wire::LeaseBlock(internal::LeaseBlock {
            node: node.to_string(),
            uid: copied(&uid.0),
            family: v1::Family::from(*family).into(),
        }),
        Action::ReturnBlock { node, uid, block, epoch } => Wire::ReturnBlock(internal::ReturnBlock {
            node: node.to_string(),
            uid: copied(&uid.0),
            block: Some(block.into()),
            epoch: epoch.0,
        }),
        Action::PublishPods(report) => Wire::PublishPods(report.into()),
        Action::RemoveNode { name } => Wire::RemoveNode(name.to_string()),
        Action::ChangeMember { member } => Wire::ChangeMember(member.into()),
        Action::RemoveMember { id } => Wire::RemoveMember(id.0),
    }
}

impl From<&PodReport> for internal::PublishPods {
    fn from(report: &PodReport) -> Self {
        Self {
            node: report.node.to_string(),
            uid: copied(&report.uid.0),
            complete: report.complete,
            upserts: report.upserts.iter().map(Into::into).collect(),
            deletes: report.deletes.iter().map(|uid| copied(&uid.0)).collect(),
        }
    }
}

impl TryFrom<internal::Token> for Token {
    type Error = ShapeError;

    fn try_from(wire: internal::Token) -> Result<Self, ShapeError> {
        Ok(Self {
            id: wire.id,
            hash: exactly("hash", &wire.hash)?,
            role: role_from_wire("role", wire.role)?,
            expires: WallTime(wire.expires_ms),
            used_by: (!wire.used_by.is_empty()).then_some(wire.used_by),
            revision: Revision(wire.revision),
        })
    }
}

impl From<&Token> for internal::Token {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.clone(),
            hash: copied(&token.hash),
            role: v1::Role::from(token.role).into(),
            expires_ms: token.expires.0,
            used_by: token.used_by.clone().unwrap_or_default(),
            revision: token.revision.0,
        }
    }
}
