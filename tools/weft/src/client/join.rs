//! Joining as a person: a token in, a certificate out.

use std::path::Path;

use weft_errors::{Error, INTERNAL, TOKEN_INVALID};
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
    let mut refused: Option<Error> = None;
    // The token says whether it makes an admin or a viewer; the one role that fits is granted, the other spends nothing.
    for role in [v1::Role::Admin, v1::Role::Viewer] {
        let request = v1::JoinRequest {
            token: token.to_owned(),
            csr: csr.clone().into(),
            role: role.into(),
            name: name.to_owned(),
            mutation: Some(v1::MutationId {
                client: client.to_vec().into(),
                sequence: 1 + u64::from(role == v1::Role::Viewer),
            }),
            ..v1::JoinRequest::default()
        };
        let mut joiner = channel.join();
        let call = joiner.join(with_deadline(request, global.timeout));
        match channel.call(global.timeout, call).await {
            Ok(answer) => return keep(name, &answer, key, ca, global, file),
            // Only a token of another role is worth a second try; nobody hears the words of the first one.
            Err(error) if error.registered() == &TOKEN_INVALID => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused.unwrap_or_else(|| Error::new(&INTERNAL, "nothing was asked")).into())
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
