//! Which pod is asked when. Moments are spans since any fixed one, told by the caller.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use weft_model::{PodUid, Probe, Probes};

use super::judge::Judge;

/// The shortest pause between two questions, whatever people wrote.
const LEAST_PERIOD: Duration = Duration::from_millis(100);

/// A question that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The pod.
    pub uid: PodUid,
    /// Which life of its judge asks: answers to an earlier one don't count.
    pub epoch: u64,
    /// Where.
    pub address: IpAddr,
    /// What.
    pub probe: Probe,
}

#[derive(Debug)]
struct Entry {
    judge: Judge,
    address: IpAddr,
    epoch: u64,
    /// When it is asked next; `None` while an answer is awaited, or when nothing is asked.
    at: Option<Duration>,
    asked_at: Duration,
}

/// All pods of the node.
#[derive(Debug, Default)]
pub struct Schedule {
    pods: BTreeMap<PodUid, Entry>,
    due: BTreeSet<(Duration, PodUid)>,
    epochs: u64,
}

impl Schedule {
    /// Whether a pod is asked in this way already.
    pub fn is_known(&self, uid: PodUid, probes: &Probes) -> bool {
        self.pods.get(&uid).is_some_and(|entry| entry.judge.probes() == probes)
    }

    /// Whether a pod was seen before, asked in whatever way.
    pub fn is_asked(&self, uid: PodUid) -> bool {
        self.pods.contains_key(&uid)
    }

    /// A pod came, or is asked in another way from now on.
    pub fn put(
        &mut self,
        uid: PodUid,
        address: IpAddr,
        probes: Probes,
        verdict: Option<bool>,
        first: Duration,
    ) {
        self.forget(uid);
        self.epochs += 1;
        let judge = Judge::new(probes, verdict);
        let at = judge.question().map(|_| first);
        self.due.extend(at.map(|at| (at, uid)));
        self.pods.insert(uid, Entry { judge, address, epoch: self.epochs, at, asked_at: first });
    }

    /// Forgets pods that are gone.
    pub fn retain(&mut self, stays: impl Fn(PodUid) -> bool) {
        let gone: Vec<_> = self.pods.keys().copied().filter(|uid| !stays(*uid)).collect();
        gone.into_iter().for_each(|uid| self.forget(uid));
    }

    /// When somebody is asked next.
    pub fn next_at(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next question that is due; it is asked from now on.
    pub fn next_due(&mut self, now: Duration) -> Option<Asked> {
        let (at, uid) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, uid));
        let entry = self.pods.get_mut(&uid)?;
        entry.at = None;
        entry.asked_at = now;
        let probe = entry.judge.question()?.clone();
        Some(Asked { uid, epoch: entry.epoch, address: entry.address, probe })
    }

    /// An answer came. The verdict, when it is a new one; `chance` (0 to 255) spreads the next questions a little.
    pub fn learn(&mut self, uid: PodUid, epoch: u64, good: bool, chance: u8) -> Option<bool> {
        let entry = self.pods.get_mut(&uid).filter(|entry| entry.epoch == epoch)?;
        let verdict = entry.judge.learn(good);
        entry.at = entry.judge.question().map(|probe| {
            let period = Duration::from_millis(probe.period_ms.into()).max(LEAST_PERIOD);
            // 95 to 105 % of the period, from question to question.
            entry.asked_at + period * 95 / 100 + period / 2560 * u32::from(chance)
        });
        self.due.extend(entry.at.map(|at| (at, uid)));
        verdict
    }

    /// The verdict on a pod.
    #[cfg(test)]
    fn verdict(&self, uid: PodUid) -> Option<bool> {
        self.pods.get(&uid).and_then(|entry| entry.judge.verdict())
    }

    fn forget(&mut self, uid: PodUid) {
        if let Some(Entry { at: Some(at), .. }) = self.pods.remove(&uid) {
            self.due.remove(&(at, uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_model::ProbeHandler;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn probes(period_ms: u32) -> Probes {
        let probe = Probe {
            handler: ProbeHandler::Tcp { port: 80 },
            initial_delay_ms: 0,
            period_ms,
            timeout_ms: 100,
            success_threshold: 1,
            failure_threshold: 1,
        };
        Probes { readiness: Some(probe), startup: None }
    }

    fn uid(n: u8) -> PodUid {
        PodUid([n; 16])
    }

    #[test]
    fn pods_are_asked_in_time_and_once_at_a_time() {
        let start = Duration::from_secs(7);
        let after = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        schedule.put(uid(1), HERE, probes(1000), None, after(0));
        schedule.put(uid(2), HERE, probes(200), None, after(5));
        schedule.put(uid(3), HERE, Probes::default(), None, after(0));
        let first = schedule.next_due(after(1)).unwrap();
        assert_eq!((first.uid, schedule.next_due(after(1))), (uid(1), None));
        assert_eq!(schedule.next_at(), Some(after(5)));
        let second = schedule.next_due(after(6)).unwrap();
        assert_eq!((second.uid, schedule.next_at()), (uid(2), None), "both are being asked");
        assert_eq!(schedule.learn(uid(2), second.epoch, true, 128), Some(true));
        // From question to question, not from answer to question.
        let next = schedule.next_at().unwrap();
        assert!(next >= after(6 + 190) && next <= after(6 + 210), "{:?}", next - start);
        assert_eq!(schedule.learn(uid(1), first.epoch, false, 0), Some(false));
        assert_eq!((schedule.verdict(uid(1)), schedule.verdict(uid(2))), (Some(false), Some(true)));
    }

    #[test]
    fn an_answer_to_an_earlier_question_or_of_a_gone_pod_counts_nothing() {
        let start = Duration::from_secs(7);
        let mut schedule = Schedule::default();
        schedule.put(uid(1), HERE, probes(1000), None, start);
        let old = schedule.next_due(start).unwrap();
        assert!(schedule.is_known(uid(1), &probes(1000)) && !schedule.is_known(uid(1), &probes(500)));
        schedule.put(uid(1), HERE, probes(500), Some(true), start);
        assert_eq!(schedule.learn(uid(1), old.epoch, false, 0), None);
        let new = schedule.next_due(start).unwrap();
        assert_eq!(schedule.next_at(), None);
        schedule.retain(|_| false);
        assert_eq!((schedule.learn(uid(1), new.epoch, false, 0), schedule.next_at()), (None, None));
    }

    #[test]
    fn no_period_makes_a_flood() {
        let start = Duration::from_secs(7);
        let mut schedule = Schedule::default();
        schedule.put(uid(1), HERE, probes(0), None, start);
        let asked = schedule.next_due(start).unwrap();
        schedule.learn(uid(1), asked.epoch, true, 0);
        assert!(schedule.next_at().unwrap() >= start + Duration::from_millis(95));
    }
}
