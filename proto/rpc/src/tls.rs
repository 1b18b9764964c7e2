//! TLS 1.3 with one crypto provider, chosen here and nowhere else; who may be whom is checked by our own verifiers.

mod replica;
mod verify;

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    version::TLS13,
};
use rustls_pki_types::CertificateDer;
use weft_model::{AuthorityHash, ReplicaId};

pub(crate) use replica::{Refused, ReplicaCheck};

use self::verify::{Anybody, Clients, Judge, Servers};
use crate::{Error, identity::Identity};

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
fn provider() -> Arc<CryptoProvider> {
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
    let verifier = Clients(provider.signature_verification_algorithms);
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

/// A client's TLS, and the place where its judge leaves what it saw.
pub(crate) fn client_config(
    trust: &Trust,
    expected: Option<ReplicaId>,
    identity: Option<&Identity>,
) -> Result<(ClientConfig, Arc<ReplicaCheck>), Error> {
    let check = Arc::new(ReplicaCheck::new(trust.clone(), expected));
    let mut config = client_of(Arc::clone(&check), identity)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    Ok((config, check))
}

/// A client's TLS towards whoever answers.
pub(crate) fn client_of_anybody() -> Result<ClientConfig, Error> {
    client_of(Arc::new(Anybody), None)
}

fn client_of<J: Judge + 'static>(judge: Arc<J>, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(Error::tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Servers { judge, algorithms }));
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain(), identity.key().for_tls()).map_err(Error::tls)?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}
