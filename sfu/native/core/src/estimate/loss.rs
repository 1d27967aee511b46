//! The rate that losses allow. draft-ietf-rmcat-gcc-02 section 6 takes any loss above 10 % for congestion,
//! which starves a radio that loses a fifth of everything at any rate. libwebrtc's `LossBasedBweV2` tells
//! inherent loss from congestion by fitting both; here one trial does: less is sent for a moment, and loss
//! that stays the same is the line's own.

use std::time::Duration;

use crate::ids::Time;

/// Leave above 10 %, come back below 2 % (the draft's figures).
const LOSS_HIGH: f64 = 0.10;
const LOSS_LOW: f64 = 0.02;
/// Only what 2 % of chance cannot explain counts as more than `LOSS_HIGH`.
const DEVIATIONS: f64 = 2.0;
const INTERVAL: Duration = Duration::from_millis(500);
const PACKETS_MIN: u64 = 20;
const INTERVALS_SMOOTHED: f64 = 4.0;
const BACK_OFF: f64 = 0.85;
const GROWTH: f64 = 1.05;
/// A line that loses more by itself than this carries nothing anyhow.
const INHERENT_MAX: f64 = 0.35;
/// Loss that less sending does not lower by so much is the line's own.
const UNMOVED: f64 = 0.6;
const TRIAL_INTERVALS_MIN: u32 = 3;
const TRIAL_PACKETS_MIN: u64 = 50;

#[derive(Debug)]
pub struct Loss {
    bps: f64,
    bps_max: f64,
    seen: u64,
    lost: u64,
    judged: Option<Time>,
    /// Smoothed over two seconds.
    smoothed: f64,
    /// What the line loses at any rate.
    inherent: f64,
    /// Too much was lost in the interval before.
    high: Option<f64>,
    trial: Option<Trial>,
}

/// Less is sent, and what is lost then.
#[derive(Debug, Default)]
struct Trial {
    before: f64,
    intervals: u32,
    seen: u64,
    lost: u64,
}

impl Loss {
    pub fn new(bps_max: f64) -> Loss {
        Loss {
            bps: bps_max,
            bps_max,
            seen: 0,
            lost: 0,
            judged: None,
            smoothed: 0.0,
            inherent: 0.0,
            high: None,
            trial: None,
        }
    }

    pub fn bps(&self) -> f64 {
        self.bps
    }

    /// A probe has shown that the line takes this.
    pub fn raise(&mut self, bps: f64) {
        self.bps = self.bps.max(bps);
    }

    /// Whether the line loses so much that repairs are lost as well.
    pub fn is_lossy(&self) -> bool {
        self.smoothed > LOSS_LOW
    }

    /// What the line loses at any rate, of 1.
    pub fn inherent(&self) -> f64 {
        self.inherent
    }

    /// Of 1, over the last seconds.
    pub fn smoothed(&self) -> f64 {
        self.smoothed
    }

    /// Take note of `seen` packets, `lost` of them missing; `acknowledged` is the rate that arrives, in bit/s.
    pub fn note(&mut self, now: Time, seen: u64, lost: u64, acknowledged: Option<f64>) {
        self.seen += seen;
        self.lost += lost;
        let due = self.judged.is_none_or(|at| now.since(at) >= INTERVAL);
        if !due || self.seen < PACKETS_MIN {
            return;
        }
        let loss = self.lost as f64 / self.seen as f64;
        // Of a few packets, twice as many may be lost by chance.
        let base = (self.inherent + LOSS_HIGH).min(0.5);
        let chance = DEVIATIONS * (base * (1.0 - base) / self.seen as f64).sqrt();
        self.smoothed += (loss - self.smoothed) / INTERVALS_SMOOTHED;
        let (seen_in, lost_in) = (self.seen, self.lost);
        (self.seen, self.lost, self.judged) = (0, 0, Some(now));
        if let Some(trial) = &mut self.trial {
            trial.add(seen_in, lost_in);
            if let Some(own) = trial.verdict() {
                if own {
                    self.inherent = trial.part();
                    self.bps = self.bps_max;
                }
                self.trial = None;
            }
        } else if loss > self.inherent + LOSS_HIGH + chance {
            let before = self.high.replace(loss);
            // A gap of the radio is over by the next interval.
            let Some(before) = before else { return };
            self.high = None;
            self.trial = Some(Trial { before: (before + loss) / 2.0, ..Trial::default() });
            self.bps = self.bps.min(acknowledged.unwrap_or(self.bps) * BACK_OFF);
        } else {
            self.high = None;
            // What turns out not to be lost was not inherent.
            self.inherent = self.inherent.min(self.inherent * 0.9 + loss * 0.1);
            if loss < self.inherent + LOSS_LOW + chance / 2.0 {
                self.bps = (self.bps * GROWTH).min(self.bps_max);
            }
        }
    }
}

impl Trial {
    fn add(&mut self, seen: u64, lost: u64) {
        self.intervals += 1;
        // The first has packets from before.
        if self.intervals > 1 {
            self.seen += seen;
            self.lost += lost;
        }
    }

    fn part(&self) -> f64 {
        self.lost as f64 / self.seen.max(1) as f64
    }

    /// Whether the loss is the line's own; None: too little was seen.
    fn verdict(&self) -> Option<bool> {
        let enough = self.intervals >= TRIAL_INTERVALS_MIN && self.seen >= TRIAL_PACKETS_MIN;
        enough.then(|| self.part() < INHERENT_MAX && self.part() > self.before * UNMOVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(intervals: u64, mut lose: impl FnMut(f64) -> f64) -> Loss {
        let mut loss = Loss::new(20e6);
        for n in 0..intervals {
            let sent: f64 = loss.bps().min(1e6);
            let part = lose(sent);
            let lost = (part * 100.0) as u64;
            loss.note(Time(n * 500_000_000), 100, lost, Some(sent * (1.0 - part)));
        }
        loss
    }

    #[test]
    fn a_line_that_loses_a_fifth_at_any_rate_keeps_its_rate() {
        for part in [0.05, 0.10, 0.20, 0.28] {
            let loss = after(100, |_| part);
            assert!(loss.bps() > 1e6, "{part}: {}", loss.bps());
            assert!(loss.is_lossy());
        }
    }

    #[test]
    fn a_line_that_drops_what_is_too_much_is_sent_less() {
        let mut sent_last = 0.0;
        let loss = after(100, |sent| {
            sent_last = sent;
            (1.0 - 300e3 / sent).max(0.0)
        });
        assert!((150e3..450e3).contains(&loss.bps()), "{} {sent_last}", loss.bps());
    }

    #[test]
    fn the_rate_comes_back_when_the_losses_end() {
        let mut n = 0;
        let loss = after(120, |sent| {
            n += 1;
            if n < 20 {
                (1.0 - 300e3 / sent).max(0.0)
            } else {
                0.0
            }
        });
        assert!(loss.bps() > 5e6, "{}", loss.bps());
        assert!(!loss.is_lossy());
    }
}
