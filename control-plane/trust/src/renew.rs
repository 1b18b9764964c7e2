//! Renewal: the old certificate and a signature by its key are worth a new one, also for a while after its end.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use weft_model::{Holder, WallTime};
use weft_rpc::{Renewal, Usage, read_certificate, renewal_message, verify_chain};

use crate::{Authority, Error};

/// How long after its end a certificate may still renew: 30 days.
pub const RENEWAL_GRACE_MS: u64 = 30 * 86_400_000;

/// A renewed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Whom it speaks for: the holder of the old one.
    pub holder: Holder,
    /// The certificate (DER).
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    /// Whom a renewal speaks for, checked without issuing anything: the caller asks whether that holder still exists.
    ///
    /// Fails with [`Error::RequestInvalid`] when another authority signed the certificate, it ended more than 30 days
    /// ago, or the signature isn't by its key.
    pub fn check_renewal(&self, renewal: &Renewal, now: WallTime) -> Result<Holder, Error> {
        let certificate = CertificateDer::from(renewal.certificate.as_slice());
        let facts = read_certificate(&certificate).map_err(Error::request)?;
        // The authority's signature is judged as of the certificate's own time; its age is judged here.
        let as_of = WallTime(now.0.min(facts.not_after.0));
        verify_chain(&certificate, std::slice::from_ref(self.certificate()), as_of, Usage::Client)
            .map_err(Error::request)?;
        if now.0 > facts.not_after.0.saturating_add(RENEWAL_GRACE_MS) {
            return Err(Error::request("the certificate ended more than 30 days ago"));
        }
        EndEntityCert::try_from(&certificate)
            .and_then(|certificate| {
                certificate.verify_signature(
                    webpki::aws_lc_rs::ECDSA_P256_SHA256,
                    &renewal_message(&renewal.request.0),
                    &renewal.signature,
                )
            })
            .map_err(|_| Error::request("the request isn't signed by the certificate's key"))?;
        Ok(facts.holder)
    }

    /// [`check_renewal`](Self::check_renewal), then a new certificate for the same holder.
    pub fn renew(&self, renewal: &Renewal, now: WallTime) -> Result<Renewed, Error> {
        let holder = self.check_renewal(renewal, now)?;
        let certificate = self.issue(&renewal.request.0, &holder, now)?;
        Ok(Renewed { holder, certificate })
    }
}

#[cfg(test)]
mod tests {
    use weft_model::{ClusterId, NodeName, NodeUid, Part};
    use weft_rpc::Identity;

    use super::*;
    use crate::CERTIFICATE_LIFE_MS;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn node() -> Holder {
        Holder {
            cluster: ClusterId([7; 16]),
            part: Part::Node { name: NodeName::new("n1").unwrap(), uid: NodeUid([9; 16]) },
        }
    }

    fn world() -> (Authority, Identity) {
        let authority = Authority::found(ClusterId([7; 16]), NOW).unwrap();
        let identity = authority.new_identity(&node(), NOW).unwrap();
        (authority, identity)
    }

    #[test]
    fn a_certificate_renews_while_it_holds_and_for_thirty_days_after() {
        let (authority, identity) = world();
        let end = NOW.0 + CERTIFICATE_LIFE_MS;
        for (time, good) in [
            (NOW.0, true),
            (end - 1000, true),
            (end + 1000, true),
            (end + RENEWAL_GRACE_MS, true),
            (end + RENEWAL_GRACE_MS + 1, false),
        ] {
            let renewed = authority.renew(&identity.renewal().unwrap(), WallTime(time));
            assert_eq!(renewed.is_ok(), good, "{time}: {renewed:?}");
            if let Ok(renewed) = renewed {
                assert_eq!(renewed.holder, node());
                let identity = identity.with_certificate(renewed.certificate).unwrap();
                assert!(identity.expires().0 + 1000 > time + CERTIFICATE_LIFE_MS);
            }
        }
    }

    #[test]
    fn a_renewal_by_another_key_or_authority_is_refused() {
        let (authority, identity) = world();
        let good = identity.renewal().unwrap();
        assert_eq!(authority.check_renewal(&good, NOW).unwrap(), node());

        let thief = authority.new_identity(&node(), NOW).unwrap().renewal().unwrap();
        let stolen_certificate = Renewal { certificate: good.certificate.clone(), ..thief.clone() };
        let other_request = Renewal { request: thief.request, ..good.clone() };
        let garbage = Renewal { certificate: vec![0x30, 3, 1, 2, 3], ..good.clone() };
        let no_signature = Renewal { signature: Vec::new(), ..good.clone() };
        for bad in [stolen_certificate, other_request, garbage, no_signature] {
            assert!(authority.check_renewal(&bad, NOW).is_err());
        }
        let (foreign, _) = world();
        let error = foreign.check_renewal(&good, NOW).unwrap_err();
        assert!(error.to_string().contains("another authority"), "{error}");
    }
}
