use std::collections::BTreeMap;

use super::*;
use crate::ids::Time;
use crate::rtcp;

const SENDER: Ssrc = Ssrc(1);
const MEDIA: Ssrc = Ssrc(2);

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// All waiting feedback, as arrival ticks by sequence; checks what every packet must keep.
fn told(recorder: &mut Recorder) -> Vec<(u16, Option<u64>)> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let mut packet = Vec::new();
        if !recorder.feedback(SENDER, MEDIA, &mut packet) {
            assert!(packet.is_empty() && !recorder.is_pending());
            return all;
        }
        assert!(packet.len() <= FEEDBACK_BYTES_MAX && packet.len() % 4 == 0);
        assert!(rtcp::valid(&packet));
        let feedback = parse(&packet).unwrap();
        assert_eq!((feedback.sender, feedback.media), (SENDER, MEDIA));
        assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
        let received: Vec<_> =
            feedback.statuses().filter_map(|(sequence, ticks)| Some((sequence, ticks?))).collect();
        assert_eq!(feedback.received().collect::<Vec<_>>(), received);
        assert!(feedback.statuses().last().unwrap().1.is_some());
        let reference = i64::from(feedback.reference_time) * TICKS_PER_REFERENCE as i64;
        all.extend(
            feedback
                .statuses()
                .map(|(sequence, ticks)| (sequence, ticks.map(|t| (t + reference) as u64))),
        );
    }
    panic!("feedback without end");
}

#[test]
fn what_was_recorded_is_told_over_every_wrap() {
    for seed in 0..200u64 {
        let mut random = Random(seed);
        let start = [0u16, 1, 0x7FFF, 0x8000, 0xFFF0, 0xFFFF][random.below(6) as usize];
        let loss = [0, 5, 50, 95][random.below(4) as usize];
        let step_us = [0, 100, 2_000, 70_000, 3_000_000][random.below(5) as usize];
        let mut recorder = Recorder::new();
        let mut now = Time(1_000_000_000 + random.below(1 << 40));
        let mut expected = BTreeMap::new();
        let count = 1 + random.below(3000);
        for step in 0..count {
            now = Time(now.0 + random.below(1 + 2 * step_us) * 1000);
            if random.below(100) >= loss || step == 0 || step == count - 1 {
                recorder.record(start.wrapping_add(step as u16), now);
                expected.insert(step, now.0 / TICK_NS);
            }
        }
        let told = told(&mut recorder);
        assert_eq!(told.len() as u64, count, "seed {seed}");
        for (step, (sequence, ticks)) in told.iter().enumerate() {
            assert_eq!(*sequence, start.wrapping_add(step as u16));
            assert_eq!(ticks.as_ref(), expected.get(&(step as u64)), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn reordered_and_repeated_packets_are_told_once_each() {
    let mut recorder = Recorder::new();
    for (sequence, ms) in [(10u16, 1), (12, 2), (11, 90), (12, 95), (13, 91)] {
        recorder.record(sequence, Time(ms * 1_000_000));
    }
    let ms = |ms: u64| Some(ms * 4);
    assert_eq!(told(&mut recorder), [(10, ms(1)), (11, ms(90)), (12, ms(2)), (13, ms(91))]);
    assert_eq!(told(&mut recorder), []);
}

#[test]
fn a_late_packet_is_told_again_from_there() {
    let mut recorder = Recorder::new();
    recorder.record(0xFFFE, Time(0));
    recorder.record(1, Time(8_000_000));
    assert_eq!(told(&mut recorder), [(0xFFFE, Some(0)), (0xFFFF, None), (0, None), (1, Some(32))]);
    recorder.record(0, Time(9_000_000));
    assert_eq!(told(&mut recorder), [(0, Some(36)), (1, Some(32))]);
    recorder.record(0, Time(10_000_000));
    assert!(!recorder.is_pending(), "a repetition is no news");
}

#[test]
fn what_came_before_the_first_packet_is_told_too() {
    let mut recorder = Recorder::new();
    recorder.record(3, Time(0));
    recorder.record(0xFFFF, Time(250_000));
    assert_eq!(
        told(&mut recorder),
        [(0xFFFF, Some(1)), (0, None), (1, None), (2, None), (3, Some(0))]
    );
}

#[test]
fn jumps_forget_what_lies_behind_the_window() {
    let mut random = Random(1);
    let mut recorder = Recorder::new();
    let mut sequence = 0u16;
    for _ in 0..2000 {
        recorder.record(sequence, Time(random.below(1 << 40)));
        assert!(recorder.arrivals.len() as u64 == WINDOW_PACKETS);
        if random.below(4) == 0 {
            assert!(told(&mut recorder).len() as u64 <= WINDOW_PACKETS);
        }
        sequence = sequence.wrapping_add(random.below(0x1_0000) as u16);
    }
    let mut recorder = Recorder::new();
    recorder.record(0, Time(0));
    recorder.record(WINDOW_PACKETS as u16 + 5, Time(0));
    recorder.record(0, Time(0));
    assert_eq!(told(&mut recorder).first().unwrap().0, 6, "the oldest of the window");
}

#[test]
fn feedback_packets_count_themselves() {
    let mut recorder = Recorder::new();
    for step in 0..600u16 {
        recorder.record(step, Time(u64::from(step) * 1_000_000));
        let mut packet = b"before".to_vec();
        assert!(recorder.feedback(SENDER, MEDIA, &mut packet));
        assert_eq!(parse(&packet[6..]).unwrap().feedback_count, step as u8);
    }
}

#[test]
fn reference_times_wrap_at_24_bits() {
    let mut recorder = Recorder::new();
    let wrap_ns = (1u64 << 24) * 64_000_000;
    recorder.record(1, Time(wrap_ns + 64_000_000 + 500_000));
    let mut packet = Vec::new();
    recorder.feedback(SENDER, MEDIA, &mut packet);
    let feedback = parse(&packet).unwrap();
    assert_eq!(feedback.reference_time, 1);
    assert_eq!(feedback.statuses().collect::<Vec<_>>(), [(1, Some(2))]);
}

fn packet(status_count: u16, body: &[u8]) -> Vec<u8> {
    let words = (4 + body.len() / 4) as u16;
    let mut packet = vec![0x8F, 205];
    packet.extend_from_slice(&words.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0xFF, 0xFF]);
    packet.extend_from_slice(&status_count.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0]);
    packet.extend_from_slice(body);
    packet
}

#[test]
fn every_kind_of_chunk_is_read() {
    // A run of 221 packets not received; a vector of one bit a packet (the draft's 3.1.3), one of two.
    let run = packet(221, &[0x00, 0xDD, 0, 0]);
    assert!(parse(&run).unwrap().statuses().all(|(_, ticks)| ticks.is_none()));
    assert_eq!(parse(&run).unwrap().received().count(), 0);
    let one_bit = packet(14, &[0x9F, 0x1C, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    let received: Vec<_> =
        parse(&one_bit).unwrap().statuses().map(|(_, ticks)| ticks.is_some()).collect();
    assert_eq!(
        received.iter().map(|r| u8::from(*r)).collect::<Vec<_>>(),
        [0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    );
    let two_bit = packet(7, &[0xC6, 0x50, 10, 0xFF, 0xFE, 1, 2, 0]);
    let ticks: Vec<_> = parse(&two_bit).unwrap().statuses().map(|(_, ticks)| ticks).collect();
    assert_eq!(ticks, [None, Some(10), Some(8), Some(9), Some(11), None, None]);
}

#[test]
fn malformed_feedback_is_refused() {
    let good = packet(2, &[0x20, 2, 5, 6]);
    assert_eq!(parse(&good).unwrap().received().collect::<Vec<_>>(), [(0xFFFF, 5), (0, 11)]);
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_none());
    }
    assert!(parse(&packet(3, &[0x20, 3, 5, 6])).is_none(), "a delta is missing");
    assert!(
        parse(&packet(3, &[0x20, 2, 5, 6])).is_none(),
        "the deltas are read as the second chunk"
    );
    assert!(parse(&packet(1, &[0x20, 0, 0, 0])).is_none(), "a run of none");
    let after_none = [0x20, 0, 0x20, 1, 5, 0, 0, 0];
    assert!(parse(&packet(1, &after_none)).is_none(), "a run of none before another");
    assert!(parse(&packet(1, &[0x60, 1, 0, 0])).is_none(), "the reserved status");
    assert!(parse(&packet(7, &[0xF0, 0, 0, 0])).is_none(), "the reserved status in a vector");
    assert!(parse(&packet(9, &[])).is_none(), "no chunk");
}

#[test]
fn small_feedback_of_many_statuses_is_little_work() {
    let feedback = packet(
        65535,
        &[
            0x1F, 0xFF, 0x1F, 0xFF, 0x1F, 0xFF, 0x1F, 0xFF, 0x1F, 0xFF, 0x1F, 0xFF, 0x1F, 0xFF,
            0x1F, 0xFF, 0x20, 7, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0,
        ],
    );
    let feedback = parse(&feedback).unwrap();
    assert_eq!(feedback.statuses().count(), 65535);
    assert_eq!(
        feedback.received().map(|(sequence, _)| sequence).collect::<Vec<_>>(),
        (0..7u16)
            .map(|step| 0xFFFFu16.wrapping_add(8 * 8191).wrapping_add(step))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_long_stream_uses_the_ring_again_and_again() {
    let mut random = Random(9);
    let mut recorder = Recorder::new();
    let mut expected = Vec::new();
    let mut told_so_far = Vec::new();
    for step in 0..12 * WINDOW_PACKETS {
        let now = Time(step * 700_000);
        // The first and the last of a batch arrive, so that every batch is told wholly.
        let ends = step % 500 == 0 || step % 500 == 499;
        let arrives = ends || random.below(10) > 0;
        if arrives {
            recorder.record(step as u16, now);
        }
        expected.push((step as u16, arrives.then_some(now.0 / TICK_NS)));
        if step % 500 == 499 {
            told_so_far.extend(told(&mut recorder));
        }
    }
    assert!(told_so_far.len() > 11 * WINDOW_PACKETS as usize);
    assert_eq!(told_so_far, expected[..told_so_far.len()]);
}
