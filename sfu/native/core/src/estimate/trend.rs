//! Whether the line's queue grows: the slope of the delay over the last groups, against a threshold that
//! adapts (libwebrtc's `TrendlineEstimator`, which took the place of the draft's Kalman filter;
//! draft-ietf-rmcat-gcc-02 sections 5.3 and 5.4 for the detector and its constants).

use super::arrivals::Delta;

const WINDOW_GROUPS: usize = 20;
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
/// The slope counts fully only when so many groups were seen.
const GROUPS_TRUSTED: u32 = 60;
const THRESHOLD_FIRST_MS: f64 = 12.5;
const THRESHOLD_MIN_MS: f64 = 6.0;
const THRESHOLD_MAX_MS: f64 = 600.0;
/// Per ms (draft: K_u and K_d).
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A spike beyond the threshold by more does not move it.
const SPIKE_MS: f64 = 15.0;
const ADAPT_MS_MAX: f64 = 100.0;
/// Over-use must last so long, and over two groups.
const OVERUSE_MS: f64 = 10.0;
/// A shorter queue disturbs nobody. Without this a receiver on a busy machine, whose delays go up and down by
/// 20 ms, was taken for a full line, and a viewer that nothing can probe for stayed at that.
const QUEUE_MS_MIN: f64 = 15.0;
/// The shortest delay is forgotten at this rate, in ms a second: clocks drift and routes change.
const BASE_CREEP: f64 = 2.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    #[default]
    Normal,
    Over,
    Under,
}

#[derive(Debug)]
pub struct Trend {
    /// (arrival, smoothed delay) of the last groups, in a ring.
    window: [(f64, f64); WINDOW_GROUPS],
    groups: u32,
    delay_ms: f64,
    smoothed_ms: f64,
    /// The shortest delay, on the scale of the others.
    base_ms: f64,
    slope: f64,
    threshold_ms: f64,
    adapted_ms: Option<f64>,
    over_ms: Option<f64>,
    over_groups: u32,
    pub usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Trend {
            window: [(0.0, 0.0); WINDOW_GROUPS],
            groups: 0,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            base_ms: 0.0,
            slope: 0.0,
            threshold_ms: THRESHOLD_FIRST_MS,
            adapted_ms: None,
            over_ms: None,
            over_groups: 0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    pub fn add(&mut self, delta: Delta) {
        self.delay_ms += delta.arrived_ms - delta.sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        self.base_ms += BASE_CREEP * delta.sent_ms.max(0.0) / 1000.0;
        self.base_ms = self.base_ms.min(self.smoothed_ms);
        self.window[self.groups as usize % WINDOW_GROUPS] = (delta.at_ms, self.smoothed_ms);
        self.groups = self.groups.wrapping_add(1).max(1);
        let known = self.groups as usize >= WINDOW_GROUPS;
        let slope = if known { self.fit().unwrap_or(self.slope) } else { self.slope };
        self.detect(slope, delta.sent_ms, delta.at_ms);
    }

    /// Least squares over the window.
    fn fit(&self) -> Option<f64> {
        let count = WINDOW_GROUPS as f64;
        let x_mean = self.window.iter().map(|(x, _)| x).sum::<f64>() / count;
        let y_mean = self.window.iter().map(|(_, y)| y).sum::<f64>() / count;
        let (over, under) = self.window.iter().fold((0.0, 0.0), |(over, under), (x, y)| {
            let x = x - x_mean;
            (over + x * (y - y_mean), under + x * x)
        });
        (under > 0.0).then_some(over / under)
    }

    fn detect(&mut self, slope: f64, sent_ms: f64, at_ms: f64) {
        let trend = f64::from(self.groups.min(GROUPS_TRUSTED)) * slope * GAIN;
        let queues = self.smoothed_ms - self.base_ms > QUEUE_MS_MIN;
        if trend > self.threshold_ms && queues {
            let over_ms = self.over_ms.map_or(sent_ms / 2.0, |before| before + sent_ms);
            self.over_ms = Some(over_ms);
            self.over_groups += 1;
            if over_ms > OVERUSE_MS && self.over_groups > 1 && slope >= self.slope {
                self.over_ms = Some(0.0);
                self.over_groups = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = None;
            self.over_groups = 0;
            self.usage = if trend < -self.threshold_ms { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
        self.adapt(trend.abs(), at_ms);
    }

    fn adapt(&mut self, trend: f64, at_ms: f64) {
        let before = self.adapted_ms.replace(at_ms).unwrap_or(at_ms);
        if trend > self.threshold_ms + SPIKE_MS {
            return;
        }
        let rate = if trend < self.threshold_ms { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let passed = (at_ms - before).clamp(0.0, ADAPT_MS_MAX);
        let moved = self.threshold_ms + rate * (trend - self.threshold_ms) * passed;
        self.threshold_ms = moved.clamp(THRESHOLD_MIN_MS, THRESHOLD_MAX_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(groups: u32, grows_ms: f64) -> Trend {
        let mut trend = Trend::default();
        for n in 0..groups {
            let arrived_ms = 20.0 + grows_ms;
            trend.add(Delta { sent_ms: 20.0, arrived_ms, at_ms: f64::from(n) * arrived_ms });
        }
        trend
    }

    #[test]
    fn a_queue_that_grows_is_noticed_within_half_a_second_and_one_that_drains_too() {
        assert_eq!(after(25, 4.0).usage, Usage::Over);
        assert_eq!(after(200, 0.0).usage, Usage::Normal);
        assert_eq!(after(25, -4.0).usage, Usage::Under);
    }

    #[test]
    fn jitter_alone_is_no_over_use() {
        let (mut trend, mut random, mut before, mut at) = (Trend::default(), 1u64, 0.0, 0.0);
        let mut over = 0;
        for _ in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = ((random >> 33) % 30) as f64;
            let arrived_ms = 20.0 + late - before;
            before = late;
            at += arrived_ms;
            trend.add(Delta { sent_ms: 20.0, arrived_ms, at_ms: at });
            over += u32::from(trend.usage == Usage::Over);
        }
        assert!(over < 30, "{over} of 3000 groups");
    }
}
