//! A process's own identity: its certificate, its key, the authority it trusts.
//!
//! Not here: issuing certificates (weft-trust).

mod certificate;
mod files;
mod key;
mod pem;

use std::{fmt, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls_pki_types::CertificateDer;
use weft_model::{AuthorityHash, Holder, WallTime};

pub use certificate::{CertificateFacts, Usage, authority_hash, read_certificate, verify_chain};
pub use files::{FileNames, read_authority};
pub use key::{Renewal, SecretKey, SigningRequest, renewal_message};
pub use pem::{pem_certificates, pem_encode};

use crate::Error;

/// Certificate, key and authority of one holder. `Debug` shows no key.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    facts: CertificateFacts,
    authority: Vec<CertificateDer<'static>>,
    key: SecretKey,
}

impl Identity {
    /// Puts the parts together.
    ///
    /// Fails with [`Error::IdentityInvalid`] when the certificate isn't one of Weft's, was made for another key, or
    /// wasn't signed by the authority. Its age is not judged: an expired one may still renew.
    pub fn new(
        certificate: CertificateDer<'static>,
        authority: Vec<CertificateDer<'static>>,
        key: SecretKey,
    ) -> Result<Self, Error> {
        let facts = read_certificate(&certificate)?;
        if facts.public_key != key.public_key() {
            return Err(Error::identity("the certificate was made for another key"));
        }
        verify_chain(&certificate, &authority, facts.not_before, Usage::Client)?;
        Ok(Self { certificate, facts, authority, key })
    }

    /// The same key and authority with a renewed certificate of the same holder.
    pub fn with_certificate(&self, certificate: CertificateDer<'static>) -> Result<Self, Error> {
        let renewed = Self::new(certificate, self.authority.clone(), self.key.clone())?;
        if renewed.holder() != self.holder() {
            return Err(Error::identity(format!("the new certificate is of {}", renewed.holder())));
        }
        Ok(renewed)
    }

    /// Whom the certificate speaks for.
    pub const fn holder(&self) -> &Holder {
        &self.facts.holder
    }

    /// When the certificate ends.
    pub const fn expires(&self) -> WallTime {
        self.facts.not_after
    }

    /// Whether it is time to ask for a new certificate: from one day after its beginning.
    pub fn is_due_for_renewal(&self, now: WallTime) -> bool {
        now.0 >= self.facts.not_before.0.saturating_add(RENEW_AFTER_MS)
    }

    /// The certificate (DER).
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Certificates of the authority (DER), its root first.
    pub fn authority(&self) -> &[CertificateDer<'static>] {
        &self.authority
    }

    /// Hash of the authority's root.
    pub fn authority_hash(&self) -> Option<AuthorityHash> {
        self.authority.first().map(|root| authority_hash(root))
    }

    /// The private key.
    pub const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Asks for a new certificate for the same key.
    pub fn renewal(&self) -> Result<Renewal, Error> {
        let request = self.key.request()?;
        let signature = self.key.sign(&renewal_message(&request.0))?;
        Ok(Renewal { certificate: self.certificate.to_vec(), request, signature })
    }

    /// What is shown at a handshake: the certificate, then the authority, so that a peer can check a pinned hash.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(&self.certificate).chain(&self.authority).cloned().collect()
    }
}

/// One day, counted from the begin of a certificate.
const RENEW_AFTER_MS: u64 = 86_400_000;

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("holder", &self.facts.holder.to_string())
            .field("expires", &self.facts.not_after)
            .finish_non_exhaustive()
    }
}

/// An identity that servers and channels share and that can be replaced while they run: new connections use the new
/// certificate, present ones go on.
#[derive(Clone, Debug)]
pub struct SharedIdentity(Arc<ArcSwap<Identity>>);

impl SharedIdentity {
    /// Shares an identity.
    pub fn new(identity: Identity) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(identity)))
    }

    /// Replaces it.
    pub fn replace(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    /// The present one.
    pub fn current(&self) -> Arc<Identity> {
        self.0.load_full()
    }
}

/// Wall time now, for certificates.
pub(crate) fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
