//! Whether a node can say on its link where addresses are: not while its uplink is cut off, and not at once when it is back.
//!
//! In: what the uplink shows, time as a span since any fixed moment. Out: whether answers may leave, whether to ask. Pure. Not here:
//! addresses and claims (`duty`), reading the link (weft-kernel).
//!
//! - Who was unplugged may have lost its addresses meanwhile, whatever its View says: a connection to a replica outlives a cable that
//!   is out for a second, and what moved is told over it only when TCP sends again. So it asks on the link first, each time that it
//!   looks, and goes on when nobody else answers: with no replica, too.
//! - A cut farther away shows as silence: an owner's signs of life are acknowledged many times a second, so where something came in
//!   all the time and nothing comes any more, nobody is reached. Silence counts only after such a time, and once: an owner whose
//!   replicas are dead, on a link where nobody speaks, is silent for the first frame that comes, finds that nobody else answers, and
//!   goes on from then on. A device that counts only now and then never shows such a time.
//! - So a cut that lets single frames through (a switch's own) looks like such a link, and the owner goes on before anybody hears it. Until
//!   something comes in all the time again it isn't sure, and asks each time that it looks.
//! - A port that has its carrier again may let nothing through for a while (spanning tree): the time for answers begins with the first
//!   frame that comes in, or ends after [`DOUBT`].

use std::time::Duration;

use crate::DOUBT;

/// How long others have to answer: three questions, as often as a node looks, and one more for their answer.
const LISTEN: Duration = Duration::from_millis(150);

/// Nothing came in for so long, and for so many looks: as much as moves an address, and a look more.
const SILENCE: Duration = Duration::from_millis(200);
const SILENT_LOOKS: u32 = 3;
/// Silence counts when something came in all the time for so long before.
const STEADY: Duration = Duration::from_secs(2);

/// What the uplink shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSigns {
    /// It is up and has a carrier.
    pub carrier: bool,
    /// How often it lost its carrier since it is there: one that comes back between two looks counts.
    pub losses: u32,
    /// Packets received since it is there.
    pub received: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// No carrier, or no link.
    Cut,
    /// Nothing comes in.
    Silent,
    /// Back since then, with so many packets received; when more had come.
    Back { since: Duration, received: u64, heard: Option<Duration> },
}

/// The state of one uplink.
#[derive(Debug, Default)]
pub struct Hearing {
    seen: Option<LinkSigns>,
    state: State,
    /// Something comes in all the time: since when, and when last.
    steady: Option<(Duration, Duration)>,
    /// Looks that found nothing since.
    looks: u32,
    /// It was cut off, and nothing has come in all the time since.
    unsure: bool,
}

impl Hearing {
    /// The uplink shows this now. Says whether that it is cut off is new.
    pub fn see(&mut self, signs: LinkSigns, now: Duration) -> bool {
        let lost = self.seen.is_some_and(|seen| seen.losses != signs.losses);
        let came = self.seen.is_some_and(|seen| seen.received != signs.received);
        let silent = self.is_silent(came, now);
        self.seen = Some(signs);
        let before = self.state;
        let heard = came.then_some(now).filter(|_| before == State::Silent);
        let back = State::Back { since: now, received: signs.received, heard };
        self.state = match before {
            _ if !signs.carrier => State::Cut,
            _ if lost => back,
            State::Cut => back,
            State::Silent if came => back,
            State::Silent => State::Silent,
            State::Open if silent => State::Silent,
            State::Open => State::Open,
            State::Back { since, received, heard } => {
                let heard = heard.or((signs.received != received).then_some(now));
                let listened = heard.is_some_and(|heard| now.saturating_sub(heard) >= LISTEN);
                match listened || now.saturating_sub(since) >= DOUBT {
                    true => State::Open,
                    false => State::Back { since, received, heard },
                }
            }
        };
        if self.state != State::Open {
            (self.steady, self.unsure) = (None, true);
        }
        if self.steady.is_some_and(|(since, last)| last.saturating_sub(since) >= STEADY) {
            self.unsure = false;
        }
        before == State::Open && self.state != State::Open
    }

    /// Keeps how long something has been coming in; says whether it did for long and doesn't any more.
    fn is_silent(&mut self, came: bool, now: Duration) -> bool {
        let looks = if came { 0 } else { self.looks.saturating_add(1) };
        let before = std::mem::replace(&mut self.looks, looks);
        let long = |last: Duration| now.saturating_sub(last) >= SILENCE;
        match (self.steady, came) {
            (Some((_, last)), true) if before >= SILENT_LOOKS && long(last) => self.steady = Some((now, now)),
            (Some((since, _)), true) => self.steady = Some((since, now)),
            (None, true) => self.steady = Some((now, now)),
            (Some((since, last)), false) => {
                return looks >= SILENT_LOOKS && long(last) && last.saturating_sub(since) >= STEADY;
            }
            (None, false) => {}
        }
        false
    }

    /// There is no uplink now; the next one may be another.
    pub fn cut(&mut self) {
        *self = Self { state: State::Cut, ..Self::default() };
    }

    /// The uplink is another device: what the one before showed says nothing of it.
    pub fn moved(&mut self) {
        (self.seen, self.steady) = (None, None);
    }

    /// Whether answers may leave.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether others are asked who answers: also into a silence, so that the answer is among the first that is heard.
    pub fn asks(&self) -> bool {
        match self.state {
            State::Open => self.unsure,
            State::Cut => false,
            State::Silent | State::Back { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const fn signs(carrier: bool, losses: u32, received: u64) -> LinkSigns {
        LinkSigns { carrier, losses, received }
    }

    /// Looks one after the other, and whether answers may leave after each.
    fn check(looks: &[(u64, LinkSigns)], open: &[bool]) {
        let mut hearing = Hearing::default();
        let mut seen = Vec::new();
        for (at, signs) in looks {
            hearing.see(*signs, ms(*at));
            assert_eq!(hearing.asks(), signs.carrier && (!hearing.is_open() || *at > 200), "at {at}");
            seen.push(hearing.is_open());
        }
        assert_eq!(seen, open, "{looks:?}");
    }

    #[test]
    fn answers_leave_again_when_others_had_the_time_to_speak() {
        let looks = [
            (0, signs(true, 3, 10)),
            (50, signs(false, 4, 10)),
            (100, signs(true, 4, 10)),
            (150, signs(true, 4, 11)),
            (250, signs(true, 4, 12)),
            (300, signs(true, 4, 12)),
        ];
        check(&looks, &[true, false, false, false, false, true]);
    }

    #[test]
    fn a_loss_between_two_looks_counts_and_so_does_a_second_one() {
        let looks = [
            (0, signs(true, 0, 10)),
            (50, signs(true, 1, 11)),
            (100, signs(true, 1, 12)),
            (200, signs(true, 2, 13)),
            (250, signs(true, 2, 14)),
            (390, signs(true, 2, 15)),
            (400, signs(true, 2, 15)),
        ];
        check(&looks, &[true, false, false, false, false, false, true]);
    }

    #[test]
    fn a_port_that_lets_nothing_through_is_waited_for_but_not_for_ever() {
        let looks = [
            (0, signs(false, 1, 10)),
            (50, signs(true, 1, 10)),
            (2_000, signs(true, 1, 10)),
            (3_049, signs(true, 1, 10)),
            (3_050, signs(true, 1, 10)),
        ];
        check(&looks, &[false, false, false, false, true]);
    }

    /// Looks every 50 ms, at which packets came (`x`) or not; the looks after which answers may leave.
    fn looks(text: &str) -> String {
        let (mut hearing, mut received) = (Hearing::default(), 0);
        let look = |(number, came): (u64, char)| {
            received += u64::from(came == 'x');
            hearing.see(signs(true, 0, received), ms(50 * number));
            if hearing.is_open() { '+' } else { '-' }
        };
        (0..).zip(text.chars()).map(look).collect()
    }

    /// Whether others are asked after looks every 50 ms.
    fn unsure(text: &str) -> Option<bool> {
        let (mut hearing, mut received) = (Hearing::default(), 0);
        let look = |(number, came): (u64, char)| {
            received += u64::from(came == 'x');
            hearing.see(signs(true, 0, received), ms(50 * number));
            hearing.asks()
        };
        (0..).zip(text.chars()).map(look).last()
    }

    #[test]
    fn silence_after_much_is_a_cut_and_whoever_is_heard_again_asks_first() {
        let much = "x".repeat(50);
        let (open, after) = ("+".repeat(50), |text: &str| looks(&format!("{much}{text}")));
        assert_eq!(after("...x...x"), format!("{open}++++++++"), "pauses that signs of life have");
        assert_eq!(after("......."), format!("{open}+++----"));
        assert_eq!(after("......xxxxx"), format!("{open}+++------++"));
        assert_eq!(looks(&"x.......".repeat(20)), "+".repeat(160), "a link on which little is said");
        assert_eq!(looks(&".".repeat(100)), "+".repeat(100), "or nothing at all");
    }

    #[test]
    fn an_owner_on_a_quiet_link_is_silent_once_and_goes_on() {
        let seen = looks(&format!("{}{}{}", "x".repeat(50), ".".repeat(20), "x.........".repeat(10)));
        assert_eq!(unsure(&format!("{}{}", "x".repeat(50), ".".repeat(20))), Some(true), "nobody is reached");
        assert_eq!(unsure(&format!("{}{}{}", "x".repeat(50), ".".repeat(20), "x".repeat(40))), Some(true));
        assert_eq!(unsure(&format!("{}{}{}", "x".repeat(50), ".".repeat(20), "x".repeat(50))), Some(false));
        let (before, rest) = seen.split_at(70);
        assert!(before.ends_with("-----"), "{before}");
        assert_eq!(rest, format!("---{}", "+".repeat(97)));
    }

    #[test]
    fn another_device_is_no_loss_and_a_missing_one_is() {
        let mut hearing = Hearing::default();
        assert!(!hearing.see(signs(true, 1, 10), ms(0)));
        hearing.moved();
        assert!(!hearing.see(signs(true, 7, 10), ms(50)) && hearing.is_open());
        hearing.cut();
        assert!(!hearing.is_open() && !hearing.asks());
        hearing.see(signs(true, 7, 10), ms(100));
        assert!(!hearing.is_open() && hearing.asks());
    }
}
