//! The person who runs the cluster: makes tokens, replaces replicas whose disk is lost, writes services.

use std::net::SocketAddr;

use weft_core::Outcome;
use weft_model::{Action, Answer, LogIndex, Member, ReplicaId, ReplicaName, Revision, Role, Token, WallTime};
use weft_raft::{MemberChange, MemberRefusal};

use crate::{
    client::{Ask, Client},
    shop::Shop,
    world::World,
};

/// Where a replacement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Remove(ReplicaId),
    Token,
    Join([u8; 32]),
    /// The machine must be set up.
    SetUp(Box<Member>),
    Add(Box<Member>),
}

/// The operator.
pub(crate) struct Operator {
    pub(crate) client: Client,
    stage: Option<Stage>,
    /// Nodes that have a token already.
    tokens: usize,
    nodes: usize,
    secret: [u8; 32],
    names: u64,
    /// Not before this time: something was refused.
    rest_until: u64,
    /// Replicas to add so that there are three.
    growth: u64,
    added: u64,
    pub(crate) shop: Shop,
}

/// Replicas added to the first one.
const GROWTH: u64 = 2;

impl Operator {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            client: Client::new(1000),
            stage: None,
            tokens: 0,
            nodes,
            secret: [0; 32],
            names: 1,
            rest_until: 0,
            growth: GROWTH,
            added: 0,
            shop: Shop::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.stage.is_none()
            && self.client.pending.is_none()
            && self.tokens == self.nodes
            && self.growth == 0
            && self.shop.is_done()
    }

    /// Replicas put in place of lost ones.
    pub(crate) const fn replacements(&self) -> u64 {
        self.added.saturating_sub(GROWTH)
    }

    /// A replica is to be replaced.
    pub(crate) fn replace(&mut self, id: ReplicaId) {
        self.stage = Some(Stage::Remove(id));
    }

    pub(crate) fn is_replacing(&self) -> bool {
        self.stage.is_some()
    }

    /// One unit of life; a member whose machine is to be set up now.
    pub(crate) fn step(&mut self, world: &mut World, floor: LogIndex) -> Option<Member> {
        if self.client.pending.is_some() || world.now < self.rest_until {
            return None;
        }
        match self.stage.clone() {
            None if self.tokens < self.nodes => self.create_token(world, Role::Node, floor),
            None if self.growth > 0 => {
                self.growth -= 1;
                self.stage = Some(Stage::Token);
            }
            None => {
                if let Some(action) = self.shop.next(world) {
                    self.client.begin(world, action, floor);
                }
            }
            Some(Stage::Remove(id)) => self.client.ask(Ask::Member(MemberChange::Remove(id)), floor),
            Some(Stage::Token) => self.create_token(world, Role::Replica, floor),
            Some(Stage::Join(token)) => {
                let (name, address) = self.place();
                self.client.begin(world, Action::JoinReplica { token, name, address }, floor);
            }
            Some(Stage::SetUp(member)) => {
                self.stage = Some(Stage::Add(member.clone()));
                return Some(*member);
            }
            Some(Stage::Add(member)) => {
                self.client.ask(Ask::Member(MemberChange::AddLearner(*member)), floor)
            }
        }
        None
    }

    fn create_token(&mut self, world: &mut World, role: Role, floor: LogIndex) {
        self.secret = world.bytes();
        let id = self.secret.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let expires = WallTime(u64::MAX / 2);
        let token = Token { id, hash: self.secret, role, expires, used_by: None, revision: Revision(0) };
        self.client.begin(world, Action::CreateToken { token }, floor);
    }

    fn place(&mut self) -> (ReplicaName, SocketAddr) {
        self.names += 1;
        place(self.names)
    }

    /// A mutation was answered; a token for the node of that number, if it made one.
    pub(crate) fn answered(
        &mut self,
        action: &Action,
        outcome: &Outcome,
    ) -> Result<Option<(usize, [u8; 32])>, String> {
        match (action, &outcome.answer, &self.stage) {
            (Action::CreateToken { token }, Ok(_), _) if token.role == Role::Node => {
                self.tokens += 1;
                return Ok(Some((self.tokens - 1, token.hash)));
            }
            (Action::CreateToken { token }, Ok(_), _) => self.stage = Some(Stage::Join(token.hash)),
            (Action::JoinReplica { .. }, Ok(Answer::Member(member)), _) => {
                self.stage = Some(Stage::SetUp(Box::new(member.clone())));
            }
            (Action::Write { .. } | Action::Delete { .. }, _, _) => self.shop.answered(action, outcome)?,
            (action, answer, _) => return Err(format!("operator: {action:?} was answered {answer:?}")),
        }
        Ok(None)
    }

    /// A change of the configuration was applied, or refused.
    pub(crate) fn member_answered(&mut self, now: u64, refusal: Option<&MemberRefusal>) -> Option<ReplicaId> {
        let done = matches!(refusal, None | Some(MemberRefusal::AlreadyThere | MemberRefusal::Unknown));
        if !done {
            self.rest_until = now + 40;
            return None;
        }
        match self.stage.take() {
            Some(Stage::Remove(id)) => {
                self.stage = Some(Stage::Token);
                Some(id)
            }
            Some(Stage::Add(_)) => {
                self.added += 1;
                None
            }
            other => {
                self.stage = other;
                None
            }
        }
    }
}

/// Name and address of the machine of a number.
pub(crate) fn place(number: u64) -> (ReplicaName, SocketAddr) {
    let name = ReplicaName::new(format!("cp-{number}")).expect("a label");
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    (name, SocketAddr::from(([172, 20, high, low], 7443)))
}
