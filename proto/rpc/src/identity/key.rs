//! Private keys and the requests that they sign.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::Error;

/// A private key (ECDSA P-256, PKCS #8). It never prints itself and is wiped when dropped.
#[derive(Clone)]
pub struct SecretKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
}

/// A certificate signing request (PKCS #10, DER). Its subject is empty: the authority decides whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest(pub Vec<u8>);

/// What is signed with a renewal, before the request: a signature made for one purpose serves no other.
const RENEWAL_CONTEXT: &[u8] = b"weft renew v1";

/// The message that a renewal signs (ECDSA P-256, which hashes it with SHA-256).
pub fn renewal_message(request: &[u8]) -> Vec<u8> {
    [RENEWAL_CONTEXT, request].concat()
}

/// What `Join.Renew` asks with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The present certificate (DER); it may have expired.
    pub certificate: Vec<u8>,
    /// The request for the new one.
    pub request: SigningRequest,
    /// Signature by the present certificate's key over [`renewal_message`].
    pub signature: Vec<u8>,
}

impl SecretKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::key)?;
        Ok(Self::of(&pair))
    }

    /// Reads a key (PKCS #8, DER). Fails with [`Error::KeyInvalid`], which never shows the bytes.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let pkcs8 = PrivatePkcs8KeyDer::from(der);
        let pair =
            KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256).map_err(Error::key)?;
        Ok(Self::of(&pair))
    }

    /// The key itself (PKCS #8, DER), for its file or for a joining replica.
    pub fn expose_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Its public key (SubjectPublicKeyInfo, DER).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// A request for a certificate of this key.
    pub fn request(&self) -> Result<SigningRequest, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair()?).map_err(Error::key)?;
        Ok(SigningRequest(request.der().to_vec()))
    }

    /// Signs a message (ECDSA P-256 with SHA-256, ASN.1).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.pair()?.sign(message).map_err(Error::key)
    }

    /// The key for the certificate library of the authority.
    pub fn pair(&self) -> Result<KeyPair, Error> {
        let pkcs8 = PrivatePkcs8KeyDer::from(self.pkcs8.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256).map_err(Error::key)
    }

    pub(crate) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    fn of(pair: &KeyPair) -> Self {
        Self { pkcs8: Zeroizing::new(pair.serialize_der()), public_key: pair.subject_public_key_info() }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
