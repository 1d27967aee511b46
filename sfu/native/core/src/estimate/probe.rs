//! Probing: a short run of packets at a higher rate, and what of that rate arrived. Without it the estimate
//! could not grow while there is little to send (libwebrtc's `ProbeController` and `ProbeBitrateEstimator`).

use std::time::Duration;

use super::history::Arrival;
use crate::ids::Time;

/// Under which packets are remembered that belong to no probe.
pub const NO_CLUSTER: u8 = 0;
const PACKETS_MIN: u32 = 5;
const LENGTH: Duration = Duration::from_millis(25);
/// What was not sent by then is not.
const LENGTH_MAX: Duration = Duration::from_millis(100);
const BYTES_MAX: u32 = 40_000;
const INTERVAL_FIRST: Duration = Duration::from_millis(200);
const INTERVAL_MIN: Duration = Duration::from_secs(3);
const INTERVAL_MAX: Duration = Duration::from_secs(6);
const INTERVAL_IDLE_MAX: Duration = Duration::from_secs(30);
/// After one that found what it looked for the next one goes further.
const INTERVAL_FURTHER: Duration = Duration::from_millis(150);
const FURTHER: f64 = 2.0;
const FOUND: f64 = 0.7;
/// So much of a probe must have arrived to count, in at most so long (libwebrtc has 0.8; a line that loses a
/// fifth by itself could then hardly be probed).
const ARRIVED_MIN: f64 = 0.6;
const TELLING_MIN: f64 = 0.5;
const SPAN_MS_MAX: f64 = 1000.0;
const RATIO_MAX: f64 = 2.5;
/// Less than this of the rate sent means that the line was full, and is used up to `UTILISED`.
const UNSATURATED: f64 = 0.9;
const UTILISED: f64 = 0.95;

/// The run that is being sent, or was sent last.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    id: u8,
    bps: f64,
    began: Option<Time>,
    packets: u32,
    bytes: u32,
    packets_wanted: u32,
    bytes_wanted: u32,
    sends: bool,
}

/// What arrived of it.
#[derive(Clone, Copy, Debug)]
struct Tally {
    packets: u32,
    bytes: f64,
    first_sent: Time,
    last_sent: Time,
    bytes_sent_last: f64,
    first_arrived_ms: f64,
    bytes_arrived_first: f64,
    last_arrived_ms: f64,
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub bps: f64,
    /// The line takes no more; else it takes at least this.
    pub saturated: bool,
}

#[derive(Debug, Default)]
pub struct Prober {
    cluster: Option<Cluster>,
    tally: Option<Tally>,
    id: u8,
    at: Option<Time>,
    interval: Duration,
}

impl Prober {
    /// Take what is sent first for a probe, at a rate of `bps`.
    pub fn begin_first(&mut self, now: Time, bps: f64) {
        self.begin(bps);
        self.at = Some(now + INTERVAL_FIRST);
    }

    /// Under what to remember the packets that are sent now.
    pub fn cluster(&self) -> u8 {
        self.cluster.filter(|c| c.sends).map_or(NO_CLUSTER, |c| c.id)
    }

    /// The rate of the probe that is being sent, in bit/s.
    pub fn sends_at(&self) -> Option<f64> {
        self.cluster.filter(|c| c.sends).map(|c| c.bps)
    }

    /// Begin one if it is time and the estimate is below what is wanted.
    ///
    /// Often while something `lacks`.
    pub fn poll(&mut self, now: Time, bps: f64, wanted_bps: f64, lacks: bool) {
        if let Some(cluster) = &mut self.cluster {
            // One that found nothing to send begins anew in its turn.
            let unsent = self.at.is_some_and(|at| at <= now);
            let late = cluster.began.map_or(unsent, |at| now.since(at) > LENGTH_MAX);
            cluster.sends &= !late;
        }
        let interval_max = if lacks { INTERVAL_MAX } else { INTERVAL_IDLE_MAX };
        self.interval = self.interval.min(interval_max);
        self.at = self.at.map(|at| at.min(now + interval_max));
        if bps >= wanted_bps || self.cluster() != NO_CLUSTER || self.at.is_none_or(|at| at > now) {
            return;
        }
        self.begin((bps * FURTHER).min(wanted_bps * 1.2));
        self.interval = (self.interval * 3 / 2).clamp(INTERVAL_MIN, interval_max);
        self.at = Some(now + self.interval);
    }

    /// When `poll` may have something to do.
    pub fn due(&self) -> Option<Time> {
        self.at
    }

    /// Not now: nobody is there to tell what arrives.
    pub fn put_off(&mut self, now: Time) {
        if let Some(cluster) = &mut self.cluster {
            cluster.sends = false;
        }
        self.at = Some(now + INTERVAL_FIRST);
    }

    pub fn sent(&mut self, now: Time, bytes: usize) {
        let Some(cluster) = self.cluster.as_mut().filter(|c| c.sends) else { return };
        let began = *cluster.began.get_or_insert(now);
        cluster.packets += 1;
        cluster.bytes += bytes as u32;
        let enough = cluster.packets >= cluster.packets_wanted
            && cluster.bytes >= cluster.bytes_wanted
            && now > began;
        cluster.sends = !(enough || cluster.bytes >= BYTES_MAX);
    }

    /// Take a packet that arrived; what the line was found to take. `loses` is what it loses by itself, of 1.
    pub fn arrived(&mut self, now: Time, arrival: &Arrival, loses: f64) -> Option<Found> {
        let cluster = self.cluster.filter(|c| c.id == arrival.cluster)?;
        let bytes = f64::from(arrival.bytes);
        let tally = self.tally.get_or_insert(Tally {
            packets: 0,
            bytes: 0.0,
            first_sent: arrival.sent,
            last_sent: arrival.sent,
            bytes_sent_last: 0.0,
            first_arrived_ms: arrival.arrived_ms,
            bytes_arrived_first: bytes,
            last_arrived_ms: arrival.arrived_ms,
        });
        tally.add(arrival);
        let all = f64::from(tally.packets) >= ARRIVED_MIN * f64::from(cluster.packets)
            && tally.bytes >= ARRIVED_MIN * f64::from(cluster.bytes);
        if cluster.sends || cluster.packets < PACKETS_MIN || !all {
            return None;
        }
        let found = tally.found(loses)?;
        if found.bps >= FOUND * cluster.bps {
            self.interval = INTERVAL_MIN;
            self.at = self.at.map(|at| at.min(now + INTERVAL_FURTHER));
        }
        // What was sent was too little to fill anything.
        let telling = tally.bytes >= TELLING_MIN * f64::from(cluster.bytes_wanted);
        (telling || !found.saturated).then_some(found)
    }

    fn begin(&mut self, bps: f64) {
        // 0 is no cluster's.
        self.id = self.id % u8::MAX + 1;
        self.tally = None;
        self.cluster = Some(Cluster {
            id: self.id,
            bps,
            began: None,
            packets: 0,
            bytes: 0,
            packets_wanted: PACKETS_MIN,
            bytes_wanted: (bps / 8.0 * LENGTH.as_secs_f64()) as u32,
            sends: true,
        });
    }
}

impl Tally {
    fn add(&mut self, arrival: &Arrival) {
        let bytes = f64::from(arrival.bytes);
        self.packets += 1;
        self.bytes += bytes;
        self.first_sent = self.first_sent.min(arrival.sent);
        if arrival.sent > self.last_sent {
            (self.last_sent, self.bytes_sent_last) = (arrival.sent, 0.0);
        }
        if arrival.sent == self.last_sent {
            self.bytes_sent_last += bytes;
        }
        if arrival.arrived_ms < self.first_arrived_ms {
            (self.first_arrived_ms, self.bytes_arrived_first) = (arrival.arrived_ms, bytes);
        }
        self.last_arrived_ms = self.last_arrived_ms.max(arrival.arrived_ms);
    }

    /// None: it was sent or arrived in no time, in too long, or faster than it was sent.
    fn found(&self, loses: f64) -> Option<Found> {
        let sent_ms = self.last_sent.since(self.first_sent).as_secs_f64() * 1000.0;
        let arrived_ms = self.last_arrived_ms - self.first_arrived_ms;
        if sent_ms <= 0.0 || sent_ms > SPAN_MS_MAX || arrived_ms > SPAN_MS_MAX {
            return None;
        }
        // What is sent in one go is still on its way when its time is taken.
        let sent = (self.bytes - self.bytes_sent_last) * 8000.0 / sent_ms;
        let arrived = (self.bytes - self.bytes_arrived_first) * 8000.0 / arrived_ms.max(0.25);
        let arrived = arrived / (1.0 - loses).max(0.5);
        if arrived > RATIO_MAX * sent {
            return None;
        }
        let saturated = arrived < UNSATURATED * sent;
        Some(Found {
            bps: if saturated { UTILISED * arrived } else { sent.min(arrived) },
            saturated,
        })
    }
}
