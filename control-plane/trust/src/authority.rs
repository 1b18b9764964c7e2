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
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use weft_errors::Coded;
    use weft_model::{Name, NodeName, NodeUid, Part, ReplicaId, ReplicaName};
    use weft_rpc::{FileNames, Usage, read_certificate, verify_chain};

    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000);
    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn holders() -> [Holder; 3] {
        [
            Part::Replica { name: ReplicaName::new("cp-1").unwrap(), id: ReplicaId(1) },
            Part::Node { name: NodeName::new("n1").unwrap(), uid: NodeUid([9; 16]) },
            Part::Admin { name: Name::new("alice").unwrap() },
        ]
        .map(|part| Holder { cluster: CLUSTER, part })
    }

    #[test]
    fn a_certificate_says_its_holder_for_seven_days() {
        let authority = Authority::found(CLUSTER, NOW).unwrap();
        let roots = [authority.certificate().clone()];
        for holder in holders() {
            let identity = authority.new_identity(&holder, NOW).unwrap();
            let facts = read_certificate(identity.certificate()).unwrap();
            assert_eq!(facts.holder, holder);
            assert_eq!(facts.not_before.0, NOW.0 - 300_000);
            assert_eq!(facts.not_after.0, NOW.0 + 7 * 86_400_000);
            assert_eq!(identity.authority_hash(), Some(authority.hash()));
            assert!(!identity.is_due_for_renewal(NOW));
            assert!(identity.is_due_for_renewal(WallTime(NOW.0 + 86_400_000)));
            let server = verify_chain(identity.certificate(), &roots, NOW, Usage::Server);
            assert_eq!(server.is_ok(), holder.part.role() == Role::Replica, "{holder}");
            assert!(verify_chain(identity.certificate(), &roots, NOW, Usage::Client).is_ok());
            for (time, good) in [(facts.not_before.0, true), (facts.not_before.0 - 1000, false)] {
                let checked = verify_chain(identity.certificate(), &roots, WallTime(time), Usage::Client);
                assert_eq!(checked.is_ok(), good);
            }
            let late = WallTime(facts.not_after.0 + 1000);
            let expired = verify_chain(identity.certificate(), &roots, late, Usage::Client);
            assert!(matches!(expired, Err(weft_rpc::Error::IdentityExpired { .. })));
        }
    }

    #[test]
    fn the_subject_of_a_request_is_ignored_and_its_signature_is_not() {
        let authority = Authority::found(CLUSTER, NOW).unwrap();
        let key = SecretKey::generate().unwrap();
        let mut greedy = CertificateParams::default();
        greedy.distinguished_name = common_name("replica cp-1");
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.subject_alt_names = vec![SanType::URI(holders()[0].to_string().try_into().unwrap())];
        let request = greedy.serialize_request(&key.pair().unwrap()).unwrap().der().to_vec();
        let node = &holders()[1];
        let certificate = authority.issue(&request, node, NOW).unwrap();
        assert_eq!(read_certificate(&certificate).unwrap().holder, *node);
        let identity = Identity::new(certificate, vec![authority.certificate().clone()], key).unwrap();
        assert!(verify_chain(identity.certificate(), identity.authority(), NOW, Usage::Server).is_err());

        let mut forged = request.clone();
        *forged.last_mut().unwrap() ^= 1;
        for bad in [forged, Vec::new(), b"\x30\x80".to_vec(), vec![0x30; REQUEST_LIMIT + 1]] {
            let error = authority.issue(&bad, node, NOW).unwrap_err();
            assert_eq!(error.code().reason, "RequestInvalid", "{error}");
        }
    }

    #[test]
    fn an_authority_survives_its_files_and_refuses_exposed_or_foreign_keys() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::found(CLUSTER, NOW).unwrap();
        authority.save(dir.path()).unwrap();
        assert_eq!(Authority::load(dir.path()).unwrap().hash(), authority.hash());
        let again = Authority::from_der(authority.certificate(), authority.expose_key_der()).unwrap();
        assert_eq!(again.hash(), authority.hash());

        let other = Authority::found(CLUSTER, NOW).unwrap();
        assert!(Authority::from_der(authority.certificate(), other.expose_key_der()).is_err());
        let key = dir.path().join("ca/ca.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Authority::load(dir.path()).unwrap_err().code().reason, "KeyExposed");
    }

    #[test]
    fn an_identity_survives_its_files_and_only_takes_its_own_renewal() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::found(CLUSTER, NOW).unwrap();
        let [replica, node, _] = holders();
        let identity = authority.new_identity(&node, NOW).unwrap();
        let pair = FileNames::pair(dir.path().join("a.pem"), dir.path().join("a.key"));
        for files in [FileNames::in_directory(&dir.path().join("identity")), pair] {
            identity.save(&files).unwrap();
            let loaded = Identity::load(&files).unwrap();
            assert_eq!(loaded.holder(), &node);
            assert_eq!(loaded.authority(), identity.authority());
            fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
            assert_eq!(Identity::load(&files).unwrap_err().code().reason, "KeyExposed");
        }
        let request = identity.key().request().unwrap();
        let renewed = authority.issue(&request.0, &node, NOW).unwrap();
        assert!(identity.with_certificate(renewed).is_ok());
        let promoted = authority.issue(&request.0, &replica, NOW).unwrap();
        assert!(identity.with_certificate(promoted).is_err());
        let foreign_key = authority.new_identity(&node, NOW).unwrap();
        assert!(identity.with_certificate(foreign_key.certificate().clone()).is_err());
    }

    #[test]
    fn nothing_prints_a_key() {
        let authority = Authority::found(CLUSTER, NOW).unwrap();
        let identity = authority.new_identity(&holders()[1], NOW).unwrap();
        let printed = format!("{authority:?} {identity:?} {:?}", identity.key());
        for key in [authority.expose_key_der(), identity.key().expose_der()] {
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = format!("{key:?}");
            let base64 = pem_encode("PRIVATE KEY", key);
            for form in [&hex[40..60], &list[100..130], &base64[60..90]] {
                assert!(!printed.contains(form), "{printed}");
            }
        }
        assert!(printed.contains("[secret]"));
    }
}
