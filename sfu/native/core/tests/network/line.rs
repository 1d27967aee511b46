//! A line with a bottleneck: one packet after the other, a queue that drops what does not fit, and what
//! else goes wrong on radios. Everything by a seed.

use std::time::Duration;

use lectern_core::ids::Time;

/// UDP and IPv4.
const OVERHEAD_BYTES: usize = 28;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One direction. Times are ms from the beginning of the run.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub delay_ms: f64,
    /// (from, bit/s); none: no bottleneck.
    pub rates: Vec<(u64, f64)>,
    /// What would wait longer is dropped; 0: 200 ms.
    pub queue_ms: f64,
    pub loss: f64,
    /// (from, until): all is lost.
    pub gaps: Vec<(u64, u64)>,
    /// (chance, ms): so many packets are late by that, and overtaken.
    pub reorder: (f64, f64),
    /// Up to so much, evenly, without overtaking.
    pub jitter_ms: f64,
}

#[derive(Debug)]
pub struct Carrier {
    line: Line,
    random: Random,
    begins: Time,
    busy_until: Time,
    last_arrival: Time,
    /// Of each packet, in ms.
    pub waits: Vec<f32>,
}

impl Carrier {
    pub fn new(line: Line, seed: u64, begins: Time) -> Carrier {
        let random = Random(seed);
        Carrier {
            line,
            random,
            begins,
            busy_until: begins,
            last_arrival: begins,
            waits: Vec::new(),
        }
    }

    /// When a datagram sent at `at` arrives; None: it is lost.
    pub fn carry(&mut self, at: Time, bytes: usize) -> Option<Time> {
        let ms = at.since(self.begins).as_millis() as u64;
        let line = &self.line;
        if line.gaps.iter().any(|(from, until)| (*from..*until).contains(&ms)) {
            return None;
        }
        let lost = self.random.part() < line.loss;
        let mut leaves = at;
        if let Some((_, bps)) = line.rates.iter().rev().find(|(from, _)| *from <= ms) {
            let start = self.busy_until.max(at);
            let wait_ms = start.since(at).as_secs_f64() * 1000.0;
            let queue_ms = if line.queue_ms > 0.0 { line.queue_ms } else { 200.0 };
            if wait_ms > queue_ms {
                return None;
            }
            self.waits.push(wait_ms as f32);
            let bits = (bytes + OVERHEAD_BYTES) as f64 * 8.0;
            self.busy_until = start + Duration::from_secs_f64(bits / bps);
            leaves = self.busy_until;
        }
        if lost {
            return None;
        }
        let mut late_ms = line.delay_ms + self.random.part() * line.jitter_ms;
        let overtaken = self.random.part() < line.reorder.0;
        if overtaken {
            late_ms += line.reorder.1;
        }
        let mut arrives = leaves + Duration::from_secs_f64(late_ms / 1000.0);
        if !overtaken {
            arrives = arrives.max(self.last_arrival);
            self.last_arrival = arrives;
        }
        Some(arrives)
    }
}
