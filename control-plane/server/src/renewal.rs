//! A replica's own certificate: it has the authority, so it renews it by itself.

use std::{path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;
use weft_errors::{Coded, Error, INTERNAL};
use weft_rpc::{FileNames, SharedIdentity};
use weft_trust::Authority;

use crate::{context::wall_time, limits::RENEWAL_CHECK};

/// Where the identity of a replica lies in its data directory.
pub fn identity_files(data_dir: &std::path::Path) -> FileNames {
    FileNames::in_directory(&data_dir.join("identity"))
}

/// Renews whenever it is due, until the process stops. New connections use the new certificate at once.
pub(crate) async fn keep_renewed(
    identity: SharedIdentity,
    authority: Arc<Authority>,
    data_dir: PathBuf,
    stop: CancellationToken,
) {
    let mut checks = tokio::time::interval(RENEWAL_CHECK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = checks.tick() => {}
        }
        if !identity.current().is_due_for_renewal(wall_time()) {
            continue;
        }
        let (shared, authority, files) =
            (identity.clone(), Arc::clone(&authority), identity_files(&data_dir));
        let renewed = tokio::task::spawn_blocking(move || renew(&shared, &authority, &files)).await;
        match renewed.unwrap_or_else(|e| Err(Error::new(&INTERNAL, "renewing panicked").because(e))) {
            Ok(()) => {
                tracing::info!(until_ms = identity.current().expires().0, "the certificate was renewed")
            }
            Err(error) => tracing::error!(%error, "the certificate can't be renewed, trying again"),
        }
    }
}

/// Issues, stores, then uses a new certificate for the key there is.
pub(crate) fn renew(
    identity: &SharedIdentity,
    authority: &Authority,
    files: &FileNames,
) -> Result<(), Error> {
    let current = identity.current();
    let request = current.key().request().map_err(|e| e.envelope())?;
    let certificate = authority.issue(&request.0, current.holder(), wall_time()).map_err(|e| e.envelope())?;
    let renewed = current.with_certificate(certificate).map_err(|e| e.envelope())?;
    renewed.save(files).map_err(|e| e.envelope())?;
    identity.replace(renewed);
    Ok(())
}
