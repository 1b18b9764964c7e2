//! Certificates: what they say, and which requests are refused.

use std::{fs, os::unix::fs::PermissionsExt};

use weft_errors::Coded;
use weft_model::{Name, NodeName, NodeUid, Part, ReplicaId, ReplicaName};
use weft_rpc::{FileNames, Usage, read_certificate, verify_chain};

use super::*;

const NOW: WallTime = WallTime(1_800_000_000_000);
const CLUSTER: ClusterId = ClusterId([7; 16]);

fn holders() -> [Holder; 3] {
    [
        Part::Replica { name: ReplicaName::new("cp-1").unwrap(), id: ReplicaId(1) },
        Part::Node { name: NodeName::new("n1").unwrap(), uid: NodeUid([9; 16]) },
        Part::Admin { name: Name::new("alice").unwrap() },
    ]
    .map(|part| Holder { cluster: CLUSTER, part })
}

#[test]
fn a_certificate_says_its_holder_for_seven_days() {
    let authority = Authority::found(CLUSTER, NOW).unwrap();
    let roots = [authority.certificate().clone()];
    for holder in holders() {
        let identity = authority.new_identity(&holder, NOW).unwrap();
        let facts = read_certificate(identity.certificate()).unwrap();
        assert_eq!(facts.holder, holder);
        assert_eq!(facts.not_before.0, NOW.0 - 300_000);
        assert_eq!(facts.not_after.0, NOW.0 + 7 * 86_400_000);
        assert_eq!(identity.authority_hash(), Some(authority.hash()));
        assert!(!identity.is_due_for_renewal(NOW));
        assert!(identity.is_due_for_renewal(WallTime(NOW.0 + 86_400_000)));
        let server = verify_chain(identity.certificate(), &roots, NOW, Usage::Server);
        assert_eq!(server.is_ok(), holder.part.role() == Role::Replica, "{holder}");
        assert!(verify_chain(identity.certificate(), &roots, NOW, Usage::Client).is_ok());
        for (time, good) in [(facts.not_before.0, true), (facts.not_before.0 - 1000, false)] {
            let checked = verify_chain(identity.certificate(), &roots, WallTime(time), Usage::Client);
            assert_eq!(checked.is_ok(), good);
        }
        let late = WallTime(facts.not_after.0 + 1000);
        let expired = verify_chain(identity.certificate(), &roots, late, Usage::Client);
        assert!(matches!(expired, Err(weft_rpc::Error::IdentityExpired { .. })));
    }
}

#[test]
fn the_subject_of_a_request_is_ignored_and_its_signature_is_not() {
    let authority = Authority::found(CLUSTER, NOW).unwrap();
    let key = SecretKey::generate().unwrap();
    let mut greedy = CertificateParams::default();
    greedy.distinguished_name = common_name("replica cp-1");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.subject_alt_names = vec![SanType::URI(holders()[0].to_string().try_into().unwrap())];
    let request = greedy.serialize_request(&key.pair().unwrap()).unwrap().der().to_vec();
    let node = &holders()[1];
    let certificate = authority.issue(&request, node, NOW).unwrap();
    assert_eq!(read_certificate(&certificate).unwrap().holder, *node);
    let identity = Identity::new(certificate, vec![authority.certificate().clone()], key).unwrap();
    assert!(verify_chain(identity.certificate(), identity.authority(), NOW, Usage::Server).is_err());

    let mut forged = request.clone();
    *forged.last_mut().unwrap() ^= 1;
    for bad in [forged, Vec::new(), b"\x30\x80".to_vec(), vec![0x30; REQUEST_LIMIT + 1]] {
        let error = authority.issue(&bad, node, NOW).unwrap_err();
        assert_eq!(error.code().reason, "RequestInvalid", "{error}");
    }
}

#[test]
fn an_authority_survives_its_files_and_refuses_exposed_or_foreign_keys() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(CLUSTER, NOW).unwrap();
    authority.save(dir.path()).unwrap();
    assert_eq!(Authority::load(dir.path()).unwrap().hash(), authority.hash());
    let again = Authority::from_der(authority.certificate(), authority.expose_key_der()).unwrap();
    assert_eq!(again.hash(), authority.hash());

    let other = Authority::found(CLUSTER, NOW).unwrap();
    assert!(Authority::from_der(authority.certificate(), other.expose_key_der()).is_err());
    let key = dir.path().join("ca/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Authority::load(dir.path()).unwrap_err().code().reason, "KeyExposed");
}

#[test]
fn an_identity_survives_its_files_and_only_takes_its_own_renewal() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::found(CLUSTER, NOW).unwrap();
    let [replica, node, _] = holders();
    let identity = authority.new_identity(&node, NOW).unwrap();
    let pair = FileNames::pair(dir.path().join("a.pem"), dir.path().join("a.key"));
    for files in [FileNames::in_directory(&dir.path().join("identity")), pair] {
        identity.save(&files).unwrap();
        let loaded = Identity::load(&files).unwrap();
        assert_eq!(loaded.holder(), &node);
        assert_eq!(loaded.authority(), identity.authority());
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Identity::load(&files).unwrap_err().code().reason, "KeyExposed");
    }
    let request = identity.key().request().unwrap();
    let renewed = authority.issue(&request.0, &node, NOW).unwrap();
    assert!(identity.with_certificate(renewed).is_ok());
    let promoted = authority.issue(&request.0, &replica, NOW).unwrap();
    assert!(identity.with_certificate(promoted).is_err());
    let foreign_key = authority.new_identity(&node, NOW).unwrap();
    assert!(identity.with_certificate(foreign_key.certificate().clone()).is_err());
}

#[test]
fn nothing_prints_a_key() {
    let authority = Authority::found(CLUSTER, NOW).unwrap();
    let identity = authority.new_identity(&holders()[1], NOW).unwrap();
    let printed = format!("{authority:?} {identity:?} {:?}", identity.key());
    for key in [authority.expose_key_der(), identity.key().expose_der()] {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{key:?}");
        let base64 = pem_encode("PRIVATE KEY", key);
        for form in [&hex[40..60], &list[100..130], &base64[60..90]] {
            assert!(!printed.contains(form), "{printed}");
        }
    }
    assert!(printed.contains("[secret]"));
}
