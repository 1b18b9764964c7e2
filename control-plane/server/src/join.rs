//! Service Join: how a machine or person without a valid certificate gets one.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use weft_errors::{BUSY, Coded, Error, INTERNAL, REQUEST_INVALID};
use weft_model::{Action, Answer, Holder, Name, NodeName, NodeUid, Part, ReplicaName, Role};
use weft_proto::{
    convert::{role_from_wire, socket_from_wire},
    v1::{self, join_server::Join},
};
use weft_rpc::{Renewal, SigningRequest};
use weft_trust::{JoinToken, Tries};

use crate::context::{Context, deadline, random, refuse, wall_time};

/// Service Join of one replica.
pub(crate) struct JoinService {
    context: Arc<Context>,
    tries: Mutex<Tries>,
}

impl JoinService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, tries: Mutex::new(Tries::new()) }
    }

    /// The hash of a token that may still be used. Strangers never write into the log: a token that is unknown, used or
    /// expired is refused here, and each address may try a few of those a minute. A valid one isn't counted, so that many
    /// machines may join at once from behind one address; nor is a used one whose answer got lost (the same request again).
    async fn token(
        &self,
        wire: &v1::JoinRequest,
        peer: Option<IpAddr>,
        deadline: Instant,
    ) -> Result<[u8; 32], Error> {
        let refused = || weft_core::Error::TokenInvalid.envelope();
        let hash = match wire.token.parse::<JoinToken>() {
            Ok(token) => token.hash(),
            Err(error) => return Err(self.counted(peer, error.envelope())),
        };
        let client = match weft_proto::convert::Mutation::try_from(attempt(&hash, wire)) {
            Ok(mutation) => mutation.client,
            Err(error) => return Err(error.envelope()),
        };
        let now = wall_time();
        let usable = move |state: &weft_core::State| {
            let open = |token: &weft_model::Token| token.used_by.is_none() && token.expires > now;
            state.tokens().values().any(|token| token.hash == hash && open(token))
                || state.clients().contains_key(&client)
        };
        if self.context.handle.query(usable).await? {
            return Ok(hash);
        }
        // The token may be younger than what this replica has applied; only then is it worth asking the leader.
        if let Some(error) = self.overrun(peer) {
            return Err(error);
        }
        self.context.handle.barrier(deadline).await?;
        if self.context.handle.query(usable).await? { Ok(hash) } else { Err(refused()) }
    }

    /// Counts a try of an address; the refusal once it has tried too often.
    fn overrun(&self, peer: Option<IpAddr>) -> Option<Error> {
        let peer = peer?;
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        (!tries.admit(peer, wall_time()))
            .then(|| Error::new(&BUSY, format!("{peer} has tried too many tokens; wait a minute")))
    }

    fn counted(&self, peer: Option<IpAddr>, error: Error) -> Error {
        self.overrun(peer).unwrap_or(error)
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<v1::JoinResponse, Error> {
        let deadline = deadline(&request);
        let peer = weft_rpc::peer_address(&request).map(|address| address.ip());
        let wire = request.into_inner();
        let role = role_from_wire("role", wire.role).map_err(|e| e.envelope())?;
        // The request is checked before the token is spent on it.
        self.context.authority.check_request(&wire.csr).map_err(|e| e.envelope())?;
        let token = self.token(&wire, peer, deadline).await?;
        let action = match role {
            Role::Node => Action::JoinNode {
                token,
                name: named(NodeName::new(wire.name.clone()))?,
                uid: NodeUid(random()?),
                labels: wire.labels.clone(),
                facts: match wire.facts.clone() {
                    Some(facts) => {
                        facts.try_into().map_err(|e: weft_proto::convert::ShapeError| e.envelope())?
                    }
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
        let applied = self.context.propose(Some(attempt(&token, &wire)), action, deadline).await?;
        let answer = applied.answer?;
        self.welcome(&wire, role, answer).await
    }

    /// The certificate for what the state machine granted, and what the newcomer needs to begin.
    async fn welcome(
        &self,
        wire: &v1::JoinRequest,
        role: Role,
        answer: Answer,
    ) -> Result<v1::JoinResponse, Error> {
        let (cluster, fabric, members) = self
            .context
            .handle
            .query(|state| {
                (
                    state.meta().cluster,
                    state.fabric().cloned(),
                    state.members().values().cloned().collect::<Vec<_>>(),
                )
            })
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
                response.authority_key = Bytes::copy_from_slice(self.context.authority.expose_key_der());
                Part::Replica { name: member.name, id: member.id }
            }
            // A person is what the token says, whichever of the two was asked for.
            (Role::Admin | Role::Viewer, Answer::Person(Role::Admin)) => {
                Part::Admin { name: named(Name::new(wire.name.clone()))? }
            }
            (Role::Admin | Role::Viewer, Answer::Person(Role::Viewer)) => {
                Part::Viewer { name: named(Name::new(wire.name.clone()))? }
            }
            (role, answer) => {
                return Err(Error::new(&INTERNAL, format!("joining as {role} was answered by {answer:?}")));
            }
        };
        let holder = Holder { cluster, part };
        let authority = &self.context.authority;
        response.certificate = Bytes::copy_from_slice(
            authority.issue(&wire.csr, &holder, wall_time()).map_err(|e| e.envelope())?.as_ref(),
        );
        response.authority = vec![Bytes::copy_from_slice(authority.certificate())];
        tracing::info!(role = %role, name = wire.name, "joined");
        Ok(response)
    }

    async fn renew(&self, wire: v1::RenewRequest) -> Result<v1::RenewResponse, Error> {
        let authority = &self.context.authority;
        let renewal = Renewal {
            certificate: wire.certificate.to_vec(),
            request: SigningRequest(wire.csr.to_vec()),
            signature: wire.signature.to_vec(),
        };
        let holder = authority.check_renewal(&renewal, wall_time()).map_err(|e| e.envelope())?;
        let asked = holder.clone();
        let still = self
            .context
            .handle
            .query(move |state| match &asked.part {
                _ if asked.cluster != state.meta().cluster => Err(weft_core::Error::TokenInvalid),
                Part::Node { name, uid } => state.active_node(name, *uid).map(|_| ()),
                Part::Replica { id, .. } if !state.members().contains_key(id) => {
                    Err(weft_core::Error::TokenInvalid)
                }
                Part::Replica { .. } | Part::Admin { .. } | Part::Viewer { .. } => Ok(()),
            })
            .await?;
        still.map_err(|e| e.envelope())?;
        let certificate = authority.issue(&wire.csr, &holder, wall_time()).map_err(|e| e.envelope())?;
        Ok(v1::RenewResponse {
            certificate: Bytes::copy_from_slice(&certificate),
            authority: vec![Bytes::copy_from_slice(authority.certificate())],
        })
    }
}

/// Names a join by what it brings: repeated with the same request it gets the same answer, whoever serves it.
fn attempt(token: &[u8; 32], wire: &v1::JoinRequest) -> v1::MutationId {
    let mut hasher = Sha256::new();
    hasher.update(b"weft join v1");
    hasher.update(token);
    hasher.update(Sha256::digest(&wire.csr));
    hasher.update(Sha256::digest(wire.name.as_bytes()));
    hasher.update(wire.role.to_be_bytes());
    let digest = hasher.finalize();
    v1::MutationId { client: Bytes::copy_from_slice(&digest[..16]), sequence: 1 }
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
