//! The authority: one self-signed certificate of 10 years, on every replica; it issues certificates of 7 days.

use std::{fmt, path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use weft_model::{AuthorityHash, ClusterId, Holder, Role, WallTime};
use weft_process::{MODE_PRIVATE, durable_replace, private_dir};
use weft_rpc::{Identity, SecretKey, authority_hash, pem_encode, read_authority};
use zeroize::Zeroizing;

use crate::Error;

/// How long a certificate lives, from its issue: 7 days.
pub const CERTIFICATE_LIFE_MS: u64 = 7 * 86_400_000;

/// How long the authority lives: 10 years of 365 days.
const AUTHORITY_LIFE_MS: u64 = 3650 * 86_400_000;

/// A certificate begins so long before its issue, for clocks that are late.
const CLOCK_TOLERANCE_MS: u64 = 5 * 60_000;

/// Longest signing request: one of ours has about 250 bytes.
const REQUEST_LIMIT: usize = 16 << 10;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// The certificate authority of a cluster. `Debug` shows only its hash.
#[derive(Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: SecretKey,
}

impl Authority {
    /// Makes the authority of a new cluster.
    pub fn found(cluster: ClusterId, now: WallTime) -> Result<Self, Error> {
        let key = SecretKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("weft {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        limit_time(&mut params, now, AUTHORITY_LIFE_MS);
        let certificate = params.self_signed(&key.pair()?)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// Puts an authority together from what a joining replica was given (DER, PKCS #8).
    ///
    /// Fails with [`Error::AuthorityInvalid`] when key and certificate don't belong together.
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let certificate = CertificateDer::from(certificate.to_vec());
        Self::checked(certificate, SecretKey::from_der(key)?, "the answer to the join")
    }

    /// Reads the authority from `DIR/ca`.
    ///
    /// Fails with `KEY_EXPOSED` when `ca.key` can be read by others, with the file's error when it is missing, with
    /// [`Error::AuthorityInvalid`] when the two don't belong together.
    pub fn load(data_dir: &Path) -> Result<Self, Error> {
        let directory = data_dir.join("ca");
        let key = SecretKey::load(&directory.join(KEY_FILE))?;
        let certificate = read_authority(&directory.join(CERTIFICATE_FILE))?.remove(0);
        Self::checked(certificate, key, &directory.display().to_string())
    }

    /// Writes the authority to `DIR/ca` (0700): `ca.key` and `ca.pem`, both 0600.
    pub fn save(&self, data_dir: &Path) -> Result<(), Error> {
        let directory = data_dir.join("ca");
        private_dir(&directory)?;
        let key = Zeroizing::new(pem_encode("PRIVATE KEY", self.key.expose_der()));
        durable_replace(&directory.join(KEY_FILE), key.as_bytes(), MODE_PRIVATE)?;
        let certificate = pem_encode("CERTIFICATE", &self.certificate);
        durable_replace(&directory.join(CERTIFICATE_FILE), certificate.as_bytes(), MODE_PRIVATE)?;
        Ok(())
    }

    /// The hash that join tokens are given with.
    pub fn hash(&self) -> AuthorityHash {
        authority_hash(&self.certificate)
    }

    /// Its certificate (DER).
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its private key (PKCS #8, DER), for a joining replica.
    pub fn expose_key_der(&self) -> &[u8] {
        self.key.expose_der()
    }

    /// Issues a certificate for the key of a signing request (DER). Of the request only the key counts; whom the
    /// certificate speaks for is `holder`.
    ///
    /// Fails with [`Error::RequestInvalid`] when the request can't be read or isn't signed by its own key.
    pub fn issue(
        &self,
        request: &[u8],
        holder: &Holder,
        now: WallTime,
    ) -> Result<CertificateDer<'static>, Error> {
        let asked = read_request(request)?;
        let granted =
            CertificateSigningRequestParams { params: leaf(holder, now)?, public_key: asked.public_key };
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.pair()?)?;
        Ok(granted.signed_by(&issuer)?.der().clone())
    }

    /// Whether a request could be granted, before anything is spent on it. Fails like [`issue`](Self::issue).
    pub fn check_request(&self, request: &[u8]) -> Result<(), Error> {
        read_request(request).map(drop)
    }

    /// A new key with its certificate: for the first replica and the first admin.
    pub fn new_identity(&self, holder: &Holder, now: WallTime) -> Result<Identity, Error> {
        let key = SecretKey::generate()?;
        let certificate = self.issue(&key.request()?.0, holder, now)?;
        Ok(Identity::new(certificate, vec![self.certificate.clone()], key)?)
    }

    fn checked(certificate: CertificateDer<'static>, key: SecretKey, place: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::AuthorityInvalid { place: place.to_owned(), why };
        let anchor =
            webpki::anchor_from_trusted_cert(&certificate).map_err(|error| invalid(error.to_string()))?;
        if webpki::spki_for_anchor(&anchor).as_ref() != key.public_key() {
            return Err(invalid("the key is not that of the certificate".to_owned()));
        }
        Ok(Self { certificate, key })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.hash())
    }
}

fn read_request(request: &[u8]) -> Result<CertificateSigningRequestParams, Error> {
    if request.len() > REQUEST_LIMIT {
        return Err(Error::request(format!("it has more than {REQUEST_LIMIT} bytes")));
    }
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
        .map_err(Error::request)
}

/// What a holder's certificate says.
fn leaf(holder: &Holder, now: WallTime) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("{} {}", holder.part.role(), holder.part.name()));
    params.subject_alt_names = vec![SanType::URI(holder.to_string().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match holder.part.role() {
        Role::Replica => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Role::Node | Role::Admin | Role::Viewer => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    limit_time(&mut params, now, CERTIFICATE_LIFE_MS);
    Ok(params)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Certificates count in whole seconds.
fn limit_time(params: &mut CertificateParams, now: WallTime, life_ms: u64) {
    let at = |millis: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(millis / 1000);
    params.not_before = at(now.0.saturating_sub(CLOCK_TOLERANCE_MS));
    params.not_after = at(now.0.saturating_add(life_ms));
}

/// 127 random bits, positive (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
