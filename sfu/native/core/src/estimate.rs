//! How much a viewer's line takes, estimated at the sender from transport-wide feedback: Google Congestion
//! Control (draft-ietf-rmcat-gcc-02, and what libwebrtc's `goog_cc` made of it since).
//!
//! feedback -> [`history`] which packets arrived -> [`arrivals`] groups -> [`trend`] does the queue grow
//! -> [`aimd`] a rate by delay, with [`acknowledged`] -> the lower of that and of the rate by [`loss`];
//! [`probe`] looks for more. State is fixed, work per feedback is bounded by its bytes; whatever a viewer
//! tells, it changes its own rate alone.

mod acknowledged;
mod aimd;
mod arrivals;
mod history;
mod loss;
mod probe;
mod trend;

use std::time::Duration;

use crate::ids::Time;
use crate::twcc::Feedback;

use acknowledged::Acknowledged;
use aimd::Aimd;
use arrivals::Arrivals;
pub use history::Arrival;
use history::History;
use loss::Loss;
use probe::{Found, Prober};
use trend::{Trend, Usage};

/// Speech, and some of a picture.
pub const RATE_BPS_MIN: u64 = 100_000;
pub const RATE_BPS_MAX: u64 = 20_000_000;
/// Believed until something was measured; the first packets go out faster and are the first probe.
const RATE_BPS_FIRST: f64 = 1_000_000.0;
const START_BPS: f64 = 10_000_000.0;
/// More than this goes out at the pace of what is believed, if nothing was heard.
const START_BYTES_MAX: usize = 128 * 1024;
/// A feedback every 10 ms; libwebrtc sends one every 50 to 250, large ones in parts.
const FEEDBACKS_PER_SECOND_MAX: f64 = 100.0;
const FEEDBACKS_BURST_MAX: f64 = 40.0;
/// Nothing was heard of what was sent for so long and a round trip: the line is out.
const OUTAGE: Duration = Duration::from_millis(750);
const HEARTBEAT: Duration = Duration::from_millis(200);
/// After so long the old trend says nothing (libwebrtc's stream timeout).
const TREND_AGE_MAX: Duration = Duration::from_secs(2);
/// What may be under way besides a round trip's worth: feedback comes every 100 ms, and a queue this long
/// does not disturb speech.
const FLIGHT_ALLOWANCE: Duration = Duration::from_millis(150);
const FLIGHT_BYTES_MIN: f64 = 3600.0;
const ROUND_TRIP_MAX: Duration = Duration::from_millis(300);
/// Below this part of the estimate, what is sent is limited by what there is.
const LIMITED: f64 = 0.65;
const ARRIVES: f64 = 0.75;
const RATE_SPAN_MS_MIN: f64 = 50.0;
const RATE_PACKETS_MIN: usize = 5;
const SENT_WINDOW: Duration = Duration::from_millis(500);

/// What became of a feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It told of packets.
    Something,
    /// The first after an outage.
    Again,
    /// Of packets never sent, or too many feedbacks.
    Refused,
}

#[derive(Debug)]
pub struct Estimator {
    history: History,
    arrivals: Arrivals,
    trend: Trend,
    acknowledged: Acknowledged,
    aimd: Aimd,
    loss: Loss,
    prober: Prober,
    reference: Option<(u32, i64)>,
    heard: Option<Time>,
    /// Of the oldest packet sent since something was heard.
    unheard_since: Option<Time>,
    beat_at: Option<Time>,
    out: bool,
    budget: (f64, Option<Time>),
    start_bytes: usize,
    sent_bytes: usize,
    sent_since: Option<Time>,
    sent_bps: f64,
    round_trip_min: Option<Duration>,
    wanted_bps: f64,
    measured: bool,
}

impl Default for Estimator {
    fn default() -> Self {
        Estimator {
            history: History::default(),
            arrivals: Arrivals::default(),
            trend: Trend::default(),
            acknowledged: Acknowledged::default(),
            aimd: Aimd::new(RATE_BPS_FIRST),
            loss: Loss::new(RATE_BPS_MAX as f64),
            prober: Prober::default(),
            reference: None,
            heard: None,
            unheard_since: None,
            beat_at: None,
            out: false,
            budget: (FEEDBACKS_BURST_MAX, None),
            start_bytes: 0,
            sent_bytes: 0,
            sent_since: None,
            sent_bps: 0.0,
            round_trip_min: None,
            wanted_bps: 0.0,
            measured: false,
        }
    }
}

impl Estimator {
    /// Of a line between two nodes: taken for wide until it shows that it is not.
    pub fn of_link() -> Estimator {
        Estimator { aimd: Aimd::new(RATE_BPS_MAX as f64), measured: true, ..Estimator::default() }
    }

    /// The transport-wide number of the next packet.
    pub fn next_sequence(&self) -> u16 {
        self.history.next_sequence()
    }

    /// Take note of a packet sent under `next_sequence`; `bytes` without IP and UDP.
    pub fn sent(&mut self, now: Time, bytes: usize) {
        if self.history.next_sequence() == 0 && self.start_bytes == 0 {
            self.prober.begin_first(now, START_BPS);
        }
        self.start_bytes += bytes.min(START_BYTES_MAX - self.start_bytes.min(START_BYTES_MAX));
        self.history.sent(now, bytes, self.prober.cluster());
        self.prober.sent(now, bytes);
        self.unheard_since.get_or_insert(now);
        self.sent_bytes += bytes;
        let since = *self.sent_since.get_or_insert(now);
        let passed = now.since(since);
        if passed >= SENT_WINDOW {
            self.sent_bps = self.sent_bytes as f64 * 8.0 / passed.as_secs_f64();
            (self.sent_bytes, self.sent_since) = (0, Some(now));
        }
    }

    /// Take a feedback. `arrivals` is memory for it.
    pub fn feedback(
        &mut self,
        now: Time,
        feedback: &Feedback<'_>,
        round_trip: Duration,
        arrivals: &mut Vec<Arrival>,
    ) -> Told {
        arrivals.clear();
        if !self.admits(now) {
            return Told::Refused;
        }
        let reference_ms = self.reference_ms(feedback.reference_time);
        if !self.history.take(feedback, reference_ms, arrivals) {
            return Told::Refused;
        }
        if arrivals.is_empty() {
            return Told::Something;
        }
        let again = std::mem::take(&mut self.out);
        if self.heard.is_none_or(|at| again || now.since(at) > TREND_AGE_MAX) {
            (self.arrivals, self.trend) = (Arrivals::default(), Trend::default());
        }
        self.heard = Some(now);
        self.unheard_since = None;
        self.round_trip_min =
            Some(self.round_trip_min.map_or(round_trip, |known| known.min(round_trip)));
        if !arrivals.is_sorted_by(|a, b| a.arrived_ms <= b.arrived_ms) {
            arrivals.sort_unstable_by(|a, b| a.arrived_ms.total_cmp(&b.arrived_ms));
        }
        let mut found = None;
        for arrival in arrivals.iter() {
            self.acknowledged.add(arrival.arrived_ms, arrival.bytes);
            found = self.prober.arrived(now, arrival, self.loss.inherent()).or(found);
            if let Some(delta) = self.arrivals.add(arrival.sent, arrival.arrived_ms, now) {
                self.trend.add(delta);
            }
        }
        let settled = self.history.settle();
        self.loss.note(now, settled.seen, settled.lost, self.acknowledged.bps());
        self.judge(now, found, round_trip, rate_of(arrivals));
        if again {
            Told::Again
        } else {
            Told::Something
        }
    }

    /// In bit/s.
    pub fn rate_bps(&self) -> u64 {
        let bps = self.aimd.bps().min(self.loss.bps());
        (bps as u64).clamp(RATE_BPS_MIN, RATE_BPS_MAX)
    }

    /// Whether a probe is being sent: then nothing is saved up for bursts.
    pub fn is_probing(&self) -> bool {
        self.heard.is_some() && self.prober.sends_at().is_some()
    }

    /// Whether the line takes twice what is sent.
    pub fn has_room(&self) -> bool {
        !self.is_full() && self.sent_bps * 2.0 < self.rate_bps() as f64
    }

    /// Whether the line was found to take no more than what is believed.
    pub fn is_full(&self) -> bool {
        self.aimd.is_near_capacity() || self.loss.bps() < self.aimd.bps()
    }

    /// How fast to send now, in bit/s.
    pub fn pace_bps(&self) -> u64 {
        if self.heard.is_none() && self.start_bytes < START_BYTES_MAX {
            return START_BPS as u64;
        }
        let paced = if self.is_full() { self.rate_bps() } else { self.rate_bps() * 5 / 4 };
        if self.heard.is_none() {
            return paced;
        }
        self.prober.sends_at().map_or(paced, |bps| paced.max(bps as u64))
    }

    /// Whether more of the picture may be under way: what waits here can still be overtaken by sound.
    pub fn admits_picture(&mut self, now: Time) -> bool {
        if self.out {
            return false;
        }
        if self.heard.is_none() {
            return true;
        }
        let round_trip = self.round_trip_min.unwrap_or_default().min(ROUND_TRIP_MAX);
        let span = (round_trip + FLIGHT_ALLOWANCE).as_secs_f64();
        let bytes_max = (self.rate_bps() as f64 / 8.0 * span).max(FLIGHT_BYTES_MIN) as usize;
        if self.prober.sends_at().is_some() || self.history.in_flight_bytes() <= bytes_max {
            return true;
        }
        self.history.expire(now);
        self.history.in_flight_bytes() <= bytes_max
    }

    /// Whether nothing comes through any more; judged at `now`.
    pub fn is_out(&mut self, now: Time, round_trip: Duration) -> bool {
        let silent = |at: Time| now.since(at) > OUTAGE + round_trip;
        if !self.out && self.heard.is_some() && self.unheard_since.is_some_and(silent) {
            self.out = true;
            self.beat_at = Some(now);
            self.prober.put_off(now);
        }
        self.out
    }

    /// Whether to send one packet again, so that the end of an outage is noticed.
    pub fn take_beat(&mut self, now: Time) -> bool {
        let due = self.out && self.beat_at.is_some_and(|at| at <= now);
        if due {
            self.beat_at = Some(now + HEARTBEAT);
        }
        due
    }

    /// Whether to fill up with packets that probe; `wanted_bps`: more need not be found; `lacks`: something
    /// is not sent for want of it.
    pub fn probes(&mut self, now: Time, wanted_bps: u64, lacks: bool) -> bool {
        self.wanted_bps = wanted_bps as f64;
        if self.heard.is_none() || self.out {
            return false;
        }
        self.prober.poll(now, self.rate_bps() as f64, self.wanted_bps, lacks);
        self.prober.sends_at().is_some()
    }

    /// When there is something to do with nothing new to send.
    pub fn due(&self) -> Option<Time> {
        if self.out {
            return self.beat_at;
        }
        let lacks = self.heard.is_some() && (self.rate_bps() as f64) < self.wanted_bps;
        self.prober.due().filter(|_| lacks)
    }

    /// Whether the line loses so much that repairs are lost as well.
    pub fn is_lossy(&self) -> bool {
        self.loss.is_lossy()
    }

    /// Of 1, over the last seconds.
    pub fn loss(&self) -> f64 {
        self.loss.smoothed()
    }

    /// A token bucket: storms are dropped before they are read.
    fn admits(&mut self, now: Time) -> bool {
        let (budget, since) = &mut self.budget;
        let earned = since.map_or(0.0, |at| now.since(at).as_secs_f64() * FEEDBACKS_PER_SECOND_MAX);
        *since = Some(now);
        *budget = (*budget + earned).min(FEEDBACKS_BURST_MAX);
        if *budget < 1.0 {
            return false;
        }
        *budget -= 1.0;
        true
    }

    /// 24 bits of 64 ms, unwrapped by the shorter way round.
    fn reference_ms(&mut self, time: u32) -> f64 {
        let (last, unwrapped) = self.reference.unwrap_or((time, i64::from(time)));
        let forward = (time.wrapping_sub(last) << 8) as i32 >> 8;
        let unwrapped = unwrapped + i64::from(forward);
        self.reference = Some((time, unwrapped));
        unwrapped as f64 * 64.0
    }

    fn judge(
        &mut self,
        now: Time,
        found: Option<Found>,
        round_trip: Duration,
        arrives: Option<f64>,
    ) {
        let acknowledged = self.acknowledged.bps();
        let over = self.trend.usage == Usage::Over;
        // Jitter smears a probe: a line that was measured before is lowered by its queue and its losses alone.
        let first = !self.measured;
        self.measured |= found.is_some();
        let news =
            found.filter(|f| !over && ((f.saturated && first) || f.bps > self.rate_bps() as f64));
        if let Some(found) = news {
            self.aimd.set(now, found.bps.clamp(RATE_BPS_MIN as f64, RATE_BPS_MAX as f64));
            self.loss.raise(found.bps);
            return;
        }
        let limited = acknowledged.is_some_and(|bps| {
            self.sent_bps < LIMITED * self.aimd.bps() && bps > ARRIVES * self.sent_bps
        });
        // A full line delivers all it can: after a pause that is more than the mean.
        let acknowledged = match (acknowledged, arrives) {
            (Some(mean), Some(now)) if over => Some(mean.max(now)),
            _ => acknowledged,
        };
        self.aimd.update(now, self.trend.usage, acknowledged, limited, round_trip);
        let bounded = self.aimd.bps().clamp(RATE_BPS_MIN as f64, RATE_BPS_MAX as f64);
        if bounded != self.aimd.bps() {
            self.aimd.set(now, bounded);
        }
    }
}

/// In bit/s, of what one feedback tells; None: of too few packets, or too short a time.
fn rate_of(arrivals: &[Arrival]) -> Option<f64> {
    let (first, last) = (arrivals.first()?, arrivals.last()?);
    let span_ms = last.arrived_ms - first.arrived_ms;
    let bytes: f64 = arrivals[1..].iter().map(|a| f64::from(a.bytes)).sum();
    let enough = span_ms >= RATE_SPAN_MS_MIN && arrivals.len() >= RATE_PACKETS_MIN;
    enough.then(|| bytes * 8000.0 / span_ms)
}

#[cfg(test)]
mod tests;
