//! What a pod's answers amount to: thresholds and the start-up probe (Kubernetes, core/v1 Probe).

use weft_model::{Probe, Probes};

/// The judge of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judge {
    probes: Probes,
    /// The start-up probe has succeeded, or there is none.
    started: bool,
    verdict: Option<bool>,
    /// Answers in a row that were alike, and which.
    streak: (bool, u32),
}

impl Judge {
    /// With the verdict that stood before this process, if there was one: an agent that starts anew changes nothing.
    pub(super) fn new(probes: Probes, verdict: Option<bool>) -> Self {
        let started = probes.startup.is_none() || verdict == Some(true);
        Self { probes, started, verdict, streak: (false, 0) }
    }

    /// How the pod is asked.
    pub(super) const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The verdict now; `None`: not asked often enough yet.
    #[cfg(test)]
    pub(super) const fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// The next question; `None` when nothing is left to ask.
    pub(super) fn question(&self) -> Option<&Probe> {
        if self.started { self.probes.readiness.as_ref() } else { self.probes.startup.as_ref() }
    }

    /// An answer came, or didn't in time. The verdict, when it is another one than before.
    pub(super) fn learn(&mut self, good: bool) -> Option<bool> {
        let probe = self.question()?;
        let needed = if good { probe.success_threshold } else { probe.failure_threshold };
        let (last, count) = self.streak;
        let count = if last == good { count.saturating_add(1) } else { 1 };
        self.streak = (good, count);
        if count < needed.max(1) {
            return None;
        }
        if self.started {
            return self.say(good);
        }
        if !good {
            // Kubernetes would start the container anew; here it goes on being asked.
            return self.say(false);
        }
        self.started = true;
        self.streak = (false, 0);
        if self.probes.readiness.is_none() { self.say(true) } else { None }
    }

    fn say(&mut self, ready: bool) -> Option<bool> {
        let new = self.verdict != Some(ready);
        self.verdict = Some(ready);
        new.then_some(ready)
    }
}

#[cfg(test)]
mod tests {
    use weft_model::ProbeHandler;

    use super::*;

    fn probe(port: u16, success_threshold: u32, failure_threshold: u32) -> Probe {
        Probe {
            handler: ProbeHandler::Tcp { port },
            initial_delay_ms: 0,
            period_ms: 1000,
            timeout_ms: 100,
            success_threshold,
            failure_threshold,
        }
    }

    /// Answers as `+` and `-`; verdicts as `R` (ready), `N` (not ready), `.` (nothing new).
    fn check(
        startup: Option<(u32, u32)>,
        readiness: Option<(u32, u32)>,
        before: Option<bool>,
        answers: &str,
        expected: &str,
    ) {
        let made = |thresholds: Option<(u32, u32)>, port| thresholds.map(|(s, f)| probe(port, s, f));
        let probes = Probes { startup: made(startup, 1), readiness: made(readiness, 2) };
        let mut judge = Judge::new(probes, before);
        let said: String = answers
            .chars()
            .map(|answer| match judge.learn(answer == '+') {
                Some(true) => 'R',
                Some(false) => 'N',
                None => '.',
            })
            .collect();
        assert_eq!(said, expected, "{startup:?} {readiness:?} {before:?} {answers}");
    }

    #[test]
    fn thresholds_count_answers_in_a_row() {
        check(None, Some((1, 3)), None, "+--+---+", "R.....NR");
        check(None, Some((2, 1)), None, "-+-++-", "N...RN");
        check(None, Some((1, 3)), None, "---", "..N");
        check(None, Some((1, 1)), Some(true), "+-+", ".NR");
        check(None, Some((1, 3)), Some(true), "--+---", ".....N");
        check(None, Some((1, 1)), Some(false), "-+", ".R");
        check(None, Some((0, 0)), None, "+-", "RN");
    }

    #[test]
    fn a_startup_probe_comes_first_and_is_asked_until_it_succeeds_once() {
        check(Some((1, 30)), Some((1, 1)), None, "---+-+-", "....NRN");
        check(Some((1, 2)), Some((1, 1)), None, "---++", ".N..R");
        check(Some((1, 30)), None, None, "-+---", ".R...");
        check(Some((2, 30)), None, None, "+-++", "...R");
        // One that was ready before has started.
        check(Some((1, 30)), Some((1, 2)), Some(true), "--", ".N");
        check(Some((1, 30)), Some((1, 1)), Some(false), "++", ".R");
    }

    #[test]
    fn the_question_follows_the_stage() {
        let probes = Probes { startup: Some(probe(1, 1, 3)), readiness: Some(probe(2, 1, 3)) };
        let mut judge = Judge::new(probes, None);
        let port = |judge: &Judge| judge.question().map(|probe| probe.handler.clone());
        assert_eq!(port(&judge), Some(ProbeHandler::Tcp { port: 1 }));
        judge.learn(true);
        assert_eq!(port(&judge), Some(ProbeHandler::Tcp { port: 2 }));
        let once = Probes { startup: Some(probe(1, 1, 3)), readiness: None };
        let mut judge = Judge::new(once, None);
        assert_eq!(judge.learn(true), Some(true));
        assert_eq!(judge.question(), None);
        assert_eq!(judge.learn(false), None);
    }
}
