//! `weftd join`: a token becomes a replica's directory. Starts nothing.
//!
//! The request is kept until the directory is whole: repeated after a crash it is the same join, and the token, which
//! works once, is not lost.

use std::path::{Path, PathBuf};

use serde_json::json;
use weft_errors::{Coded, Error, INTERNAL, REQUEST_INVALID};
use weft_model::{Member, Part};
use weft_process::{MODE_PRIVATE, durable_remove, durable_replace, read_private};
use weft_proto::{
    convert::{cluster_from_wire, required},
    v1,
};
use weft_rpc::{CertificateDer, Channel, ChannelOptions, Identity, SecretKey, Trust, with_deadline};
use weft_server::identity_files;
use weft_store::{DataDir, ReplicaAddress};
use weft_trust::Authority;

use crate::{
    args::Join,
    init::{must_be_new, replica_name},
    output::print,
};

/// Longest kept request or key.
const FILE_LIMIT: u64 = 64 << 10;

/// Runs the command.
pub(crate) fn run(args: &Join) -> Result<(), Error> {
    must_be_new(&args.data_dir)?;
    let name = replica_name(&args.name)?;
    weft_process::private_dir(&args.data_dir).map_err(|e| e.envelope())?;
    let attempt = Attempt::of(&args.data_dir)?;
    let response = ask(args, &attempt)?;
    let member = keep(args, &attempt, &response)?;
    attempt.forget()?;
    let cluster = cluster_from_wire("cluster", &response.cluster).map_err(|e| e.envelope())?;
    let value = json!({
        "kind": "Join",
        "cluster": cluster.to_string(),
        "id": member.id.0,
        "name": name.to_string(),
        "listen": args.listen.to_string(),
    });
    let text = format!(
        "Replica     {name}, id {}, of cluster {cluster}\n\nStart it:\n  weftd run --data-dir {}",
        member.id,
        args.data_dir.display()
    );
    print(args.output, &value, &text);
    Ok(())
}

/// The key and the request of a join, the same however often it is tried.
struct Attempt {
    key: SecretKey,
    request: Vec<u8>,
    key_file: PathBuf,
    request_file: PathBuf,
}

impl Attempt {
    fn of(data_dir: &Path) -> Result<Self, Error> {
        let (key_file, request_file) = (data_dir.join("joining.key"), data_dir.join("joining.csr"));
        if let (Ok(key), Ok(request)) =
            (read_private(&key_file, FILE_LIMIT), read_private(&request_file, FILE_LIMIT))
            && let Ok(key) = SecretKey::from_der(&key)
        {
            return Ok(Self { key, request, key_file, request_file });
        }
        let key = SecretKey::generate().map_err(|e| e.envelope())?;
        let request = key.request().map_err(|e| e.envelope())?.0;
        durable_replace(&key_file, key.expose_der(), MODE_PRIVATE).map_err(|e| e.envelope())?;
        durable_replace(&request_file, &request, MODE_PRIVATE).map_err(|e| e.envelope())?;
        Ok(Self { key, request, key_file, request_file })
    }

    fn forget(&self) -> Result<(), Error> {
        durable_remove(&self.request_file).map_err(|e| e.envelope())?;
        durable_remove(&self.key_file).map_err(|e| e.envelope())
    }
}

fn ask(args: &Join, attempt: &Attempt) -> Result<v1::JoinResponse, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(&INTERNAL, "no runtime").because(e))?;
    runtime.block_on(async {
        let options = ChannelOptions {
            endpoints: args.endpoints.clone(),
            trust: Trust::Pinned(args.ca),
            identity: None,
            replica: None,
        };
        let channel = Channel::new(options).map_err(|e| e.envelope())?;
        let wire = v1::JoinRequest {
            token: args.token.clone(),
            csr: attempt.request.clone().into(),
            role: v1::Role::Replica.into(),
            name: args.name.clone(),
            address: Some((&args.listen).into()),
            ..v1::JoinRequest::default()
        };
        let call = || {
            let (mut client, wire) = (channel.join(), wire.clone());
            async move { client.join(with_deadline(wire, args.timeout)).await }
        };
        channel.retry(args.timeout, call).await
    })
}

/// Writes what came: authority, identity, and last the directory's own mark.
fn keep(args: &Join, attempt: &Attempt, response: &v1::JoinResponse) -> Result<Member, Error> {
    let member: Member = required("member", response.member.clone()).map_err(|e| e.envelope())?;
    let root = response
        .authority
        .first()
        .ok_or_else(|| Error::new(&REQUEST_INVALID, "the answer holds no authority"))?;
    let authority = Authority::from_der(root, &response.authority_key).map_err(|e| e.envelope())?;
    let certificate = CertificateDer::from(response.certificate.to_vec());
    let identity = Identity::new(certificate, vec![authority.certificate().clone()], attempt.key.clone());
    let identity = identity.map_err(|e| e.envelope())?;
    let holder = identity.holder();
    let ours = matches!(&holder.part, Part::Replica { id, .. } if *id == member.id);
    if !ours || authority.hash() != args.ca {
        return Err(Error::new(
            &REQUEST_INVALID,
            format!("the answer is for {holder}, by {}", authority.hash()),
        ));
    }
    let mut peers = Vec::with_capacity(response.members.len());
    for other in &response.members {
        let other = Member::try_from(other.clone()).map_err(|e| e.envelope())?;
        if other.id != member.id {
            peers.push(ReplicaAddress { id: other.id, address: other.address });
        }
    }
    authority.save(&args.data_dir).map_err(|e| e.envelope())?;
    identity.save(&identity_files(&args.data_dir)).map_err(|e| e.envelope())?;
    let stored = weft_store::Identity {
        cluster: holder.cluster,
        id: member.id,
        name: member.name.clone(),
        listen: args.listen,
        peers,
    };
    DataDir::create(&args.data_dir, stored, None).map_err(|e| e.envelope())?;
    Ok(member)
}
