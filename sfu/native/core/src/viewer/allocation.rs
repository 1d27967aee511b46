//! Which layers of the picture a viewer gets, and whether the sound of the screen: what its line takes.
//!
//! Down follows the queue that waits here, which knows best; up follows the estimate, which probes have
//! raised, after a while without a queue, and later after each time that it went wrong.

use std::time::Duration;

use crate::ids::{Slot, Time};
use crate::rates::LAYERS_MAX;
use crate::ring::Meta;
use crate::slot::SlotState;

const JUDGE_INTERVAL: Duration = Duration::from_millis(100);
/// A picture that waited longer shows that the line does not take it all.
const WAIT_MAX: Duration = Duration::from_millis(200);
const WAIT_SHORT: Duration = Duration::from_millis(60);
/// After a step down the queue has so long to empty.
const DOWN_INTERVAL: Duration = Duration::from_millis(300);
/// More than that is needed may be taken on only with room to spare.
const ROOM: f64 = 1.15;
const HOLD_MIN: Duration = Duration::from_secs(1);
const HOLD_MAX: Duration = Duration::from_secs(8);
/// A step up that was taken back sooner was wrong; a longer time without one is forgiven.
const FLAP: Duration = Duration::from_secs(10);
/// Sound of the screen goes when sound would take more of the estimate, and comes back below the other.
const SOUND_SHARE_MAX: f64 = 0.60;
const SOUND_SHARE_LOW: f64 = 0.45;
const SOUND_HOLD: Duration = Duration::from_secs(3);

/// All layers that a source can have.
pub const ALL: u8 = LAYERS_MAX as u8 - 1;

#[derive(Debug)]
pub struct Allocation {
    /// Wanted; reached upwards only where the source lets a receiver begin a layer.
    target: u8,
    /// What is sent.
    layer: u8,
    judged: Option<Time>,
    lowered: Option<Time>,
    raised: Option<Time>,
    hold: Duration,
    calm_since: Option<Time>,
    screen_sound: bool,
    sound_calm_since: Option<Time>,
    /// Of the frame that is looked at.
    leaves_out: bool,
    pub steps_down: u64,
    pub steps_up: u64,
}

impl Default for Allocation {
    fn default() -> Self {
        Allocation {
            target: ALL,
            layer: ALL,
            judged: None,
            lowered: None,
            raised: None,
            hold: HOLD_MIN,
            calm_since: None,
            screen_sound: true,
            sound_calm_since: None,
            leaves_out: false,
            steps_down: 0,
            steps_up: 0,
        }
    }
}

impl Allocation {
    pub fn layer(&self) -> u8 {
        self.layer
    }

    /// Whether the sound of the screen is sent as well.
    pub fn has_screen_sound(&self) -> bool {
        self.screen_sound
    }

    /// Whether something is not sent for want of a better line.
    pub fn lacks(&self) -> bool {
        self.target < ALL || !self.screen_sound
    }

    /// Look at the line: its estimate in bit/s, and how long the picture's next packet has waited.
    pub fn judge(&mut self, now: Time, slots: &[SlotState; 3], rate_bps: u64, waited: Duration) {
        if self.judged.is_some_and(|at| now.since(at) < JUDGE_INTERVAL) {
            return;
        }
        self.judged = Some(now);
        let rate = rate_bps as f64;
        self.judge_sound(now, slots, rate);
        let video = &slots[Slot::Video as usize];
        let highest = video.rates.highest();
        let sound_bps = self.sound_bps(slots);
        let needs = |layer: u8| sound_bps + video.rates.up_to(layer);
        let current = self.target.min(highest);
        if waited > WAIT_MAX {
            self.calm_since = None;
            let settled = self.lowered.is_none_or(|at| now.since(at) >= DOWN_INTERVAL);
            if current > 0 && settled {
                let fits = (0..current).rev().find(|layer| needs(*layer) <= rate);
                self.lower(now, fits.unwrap_or(0));
            }
            return;
        }
        if waited > WAIT_SHORT {
            self.calm_since = None;
            return;
        }
        let calm = *self.calm_since.get_or_insert(now);
        if self.target >= highest {
            if self.raised.is_some_and(|at| now.since(at) > FLAP) {
                self.hold = HOLD_MIN;
            }
            self.target = ALL;
            return;
        }
        if now.since(calm) >= self.hold && rate >= needs(self.target + 1) * ROOM {
            self.target += 1;
            self.steps_up += 1;
            self.raised = Some(now);
            // The next one is another decision, but not another wait of full length.
            self.calm_since = Some(now - self.hold.saturating_sub(HOLD_MIN));
            if self.target == highest {
                self.target = ALL;
            }
        }
    }

    /// More than this need not be found by probing, in bit/s.
    pub fn wanted_bps(slots: &[SlotState; 3], floor: u64) -> u64 {
        let all: f64 = slots.iter().map(|slot| slot.rates.up_to(ALL)).sum();
        (all as u64 * 2).max(floor)
    }

    /// Whether the packet belongs to a frame above what the line takes; asked in order. A layer is begun again
    /// where the source says so, and changes at a frame's beginning alone.
    pub fn leaves_out(&mut self, meta: &Meta) -> bool {
        if !meta.starts_frame {
            return self.leaves_out;
        }
        if meta.keyframe || self.layer > self.target {
            self.layer = self.target;
        }
        let next = meta.layer == self.layer.saturating_add(1);
        if self.layer < self.target && next && meta.switch_point {
            self.layer = meta.layer;
        }
        self.leaves_out = meta.layer > self.layer;
        if self.layer < self.target && meta.layer <= self.layer && meta.opens_above {
            self.layer = self.target;
        }
        self.leaves_out
    }

    fn lower(&mut self, now: Time, layer: u8) {
        self.target = layer;
        self.lowered = Some(now);
        self.steps_down += 1;
        let flaps = self.raised.is_some_and(|at| now.since(at) < FLAP);
        self.hold = if flaps { (self.hold * 2).min(HOLD_MAX) } else { HOLD_MIN };
    }

    fn judge_sound(&mut self, now: Time, slots: &[SlotState; 3], rate: f64) {
        let [_, mic, screen] = slots;
        let share = (mic.rates.up_to(0) + screen.rates.up_to(0)) / rate.max(1.0);
        if self.screen_sound {
            self.screen_sound = share <= SOUND_SHARE_MAX || screen.rates.up_to(0) == 0.0;
            self.sound_calm_since = None;
        } else if share > SOUND_SHARE_LOW {
            self.sound_calm_since = None;
        } else {
            let since = *self.sound_calm_since.get_or_insert(now);
            self.screen_sound = now.since(since) >= SOUND_HOLD;
        }
    }

    fn sound_bps(&self, slots: &[SlotState; 3]) -> f64 {
        let screen = if self.screen_sound { slots[2].rates.up_to(0) } else { 0.0 };
        slots[1].rates.up_to(0) + screen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(layer: u8, switch_point: bool) -> Meta {
        Meta {
            timestamp: 0,
            marker: true,
            codec: 0,
            starts_frame: true,
            keyframe: false,
            droppable: false,
            layer,
            switch_point,
            opens_above: false,
            arrived: Time(0),
        }
    }

    fn at(target: u8, layer: u8) -> Allocation {
        Allocation { target, layer, ..Allocation::default() }
    }

    #[test]
    fn a_layer_is_begun_again_only_where_the_source_says_so() {
        let mut allocation = at(ALL, 0);
        assert!(allocation.leaves_out(&frame(2, true)), "its lower layer is missing");
        assert!(allocation.leaves_out(&frame(1, false)));
        assert!(!allocation.leaves_out(&frame(0, false)));
        assert!(!allocation.leaves_out(&frame(1, true)));
        assert!(allocation.leaves_out(&frame(2, false)));
        assert!(!allocation.leaves_out(&frame(2, true)));
        assert!(!allocation.leaves_out(&frame(2, false)));
    }

    #[test]
    fn a_frame_that_was_begun_is_finished_and_one_left_out_stays_so() {
        let mut allocation = at(ALL, ALL);
        let rest = Meta { starts_frame: false, ..frame(2, false) };
        assert!(!allocation.leaves_out(&frame(2, false)));
        allocation.lower(Time(0), 0);
        assert!(!allocation.leaves_out(&rest));
        assert!(allocation.leaves_out(&frame(1, true)));
        allocation.target = ALL;
        assert!(allocation.leaves_out(&Meta { starts_frame: false, ..frame(1, true) }));
    }

    #[test]
    fn a_keyframe_and_what_opens_all_layers_begin_them_at_once() {
        let mut allocation = at(ALL, 0);
        assert!(!allocation.leaves_out(&Meta { keyframe: true, ..frame(0, false) }));
        assert!(!allocation.leaves_out(&frame(2, false)));
        let mut allocation = at(ALL, 0);
        assert!(!allocation.leaves_out(&Meta { opens_above: true, ..frame(0, false) }));
        assert!(!allocation.leaves_out(&frame(2, false)), "VP9 says it with the base picture");
    }
}
