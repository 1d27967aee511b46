//! Payload descriptors of every codec: nothing malformed is forwarded, nothing panics.
#![no_main]

use lectern_core::api::CodecKind;
use lectern_core::{codec, vp8};
use libfuzzer_sys::fuzz_target;

const KINDS: [CodecKind; 6] = [
    CodecKind::Vp8,
    CodecKind::Vp9,
    CodecKind::H264,
    CodecKind::Av1,
    CodecKind::Opus,
    CodecKind::Other,
];

fuzz_target!(|data: &[u8]| {
    let Some((&kind, payload)) = data.split_first() else { return };
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    let _ = codec::glance(kind, payload);
    let Some(descriptor) = vp8::parse(payload) else { return };
    let mut rewritten = payload.to_vec();
    descriptor.set_picture_id(&mut rewritten, 0x1234);
    descriptor.set_tl0_pic_idx(&mut rewritten, 0x56);
    // Only the numbers change, never where they stand.
    assert_eq!(rewritten.len(), payload.len());
    let again = vp8::parse(&rewritten).expect("was a descriptor before");
    assert_eq!(again.starts_frame, descriptor.starts_frame);
    assert_eq!(again.is_keyframe, descriptor.is_keyframe);
});
