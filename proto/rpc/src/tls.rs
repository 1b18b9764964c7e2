//! TLS 1.3 with one crypto provider, chosen here and nowhere else; who may be whom is checked by our own verifiers.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    },
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weft_model::{AuthorityHash, Holder, Part, ReplicaId, WallTime};

use crate::{
    Error,
    identity::{Identity, Usage, authority_hash, read_certificate, verify_chain},
};

/// Application protocol of gRPC (RFC 9113 section 3.2).
const ALPN: &[u8] = b"h2";

/// What a client trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Certificates of the authority: everything after the join.
    Authority(Vec<CertificateDer<'static>>),
    /// The hash that came with the token: checked before anything is sent.
    Pinned(AuthorityHash),
}

/// aws-lc-rs with the hybrid key exchange first: what joins is safe against a later quantum computer.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
    ];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// A server's TLS: a client's certificate is asked for, not needed; it is judged after the handshake, so that a caller
/// with a wrong one gets a sentence instead of an alert.
pub(crate) fn server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = ProofOfKey { algorithms: provider.signature_verification_algorithms };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(identity.chain(), identity.key().for_tls())
        .map_err(Error::tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // No resumption: each connection shows its certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client's TLS, and the place where its verifier leaves what it saw.
pub(crate) fn client_config(
    trust: &Trust,
    expected: Option<ReplicaId>,
    identity: Option<&Identity>,
) -> Result<(ClientConfig, Arc<ReplicaCheck>), Error> {
    let provider = provider();
    let check = Arc::new(ReplicaCheck {
        trust: trust.clone(),
        expected,
        algorithms: provider.signature_verification_algorithms,
        seen: Mutex::new(None),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&check) as Arc<dyn ServerCertVerifier>);
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain(), identity.key().for_tls()).map_err(Error::tls)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok((config, check))
}

/// Server side: takes any certificate whose key the client proves to have.
#[derive(Debug)]
struct ProofOfKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ProofOfKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Client side: the server must be a replica of the trusted authority. Names and addresses don't matter.
#[derive(Debug)]
pub(crate) struct ReplicaCheck {
    trust: Trust,
    expected: Option<ReplicaId>,
    algorithms: WebPkiSupportedAlgorithms,
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

impl ServerCertVerifier for ReplicaCheck {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.judge(certificate, others, now);
        let refused = verdict.is_err();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        if refused {
            // The reason is in `seen`; the peer only learns that it is not trusted.
            return Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
