//! What a viewer says of what it got: losses to repair, pictures to show again, round trips.

use std::time::Duration;

use super::{Repair, Viewer};
use crate::ids::{Slot, Ssrc, Time};
use crate::rtcp;
use crate::slot::{SlotState, Start};
use crate::twcc;

/// Packets that wait for their retransmission.
const REPAIRS_MAX: usize = 128;
const RTT_MAX: Duration = Duration::from_millis(1000);
/// A picture loss this soon after the first packet means that the first packets were dropped (Firefox
/// drops 10-40 right after DTLS): the same picture is sent once more, under new numbers.
const START_AGAIN_WITHIN: Duration = Duration::from_secs(3);
const STARTS_AGAIN_MAX: u8 = 2;
/// More in one feedback than half the numbers there are is a lie.
const FEEDBACK_PACKETS_MAX: u64 = 32_768;

impl Viewer {
    /// Take one opened compound of RTCP from the viewer.
    pub fn feedback(&mut self, now: Time, compound: &[u8], slots: &[SlotState; 3]) {
        for packet in rtcp::packets(compound) {
            match packet {
                rtcp::Packet::ReceiverReport { blocks, .. } => {
                    for block in blocks {
                        self.note_round_trip(now, block.last_sr, block.delay_since_last_sr);
                    }
                }
                rtcp::Packet::Nack { media, pairs, .. } => {
                    self.note_nack(now, media, pairs.sequences());
                }
                rtcp::Packet::Pli { media, .. } => self.note_picture_loss(now, media, slots),
                rtcp::Packet::Fir { entries, .. } => {
                    for entry in entries {
                        self.note_picture_loss(now, entry.ssrc, slots);
                    }
                }
                rtcp::Packet::TransportFeedback(raw) => self.note_transport(now, raw),
                _ => {}
            }
        }
    }

    fn note_round_trip(&mut self, now: Time, last_sr: u32, delay: u32) {
        let Some(&(_, sent)) = self.reports.iter().find(|(ntp, _)| *ntp == last_sr) else {
            return;
        };
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        let sample = now.since(sent).saturating_sub(held).min(RTT_MAX);
        self.rtt = (self.rtt * 7 + sample) / 8;
    }

    fn note_nack(&mut self, now: Time, media: Ssrc, sequences: impl Iterator<Item = u16>) {
        let Some(index) = self.sinks.iter().position(|s| s.spec.ssrc == media) else { return };
        let rtt = self.rtt;
        while self.repaired.front().is_some_and(|(_, _, at)| now.since(*at) >= rtt) {
            self.repaired.pop_front();
        }
        for sequence in sequences {
            self.counters.nacks += 1;
            let sink = &self.sinks[index];
            let known = sink.numbering.index_of(sequence).and_then(|i| sink.numbering.position(i));
            // Without RTX a resend would have to be identical bytes; those are not kept.
            let (Some((position, shift)), true) = (known, sink.repair.is_some()) else {
                self.counters.nacks_unanswered += 1;
                continue;
            };
            let repeated = self.repaired.iter().any(|r| (r.0, r.1) == (index, sequence))
                || self.repairs.iter().any(|r| (r.sink, r.sequence) == (index, sequence));
            if !repeated && self.repairs.len() < REPAIRS_MAX {
                self.repairs.push_back(Repair { sink: index, sequence, position, shift });
            }
        }
    }

    fn note_picture_loss(&mut self, now: Time, media: Ssrc, slots: &[SlotState; 3]) {
        let Some(sink) =
            self.sinks.iter_mut().find(|s| s.spec.slot == Slot::Video && s.spec.ssrc == media)
        else {
            return;
        };
        self.counters.picture_losses += 1;
        let fresh = sink.first_sent.is_none_or(|at| now.since(at) < START_AGAIN_WITHIN);
        let slot = &slots[Slot::Video as usize];
        if let (true, Start::At(position)) = (fresh, slot.start(true)) {
            if sink.first_sent.is_some() && sink.starts_again < STARTS_AGAIN_MAX {
                sink.starts_again += 1;
                sink.replay(position, slot);
                self.starts_again = true;
                return;
            }
        }
        self.wants_keyframe = true;
    }

    fn note_transport(&mut self, now: Time, raw: &[u8]) {
        let Some(feedback) = twcc::parse(raw) else { return };
        let seen = u64::from(feedback.status_count).min(FEEDBACK_PACKETS_MAX);
        let lost = seen.saturating_sub(feedback.received().count() as u64);
        self.counters.feedback_packets += seen;
        self.counters.feedback_lost += lost;
        self.pacer.note_feedback(now, seen, lost);
    }
}
