//! The rate that the delay allows: up while the queue does not grow, down below what arrives when it does
//! (draft-ietf-rmcat-gcc-02 section 5.5; libwebrtc's `AimdRateControl` and `LinkCapacityEstimator`).

use std::time::Duration;

use super::trend::Usage;
use crate::ids::Time;

const BACK_OFF: f64 = 0.85;
/// Per second, while the line's capacity is unknown.
const GROWTH: f64 = 1.08;
/// Nobody is believed to take more than this times what arrives now.
const HEADROOM: f64 = 1.5;
const HEADROOM_BPS: f64 = 10_000.0;
const PACKET_BITS: f64 = 1200.0 * 8.0;
const DETECTION: Duration = Duration::from_millis(100);
const REDUCE_INTERVAL_MIN: Duration = Duration::from_millis(10);
const REDUCE_INTERVAL_MAX: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Hold,
    Increase,
}

/// What arrived when the line was over-used.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    kbps: f64,
    /// Relative to the mean.
    deviation: f64,
}

#[derive(Debug)]
pub struct Aimd {
    bps: f64,
    phase: Phase,
    changed: Option<Time>,
    capacity: Option<Capacity>,
}

impl Aimd {
    pub fn new(bps: f64) -> Aimd {
        Aimd { bps, phase: Phase::Hold, changed: None, capacity: None }
    }

    pub fn bps(&self) -> f64 {
        self.bps
    }

    /// A probe has measured the line.
    pub fn set(&mut self, now: Time, bps: f64) {
        self.bps = bps;
        self.changed = Some(now);
        self.capacity = None;
    }

    /// Whether the line was found full, and nothing has shown since that it takes more.
    pub fn is_near_capacity(&self) -> bool {
        self.capacity.is_some()
    }

    /// `acknowledged`: what arrives, in bit/s. `limited`: by what there was to send, all of which arrives.
    pub fn update(
        &mut self,
        now: Time,
        usage: Usage,
        acknowledged: Option<f64>,
        limited: bool,
        round_trip: Duration,
    ) {
        match usage {
            Usage::Over => self.reduce(now, acknowledged, limited, round_trip),
            Usage::Under => self.phase = Phase::Hold,
            Usage::Normal if self.phase == Phase::Hold => {
                self.phase = Phase::Increase;
                self.changed = Some(now);
            }
            Usage::Normal => self.increase(now, acknowledged, round_trip),
        }
    }

    fn reduce(
        &mut self,
        now: Time,
        acknowledged: Option<f64>,
        limited: bool,
        round_trip: Duration,
    ) {
        let interval = round_trip.clamp(REDUCE_INTERVAL_MIN, REDUCE_INTERVAL_MAX);
        let due = self.changed.is_none_or(|at| now.since(at) >= interval);
        if !due && acknowledged.is_none_or(|bps| bps >= self.bps / 2.0) {
            return;
        }
        (self.phase, self.changed) = (Phase::Hold, Some(now));
        let Some(acknowledged) = acknowledged else {
            self.bps /= 2.0;
            return;
        };
        if limited {
            // What arrives says how little there was to send, not how much the line takes.
            self.bps = (self.bps * BACK_OFF).max(acknowledged);
            return;
        }
        self.bps = self.bps.min(acknowledged * BACK_OFF);
        if self.capacity.is_some_and(|c| acknowledged / 1000.0 < c.lower()) {
            self.capacity = None;
        }
        self.capacity = Some(Capacity::update(self.capacity, acknowledged / 1000.0));
    }

    fn increase(&mut self, now: Time, acknowledged: Option<f64>, round_trip: Duration) {
        let since = self.changed.replace(now).map_or(0.0, |at| now.since(at).as_secs_f64());
        let Some(acknowledged) = acknowledged else { return };
        if self.capacity.is_some_and(|c| acknowledged / 1000.0 > c.upper()) {
            self.capacity = None;
        }
        let limit = HEADROOM * acknowledged + HEADROOM_BPS;
        if self.bps >= limit {
            return;
        }
        let grown = match self.capacity {
            // Near the capacity: about a packet in a time of response.
            Some(_) => {
                let response = 2.0 * (round_trip + DETECTION).as_secs_f64();
                self.bps + (PACKET_BITS / response).max(4000.0) * since
            }
            None => self.bps + (self.bps * (GROWTH.powf(since.min(1.0)) - 1.0)).max(1000.0 * since),
        };
        self.bps = grown.min(limit);
    }
}

impl Capacity {
    const SMOOTHING: f64 = 0.05;

    fn update(before: Option<Capacity>, kbps: f64) -> Capacity {
        let Some(before) = before else { return Capacity { kbps, deviation: 0.4 } };
        let mean = before.kbps + Self::SMOOTHING * (kbps - before.kbps);
        let error = mean - kbps;
        let normal = error * error / mean.max(1.0);
        let deviation = before.deviation + Self::SMOOTHING * (normal - before.deviation);
        Capacity { kbps: mean, deviation: deviation.clamp(0.4, 2.5) }
    }

    fn spread(&self) -> f64 {
        3.0 * (self.deviation * self.kbps).sqrt()
    }

    fn upper(&self) -> f64 {
        self.kbps + self.spread()
    }

    fn lower(&self) -> f64 {
        (self.kbps - self.spread()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    fn ms(value: u64) -> Time {
        Time(value * 1_000_000)
    }

    #[test]
    fn over_use_goes_below_what_arrives_and_then_the_rate_grows_slowly() {
        let mut aimd = Aimd::new(3e6);
        aimd.update(ms(1000), Usage::Over, Some(300e3), false, ROUND_TRIP);
        assert!((aimd.bps() - 255e3).abs() < 1.0);
        for n in 0..20 {
            aimd.update(ms(1100 + n * 100), Usage::Normal, Some(255e3), false, ROUND_TRIP);
        }
        assert!((260e3..400e3).contains(&aimd.bps()), "{}", aimd.bps());
    }

    #[test]
    fn nobody_is_believed_to_take_much_more_than_what_arrives() {
        let mut aimd = Aimd::new(100e3);
        for n in 0..1000 {
            aimd.update(ms(n * 100), Usage::Normal, Some(200e3), false, ROUND_TRIP);
        }
        assert!((aimd.bps() - 310e3).abs() < 1.0, "{}", aimd.bps());
        aimd.set(ms(100_000), 5e6);
        aimd.update(ms(100_100), Usage::Normal, Some(200e3), false, ROUND_TRIP);
        assert!((aimd.bps() - 5e6).abs() < 1.0, "a probe is believed");
    }

    #[test]
    fn a_spike_while_little_is_sent_costs_little() {
        let mut aimd = Aimd::new(5e6);
        aimd.update(ms(1000), Usage::Over, Some(50e3), true, ROUND_TRIP);
        assert!((aimd.bps() - 4.25e6).abs() < 1.0);
    }
}
