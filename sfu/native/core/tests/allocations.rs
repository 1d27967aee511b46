//! Nothing allocates per packet after warm-up: counted by an allocator that stands before the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lectern_core::api::{CodecKind, Profile};
use lectern_core::codec;
use lectern_core::ids::{Ssrc, Time};
use lectern_core::rtcp::{self, Packet};
use lectern_core::srtp::{Opener, Sealer};
use lectern_core::{rtp, stun, twcc};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))), 1);
}

#[test]
fn sealing_and_opening() {
    for profile in [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80] {
        let secret = vec![7; profile.key_bytes() + profile.salt_bytes()];
        let mut sealer = Sealer::new(profile, &secret).unwrap();
        let mut opener = Opener::new(profile, &secret).unwrap();
        let mut stream = sealer.stream(Ssrc(1), 0x7FFF).unwrap();
        let mut packet = Vec::with_capacity(1500);
        let mut report = Vec::with_capacity(1500);
        let mut round = || {
            packet.clear();
            let extensions: [(u8, &[u8]); 2] = [(1, b"0"), (3, &[0, 1])];
            rtp::write_header(&mut packet, 96, false, false, 0, 5, Ssrc(0), &extensions);
            let offset = packet.len();
            packet.resize(offset + 1000 + sealer.tag_bytes(), 9);
            assert!(sealer.seal_rtp(&mut stream, &mut packet, offset));
            let header = rtp::Header::parse(&packet).unwrap();
            assert!(opener.open_rtp(&mut packet, &header).is_some());
            assert_eq!(header.extension(&packet, 3), Some(&[0, 1][..]));
            report.clear();
            rtcp::receiver_report(&mut report, Ssrc(1), &[]);
            rtcp::nack(&mut report, Ssrc(1), Ssrc(2), &[1, 2, 99]);
            assert!(sealer.seal_rtcp(&mut report));
            let length = opener.open_rtcp(&mut report).unwrap();
            for packet in rtcp::packets(&report[..length]) {
                if let Packet::Nack { pairs, .. } = packet {
                    assert_eq!(pairs.sequences().count(), 3);
                }
            }
        };
        round();
        assert_eq!(allocations(|| (0..1000).for_each(|_| round())), 0, "{profile:?}");
    }
}

#[test]
fn recording_and_telling_arrivals() {
    let mut recorder = twcc::Recorder::new();
    let mut out = Vec::with_capacity(2000);
    let mut at = 0u64;
    let mut round = |packets: u64| {
        for _ in 0..packets {
            at += 1;
            if at % 7 != 0 {
                recorder.record(at as u16, Time(at * 1_000_000));
            }
        }
        out.clear();
        while recorder.feedback(Ssrc(1), Ssrc(2), &mut out) {
            let feedback = twcc::parse(&out).unwrap();
            assert!(feedback.received().count() > 0);
            out.clear();
        }
    };
    round(3000);
    assert_eq!(allocations(|| (0..1000).for_each(|_| round(100))), 0);
}

#[test]
fn answering_checks() {
    let mut request = Vec::with_capacity(500);
    let mut answer = Vec::with_capacity(500);
    let mapped = "127.0.0.1:5".parse().unwrap();
    let mut round = || {
        request.clear();
        answer.clear();
        stun::write_request(&mut request, b"transaction!", b"ours:their", b"password", 1, 2, true);
        let parsed = stun::parse_request(&request).unwrap();
        assert!(parsed.verify(b"password"));
        stun::write_success(&mut answer, &parsed.transaction, mapped, b"password");
        assert!(answer.len() <= request.len());
    };
    round();
    assert_eq!(allocations(|| (0..100).for_each(|_| round())), 0);
}

#[test]
fn looking_at_payloads_and_descriptors() {
    let structure = [0xc0, 0, 1, 0x80, 0x00, 0x79, 0x40, 0x00];
    let frames: [(CodecKind, &[u8], &[u8]); 8] = [
        (CodecKind::Vp8, &[0xb0, 0xe0, 0x81, 0x02, 3, 0xa0, 1], &[0xc1, 0, 2]),
        (CodecKind::Vp9, &[0x8a, 3, 0x08, 1, 0x04, 1, 9], &structure),
        (CodecKind::Vp9, &[0x8a, 3, 0x08, 255, 0x04, 1, 9], &[0xff; 255]),
        (CodecKind::H264, &[0x78, 0, 1, 0x67, 0, 1, 0x65], &structure[..5]),
        (CodecKind::H264, &[0x78, 0xff, 0xff, 0x67], &[]),
        (CodecKind::Av1, &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff], &[0xc9, 0, 2]),
        (CodecKind::Av1, &[0x18, 0x08], &structure),
        (CodecKind::Av1, &[0x10, 0x34, 0x40], &[0xc1, 0, 3]),
    ];
    let mut reader = codec::Reader::default();
    let mut round = || {
        for (kind, payload, descriptor) in frames {
            std::hint::black_box(reader.glance(kind, payload, descriptor));
        }
    };
    round();
    assert_eq!(allocations(|| (0..1000).for_each(|_| round())), 0);
}
