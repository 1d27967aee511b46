//! What the line takes: how fast to send, and packets that are sent to find out.

use std::time::Duration;

use super::allocation::Allocation;
use super::send::{Plan, Planned, RTX_HEADER_BYTES};
use super::Viewer;
use crate::estimate::RATE_BPS_MAX;
use crate::ids::{Slot, Time};
use crate::slot::SlotState;

/// While a viewer catches up with a replay.
const REPLAY_RATE_BPS_MAX: u64 = 10_000_000;
/// A line that takes this shows a slide at once; more is looked for where the source sends more.
const WANTED_BPS_MIN: u64 = 5_000_000;
/// Of the last packets, the largest makes the fewest to send.
const LOOKED_AT_MAX: u64 = 64;

impl Viewer {
    /// Whether nothing comes through: sound goes on, pictures wait for the end of it.
    pub(super) fn note_outage(&mut self, now: Time) -> bool {
        let before = self.is_out;
        self.is_out = self.is_estimated && self.estimator.is_out(now, self.round_trip());
        self.counters.outages += u64::from(self.is_out && !before);
        self.is_out
    }

    /// Packets that may go now, after a look at what the line takes.
    pub(super) fn open(&mut self, now: Time, slots: &[SlotState; 3]) -> usize {
        let video = self.sinks.iter().find(|s| s.spec.slot == Slot::Video);
        let ring = &slots[Slot::Video as usize].ring;
        let position = video.and_then(|sink| sink.position);
        let replays = video.zip(position).is_some_and(|(s, at)| !s.is_link && at < s.live_from);
        if !self.is_estimated {
            let rate = if replays { REPLAY_RATE_BPS_MAX } else { RATE_BPS_MAX };
            return self.pacer.open(now, rate, false);
        }
        let next = position.filter(|_| !replays).and_then(|at| ring.meta(at));
        let waited = next.map_or(Duration::ZERO, |meta| now.since(meta.arrived));
        self.allocation.judge(now, slots, self.estimator.rate_bps(), waited);
        let rate = self.estimator.pace_bps();
        let rate = if replays { rate.min(REPLAY_RATE_BPS_MAX) } else { rate };
        self.pacer.open(now, rate, self.estimator.is_probing())
    }

    /// Fill up with packets that are sent again, where the line is probed or may have come back. True: more
    /// have to follow.
    pub(super) fn plan_probe(
        &mut self,
        now: Time,
        slots: &[SlotState; 3],
        packets_max: usize,
        plan: &mut Plan,
    ) -> bool {
        if !self.is_estimated {
            return false;
        }
        let beats = self.estimator.take_beat(now);
        let wanted = Allocation::wanted_bps(slots, WANTED_BPS_MIN);
        let probes = self.estimator.probes(now, wanted, self.allocation.lacks());
        if !(beats || probes) {
            return false;
        }
        let Some(item) = self.again(slots) else { return false };
        let mut planned = plan.bytes();
        let mut left = if beats { 1 } else { packets_max.saturating_sub(plan.items.len()) };
        while left > 0 && (beats || self.pacer.fits(planned)) {
            plan.items.push(item);
            planned += item.bytes;
            left -= 1;
        }
        probes
    }

    /// The largest of the last packets of the picture, as a retransmission.
    fn again(&self, slots: &[SlotState; 3]) -> Option<Planned> {
        let index = self.sinks.iter().position(|s| s.spec.slot == Slot::Video)?;
        let sink = self.sinks.get(index).filter(|s| s.repair.is_some())?;
        let ring = &slots[Slot::Video as usize].ring;
        let end = sink.stream.next_index();
        let sent = (end.saturating_sub(LOOKED_AT_MAX)..end).filter_map(|i| {
            let (position, shift) = sink.numbering.position(i)?;
            let length = ring.payload_length(position)?;
            Some((length, i, position, shift))
        });
        let (length, i, position, shift) = sent.max_by_key(|(length, i, ..)| (*length, *i))?;
        Some(Planned {
            sink: index,
            position,
            shift,
            repair_of: Some(i as u16),
            bytes: sink.header_bytes(ring, position) + RTX_HEADER_BYTES + length,
            may_pad: false,
            probe: true,
        })
    }
}
