//! HTTP over TLS, with a certificate that nobody has reason to trust: readiness probes don't look at it.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use anyhow::anyhow;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::serve;
use crate::Result;

/// Answers one request.
pub(super) fn http(stream: TcpStream, peer: SocketAddr) -> Result {
    static CONFIG: OnceLock<core::result::Result<Arc<ServerConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| config().map_err(|e| format!("{e:#}")));
    let connection = ServerConnection::new(Arc::clone(config.as_ref().map_err(|e| anyhow!("{e}"))?))?;
    let mut secured = StreamOwned::new(connection, stream);
    serve::http(&mut secured, peer)?;
    secured.conn.send_close_notify();
    Ok(secured.conn.complete_io(&mut secured.sock).map(drop)?)
}

fn config() -> Result<Arc<ServerConfig>> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["somebody.invalid".to_owned()])?.self_signed(&key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(Arc::new(config))
}
