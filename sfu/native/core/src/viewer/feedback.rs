//! What a viewer says of what it got: losses to repair, pictures to show again, round trips.

use std::time::Duration;

use super::repairs::{Asked, Repair};
use super::send::RTX_HEADER_BYTES;
use super::sink::Mended;
use super::start::Beginning;
use super::Viewer;
use crate::estimate::{Arrival, Told};
use crate::ids::{Slot, Ssrc, Time};
use crate::rtcp;
use crate::slot::{SlotState, Start};
use crate::twcc;

const ROUND_TRIP_MAX: Duration = Duration::from_millis(1000);
/// A picture loss this soon after the first packet means that the first packets were dropped (Firefox
/// drops 10-40 right after DTLS): the same picture is sent once more, under new numbers.
const START_AGAIN_WITHIN: Duration = Duration::from_secs(3);
const STARTS_AGAIN_MAX: u8 = 2;
/// Another node is sent a kept picture again so many times; if that did not help it gets a new one.
const MENDS_MAX: u8 = 3;
/// It asks once a second.
const MEND_INTERVAL_MIN: Duration = Duration::from_millis(900);
/// More in one feedback than half the numbers there are is a lie.
const FEEDBACK_PACKETS_MAX: u64 = 32_768;

impl Viewer {
    /// Take one opened compound of RTCP from the viewer.
    /// `arrivals` is memory for what it tells.
    pub fn feedback(
        &mut self,
        now: Time,
        compound: &[u8],
        slots: &[SlotState; 3],
        arrivals: &mut Vec<Arrival>,
    ) {
        for packet in rtcp::packets(compound) {
            match packet {
                rtcp::Packet::ReceiverReport { blocks, .. } => {
                    for block in blocks {
                        self.note_round_trip(now, block.last_sr, block.delay_since_last_sr);
                    }
                }
                rtcp::Packet::Nack { media, pairs, .. } => {
                    self.note_nack(now, media, pairs.sequences(), slots);
                }
                rtcp::Packet::Pli { media, .. } => self.note_picture_loss(now, media, slots),
                rtcp::Packet::Fir { entries, .. } => {
                    for entry in entries {
                        if self.is_link() {
                            self.counters.picture_losses += 1;
                            self.wants_keyframe = true;
                        } else {
                            self.note_picture_loss(now, entry.ssrc, slots);
                        }
                    }
                }
                rtcp::Packet::TransportFeedback(raw) => {
                    self.note_transport(now, raw, slots, arrivals);
                }
                _ => {}
            }
        }
    }

    fn is_link(&self) -> bool {
        self.sinks.first().is_some_and(|sink| sink.is_link)
    }

    fn note_round_trip(&mut self, now: Time, last_sr: u32, delay: u32) {
        let Some(&(_, sent)) = self.reports.iter().find(|(ntp, _)| *ntp == last_sr) else {
            return;
        };
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        let sample = now.since(sent).saturating_sub(held).min(ROUND_TRIP_MAX);
        self.round_trip = Some(self.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
    }

    fn note_nack(
        &mut self,
        now: Time,
        media: Ssrc,
        sequences: impl Iterator<Item = u16>,
        slots: &[SlotState; 3],
    ) {
        let Some(index) = self.sinks.iter().position(|s| s.spec.ssrc == media) else { return };
        let (sink, round_trip) = (&self.sinks[index], self.round_trip());
        let lossy = self.estimator.is_lossy();
        self.lost_at = Some(now);
        let ring = &slots[sink.spec.slot as usize].ring;
        for sequence in sequences.take(self.repairs.admit(now)) {
            self.counters.nacks += 1;
            // Only what was sent to this viewer has a number here. Without RTX a resend would have to be
            // identical bytes; those are not kept.
            let sent = sink.numbering.index_of(sequence).and_then(|i| sink.numbering.position(i));
            let kept = sent.and_then(|(position, shift)| {
                Some((position, shift, ring.payload_length(position)?))
            });
            let (Some((position, shift, length)), true) = (kept, sink.repair.is_some()) else {
                self.counters.nacks_unanswered += 1;
                self.repairs.look_in_vain();
                continue;
            };
            let bytes = sink.header_bytes(ring, position) + RTX_HEADER_BYTES + length;
            let repair = Repair { sink: index, sequence, position, shift };
            if self.repairs.ask(now, round_trip, repair, bytes, lossy) == Asked::Refused {
                self.counters.nacks_refused += 1;
            }
        }
    }

    fn note_picture_loss(&mut self, now: Time, media: Ssrc, slots: &[SlotState; 3]) {
        let round_trip = self.round_trip();
        let Some(sink) =
            self.sinks.iter_mut().find(|s| s.spec.slot == Slot::Video && s.spec.ssrc == media)
        else {
            return;
        };
        self.counters.picture_losses += 1;
        if sink.began.is_some_and(|at| now.since(at) < round_trip) {
            return; // It was said before the picture could have come.
        }
        if sink.is_link {
            // It knows what it has, and takes of the past what it lacks.
            let Start::At(picture) = slots[Slot::Video as usize].start(false) else {
                self.wants_keyframe = true;
                return;
            };
            let before = sink.mended.filter(|m| m.picture == picture);
            let times = before.map_or(0, |m| m.times);
            if times >= MENDS_MAX {
                self.wants_keyframe = true;
            } else if before.is_none_or(|m| now.since(m.at) >= MEND_INTERVAL_MIN) {
                sink.mended = Some(Mended { at: now, picture, times: times + 1 });
                self.start_again(slots);
            }
            return;
        }
        let fresh = sink.first_sent.is_some_and(|at| now.since(at) < START_AGAIN_WITHIN);
        if fresh && sink.starts_again < STARTS_AGAIN_MAX {
            sink.starts_again += 1;
            self.start_again(slots);
        } else {
            self.wants_keyframe = true;
        }
    }

    /// Send the picture once more under new numbers; if it is not worth replaying, wish for a new one.
    pub(super) fn start_again(&mut self, slots: &[SlotState; 3]) {
        let slot = &slots[Slot::Video as usize];
        let Some(sink) = self.sinks.iter_mut().find(|s| s.spec.slot == Slot::Video) else { return };
        match slot.start(true) {
            Start::At(position) if position >= sink.not_before => {
                sink.begin_at(position, slot);
                self.counters.starts_again += 1;
                self.starts_again = true;
            }
            _ => self.wants_keyframe = true,
        }
    }

    fn note_transport(
        &mut self,
        now: Time,
        raw: &[u8],
        slots: &[SlotState; 3],
        arrivals: &mut Vec<Arrival>,
    ) {
        let Some(feedback) = twcc::parse(raw) else { return };
        let round_trip = self.round_trip();
        if self.estimator.feedback(now, &feedback, round_trip, arrivals) == Told::Refused {
            self.counters.feedback_refused += 1;
            return;
        }
        let seen = u64::from(feedback.status_count).min(FEEDBACK_PACKETS_MAX);
        let lost = seen.saturating_sub(feedback.received().count() as u64);
        self.counters.feedback_packets += seen;
        self.counters.feedback_lost += lost;
        match self.unconfirmed.map(|start| start.judge(&feedback)) {
            Some(Beginning::Arrived) => self.unconfirmed = None,
            Some(Beginning::Lost) => self.start_again(slots),
            Some(Beginning::Unknown) | None => {}
        }
    }
}
