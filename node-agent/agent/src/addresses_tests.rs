//! The journal file: durable before the answer, shared writes, damage kept aside.

use std::{fs, sync::Arc, thread};

use weft_ipam::{Holding, Origin, Request, Shown};
use weft_model::{AttachmentId, Epoch, Families, PodUid, WallTime};

use super::*;

const BOOT: BootId = BootId([1; 16]);

fn id(n: u32) -> AttachmentId {
    AttachmentId { container: format!("c{n}"), interface: "eth0".to_owned() }
}

fn request(n: u32) -> Request {
    Request {
        attachment: id(n),
        uid: PodUid(u128::from(n).to_be_bytes()),
        pod: format!("shop/web-{n}").parse().unwrap(),
        labels: Default::default(),
        netns: String::new(),
        link: String::new(),
        mac: [2; 6],
        mtu: 1440,
        origin: Origin::Weft,
        created: WallTime(1),
        families: Families::V4,
        wanted: Vec::new(),
        avoid: Default::default(),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn open(path: &Path, boot: BootId) -> Opened {
    Addresses::open(path, boot, Uptime(0)).unwrap()
}

fn lease(addresses: &Addresses) {
    let leases = [("10.1.0.0/24".parse().unwrap(), Epoch(1))].into();
    let shown = Shown { leases, complete: true, ..Shown::default() };
    addresses.change(Durability::WithNext, |ledger| ((), ledger.lease(&shown)));
}

fn add(addresses: &Addresses, n: u32) -> Holding {
    let (holding, ticket) = addresses.change(Durability::Durable, |ledger| {
        let (holding, entry) = ledger.allocate(request(n), Uptime(0)).unwrap();
        (holding, vec![entry])
    });
    addresses.wait(ticket, soon()).unwrap();
    holding
}

fn held(addresses: &Addresses) -> Vec<String> {
    addresses.read(|ledger| ledger.holdings().map(|h| h.attachment.container.clone()).collect())
}

/// Runs `work` beside the writer and returns what the file says afterwards.
fn with_writer(path: &Path, work: impl FnOnce(&Arc<Addresses>)) {
    let Opened { addresses, file, .. } = open(path, BOOT);
    let addresses = Arc::new(addresses);
    let writer = thread::spawn({
        let addresses = Arc::clone(&addresses);
        move || addresses.write_all(file)
    });
    work(&addresses);
    addresses.stop();
    writer.join().unwrap().unwrap();
}

#[test]
fn what_was_answered_is_on_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ipam.journal");
    with_writer(&path, |addresses| {
        lease(addresses);
        add(addresses, 1);
        let copy = fs::read(&path).unwrap();
        let scan = Journal::scan(&copy).unwrap();
        let replayed = Ledger::replay(Settings::default(), &scan.entries);
        assert!(replayed.holding(&id(1)).is_some(), "durable before anybody hears of it");
        thread::scope(|scope| (2..40).for_each(|n| drop(scope.spawn(move || add(addresses, n)))));
    });
    let again = open(&path, BOOT);
    assert_eq!((held(&again.addresses).len(), again.rebooted), (39, false));
    let reboot = open(&path, BootId([2; 16]));
    assert_eq!((held(&reboot.addresses).len(), reboot.rebooted), (0, true));
}

#[test]
fn a_large_journal_is_rewritten_and_says_the_same() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ipam.journal");
    with_writer(&path, |addresses| {
        lease(addresses);
        add(addresses, 7);
        let rounds = 8_000;
        for n in 0..rounds {
            let (_, ticket) = addresses.change(Durability::WithNext, |ledger| {
                let mut entries = Vec::new();
                entries.extend(ledger.allocate(request(1000), Uptime(n * 10_000)).map(|(_, entry)| entry));
                entries.extend(ledger.release(&id(1000), Uptime(n * 10_000)).map(|(_, entry)| entry));
                ((), entries)
            });
            if n + 1 == rounds {
                addresses
                    .change(Durability::Durable, |ledger| ((), ledger.confirm(&id(7)).into_iter().collect()));
                addresses.wait(ticket, soon()).unwrap();
            }
        }
    });
    assert!(fs::metadata(&path).unwrap().len() < limits::JOURNAL_COMPACT);
    assert_eq!(held(&open(&path, BOOT).addresses), ["c7"]);
}

#[test]
fn a_damaged_journal_is_kept_aside_and_the_readable_rest_is_used() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ipam.journal");
    with_writer(&path, |addresses| {
        lease(addresses);
        (1..=3).for_each(|n| drop(add(addresses, n)));
    });
    let mut bytes = fs::read(&path).unwrap();
    let needle = b"shop";
    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let opened = open(&path, BOOT);
    let damage = opened.damage.unwrap();
    assert_eq!(damage.code, "W2401");
    assert_eq!(held(&opened.addresses), ["c2", "c3"]);
    assert_eq!(fs::read(place.path().join("ipam.journal.corrupt-0")).unwrap(), bytes);
    assert!(open(&path, BOOT).damage.is_none(), "said once");
}

#[test]
fn a_disk_that_fails_is_told_to_everybody_who_waits() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("ipam.journal");
    let Opened { addresses, mut file, .. } = open(&path, BOOT);
    file.file = File::open(&path).unwrap();
    lease(&addresses);
    thread::scope(|scope| {
        let writer = scope.spawn(|| addresses.write_all(file));
        let (_, ticket) = addresses.change(Durability::Durable, |ledger| {
            ((), vec![ledger.allocate(request(1), Uptime(0)).unwrap().1])
        });
        assert_eq!(addresses.wait(ticket, soon()).unwrap_err().code, "W0002");
        assert_eq!(writer.join().unwrap().unwrap_err().code, "W0002");
    });
}
