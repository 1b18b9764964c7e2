//! Certificates live 7 days and are renewed from day 1; an expired one may still renew for 30 days.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error};
use weft_proto::v1;
use weft_rpc::{
    CertificateDer, Channel, ChannelOptions, FileNames, Identity, SharedIdentity, Trust, with_deadline,
};

use crate::{backoff::Backoff, clock, limits, paths::Paths, publisher::pause};

/// Renews until the process stops, at the replicas that `channel` knows.
pub(crate) async fn keep_certificate(
    identity: SharedIdentity,
    channel: Channel,
    paths: Paths,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(limits::RENEW_EVERY, limits::RENEW_EVERY * 60);
    loop {
        let mut wait = limits::RENEW_EVERY;
        let now = identity.current();
        if now.is_due_for_renewal(clock::wall()) {
            match renew(&now, channel.endpoints(), &paths).await {
                Ok(renewed) => {
                    tracing::info!(expires_ms = renewed.expires().0, "renewed the certificate");
                    identity.replace(renewed);
                    backoff.reset();
                }
                Err(error) => {
                    let expired = now.expires() <= clock::wall();
                    tracing::warn!(%error, expired, "the certificate can't be renewed yet");
                    wait = backoff.next(clock::chance());
                }
            }
        }
        if pause(wait, &stop).await {
            return;
        }
    }
}

async fn renew(identity: &Arc<Identity>, endpoints: Vec<String>, paths: &Paths) -> Result<Identity, Error> {
    let renewal = identity.renewal().map_err(|e| e.envelope())?;
    let request = v1::RenewRequest {
        certificate: renewal.certificate.into(),
        csr: renewal.request.0.into(),
        signature: renewal.signature.into(),
    };
    // Without showing the certificate: an expired one would end the handshake.
    let channel = Channel::new(ChannelOptions {
        endpoints,
        trust: Trust::Authority(identity.authority().to_vec()),
        identity: None,
        replica: None,
    })
    .map_err(|e| e.envelope())?;
    let call = || {
        let (mut client, request) = (channel.join(), request.clone());
        async move { client.renew(with_deadline(request, limits::CALL_DEADLINE)).await }
    };
    let response = channel.retry(limits::CALL_DEADLINE, call).await?;
    let certificate = CertificateDer::from(response.certificate.to_vec());
    let renewed = identity.with_certificate(certificate).map_err(|e| e.envelope())?;
    let (files, stored) = (FileNames::in_directory(&paths.identity()), renewed.clone());
    let written = tokio::task::spawn_blocking(move || stored.save(&files)).await;
    match written {
        Ok(Ok(())) => Ok(renewed),
        Ok(Err(error)) => Err(error.envelope()),
        Err(error) => {
            Err(Error::new(&weft_errors::INTERNAL, "writing the certificate broke off").because(error))
        }
    }
}
