//! Compound RTCP (RFC 3550, RFC 4585) and transport-wide feedback: work is bounded by the bytes.
#![no_main]

use lectern_core::rtcp::{self, Packet};
use lectern_core::twcc;
use libfuzzer_sys::fuzz_target;

/// A pair of NACK (4 bytes) names 17 packets.
const NACKED_PER_PAIR_MAX: usize = 17;

fuzz_target!(|compound: &[u8]| {
    let mut work = 0;
    for packet in rtcp::packets(compound) {
        work += 1 + match packet {
            Packet::SenderReport { blocks, .. } => blocks.into_iter().count(),
            Packet::ReceiverReport { blocks, .. } => blocks.into_iter().count(),
            Packet::Nack { pairs, .. } => pairs.sequences().count().div_ceil(NACKED_PER_PAIR_MAX),
            Packet::Fir { entries, .. } => entries.into_iter().count(),
            Packet::TransportFeedback(raw) => {
                feedback(raw);
                0
            }
            _ => 0,
        };
    }
    assert!(work <= compound.len());
    feedback(compound);
});

fn feedback(raw: &[u8]) {
    let Some(feedback) = twcc::parse(raw) else { return };
    let received = feedback.received().count();
    assert!(received <= usize::from(feedback.status_count));
    assert!(feedback.statuses().count() <= usize::from(feedback.status_count));
    // Each received packet costs a byte of delta at least.
    assert!(received <= raw.len());
}
