//! Sequence numbers and rollovers, from every boundary: random losses, repairs, repeats and reordering.

mod world;

use lectern_core::codec::vp8::Shift;
use lectern_core::ids::{Ssrc, Time};
use lectern_core::numbering::Numbering;
use lectern_core::source::{Packet, Source};
use lectern_core::{rtcp, seq};
use world::*;

/// Where 16 bits turn over, their halves, and the first and a late rollover.
const BOUNDARIES: [u64; 7] =
    [0x8000, 0xffff, 0x1_0000, 0x1_8000, 0x2_0000, 0xffff_ffff, 0x1_0000_0000];
const SEEDS: u64 = 20;

struct Random(u64);

impl Random {
    /// xorshift64* (Vigna 2016).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn starts() -> impl Iterator<Item = (u64, u64)> {
    let around = |b: &u64| [b - 70, b - 1, *b, b + 1];
    let starts: Vec<u64> = BOUNDARIES.iter().flat_map(around).collect();
    (1..=SEEDS).flat_map(move |seed| starts.clone().into_iter().map(move |start| (start, seed)))
}

#[test]
fn a_source_releases_each_packet_once_in_order_whatever_the_line_does() {
    for (start, seed) in starts() {
        let mut random = Random(seed * 7919 + start);
        let mut source = Source::new(true, true);
        let mut released: Vec<(u64, bool)> = Vec::new();
        let mut gone: Vec<u64> = Vec::new();
        let mut waiting: Vec<(u64, u64)> = Vec::new(); // due in ms, index
        let mut ms = 0;
        for n in 0..300u64 {
            ms += 5;
            let index = start + n;
            match random.below(10) {
                0 if n > 0 => gone.push(index),
                1 => waiting.push((ms + 5 * random.below(6), index)),
                2 => waiting.extend([(ms, index), (ms + 7, index)]),
                _ => waiting.push((ms, index)),
            }
            let mut ask = Vec::new();
            source.repair(Time(ms * 1_000_000), &mut ask, &mut |p, lost| {
                released.push((p.index, lost));
            });
            for sequence in ask {
                let index = source.index_near(sequence);
                // Half of what was asked for comes, a round trip later.
                if gone.contains(&index) && random.below(2) == 0 {
                    waiting.push((ms + 20, index));
                }
            }
            waiting.sort_unstable();
            while waiting.first().is_some_and(|(at, _)| *at <= ms) {
                let (_, index) = waiting.remove(0);
                let packet = Packet {
                    index,
                    payload_type: 96,
                    clock_rate: 90_000,
                    marker: true,
                    timestamp: index as u32,
                    arrived: Time(ms * 1_000_000),
                    payload: &index.to_be_bytes(),
                    descriptor: &[],
                };
                let repair = gone.contains(&index);
                source.accept(packet, repair, &mut |p, lost| {
                    assert_eq!(p.payload, p.index.to_be_bytes());
                    released.push((p.index, lost));
                });
            }
        }
        assert!(released.len() > 200, "{start:#x} {seed}: {}", released.len());
        for pair in released.windows(2) {
            let ((before, _), (after, lost)) = (pair[0], pair[1]);
            assert!(after > before, "{start:#x} {seed}: {after:#x} after {before:#x}");
            assert_eq!(lost, after != before + 1, "{start:#x} {seed}: at {after:#x}");
        }
    }
}

#[test]
fn a_number_finds_its_position_or_nothing_over_every_wrap() {
    for (start, seed) in starts() {
        let mut random = Random(seed * 104_729 + start);
        let (mut numbering, mut sent, mut position) = (Numbering::new(), Vec::new(), 1000u64);
        for n in 0..2000u64 {
            if random.below(100) == 0 {
                // A replay goes back, a skip goes on.
                position = (position + random.below(200)).saturating_sub(100);
            }
            numbering.sent(start + n, position, Shift::default());
            sent.push(position);
            position += 1;
        }
        let mut found = 0;
        for (n, position) in sent.iter().enumerate() {
            let index = start + n as u64;
            assert_eq!(numbering.index_of(index as u16), Some(index), "{start:#x} {seed}");
            match numbering.position(index) {
                Some((known, _)) => {
                    assert_eq!(known, *position, "{start:#x} {seed}: {index:#x}");
                    found += 1;
                }
                None => assert_eq!(found, 0, "only the oldest are forgotten"),
            }
        }
        assert!(found >= 500, "{start:#x} {seed}: {found}");
        assert_eq!(numbering.position(start + 2000), None);
        assert_eq!(numbering.position(start.wrapping_sub(1)), None);
    }
}

#[test]
fn the_nearest_index_is_the_same_for_all_within_half_the_circle() {
    for (start, seed) in starts() {
        let mut random = Random(seed * 31 + start);
        for _ in 0..200 {
            let distance = random.below(0x7fff) as i64 - 0x3fff;
            let index = start.saturating_add_signed(distance);
            assert_eq!(seq::nearest(start, index as u16), Some(index), "{start:#x} {distance}");
        }
    }
}

/// A viewer whose numbers begin just below a boundary is repaired across it.
#[test]
fn viewers_are_repaired_across_the_turn_of_their_numbers() {
    for first in [0x7ff0u16, 0x7fff, 0] {
        let mut world = World::new();
        let mut teacher = Peer::join(&mut world, 1);
        teacher.publish(&mut world);
        let mut viewer = Peer::join(&mut world, 2);
        viewer.subscribe_from(&mut world, first);
        // Up to and over 2^15 and 2^16 of the viewer's numbers.
        let mut sent: u64 = 0;
        let until = 0x1_0000 + 500 - u64::from(first);
        let mut frame = 0u32;
        while sent < until {
            let near = |at: u64| (u64::from(first) + sent).abs_diff(at) < 64;
            teacher.send_frame(&mut world, frame == 0, frame.wrapping_mul(3000), 14);
            world.run_ms(33);
            let mut got = viewer.packets(&world);
            got.retain(|g| g.header.payload_type == 100);
            world.sent.clear();
            viewer.forget_taken();
            assert_eq!(got.len(), 14);
            if near(0x8000) || near(0x1_0000) {
                let lost: Vec<u16> = got.iter().map(|g| g.header.sequence).collect();
                let media = Ssrc(0x9000 + 4 * 2);
                viewer.send_rtcp(&mut world, |out| {
                    rtcp::nack(out, Ssrc(1), media, &lost);
                });
                world.run_ms(15);
                let again = viewer.packets(&world);
                assert_eq!(again.len(), 14, "from {first:#x}, at {sent}");
                for (repair, original) in again.iter().zip(&got) {
                    assert_eq!(repair.payload[..2], original.header.sequence.to_be_bytes());
                    assert_eq!(repair.payload[2..], original.payload[..]);
                }
            }
            sent += 14;
            frame += 1;
        }
    }
}
