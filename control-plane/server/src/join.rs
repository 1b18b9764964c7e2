//! Service Join: how a machine or person without a valid certificate gets one.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weft_errors::{Coded, Error, INTERNAL, REQUEST_INVALID};
use weft_model::{Action, Answer, Holder, Name, NodeName, NodeUid, Part, ReplicaName, Role};
use weft_proto::{
    convert::{role_from_wire, socket_from_wire},
    v1::{self, join_server::Join},
};
use weft_trust::token_hash;

use crate::context::{Context, deadline, random, refuse, wall_time};

/// Service Join of one replica.
pub(crate) struct JoinService {
    context: Arc<Context>,
}

impl JoinService {
    pub(crate) const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<v1::JoinResponse, Error> {
        let deadline = deadline(&request);
        let wire = request.into_inner();
        let role = role_from_wire("role", wire.role).map_err(|e| e.envelope())?;
        // The request is checked before the token is spent on it.
        self.context.authority.check_request(&wire.csr).map_err(|e| e.envelope())?;
        let token = token_hash(&wire.token);
        let action = match role {
            Role::Node => Action::JoinNode {
                token,
                name: named(NodeName::new(wire.name.clone()))?,
                uid: NodeUid(random()?),
                labels: wire.labels.clone(),
                facts: match wire.facts.clone() {
                    Some(facts) => facts.try_into().map_err(|e: weft_proto::convert::ShapeError| e.envelope())?,
                    None => weft_model::NodeFacts::default(),
                },
            },
            Role::Replica => Action::JoinReplica {
                token,
                name: named(ReplicaName::new(wire.name.clone()))?,
                address: socket_from_wire("address", wire.address.clone()).map_err(|e| e.envelope())?,
            },
            Role::Admin | Role::Viewer => {
                Action::JoinPerson { token, name: named(Name::new(wire.name.clone()))?.to_string() }
            }
        };
        let applied = self.context.propose(wire.mutation, action, deadline).await?;
        let answer = applied.answer?;
        self.welcome(&wire, role, answer).await
    }

    /// The certificate for what the state machine granted, and what the newcomer needs to begin.
    async fn welcome(&self, wire: &v1::JoinRequest, role: Role, answer: Answer) -> Result<v1::JoinResponse, Error> {
        let (cluster, fabric, members) = self
            .context
            .handle
            .query(|state| (state.meta().cluster, state.fabric().cloned(), state.members().values().cloned().collect::<Vec<_>>()))
            .await?;
        let mut response = v1::JoinResponse {
            cluster: cluster.0.to_vec().into(),
            endpoints: members.iter().map(|m| (&m.address).into()).collect(),
            fabric: fabric.as_ref().map(Into::into),
            ..v1::JoinResponse::default()
        };
        let part = match (role, answer) {
            (Role::Node, Answer::Node(node, leases)) => {
                response.node = Some((&node).into());
                response.leases = leases.iter().map(Into::into).collect();
                Part::Node { name: node.name, uid: node.uid }
            }
            (Role::Replica, Answer::Member(member)) => {
                response.member = Some((&member).into());
                response.members = members.iter().map(Into::into).collect();
                response.authority_key = self.context.authority.private_key_der().expose().clone().into();
                Part::Replica { name: member.name, id: member.id }
            }
            (Role::Admin, Answer::Person(Role::Admin)) => Part::Admin { name: named(Name::new(wire.name.clone()))? },
            (Role::Viewer, Answer::Person(Role::Viewer)) => Part::Viewer { name: named(Name::new(wire.name.clone()))? },
            (role, answer) => {
                return Err(Error::new(&INTERNAL, format!("joining as {role} was answered by {answer:?}")));
            }
        };
        let holder = Holder { cluster, part };
        let authority = &self.context.authority;
        response.certificate = authority.issue(&wire.csr, &holder, wall_time()).map_err(|e| e.envelope())?.into();
        response.authority = vec![authority.certificate_der().to_vec().into()];
        tracing::info!(role = %role, name = wire.name, "joined");
        Ok(response)
    }

    async fn renew(&self, wire: v1::RenewRequest) -> Result<v1::RenewResponse, Error> {
        let authority = &self.context.authority;
        let holder = authority
            .check_renewal(&wire.certificate, &wire.csr, &wire.signature, wall_time())
            .map_err(|e| e.envelope())?;
        let asked = holder.clone();
        let still = self
            .context
            .handle
            .query(move |state| match &asked.part {
                _ if asked.cluster != state.meta().cluster => Err(weft_core::Error::TokenInvalid),
                Part::Node { name, uid } => state.active_node(name, *uid).map(|_| ()),
                Part::Replica { id, .. } if !state.members().contains_key(id) => Err(weft_core::Error::TokenInvalid),
                Part::Replica { .. } | Part::Admin { .. } | Part::Viewer { .. } => Ok(()),
            })
            .await?;
        still.map_err(|e| e.envelope())?;
        let certificate = authority.issue(&wire.csr, &holder, wall_time()).map_err(|e| e.envelope())?;
        Ok(v1::RenewResponse {
            certificate: certificate.into(),
            authority: vec![authority.certificate_der().to_vec().into()],
        })
    }
}

fn named<T>(name: Result<T, weft_model::NameError>) -> Result<T, Error> {
    name.map_err(|e| Error::new(&REQUEST_INVALID, e.to_string()).field("name"))
}

#[tonic::async_trait]
impl Join for JoinService {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Self::join(self, request).await.map(Response::new).map_err(refuse)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        Self::renew(self, request.into_inner()).await.map(Response::new).map_err(refuse)
    }
}
