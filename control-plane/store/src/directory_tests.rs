//! The directory: one process, one replica, nobody else's eyes.

use std::fs::Permissions;

use tempfile::TempDir;

use super::*;

fn identity() -> Identity {
    Identity {
        cluster: ClusterId([7; 16]),
        id: ReplicaId(4),
        name: ReplicaName::new("cp-4").unwrap(),
        listen: "[fd00::4]:7443".parse().unwrap(),
        peers: vec![ReplicaAddress { id: ReplicaId(1), address: "192.0.2.1:7443".parse().unwrap() }],
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn who_made_it_is_who_opens_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("weft");
    assert!(matches!(DataDir::open(&path), Err(Error::NotInitialized { .. })));
    drop(DataDir::create(&path, identity(), None).unwrap());
    let opened = DataDir::open(&path).unwrap();
    assert_eq!(opened.identity(), &identity());
    assert!(opened.reserve().look().unwrap().total > 0);
    drop(opened);
    assert!(matches!(DataDir::create(&path, identity(), None), Err(Error::AlreadyInitialized { .. })));
}

#[test]
fn a_second_process_is_kept_out_until_the_first_ends() {
    let dir = TempDir::new().unwrap();
    let first = DataDir::create(&dir.path().join("weft"), identity(), None).unwrap();
    assert!(matches!(DataDir::open(first.path()), Err(Error::Locked { .. })));
    let path = first.path().to_owned();
    drop(first);
    assert!(DataDir::open(&path).is_ok());
}

#[test]
fn what_others_can_read_is_not_started_on() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("weft");
    drop(DataDir::create(&path, identity(), None).unwrap());
    for exposed in [path.clone(), path.join("replica")] {
        let before = fs::metadata(&exposed).unwrap().permissions().mode() & 0o7777;
        mode(&exposed, before | 0o044);
        assert!(matches!(DataDir::open(&path), Err(Error::Exposed { .. })), "{}", exposed.display());
        mode(&exposed, before);
        assert!(DataDir::open(&path).is_ok());
    }
}

#[test]
fn newer_and_damaged_identities_are_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("weft");
    drop(DataDir::create(&path, identity(), None).unwrap());
    let file = path.join("replica");
    let text = fs::read_to_string(&file).unwrap();
    for (from, to, newer) in [
        ("format=1", "format=2", true),
        ("format=1", "format=x", false),
        ("id=4", "id=0", false),
        ("cluster=", "cluster=zz", false),
        ("peer=1 ", "peer=1", false),
        ("listen=", "liste=", false),
    ] {
        fs::write(&file, text.replace(from, to)).unwrap();
        match DataDir::open(&path) {
            Err(Error::Format { found: 2, .. }) => assert!(newer, "{to}"),
            Err(Error::Damaged { .. }) => assert!(!newer, "{to}"),
            other => panic!("{to}: {:?}", other.map(|dir| dir.identity().clone())),
        }
    }
}
