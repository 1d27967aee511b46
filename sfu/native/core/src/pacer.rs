//! How much one viewer may be sent now: whole runs, but never a flood.

use std::time::Duration;

use crate::ids::Time;

/// Keeps runs long enough for one GSO send and receivers' socket buffers whole: Firefox lost a third
/// of an unpaced keyframe of 160 packets.
pub const WINDOW: Duration = Duration::from_millis(10);
pub const WINDOW_PACKETS_MAX: usize = 16;
const LINK_WINDOW_PACKETS_MAX: usize = 128;
/// What was not sent for so long may be sent at once (libwebrtc's pacer allows the same for screens).
const BURST: Duration = Duration::from_millis(40);
/// Sound goes out whatever the rate; so much of it is made up for by pictures.
const DEBT: Duration = Duration::from_millis(200);
/// A rate is not spent in smaller pieces.
const BURST_BYTES_MIN: i64 = 1;

/// A leaky bucket, looked at in windows.
#[derive(Debug)]
pub struct Pacer {
    packets_max: usize,
    window_start: Option<Time>,
    packets: usize,
    /// In bytes; negative: to be waited for.
    budget: i64,
    filled: Option<Time>,
    rate_bps: u64,
}

impl Default for Pacer {
    fn default() -> Pacer {
        Pacer {
            packets_max: WINDOW_PACKETS_MAX,
            window_start: None,
            packets: 0,
            budget: 0,
            filled: None,
            rate_bps: 0,
        }
    }
}

impl Pacer {
    /// To another node, whose socket has room: what it waits for, its viewers wait for.
    pub fn of_link() -> Pacer {
        Pacer { packets_max: LINK_WINDOW_PACKETS_MAX, ..Pacer::default() }
    }

    /// Packets that may go now at a rate of `rate_bps`; the bytes are asked packet by packet with `fits`.
    /// `evenly`: without bursts.
    pub fn open(&mut self, now: Time, rate_bps: u64, evenly: bool) -> usize {
        let burst = bytes(rate_bps, if evenly { WINDOW } else { BURST }).max(BURST_BYTES_MIN);
        let passed = self.filled.map_or(BURST, |at| now.since(at).min(Duration::from_secs(1)));
        // Time of less than a byte is kept.
        let earned = bytes(rate_bps, passed);
        if earned > 0 || self.filled.is_none() {
            self.filled = Some(now);
            self.budget = (self.budget + earned).min(burst);
        }
        self.rate_bps = rate_bps;
        if self.window_start.is_none_or(|start| now.since(start) >= WINDOW) {
            self.window_start = Some(now);
            self.packets = 0;
        }
        self.packets_max.saturating_sub(self.packets)
    }

    /// Whether one more packet may follow `planned` bytes.
    pub fn fits(&self, planned: usize) -> bool {
        self.budget > planned as i64
    }

    pub fn spend(&mut self, packets: usize, spent: usize) {
        self.packets += packets;
        self.budget = (self.budget - spent as i64).max(-bytes(self.rate_bps, DEBT) - 1500);
    }

    /// When to look again: the next window, or when the debt is paid.
    pub fn next(&self, now: Time) -> Time {
        let window = self.window_start.map_or(now, |start| start + WINDOW);
        if self.budget > 0 || self.rate_bps == 0 {
            return window;
        }
        let owed = (1 - self.budget) as u64 * 8 * 1_000_000_000 / self.rate_bps;
        window.max(self.filled.unwrap_or(now) + Duration::from_nanos(owed))
    }
}

fn bytes(rate_bps: u64, span: Duration) -> i64 {
    (u128::from(rate_bps) * span.as_nanos() / 8_000_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes sent in `ms` of packets of 1200, looked at whenever the pacer says.
    fn send(rate_bps: u64, ms: u64) -> (usize, usize) {
        let (mut pacer, mut now, mut sent, mut looks) = (Pacer::default(), Time(0), 0, 0);
        while now < Time(ms * 1_000_000) {
            let packets = pacer.open(now, rate_bps, false);
            let mut planned = 0;
            while planned / 1200 < packets && pacer.fits(planned) {
                planned += 1200;
            }
            pacer.spend(planned / 1200, planned);
            sent += planned;
            looks += 1;
            now = pacer.next(now).max(now + Duration::from_micros(500));
        }
        (sent, looks)
    }

    #[test]
    fn a_window_takes_sixteen_packets_and_then_waits() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.open(Time(0), 20_000_000, false), 16);
        pacer.spend(16, 16_000);
        assert_eq!(pacer.open(Time(9_999_999), 20_000_000, false), 0);
        assert_eq!(pacer.next(Time(5_000_000)), Time(10_000_000));
        assert_eq!(pacer.open(Time(10_000_000), 20_000_000, false), 16);
    }

    #[test]
    fn every_rate_is_kept_and_slow_ones_are_not_looked_at_in_vain() {
        for rate_bps in [100_000u64, 300_000, 1_000_000, 5_000_000, 12_000_000] {
            let (sent, looks) = send(rate_bps, 2000);
            let wanted = (rate_bps / 4) as usize;
            let burst = (rate_bps / 200) as usize + 1200;
            assert!((wanted..=wanted + burst + 1200).contains(&sent), "{rate_bps}: {sent}");
            assert!(looks <= sent / 1200 + 202, "{rate_bps}: {looks} for {sent}");
        }
    }
}
