//! What the thread counts, by name, and how it is shown to others.

use std::collections::HashMap;
use std::time::Duration;

use lectern_core::api::Counters;
use lectern_core::ids::{SessionId, Time};

/// A busy thread shows its counters this often.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Sessions whose counters are copied in one turn: about 50 us, so that thousands of them delay no packet.
pub const SESSIONS_PER_TURN_MAX: usize = 128;

/// The counters as last shown.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub taken: Time,
    pub counters: Counters,
}

/// Each session's counters as last shown; the handle adds and removes, the thread refreshes what is there.
pub type SessionSnapshots = HashMap<SessionId, Counters>;

/// How late the loop was, at worst, over the last second or two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    earlier_ns: u64,
    current_ns: u64,
    since: Time,
}

impl Lag {
    pub fn note(&mut self, now: Time, late: Duration) {
        self.roll(now);
        self.current_ns = self.current_ns.max(late.as_nanos() as u64);
    }

    pub fn max_us(&mut self, now: Time) -> u64 {
        self.roll(now);
        self.earlier_ns.max(self.current_ns) / 1000
    }

    fn roll(&mut self, now: Time) {
        let age = now.since(self.since);
        if age >= PUBLISH_INTERVAL {
            let recent = age < 2 * PUBLISH_INTERVAL;
            self.earlier_ns = if recent { self.current_ns } else { 0 };
            self.current_ns = 0;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_lag_is_kept_for_a_second_and_then_forgotten() {
        let second = Duration::from_secs(1);
        let start = Time(0) + 100 * second;
        let mut lag = Lag::default();
        lag.note(start, Duration::from_millis(7));
        lag.note(start, Duration::from_millis(2));
        assert_eq!(lag.max_us(start), 7000);
        assert_eq!(lag.max_us(start + second), 7000);
        assert_eq!(lag.max_us(start + 2 * second), 0);
        lag.note(start + 2 * second, Duration::from_millis(3));
        assert_eq!(lag.max_us(start + 10 * second), 0);
    }
}
