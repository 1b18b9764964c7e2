//! PEM (RFC 7468): the text form of certificates and keys in files.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::Error;

/// Characters a line (RFC 7468 section 2).
const LINE: usize = 64;

/// Writes one block; `label` is `CERTIFICATE` or `PRIVATE KEY`.
pub fn pem_encode(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: every index is a character boundary.
        let (line, next) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Reads all certificates of a text, in order; at least one.
pub fn pem_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::identity(format!("a certificate can't be read: {error}")))?;
    if certificates.is_empty() {
        return Err(Error::identity("there is no certificate"));
    }
    Ok(certificates)
}
