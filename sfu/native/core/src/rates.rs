//! How much of a source each temporal layer takes, measured once for all viewers.

use std::time::Duration;

use crate::ids::Time;

/// Three bits of a dependency descriptor; browsers send three layers.
pub const LAYERS_MAX: usize = 8;
const WINDOW: Duration = Duration::from_millis(500);
/// A window weighs so much: the last second is half of it.
const WEIGHT: f64 = 0.3;

#[derive(Debug, Default)]
pub struct Rates {
    bytes: [u32; LAYERS_MAX],
    bps: [f64; LAYERS_MAX],
    since: Option<Time>,
}

impl Rates {
    /// Take a packet of `layer`, at most 7.
    pub fn add(&mut self, now: Time, layer: u8, bytes: usize) {
        let since = *self.since.get_or_insert(now);
        let passed = now.since(since);
        if passed >= WINDOW {
            self.since = Some(now);
            for (bytes, bps) in self.bytes.iter_mut().zip(&mut self.bps) {
                let sample = f64::from(std::mem::take(bytes)) * 8.0 / passed.as_secs_f64();
                *bps += (sample - *bps) * if *bps == 0.0 { 1.0 } else { WEIGHT };
            }
        }
        self.bytes[usize::from(layer).min(LAYERS_MAX - 1)] += bytes as u32;
    }

    /// Bit/s of the layers up to this one.
    pub fn up_to(&self, layer: u8) -> f64 {
        self.bps.iter().take(usize::from(layer) + 1).sum()
    }

    /// The highest layer that flows.
    pub fn highest(&self) -> u8 {
        self.bps.iter().rposition(|bps| *bps > 0.5).unwrap_or(0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_is_counted_for_itself() {
        let mut rates = Rates::default();
        for n in 0..1000u64 {
            rates.add(Time(n * 10_000_000), [0, 2, 1, 2][n as usize % 4], 1000);
        }
        assert_eq!(rates.highest(), 2);
        assert!((rates.up_to(0) - 200e3).abs() < 10e3, "{}", rates.up_to(0));
        assert!((rates.up_to(2) - 800e3).abs() < 20e3);
        assert!((rates.up_to(7) - 800e3).abs() < 20e3);
    }
}
