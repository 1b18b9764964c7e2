//! Who this node is: certificate and key, its mesh key, where the control plane is.

use std::path::Path;

use serde::{Deserialize, Serialize};
use weft_errors::{Coded, Error, NOT_INITIALIZED};
use weft_model::{Holder, NodeName, Part, Secret};
use weft_rpc::{FileNames, Identity};

use crate::{clock, limits, paths::Paths};

/// What is known of the membership beside the certificate.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    /// Addresses of the replicas, `ADDRESS:PORT`: what the control plane says of itself, then what a person gave.
    pub(crate) endpoints: Vec<String>,
    /// Those that a person gave when the node joined, and the control plane didn't: they may lead through another network.
    #[serde(default)]
    pub(crate) given: Vec<String>,
}

impl Membership {
    /// Of what the control plane says of itself and what a person gave.
    pub(crate) fn new(told: &[String], given: &[String]) -> Self {
        let given: Vec<_> = given.iter().filter(|endpoint| !told.contains(endpoint)).cloned().collect();
        Self { endpoints: [told, &given].concat(), given }
    }

    /// The same after the control plane has said where its replicas are now. What turns out to be a replica goes with it.
    pub(crate) fn told(&self, told: &[String]) -> Self {
        Self::new(told, &self.given)
    }
}

/// Everything of the identity.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Certificate, key, authority.
    pub(crate) identity: Identity,
    /// Where the control plane is.
    pub(crate) membership: Membership,
    /// Name of the node, from its certificate.
    pub(crate) name: NodeName,
}

/// Reads the identity. Fails with `NotInitialized` when the node never joined.
pub(crate) fn load(paths: &Paths) -> Result<Loaded, Error> {
    let files = FileNames::in_directory(&paths.identity());
    if !files.key.exists() {
        return Err(Error::new(&NOT_INITIALIZED, "this machine hasn't joined a fabric")
            .object("file", "", paths.identity().display())
            .try_this(
                "make a token and join",
                "weft-agent join ADDRESS:7443 --token TOKEN --ca sha256:HASH",
            ));
    }
    let identity = Identity::load(&files).map_err(|e| e.envelope())?;
    let name = node_of(identity.holder())?;
    let membership = read_membership(&paths.membership())?;
    Ok(Loaded { identity, membership, name })
}

/// Writes the identity; the certificate last, so that a half-written one counts as none.
pub(crate) fn save(paths: &Paths, identity: &Identity, membership: &Membership) -> Result<(), Error> {
    weft_process::private_dir(&paths.identity()).map_err(|e| e.envelope())?;
    save_membership(paths, membership)?;
    identity.save(&FileNames::in_directory(&paths.identity())).map_err(|e| e.envelope())
}

/// Writes where the control plane is.
pub(crate) fn save_membership(paths: &Paths, membership: &Membership) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(membership)
        .map_err(|error| internal("the membership can't be written", &error))?;
    weft_process::durable_replace(&paths.membership(), &text, weft_process::MODE_PRIVATE)
        .map_err(|e| e.envelope())
}

/// The mesh device's private key: read, or made here; it never leaves the machine.
pub(crate) fn wireguard_key(paths: &Paths) -> Result<Secret<[u8; 32]>, Error> {
    let path = paths.wireguard_key();
    match weft_process::read_private(&path, limits::IDENTITY_MAX) {
        Ok(bytes) => bytes.try_into().map(Secret::new).map_err(|bytes: Vec<u8>| {
            internal(
                "the WireGuard key isn't one",
                &format!("{} holds {} bytes, not 32", path.display(), bytes.len()),
            )
        }),
        Err(error) if error.is_missing_file() => {
            weft_process::private_dir(&paths.identity()).map_err(|e| e.envelope())?;
            let mut key = clock::random::<32>()?;
            // Curve25519 (RFC 7748 section 5), as `wg genkey` does.
            key[0] &= 248;
            key[31] = (key[31] & 127) | 64;
            weft_process::durable_replace(&path, &key, weft_process::MODE_PRIVATE)
                .map_err(|e| e.envelope())?;
            Ok(Secret::new(key))
        }
        Err(error) => Err(error.envelope()),
    }
}

/// The node that a certificate speaks for.
pub(crate) fn node_of(holder: &Holder) -> Result<NodeName, Error> {
    match &holder.part {
        Part::Node { name, .. } => Ok(name.clone()),
        Part::Replica { .. } | Part::Admin { .. } | Part::Viewer { .. } => {
            Err(internal("the certificate isn't a node's", holder))
        }
    }
}

fn read_membership(path: &Path) -> Result<Membership, Error> {
    let bytes = weft_process::read_limited(path, limits::IDENTITY_MAX).map_err(|e| e.envelope())?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(&weft_errors::CONFIG_INVALID, "the file of the membership can't be read")
            .object("file", "", path.display())
            .because(error)
    })
}

fn internal(message: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(&weft_errors::INTERNAL, message).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_come_and_go_and_what_a_person_gave_stays() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let first = Membership::new(&list("10.0.0.1:7443"), &list("10.0.0.1:7443 192.0.2.1:443"));
        assert_eq!(first.endpoints, list("10.0.0.1:7443 192.0.2.1:443"));
        let second = first.told(&list("10.0.0.1:7443 10.0.0.2:7443"));
        assert_eq!(second.endpoints, list("10.0.0.1:7443 10.0.0.2:7443 192.0.2.1:443"));
        let third = second.told(&list("10.0.0.2:7443"));
        assert_eq!(third.endpoints, list("10.0.0.2:7443 192.0.2.1:443"));
        let early = Membership::new(&list("10.0.0.1:7443"), &list("10.0.0.2:7443"));
        let known = early.told(&list("10.0.0.1:7443 10.0.0.2:7443"));
        assert_eq!(
            known.told(&list("10.0.0.1:7443")).endpoints,
            list("10.0.0.1:7443"),
            "a replica, and gone"
        );
        let old: Membership = serde_json::from_str(r#"{"endpoints":["10.0.0.1:7443"]}"#).unwrap();
        assert_eq!(old.given, list(""), "a file of an older agent");
    }
}
