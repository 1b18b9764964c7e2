//! Who calls: taken from the connection's certificate, never from the request.

use std::{net::SocketAddr, sync::Arc};

use rustls_pki_types::CertificateDer;
use tonic::{Request, Status};
use weft_model::{Holder, Role, WallTime};

use crate::{
    Error,
    identity::{Usage, read_certificate, verify_chain},
    status_of,
};
use weft_errors::Coded;

/// The authenticated other end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whom its certificate speaks for.
    pub holder: Holder,
    /// Serial number of the certificate, hexadecimal.
    pub serial: String,
    /// When the certificate ends.
    pub expires: WallTime,
}

impl Caller {
    /// Its role.
    pub const fn role(&self) -> Role {
        self.holder.part.role()
    }

    /// Judges the certificate that a client showed.
    ///
    /// Fails with [`Error::NoCertificate`], which says why: none, expired, another authority.
    pub(crate) fn of(
        shown: Option<&[CertificateDer<'_>]>,
        authority: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<Self, Error> {
        let Some(certificate) = shown.and_then(<[_]>::first) else {
            return Err(Error::NoCertificate { why: String::new() });
        };
        let doubtful = |error: Error| Error::NoCertificate { why: error.to_string() };
        verify_chain(certificate, authority, now, Usage::Client).map_err(doubtful)?;
        let facts = read_certificate(certificate).map_err(doubtful)?;
        Ok(Self { holder: facts.holder, serial: facts.serial, expires: facts.not_after })
    }
}

/// What is known of a connection; in the extensions of each request on it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The other end's address.
    pub peer: SocketAddr,
    pub(crate) caller: Result<Arc<Caller>, Arc<Error>>,
}

/// The caller of a request.
///
/// Fails with `NO_CERTIFICATE` when there is none, or when its certificate ended since the connection began.
pub fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let missing = || Error::NoCertificate { why: String::new() };
    let connection =
        request.extensions().get::<Connection>().ok_or_else(|| status_of(&missing().envelope()))?;
    let caller = connection.caller.as_ref().map_err(|error| status_of(&error.envelope()))?;
    if caller.expires <= crate::identity::wall_time() {
        let why = Error::IdentityExpired { expired: caller.expires }.to_string();
        return Err(status_of(&Error::NoCertificate { why }.envelope()));
    }
    Ok(Caller::clone(caller))
}

/// The caller of a request, if it has one of the roles. Fails with `NO_CERTIFICATE` or `ROLE_DENIED`.
pub fn require_role<T>(request: &Request<T>, roles: &[Role]) -> Result<Caller, Status> {
    let caller = caller(request)?;
    if roles.contains(&caller.role()) {
        return Ok(caller);
    }
    Err(status_of(&Error::RoleDenied { have: caller.role(), need: roles.to_vec() }.envelope()))
}

/// Address of the other end of a request, for logs and join limits.
pub fn peer_address<T>(request: &Request<T>) -> Option<SocketAddr> {
    request.extensions().get::<Connection>().map(|connection| connection.peer)
}
