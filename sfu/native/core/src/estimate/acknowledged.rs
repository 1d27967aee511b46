//! The rate at which a viewer receives (libwebrtc's `BitrateEstimator`): windows of 150 ms, and a Bayesian
//! mean in which a sample weighs less the further it lies from what was believed. Up and down alike: there a
//! rise takes tens of seconds unless a probe announces it.

const WINDOW_FIRST_MS: f64 = 500.0;
const WINDOW_MS: f64 = 150.0;
const UNCERTAINTY: f64 = 10.0;
const VARIANCE_FIRST: f64 = 50.0;
/// The rate changes in time: so much less is known at each sample.
const VARIANCE_GROWTH: f64 = 5.0;

#[derive(Debug)]
pub struct Acknowledged {
    bytes: f64,
    window_ms: f64,
    at_ms: Option<f64>,
    kbps: Option<f64>,
    variance: f64,
}

impl Default for Acknowledged {
    fn default() -> Self {
        Acknowledged {
            bytes: 0.0,
            window_ms: 0.0,
            at_ms: None,
            kbps: None,
            variance: VARIANCE_FIRST,
        }
    }
}

impl Acknowledged {
    pub fn bps(&self) -> Option<f64> {
        self.kbps.map(|kbps| kbps * 1000.0)
    }

    pub fn add(&mut self, at_ms: f64, bytes: u16) {
        let window_ms = if self.kbps.is_some() { WINDOW_MS } else { WINDOW_FIRST_MS };
        let sample = self.pass(at_ms, window_ms);
        self.bytes += f64::from(bytes);
        if let Some(sample) = sample {
            self.believe(sample);
        }
    }

    /// Let time pass; the rate in kbit/s of a window that ended.
    fn pass(&mut self, at_ms: f64, window_ms: f64) -> Option<f64> {
        let passed = at_ms - self.at_ms.replace(at_ms).unwrap_or(at_ms);
        if passed < 0.0 {
            // Late by reordering, or the clock jumped back: what came before cannot be dated.
            (self.bytes, self.window_ms) = (0.0, 0.0);
            return None;
        }
        self.window_ms += passed;
        if passed > window_ms {
            self.bytes = 0.0;
            self.window_ms %= window_ms;
        }
        if self.window_ms < window_ms {
            return None;
        }
        self.window_ms -= window_ms;
        Some(std::mem::take(&mut self.bytes) * 8.0 / window_ms)
    }

    fn believe(&mut self, sample: f64) {
        let Some(kbps) = self.kbps else {
            self.kbps = Some(sample);
            return;
        };
        let off = UNCERTAINTY * (kbps - sample).abs() / (kbps + sample).max(1.0);
        let (sample_variance, variance) = (off * off, self.variance + VARIANCE_GROWTH);
        self.kbps =
            Some((sample_variance * kbps + variance * sample) / (sample_variance + variance));
        self.variance = sample_variance * variance / (sample_variance + variance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_rate_that_changes_within_two_seconds() {
        let mut acknowledged = Acknowledged::default();
        let mut at = 0.0;
        for (bytes, wanted) in [(1250u16, 1_000_000.0), (250, 200_000.0), (2500, 2_000_000.0)] {
            for _ in 0..200 {
                at += 10.0;
                acknowledged.add(at, bytes);
            }
            let bps = acknowledged.bps().expect("two seconds have passed");
            assert!((bps / wanted - 1.0f64).abs() < 0.2, "{bps} for {wanted}");
        }
    }
}
