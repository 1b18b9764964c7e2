//! An identity on disk: `key.pem`, `cert.pem`, `ca.pem`, all of mode 0600 and replaced whole.
//!
//! The key is written first and never changes with a renewal, so a crash between two files leaves a pair that fits.
//! All calls block.

use std::path::{Path, PathBuf};

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use weft_process::{MODE_PRIVATE, durable_replace, private_dir, read_limited, read_private};
use zeroize::Zeroizing;

use super::{Identity, SecretKey, pem_certificates, pem_encode};
use crate::Error;

/// Longest file of an identity.
const FILE_LIMIT: u64 = 64 << 10;

/// Where the parts of an identity are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNames {
    /// The private key.
    pub key: PathBuf,
    /// The certificate; the authority may follow in the same file.
    pub certificate: PathBuf,
    /// The authority; `None` when it follows the certificate.
    pub authority: Option<PathBuf>,
}

impl FileNames {
    /// `key.pem`, `cert.pem`, `ca.pem` of a directory: the form of nodes and replicas.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            key: directory.join("key.pem"),
            certificate: directory.join("cert.pem"),
            authority: Some(directory.join("ca.pem")),
        }
    }

    /// Two files, the authority in that of the certificate: the form of people's contexts.
    pub fn pair(certificate: PathBuf, key: PathBuf) -> Self {
        Self { key, certificate, authority: None }
    }
}

impl Identity {
    /// Reads an identity.
    ///
    /// Fails with the file's error (missing; `KEY_EXPOSED` when the key can be read by others), or with
    /// [`Error::IdentityInvalid`] when the parts don't belong together.
    pub fn load(files: &FileNames) -> Result<Self, Error> {
        let key = read_key(&files.key)?;
        let mut certificates = pem_certificates(&read_limited(&files.certificate, FILE_LIMIT)?)
            .map_err(|error| error.in_file(&files.certificate))?;
        let certificate = certificates.remove(0);
        let authority = match &files.authority {
            Some(path) => read_authority(path)?,
            None => certificates,
        };
        Self::new(certificate, authority, key).map_err(|error| error.in_file(&files.certificate))
    }

    /// Writes an identity, durably; makes the directory (0700) when it isn't there.
    pub fn save(&self, files: &FileNames) -> Result<(), Error> {
        if let Some(directory) = files.key.parent().filter(|directory| !directory.exists()) {
            private_dir(directory)?;
        }
        let key = Zeroizing::new(pem_encode("PRIVATE KEY", self.key().expose_der()));
        durable_replace(&files.key, key.as_bytes(), MODE_PRIVATE)?;
        let mut certificate = pem_encode("CERTIFICATE", self.certificate());
        let authority: String = self.authority().iter().map(|der| pem_encode("CERTIFICATE", der)).collect();
        match &files.authority {
            Some(path) => durable_replace(path, authority.as_bytes(), MODE_PRIVATE)?,
            None => certificate.push_str(&authority),
        }
        durable_replace(&files.certificate, certificate.as_bytes(), MODE_PRIVATE)?;
        Ok(())
    }
}

impl SecretKey {
    /// Reads a key from a PEM file of mode 0600.
    pub fn load(path: &Path) -> Result<Self, Error> {
        read_key(path)
    }
}

/// Reads the certificates of an authority from a PEM file.
pub fn read_authority(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    pem_certificates(&read_limited(path, FILE_LIMIT)?).map_err(|error| error.in_file(path))
}

fn read_key(path: &Path) -> Result<SecretKey, Error> {
    let text = Zeroizing::new(read_private(path, FILE_LIMIT)?);
    let der = PrivatePkcs8KeyDer::from_pem_slice(&text)
        .map_err(|_| Error::KeyInvalid { why: "the file holds no PKCS #8 key".to_owned() }.in_file(path))?;
    SecretKey::from_der(der.secret_pkcs8_der()).map_err(|error| error.in_file(path))
}
