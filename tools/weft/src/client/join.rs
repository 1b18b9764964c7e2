//! Joining as a person: a token in, a certificate out.

use std::path::Path;

use weft_model::AuthorityHash;
use weft_proto::v1;
use weft_rpc::{Channel, ChannelOptions, FileNames, Identity, SecretKey, Trust, with_deadline};

use super::{random, socket};
use crate::{
    args::Global,
    context::Context,
    fail::{Failure, Outcome},
};

/// Joins as a person: the key is made here and never leaves; certificate and key are written beside the contexts file.
pub(crate) async fn join_person(
    name: &str,
    token: &str,
    ca: &str,
    global: &Global,
    file: &Path,
) -> Outcome<Context> {
    let hash: AuthorityHash = ca.parse().map_err(|e: String| Failure::new(&weft_errors::USAGE, e))?;
    let key = SecretKey::generate().map_err(|e| Failure::of(&e))?;
    let csr = key.request().map_err(|e| Failure::of(&e))?.0;
    let options = ChannelOptions {
        endpoints: global.endpoint.clone(),
        trust: Trust::Pinned(hash),
        identity: None,
        replica: None,
    };
    let channel = Channel::new(options).map_err(|e| Failure::of(&e))?;
    let client = random()?;
    let request = v1::JoinRequest {
        token: token.to_owned(),
        csr: csr.into(),
        // The token says whether it makes an admin or a viewer.
        role: v1::Role::Viewer.into(),
        name: name.to_owned(),
        mutation: Some(v1::MutationId { client: client.to_vec().into(), sequence: 1 }),
        ..v1::JoinRequest::default()
    };
    let mut joiner = channel.join();
    let call = joiner.join(with_deadline(request, global.timeout));
    let answer = channel.call(global.timeout, call).await?;
    keep(name, &answer, key, ca, global, file)
}

fn keep(
    name: &str,
    answer: &v1::JoinResponse,
    key: SecretKey,
    ca: &str,
    global: &Global,
    file: &Path,
) -> Outcome<Context> {
    let der = |bytes: &[u8]| weft_rpc::CertificateDer::from(bytes.to_vec());
    let authority = answer.authority.iter().map(|bytes| der(bytes)).collect();
    let identity = Identity::new(der(&answer.certificate), authority, key).map_err(|e| Failure::of(&e))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let (cert_file, key_file) = (format!("{name}.pem"), format!("{name}.key"));
    std::fs::create_dir_all(folder)
        .map_err(|e| Failure::new(&weft_errors::FILE_UNREADABLE, format!("{}: {e}", folder.display())))?;
    identity
        .save(&FileNames::pair(folder.join(&cert_file), folder.join(&key_file)))
        .map_err(|e| Failure::of(&e))?;
    let mut endpoints: Vec<String> =
        answer.endpoints.iter().filter_map(socket).map(|a| a.to_string()).collect();
    if endpoints.is_empty() {
        endpoints.clone_from(&global.endpoint);
    }
    Ok(Context {
        endpoints,
        ca: Some(ca.to_owned()),
        ca_file: None,
        cert_file: cert_file.into(),
        key_file: key_file.into(),
        namespace: None,
        protect: false,
    })
}
