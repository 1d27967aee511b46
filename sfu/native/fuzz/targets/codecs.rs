//! Payload and dependency descriptors of every codec: nothing malformed is forwarded, nothing panics.
#![no_main]

use lectern_core::api::CodecKind;
use lectern_core::codec::{self, dependency, vp8};
use libfuzzer_sys::fuzz_target;

const KINDS: [CodecKind; 6] = [
    CodecKind::Vp8,
    CodecKind::Vp9,
    CodecKind::H264,
    CodecKind::Av1,
    CodecKind::Opus,
    CodecKind::Other,
];

/// Packets of one source: kind, lengths of payload and descriptor, then both.
fn read_a_source(mut data: &[u8]) {
    let mut reader = codec::Reader::default();
    while let [kind, payload, descriptor, rest @ ..] = data {
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*payload)));
        let (descriptor, rest) = rest.split_at(rest.len().min(usize::from(*descriptor)));
        if let Some(glance) = reader.glance(kind, payload, descriptor) {
            assert!(!(glance.starts_keyframe && glance.non_reference));
        }
        data = rest;
    }
}

fn rewrite_vp8(payload: &[u8]) {
    let Some(descriptor) = vp8::parse(payload) else { return };
    let mut rewritten = payload.to_vec();
    let mut shift = vp8::Shift::default();
    shift.leave_out(payload);
    shift.apply(&mut rewritten);
    descriptor.set_picture_id(&mut rewritten, 0x1234);
    descriptor.set_tl0_pic_idx(&mut rewritten, 0x56);
    // Only the numbers change, never where they stand.
    assert_eq!(rewritten.len(), payload.len());
    let again = vp8::parse(&rewritten).expect("was a descriptor before");
    assert_eq!(again.starts_frame, descriptor.starts_frame);
    assert_eq!(again.is_keyframe, descriptor.is_keyframe);
}

fuzz_target!(|data: &[u8]| {
    read_a_source(data);
    rewrite_vp8(data);
    // The structure that one part brings, on the other.
    let (first, second) = data.split_at(data.len() / 2);
    if let Some((_, Some(structure))) = dependency::parse(first, None) {
        if let Some((read, _)) = dependency::parse(second, Some(&structure)) {
            assert!(!(read.is_discardable() && read.is_switch()));
        }
    }
});
