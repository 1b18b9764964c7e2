//! Who a server is: a replica of the trusted authority. Names and addresses don't matter.

use std::sync::{Mutex, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};
use weft_model::{AuthorityHash, Holder, Part, ReplicaId, WallTime};

use super::{Trust, verify::Judge};
use crate::{
    Error,
    identity::{Usage, authority_hash, read_certificate, verify_chain},
};

/// The judge of one connection, and the place where it leaves what it saw.
#[derive(Debug)]
pub(crate) struct ReplicaCheck {
    trust: Trust,
    expected: Option<ReplicaId>,
    seen: Mutex<Option<Result<Holder, Refused>>>,
}

/// Why a server was refused.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// Its authority has another hash than the pinned one.
    Pin { expected: AuthorityHash, found: Option<AuthorityHash> },
    /// Any other reason.
    Because(String),
}

impl ReplicaCheck {
    /// Of a server that should be the replica `expected`, or any.
    pub(super) const fn new(trust: Trust, expected: Option<ReplicaId>) -> Self {
        Self { trust, expected, seen: Mutex::new(None) }
    }

    /// What the verifier concluded; `None` before it was asked.
    pub(crate) fn verdict(&self) -> Option<Result<Holder, Refused>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Holder, Refused> {
        let now = WallTime(now.as_secs().saturating_mul(1000));
        let because = |error: Error| Refused::Because(error.to_string());
        match &self.trust {
            Trust::Authority(authority) => {
                verify_chain(certificate, authority, now, Usage::Server).map_err(because)?;
            }
            Trust::Pinned(expected) => {
                let root = others.iter().find(|root| authority_hash(root) == *expected);
                let Some(last) = others.last() else {
                    return Err(Refused::Because(
                        "it showed its own certificate alone, without that of its authority".to_owned(),
                    ));
                };
                let found = Some(authority_hash(last));
                let root = root.ok_or(Refused::Pin { expected: *expected, found })?;
                verify_chain(certificate, std::slice::from_ref(root), now, Usage::Server).map_err(because)?;
            }
        }
        let holder = read_certificate(certificate).map_err(because)?.holder;
        match (&holder.part, self.expected) {
            (Part::Replica { id, .. }, Some(expected)) if *id != expected => {
                Err(Refused::Because(format!("it is replica {id}, not {expected}")))
            }
            (Part::Replica { .. }, _) => Ok(holder),
            (part, _) => Err(Refused::Because(format!("its certificate is of role {}", part.role()))),
        }
    }
}

impl Judge for ReplicaCheck {
    fn accepts(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let verdict = self.judge(certificate, others, now);
        let accepted = verdict.is_ok();
        // The reason stays here; the peer only learns that it is not trusted.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        accepted
    }
}
