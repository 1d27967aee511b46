//! Packets in groups by their time of sending, and how far apart these were sent and arrived
//! (draft-ietf-rmcat-gcc-02 section 5.2; libwebrtc's `InterArrivalDelta`).

use crate::ids::Time;

/// What is sent within this belongs together (draft: burst_time).
const GROUP_MS: f64 = 5.0;
/// What arrives in one go after the line stood still belongs together.
const BURST_GAP_MS: f64 = 5.0;
const BURST_MS_MAX: f64 = 100.0;
/// The receiver's clock jumped.
const CLOCK_JUMP_MS: f64 = 3000.0;
const REORDERED_GROUPS_MAX: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_ms: f64,
    sent_ms: f64,
    first_arrived_ms: f64,
    arrived_ms: f64,
    heard_ms: f64,
}

/// Between two groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta {
    pub sent_ms: f64,
    pub arrived_ms: f64,
    /// On the receiver's clock, of the later one.
    pub at_ms: f64,
}

#[derive(Debug, Default)]
pub struct Arrivals {
    before: Option<Group>,
    current: Option<Group>,
    reordered: u32,
}

impl Arrivals {
    /// Take one packet, by order of arrival; a delta when it begins another group.
    pub fn add(&mut self, sent: Time, arrived_ms: f64, now: Time) -> Option<Delta> {
        let (sent_ms, heard_ms) = (milliseconds(sent), milliseconds(now));
        let group = Group {
            first_sent_ms: sent_ms,
            sent_ms,
            first_arrived_ms: arrived_ms,
            arrived_ms,
            heard_ms,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(group);
            return None;
        };
        if sent_ms < current.first_sent_ms {
            return None; // overtaken
        }
        if current.holds(sent_ms, arrived_ms) {
            current.sent_ms = current.sent_ms.max(sent_ms);
            current.arrived_ms = arrived_ms;
            current.heard_ms = heard_ms;
            return None;
        }
        let ended = *current;
        if let Some(before) = self.before {
            let arrived = ended.arrived_ms - before.arrived_ms;
            if (arrived - (ended.heard_ms - before.heard_ms)).abs() >= CLOCK_JUMP_MS {
                *self = Arrivals { current: Some(group), ..Arrivals::default() };
                return None;
            }
            if arrived < 0.0 {
                self.reordered += 1;
                if self.reordered >= REORDERED_GROUPS_MAX {
                    *self = Arrivals::default();
                }
                return None;
            }
        }
        self.reordered = 0;
        self.current = Some(group);
        let before = self.before.replace(ended)?;
        Some(Delta {
            sent_ms: ended.sent_ms - before.sent_ms,
            arrived_ms: ended.arrived_ms - before.arrived_ms,
            at_ms: ended.arrived_ms,
        })
    }
}

impl Group {
    fn holds(&self, sent_ms: f64, arrived_ms: f64) -> bool {
        let (sent, arrived) = (sent_ms - self.sent_ms, arrived_ms - self.arrived_ms);
        let bursts = arrived < sent
            && arrived <= BURST_GAP_MS
            && arrived_ms - self.first_arrived_ms < BURST_MS_MAX;
        sent == 0.0 || bursts || sent_ms - self.first_sent_ms <= GROUP_MS
    }
}

fn milliseconds(time: Time) -> f64 {
    time.0 as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Time {
        Time(value * 1_000_000)
    }

    #[test]
    fn groups_are_compared_by_their_last_packets() {
        let mut arrivals = Arrivals::default();
        for n in 0..4 {
            assert_eq!(arrivals.add(ms(n), 100.0 + n as f64, ms(200)), None);
        }
        assert_eq!(arrivals.add(ms(20), 125.0, ms(200)), None, "nothing to compare with yet");
        let delta = arrivals.add(ms(40), 150.0, ms(200)).expect("two groups are complete");
        assert_eq!((delta.sent_ms, delta.arrived_ms, delta.at_ms), (17.0, 22.0, 125.0));
    }

    #[test]
    fn what_was_overtaken_and_clocks_that_jump_tell_nothing() {
        let mut arrivals = Arrivals::default();
        for n in 0..5 {
            arrivals.add(ms(n * 20), 100.0 + n as f64 * 20.0, ms(n * 20));
        }
        assert_eq!(arrivals.add(ms(30), 181.0, ms(100)), None);
        assert_eq!(arrivals.add(ms(100), 1e9, ms(100)).map(|d| d.arrived_ms), Some(20.0));
        assert_eq!(arrivals.add(ms(120), 1e9 + 20.0, ms(120)), None, "an hour in 20 ms");
        assert_eq!(arrivals.add(ms(140), 240.0, ms(140)), None);
        assert_eq!(arrivals.add(ms(160), f64::MIN, ms(160)), None);
    }
}
