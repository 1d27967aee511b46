//! How much one viewer may be sent now: whole runs, but never a flood.

use std::time::Duration;

use crate::ids::Time;

/// Keeps runs long enough for one GSO send and receivers' socket buffers whole: Firefox lost a third
/// of an unpaced keyframe of 160 packets.
pub const WINDOW: Duration = Duration::from_millis(10);
pub const WINDOW_PACKETS_MAX: usize = 16;
/// While a viewer catches up with a replay.
const REPLAY_RATE_BPS_MAX: u64 = 10_000_000;
const RATE_BPS_MAX: u64 = 20_000_000;
/// Enough for a still slide and speech.
const RATE_BPS_MIN: u64 = 500_000;
/// GCC's loss-based controller (draft-ietf-rmcat-gcc-02 section 6): leave above 10 %, come back below 2 %.
const LOSS_HIGH: f64 = 0.10;
const LOSS_LOW: f64 = 0.02;
/// Only what 2 % of chance cannot explain counts as more than `LOSS_HIGH`.
const LOSS_DEVIATIONS: f64 = 2.0;
const LOSS_INTERVAL: Duration = Duration::from_millis(500);
const LOSS_PACKETS_MIN: u64 = 20;
const LOSS_INTERVALS_SMOOTHED: f64 = 4.0;

#[derive(Debug)]
pub struct Pacer {
    window_start: Option<Time>,
    packets: usize,
    bytes: usize,
    rate_bps: u64,
    seen: u64,
    lost: u64,
    judged: Option<Time>,
    /// Smoothed over a few seconds.
    loss: f64,
}

impl Default for Pacer {
    fn default() -> Self {
        Pacer {
            window_start: None,
            packets: 0,
            bytes: 0,
            rate_bps: RATE_BPS_MAX,
            seen: 0,
            lost: 0,
            judged: None,
            loss: 0.0,
        }
    }
}

impl Pacer {
    /// Packets that may go now; the bytes are asked packet by packet with `fits`.
    pub fn open(&mut self, now: Time) -> usize {
        if self.window_start.is_none_or(|start| now.since(start) >= WINDOW) {
            self.window_start = Some(now);
            self.packets = 0;
            self.bytes = 0;
        }
        WINDOW_PACKETS_MAX - self.packets
    }

    /// Whether `bytes` more fit into the window. The first packet always does.
    pub fn fits(&self, planned: usize, bytes: usize, replay: bool) -> bool {
        let rate = if replay { self.rate_bps.min(REPLAY_RATE_BPS_MAX) } else { self.rate_bps };
        let window_bytes = (rate / 8) as usize * WINDOW.as_millis() as usize / 1000;
        self.bytes + planned == 0 || self.bytes + planned + bytes <= window_bytes
    }

    pub fn spend(&mut self, packets: usize, bytes: usize) {
        self.packets += packets;
        self.bytes += bytes;
    }

    /// When the next window opens.
    pub fn next(&self, now: Time) -> Time {
        self.window_start.map_or(now, |start| start + WINDOW)
    }

    /// Take what a transport-wide feedback says of `seen` packets, `lost` of them missing.
    pub fn note_feedback(&mut self, now: Time, seen: u64, lost: u64) {
        self.seen += seen;
        self.lost += lost;
        let due = self.judged.is_none_or(|at| now.since(at) >= LOSS_INTERVAL);
        if !due || self.seen < LOSS_PACKETS_MIN {
            return;
        }
        let loss = self.lost as f64 / self.seen as f64;
        self.loss += (loss - self.loss) / LOSS_INTERVALS_SMOOTHED;
        // Of a few packets, twice as many may be lost by chance: that would pull the rate to its floor.
        let chance = LOSS_DEVIATIONS * (LOSS_HIGH * (1.0 - LOSS_HIGH) / self.seen as f64).sqrt();
        if loss > LOSS_HIGH + chance {
            self.rate_bps = (self.rate_bps as f64 * (1.0 - 0.5 * loss)) as u64;
        } else if loss < LOSS_LOW {
            self.rate_bps = (self.rate_bps as f64 * 1.05) as u64;
        }
        self.rate_bps = self.rate_bps.clamp(RATE_BPS_MIN, RATE_BPS_MAX);
        (self.seen, self.lost, self.judged) = (0, 0, Some(now));
    }

    /// Whether the line loses so much that repairs are lost as well.
    pub fn is_lossy(&self) -> bool {
        self.loss > LOSS_LOW
    }

    pub fn rate_bps(&self) -> u64 {
        self.rate_bps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_sixteen_packets_and_then_waits() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.open(Time(0)), 16);
        pacer.spend(16, 16_000);
        assert_eq!(pacer.open(Time(9_999_999)), 0);
        assert_eq!(pacer.next(Time(5_000_000)), Time(10_000_000));
        assert_eq!(pacer.open(Time(10_000_000)), 16);
    }

    #[test]
    fn a_line_that_loses_a_tenth_by_chance_keeps_its_rate() {
        let (mut pacer, mut random) = (Pacer::default(), 1u64);
        for i in 0..240 {
            let lost = (0..40)
                .filter(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 33) % 10 == 0
                })
                .count();
            pacer.note_feedback(Time(i * 500_000_000), 40, lost as u64);
        }
        assert!(pacer.rate_bps() > 5_000_000, "{}", pacer.rate_bps());
    }

    #[test]
    fn loss_lowers_the_rate_and_its_absence_raises_it() {
        let mut pacer = Pacer::default();
        for i in 0..20 {
            pacer.note_feedback(Time(i * 1_000_000_000), 100, 30);
        }
        assert!(pacer.rate_bps() < 2_000_000, "{}", pacer.rate_bps());
        let low = pacer.rate_bps();
        for i in 20..30 {
            pacer.note_feedback(Time(i * 1_000_000_000), 100, 0);
        }
        assert!(pacer.rate_bps() > low);
        assert!(pacer.fits(0, 5_000, false), "the first packet always goes");
        assert!(!pacer.fits(3_000, 1_200, false));
    }
}
