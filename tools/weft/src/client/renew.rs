//! A person's certificate lives 7 days and is renewed by the commands themselves, from day 1 on; an expired one may still
//! renew for 30 days (service Join). Nobody notices, unless it fails and the certificate has expired.

use weft_errors::{Coded, Error};
use weft_model::WallTime;
use weft_proto::v1;
use weft_rpc::{CertificateDer, Channel, ChannelOptions, FileNames, Identity, Trust, with_deadline};

use super::{Duration, now_ms};

/// Longest time that a command spends on it.
const LIMIT: Duration = Duration::from_secs(3);

/// The renewed identity, already on disk; `None` when it isn't due. Fails when no replica renews it.
pub(super) async fn when_due(
    identity: &Identity,
    files: &FileNames,
    endpoints: Vec<String>,
) -> Result<Option<Identity>, Error> {
    if !identity.is_due_for_renewal(WallTime(now_ms())) {
        return Ok(None);
    }
    let renewal = identity.renewal().map_err(|e| e.envelope())?;
    let request = v1::RenewRequest {
        certificate: renewal.certificate.into(),
        csr: renewal.request.0.into(),
        signature: renewal.signature.into(),
    };
    // The certificate isn't shown: it may have expired.
    let trust = Trust::Authority(identity.authority().to_vec());
    let channel = Channel::new(ChannelOptions { endpoints, trust, identity: None, replica: None })
        .map_err(|e| e.envelope())?;
    let mut join = channel.join();
    let response = channel.call(LIMIT, join.renew(with_deadline(request, LIMIT))).await?;
    let certificate = CertificateDer::from(response.certificate.to_vec());
    let renewed = identity.with_certificate(certificate).map_err(|e| e.envelope())?;
    renewed.save(files).map_err(|e| e.envelope())?;
    Ok(Some(renewed))
}
