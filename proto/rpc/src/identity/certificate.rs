//! Reading a certificate and checking who signed it. Total functions: any bytes may come in.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use weft_model::{AuthorityHash, Holder, WallTime};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::Error;

/// What a certificate of Weft says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it speaks for.
    pub holder: Holder,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// When it begins.
    pub not_before: WallTime,
    /// When it ends.
    pub not_after: WallTime,
    /// Its public key (SubjectPublicKeyInfo, DER).
    pub public_key: Vec<u8>,
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// By a server.
    Server,
    /// By a client.
    Client,
}

/// SHA-256 of an authority's certificate.
pub fn authority_hash(certificate: &CertificateDer<'_>) -> AuthorityHash {
    AuthorityHash(Sha256::digest(certificate).into())
}

/// Reads a certificate; says nothing about who signed it.
///
/// Fails with [`Error::IdentityInvalid`] when it isn't X.509 or doesn't name exactly one holder by URI.
pub fn read_certificate(certificate: &CertificateDer<'_>) -> Result<CertificateFacts, Error> {
    let (rest, parsed) = parse_x509_certificate(certificate)
        .map_err(|error| Error::identity(format!("the certificate can't be read: {error}")))?;
    if !rest.is_empty() {
        return Err(Error::identity("bytes follow the certificate"));
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| Error::identity(format!("the certificate's names can't be read: {error}")))?;
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(uri);
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(Error::identity("the certificate doesn't name exactly one holder"));
    };
    let validity = parsed.validity();
    Ok(CertificateFacts {
        holder: uri.parse().map_err(Error::identity)?,
        serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        not_before: milliseconds(validity.not_before.timestamp()),
        not_after: milliseconds(validity.not_after.timestamp()),
        public_key: parsed.public_key().raw.to_vec(),
    })
}

/// Checks that one of `authority` signed the certificate and that it holds at `now` for `usage`.
///
/// Fails with [`Error::IdentityExpired`] outside its time and with [`Error::IdentityInvalid`] for any other reason.
pub fn verify_chain(
    certificate: &CertificateDer<'_>,
    authority: &[CertificateDer<'_>],
    now: WallTime,
    usage: Usage,
) -> Result<(), Error> {
    let anchors: Vec<_> = authority.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let usage = match usage {
        Usage::Server => KeyUsage::server_auth(),
        Usage::Client => KeyUsage::client_auth(),
    };
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    let unreadable = |error| Error::identity(format!("the certificate can't be read: {error}"));
    EndEntityCert::try_from(certificate)
        .map_err(unreadable)?
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], time, usage, None, None)
        .map(drop)
        .map_err(|error| chain_error(error, authority))
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the list of reasons is open: all others are shown as they are"
)]
fn chain_error(error: webpki::Error, authority: &[CertificateDer<'_>]) -> Error {
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            Error::IdentityExpired { expired: WallTime(not_after.as_secs().saturating_mul(1000)) }
        }
        webpki::Error::UnknownIssuer if authority.is_empty() => Error::identity(
            "the authority's certificate is missing: it must follow the holder's own, or stand in its own file",
        ),
        webpki::Error::UnknownIssuer if !authority.iter().any(is_of_authority) => {
            Error::identity("what stands in the place of the authority's certificate isn't an authority's")
        }
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            Error::identity("the certificate belongs to another authority")
        }
        other => Error::identity(format!("the certificate is refused: {other}")),
    }
}

/// Whether a certificate may sign others.
fn is_of_authority(certificate: &CertificateDer<'_>) -> bool {
    parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| parsed.is_ca())
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

/// Times before 1970 count as 1970.
fn milliseconds(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
