//! One RTP stream as its publisher sends it: put in order, repaired by NACK, reported on.
//!
//! Packets leave in order and each once. Behind a hole they wait until it is repaired or given up, so
//! that viewers get a contiguous stream and never have to ask for what we do not have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Ssrc, Time};
use crate::rtcp::ReportBlock;

/// A wider jump than this is an outage, not loss: a keyframe is cheaper than the repair.
const GAP_PACKETS_MAX: u64 = 128;
const HELD_PACKETS_MAX: usize = 512;
/// With more, a key picture is cheaper than the repairs.
const HOLES_MAX: usize = 256;
/// Packets are often reordered by a few milliseconds; asking at once would double them.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// libwebrtc asks ten times as well.
const NACK_RETRIES_MAX: u8 = 10;
const VIDEO_HOLE_WAIT_MAX: Duration = Duration::from_millis(1000);
/// Later than a browser's audio buffer would have played it.
const AUDIO_HOLE_WAIT_MAX: Duration = Duration::from_millis(60);
const RTT_FIRST: Duration = Duration::from_millis(100);
const RTT_MIN: Duration = Duration::from_millis(20);
const RTT_MAX: Duration = Duration::from_millis(500);

/// An opened packet. `index` is the 64-bit sequence number (rollover count << 16 | sequence).
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub index: u64,
    pub payload_type: u8,
    /// Of the payload type in Hz; 0 where that is unknown.
    pub clock_rate: u32,
    pub marker: bool,
    pub timestamp: u32,
    pub arrived: Time,
    pub payload: &'a [u8],
    /// The dependency descriptor, empty without one.
    pub descriptor: &'a [u8],
}

struct Held {
    payload_type: u8,
    clock_rate: u32,
    marker: bool,
    timestamp: u32,
    arrived: Time,
    /// The payload, and behind it the descriptor.
    bytes: Vec<u8>,
    payload_length: usize,
}

struct Hole {
    found: Time,
    ask_at: Time,
    asked: u8,
    first_asked: Option<Time>,
}

/// The publisher's mapping of its RTP time line to its wall clock (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReport {
    pub ntp: u64,
    pub timestamp: u32,
    pub arrived: Time,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SourceCounters {
    pub received: u64,
    pub repaired: u64,
    pub late: u64,
    pub given_up: u64,
    pub nacked: u64,
}

pub struct Source {
    video: bool,
    nack: bool,
    pub clock: Option<ClockReport>,
    pub counters: SourceCounters,
    next: Option<u64>,
    highest: u64,
    held: BTreeMap<u64, Held>,
    holes: BTreeMap<u64, Hole>,
    spare: Vec<Vec<u8>>,
    lost_before: bool,
    /// Measured by repairs; None until the first.
    rtt: Option<Duration>,
    base: u64,
    expected_prior: u64,
    received_prior: u64,
    jitter_scaled: u64,
    transit: Option<i64>,
}

impl Source {
    /// `nack`: the publisher retransmits what it is asked for.
    pub fn new(video: bool, nack: bool) -> Source {
        Source {
            video,
            nack,
            clock: None,
            counters: SourceCounters::default(),
            next: None,
            highest: 0,
            held: BTreeMap::new(),
            holes: BTreeMap::new(),
            spare: Vec::new(),
            lost_before: false,
            rtt: None,
            base: 0,
            expected_prior: 0,
            received_prior: 0,
            jitter_scaled: 0,
            transit: None,
        }
    }

    /// The index that a sequence number near the newest packet stands for.
    pub fn index_near(&self, sequence: u16) -> u64 {
        let distance = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(i64::from(distance))
    }

    /// Take a packet and hand on all that are now in order. The flag of `release` says that packets
    /// before this one are lost for good. `repair`: it came by retransmission.
    pub fn accept(
        &mut self,
        packet: Packet<'_>,
        repair: bool,
        release: &mut impl FnMut(Packet<'_>, bool),
    ) {
        if !repair {
            self.counters.received += 1;
            self.note_jitter(&packet);
        }
        if self.next.is_some() && packet.index > self.highest + GAP_PACKETS_MAX {
            self.jump_to(packet.index, release);
        }
        let Some(next) = self.next else {
            self.base = packet.index;
            self.highest = packet.index;
            self.next = Some(packet.index + 1);
            release(packet, true);
            return;
        };
        if packet.index < next || self.held.contains_key(&packet.index) {
            self.counters.late += 1;
            return;
        }
        self.note_repair(&packet, repair);
        if packet.index > self.highest {
            self.note_holes(packet.index, packet.arrived);
            self.highest = packet.index;
        }
        if packet.index == next {
            self.next = Some(next + 1);
            let lost = std::mem::take(&mut self.lost_before);
            release(packet, lost);
        } else {
            self.hold(packet);
        }
        while self.held.len() > HELD_PACKETS_MAX || self.holes.len() > HOLES_MAX {
            self.give_up_first_hole();
            self.release_held(release);
        }
        self.release_held(release);
    }

    /// Give up holes whose time is over and say which packets to ask for now. True in the answer:
    /// something was given up.
    pub fn repair(
        &mut self,
        now: Time,
        ask: &mut Vec<u16>,
        release: &mut impl FnMut(Packet<'_>, bool),
    ) -> bool {
        let wait = self.hole_wait_max();
        let mut gave_up = false;
        while self
            .holes
            .first_key_value()
            .is_some_and(|(_, h)| now.since(h.found) >= wait || h.asked > NACK_RETRIES_MAX)
        {
            self.give_up_first_hole();
            self.release_held(release);
            gave_up = true;
        }
        if self.nack {
            let again = self.rtt.unwrap_or(RTT_FIRST) + REORDER_WAIT;
            for (&index, hole) in &mut self.holes {
                if hole.ask_at <= now {
                    hole.asked += 1;
                    hole.first_asked.get_or_insert(now);
                    hole.ask_at = now + again;
                    self.counters.nacked += 1;
                    ask.push(index as u16);
                }
            }
        }
        gave_up
    }

    /// When `repair` has work; None while nothing is missing.
    pub fn repair_at(&self) -> Option<Time> {
        let (_, first) = self.holes.first_key_value()?;
        let end = first.found + self.hole_wait_max();
        if !self.nack {
            return Some(end);
        }
        self.holes.values().map(|h| h.ask_at).min().map(|at| at.min(end))
    }

    /// The report block of this stream, and the start of the next report's interval.
    pub fn reception(&mut self, ssrc: Ssrc, now: Time) -> Option<ReportBlock> {
        self.next?;
        let expected = self.highest - self.base + 1;
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.counters.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.counters.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let lost = expected as i64 - self.counters.received as i64;
        let (last_sr, delay) = match self.clock {
            Some(clock) => {
                let delay = now.since(clock.arrived).as_nanos() * 65_536 / 1_000_000_000;
                ((clock.ntp >> 16) as u32, delay.min(u128::from(u32::MAX)) as u32)
            }
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest as u32,
            jitter: (self.jitter_scaled >> 4) as u32,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    fn hole_wait_max(&self) -> Duration {
        if self.video && self.nack {
            VIDEO_HOLE_WAIT_MAX
        } else {
            AUDIO_HOLE_WAIT_MAX
        }
    }

    /// Nothing between the newest packet and `index` is worth waiting for.
    fn jump_to(&mut self, index: u64, release: &mut impl FnMut(Packet<'_>, bool)) {
        while !self.held.is_empty() {
            self.give_up_first_hole();
            self.release_held(release);
        }
        self.holes.clear();
        self.counters.given_up += index - self.next.unwrap_or(index);
        self.next = Some(index);
        self.highest = index - 1;
        self.lost_before = true;
    }

    fn note_holes(&mut self, index: u64, now: Time) {
        for missing in self.highest + 1..index {
            let ask_at = now + REORDER_WAIT;
            self.holes.insert(missing, Hole { found: now, ask_at, asked: 0, first_asked: None });
        }
    }

    fn note_repair(&mut self, packet: &Packet<'_>, repair: bool) {
        let Some(hole) = self.holes.remove(&packet.index) else { return };
        if !repair {
            return;
        }
        self.counters.repaired += 1;
        if let (1, Some(asked)) = (hole.asked, hole.first_asked) {
            let sample = packet.arrived.since(asked).clamp(RTT_MIN, RTT_MAX);
            self.rtt = Some(self.rtt.map_or(sample, |known| (known * 7 + sample) / 8));
        }
    }

    /// RFC 3550 appendix A.8, on arrival times in units of the clock rate.
    fn note_jitter(&mut self, packet: &Packet<'_>) {
        let rate = packet.clock_rate;
        let arrival = (u128::from(packet.arrived.0) * u128::from(rate) / 1_000_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(packet.timestamp) as i32);
        if let Some(previous) = self.transit {
            let difference = (transit as i32).wrapping_sub(previous as i32).unsigned_abs();
            let difference = u64::from(difference.min(rate * 10));
            self.jitter_scaled = self.jitter_scaled - ((self.jitter_scaled + 8) >> 4) + difference;
        }
        self.transit = Some(transit);
    }

    fn hold(&mut self, packet: Packet<'_>) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet.payload);
        bytes.extend_from_slice(packet.descriptor);
        self.held.insert(
            packet.index,
            Held {
                payload_type: packet.payload_type,
                clock_rate: packet.clock_rate,
                marker: packet.marker,
                timestamp: packet.timestamp,
                arrived: packet.arrived,
                bytes,
                payload_length: packet.payload.len(),
            },
        );
    }

    fn give_up_first_hole(&mut self) {
        let to = self.held.first_key_value().map_or(self.highest + 1, |(&first, _)| first);
        self.holes = self.holes.split_off(&to);
        self.counters.given_up += to - self.next.unwrap_or(to);
        self.next = Some(to);
        self.lost_before = true;
    }

    fn release_held(&mut self, release: &mut impl FnMut(Packet<'_>, bool)) {
        while let (Some(next), Some(first)) = (self.next, self.held.first_entry()) {
            if *first.key() != next {
                break;
            }
            let held = first.remove();
            self.next = Some(next + 1);
            let (payload, descriptor) = held.bytes.split_at(held.payload_length);
            let packet = Packet {
                index: next,
                payload_type: held.payload_type,
                clock_rate: held.clock_rate,
                marker: held.marker,
                timestamp: held.timestamp,
                arrived: held.arrived,
                payload,
                descriptor,
            };
            release(packet, std::mem::take(&mut self.lost_before));
            if self.spare.len() < 64 {
                self.spare.push(held.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Time {
        Time(value * 1_000_000)
    }

    fn packet(index: u64, at: Time) -> Packet<'static> {
        Packet {
            index,
            payload_type: 96,
            clock_rate: 90_000,
            marker: false,
            timestamp: 0,
            arrived: at,
            payload: b"x",
            descriptor: b"",
        }
    }

    fn feed(source: &mut Source, index: u64, at: u64, repair: bool) -> Vec<(u64, bool)> {
        let mut out = Vec::new();
        source.accept(packet(index, ms(at)), repair, &mut |p, lost| out.push((p.index, lost)));
        out
    }

    #[test]
    fn reordered_packets_leave_in_order_from_every_wrap_boundary() {
        for start in [1 << 16, (1 << 17) - 3, (1 << 32) - 2] {
            let mut source = Source::new(true, true);
            let mut out = Vec::new();
            for offset in [0, 2, 1, 5, 4, 3, 6] {
                out.extend(feed(&mut source, start + offset, 1, false).iter().map(|p| p.0));
            }
            assert_eq!(out, (start..start + 7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_hole_is_asked_for_after_the_reorder_wait_and_again_after_a_round_trip() {
        let mut source = Source::new(true, true);
        feed(&mut source, 100, 0, false);
        assert!(feed(&mut source, 103, 5, false).is_empty(), "packets wait behind the hole");
        let mut ask = Vec::new();
        let mut none = |_: Packet<'_>, _| panic!("nothing to release");
        assert!(!source.repair(ms(14), &mut ask, &mut none));
        assert!(ask.is_empty());
        assert_eq!(source.repair_at(), Some(ms(15)));
        source.repair(ms(15), &mut ask, &mut none);
        assert_eq!(ask, [101, 102]);
        ask.clear();
        source.repair(ms(100), &mut ask, &mut none);
        assert!(ask.is_empty(), "the round trip is not over");
        source.repair(ms(125), &mut ask, &mut none);
        assert_eq!(ask, [101, 102]);
        assert_eq!(feed(&mut source, 102, 130, true), []);
        assert_eq!(feed(&mut source, 101, 131, true), [(101, false), (102, false), (103, false)]);
        assert_eq!(source.counters.repaired, 2);
        assert_eq!(source.repair_at(), None);
    }

    #[test]
    fn a_hole_that_is_not_repaired_is_given_up_and_said() {
        let mut source = Source::new(true, true);
        feed(&mut source, 100, 0, false);
        feed(&mut source, 102, 1, false);
        let mut out = Vec::new();
        let gave_up =
            source.repair(ms(1001), &mut Vec::new(), &mut |p, lost| out.push((p.index, lost)));
        assert!(gave_up);
        assert_eq!(out, [(102, true)]);
        assert_eq!(feed(&mut source, 101, 1002, true), [], "too late");
        assert_eq!(feed(&mut source, 103, 1003, false), [(103, false)]);
    }

    #[test]
    fn audio_does_not_wait_long_and_a_jump_does_not_wait_at_all() {
        let mut source = Source::new(false, false);
        feed(&mut source, 100, 0, false);
        feed(&mut source, 102, 20, false);
        assert_eq!(source.repair_at(), Some(ms(80)));
        assert_eq!(feed(&mut source, 1000, 30, false), [(102, true), (1000, true)]);
        assert_eq!(source.repair_at(), None);
    }

    #[test]
    fn reports_count_what_was_lost() {
        let mut source = Source::new(true, true);
        for index in (0..200).filter(|i| i % 4 != 3) {
            feed(&mut source, 65_536 + index, index, false);
        }
        let first = source.reception(Ssrc(1), ms(200)).expect("packets came");
        assert_eq!(first.cumulative_lost, 49);
        assert_eq!(first.fraction_lost, (49 * 256 / 199) as u8);
        assert_eq!(first.highest_sequence, 65_536 + 198);
        assert_eq!(source.reception(Ssrc(1), ms(201)).expect("still").fraction_lost, 0);
    }
}
