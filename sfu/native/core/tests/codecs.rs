//! A class in other codecs than VP8's plain form: layers, descriptors, and viewers that cannot decode.

mod world;

use std::time::Duration;

use lectern_core::api::{CodecKind, CodecSpec, Command, Event, ExtensionIds, SinkSpec, TrackSpec};
use lectern_core::codec::{dependency, vp8};
use lectern_core::ids::{Slot, Ssrc};
use lectern_core::rtcp;
use world::*;

const DESCRIPTOR: u8 = 7;
const FRAME: Duration = Duration::from_millis(66);

fn codec(kind: CodecKind, payload_type: u8) -> CodecSpec {
    CodecSpec {
        kind,
        payload_type,
        clock_rate: 90_000,
        rtx_payload_type: Some(payload_type + 1),
        fmtp: String::new(),
    }
}

/// A teacher who may send in all of these, with descriptors.
fn publish(world: &mut World, teacher: &Peer, codecs: Vec<CodecSpec>) {
    let extensions = ExtensionIds {
        mid: Some(4),
        dependency_descriptor: Some(DESCRIPTOR),
        ..ExtensionIds::default()
    };
    let track = TrackSpec {
        slot: Slot::Video,
        mid: "0".into(),
        codecs,
        ssrc: Some(VIDEO),
        rtx_ssrc: Some(VIDEO_RTX),
        extensions,
        nack: true,
        pli: true,
    };
    world.command(Command::Publish { session: teacher.session(), room: ROOM, tracks: vec![track] });
}

fn watch(world: &mut World, viewer: &Peer, codecs: Vec<CodecSpec>, descriptor: Option<u8>) {
    let extensions =
        ExtensionIds { mid: Some(6), dependency_descriptor: descriptor, ..ExtensionIds::default() };
    let sink = SinkSpec {
        slot: Slot::Video,
        mid: "v".into(),
        codecs,
        ssrc: media_of(viewer),
        rtx_ssrc: Some(Ssrc(0x9001 + u32::from(viewer.id) * 4)),
        cname: "node".into(),
        first_sequence: 30_000,
        extensions,
        nack: true,
    };
    world.command(Command::Subscribe { session: viewer.session(), room: ROOM, sinks: vec![sink] });
}

fn media_of(viewer: &Peer) -> Ssrc {
    Ssrc(0x9000 + u32::from(viewer.id) * 4)
}

/// Three temporal layers as libvpx has them: T0 T2 T1 T2, and nobody needs a T2.
fn layered_vp8(n: u32, bytes: usize) -> Vec<u8> {
    let tid = [0u8, 2, 1, 2][n as usize % 4];
    let non_reference = if tid == 2 { 0x20 } else { 0 };
    let picture_id = 0x8000 | (32_760 + n as u16) & 0x7fff;
    let mut payload = vec![0x90 | non_reference, 0xe0];
    payload.extend(picture_id.to_be_bytes());
    payload.extend([250u8.wrapping_add((n / 4) as u8), tid << 6, u8::from(n > 0)]);
    payload.extend(n.to_be_bytes());
    payload.resize(bytes, 0xab);
    payload
}

fn send_layered(world: &mut World, teacher: &mut Peer, n: u32) {
    // The keyframe is large, so that what follows is worth replaying.
    let bytes = if n == 0 { 1100 } else { 100 };
    let packet = teacher.seal(VIDEO, 96, true, n * 6000, &layered_vp8(n, bytes));
    world.receive(teacher.id, &packet);
    world.run(FRAME);
}

/// Which frame a payload of `layered_vp8` is.
fn frame_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[7..11].try_into().expect("four bytes"))
}

fn asks(world: &World, teacher: &Peer) -> u64 {
    let counters = world.node.session_counters(teacher.session()).expect("is here");
    counters.iter().find(|(name, _)| *name == "keyframes_asked").expect("is counted").1
}

#[test]
fn a_replay_goes_without_frames_that_nobody_needs_and_leaves_no_gap_in_their_numbers() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::Vp8, 96)]);
    let mut early = Peer::join(&mut world, 2);
    watch(&mut world, &early, vec![codec(CodecKind::Vp8, 100)], None);
    // The last one before the join is a T2: it is what a still screen would show.
    (0..20).for_each(|n| send_layered(&mut world, &mut teacher, n));
    let mut late = Peer::join(&mut world, 3);
    watch(&mut world, &late, vec![codec(CodecKind::Vp8, 100)], None);
    world.run(FRAME);
    (20..28).for_each(|n| send_layered(&mut world, &mut teacher, n));
    let all = early.packets(&world);
    assert_eq!(all.iter().map(|p| frame_of(&p.payload)).collect::<Vec<_>>(), Vec::from_iter(0..28));
    assert!(
        all.iter()
            .enumerate()
            .all(|(n, p)| { p.payload == layered_vp8(n as u32, p.payload.len()) }),
        "one who was there gets them as they came"
    );
    let got = late.packets(&world);
    let frames: Vec<u32> = got.iter().map(|p| frame_of(&p.payload)).collect();
    let wanted = (0..28).filter(|n| n % 2 == 0 || *n >= 19);
    assert_eq!(frames, Vec::from_iter(wanted));
    for (n, packet) in got.iter().enumerate() {
        let read = vp8::parse(&packet.payload).expect("is VP8");
        assert_eq!(read.picture_id, Some((32_760 + n as u16) & 0x7fff), "frame {}", frames[n]);
        assert_eq!(packet.header.sequence, 30_000 + n as u16);
    }
    // What is sent again is what was sent.
    let lost: Vec<u16> = [1usize, 5, 9, 12, 17].iter().map(|&n| 30_000 + n as u16).collect();
    late.send_rtcp(&mut world, |out| {
        rtcp::nack(out, Ssrc(1), Ssrc(0x900c), &lost);
    });
    world.run(FRAME);
    let again = late.packets(&world);
    assert_eq!(again.len(), lost.len());
    for packet in &again {
        let number = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
        assert_eq!(packet.payload[2..], got[usize::from(number - 30_000)].payload[..]);
    }
    assert_eq!(asks(&world, &teacher), 0);
}

#[test]
fn a_keyframe_takes_the_sources_own_numbers_again() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::Vp8, 96)]);
    (0..8).for_each(|n| send_layered(&mut world, &mut teacher, n));
    let mut late = Peer::join(&mut world, 3);
    watch(&mut world, &late, vec![codec(CodecKind::Vp8, 100)], None);
    world.run(FRAME);
    let mut key = layered_vp8(8, 1100);
    key[6] = 0; // P = 0: a keyframe
    let packet = teacher.seal(VIDEO, 96, true, 8 * 6000, &key);
    world.receive(teacher.id, &packet);
    world.run(FRAME);
    send_layered(&mut world, &mut teacher, 9);
    let got = late.packets(&world);
    assert_eq!(got[got.len() - 2].payload, key);
    assert_eq!(got[got.len() - 1].payload, layered_vp8(9, 100));
}

/// What Chromium sends with a keyframe of L3T3: longer than a one-byte header can carry.
const STRUCTURE: &str = "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040\
    001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877530077004200ef\
    008601df010d";

fn structure() -> Vec<u8> {
    let digits: Vec<u8> = STRUCTURE.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// An AV1 frame of two packets under a template: its descriptors and payloads.
fn described_av1(n: u16) -> Vec<(Vec<u8>, Vec<u8>)> {
    let [high, low] = (0x172 + n).to_be_bytes();
    let key = n == 0;
    let first = if key { structure() } else { vec![0x80 | 3, high, low] };
    let last = vec![0x40 | if key { 1 } else { 3 }, high, low];
    let body = |aggregation: u8| {
        [&[aggregation, 0x30][..], &vec![n as u8; if key { 900 } else { 300 }]].concat()
    };
    vec![(first, body(if key { 0x58 } else { 0x50 })), (last, body(0x90))]
}

/// Every third one arrives with its packets in the wrong order.
fn send_described(world: &mut World, teacher: &mut Peer, n: u16) {
    let mut packets = Vec::new();
    for (part, (descriptor, payload)) in described_av1(n).into_iter().enumerate() {
        let extensions: [(u8, &[u8]); 2] = [(4, b"0"), (DESCRIPTOR, &descriptor)];
        let time = u32::from(n) * 6000;
        packets.push(teacher.seal_with(VIDEO, 45, part == 1, time, &payload, &extensions));
    }
    if n % 3 == 2 {
        packets.reverse();
    }
    packets.iter().for_each(|packet| world.receive(teacher.id, packet));
    world.run(FRAME);
}

#[test]
fn descriptors_go_to_those_who_asked_from_the_keyframe_on() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::Av1, 45)]);
    let mut viewers = Vec::new();
    for (id, descriptor) in [(2, Some(12)), (3, None)] {
        let viewer = Peer::join(&mut world, id);
        watch(&mut world, &viewer, vec![codec(CodecKind::Av1, 39)], descriptor);
        viewers.push(viewer);
    }
    (0..4).for_each(|n| send_described(&mut world, &mut teacher, n));
    // Whoever comes later begins at the keyframe, and so with the structure.
    let late = Peer::join(&mut world, 4);
    watch(&mut world, &late, vec![codec(CodecKind::Av1, 39)], Some(12));
    viewers.push(late);
    world.run_ms(200);
    for (viewer, asked) in viewers.iter_mut().zip([true, false, true]) {
        let got = viewer.packets(&world);
        let sent: Vec<_> = (0..4).flat_map(described_av1).collect();
        assert_eq!(got.len(), sent.len());
        let mut known = None;
        for (packet, (descriptor, payload)) in got.iter().zip(&sent) {
            assert_eq!(packet.payload, *payload);
            assert_eq!(packet.header.payload_type, 39);
            let value = packet.elements.iter().find(|(id, _)| *id == 12).map(|(_, v)| v);
            assert_eq!(value, asked.then_some(descriptor));
            assert_eq!(packet.mid, b"v");
            if let Some(value) = value {
                let (_, brought) = dependency::parse(value, known.as_ref()).expect("is readable");
                known = brought.or(known);
            }
        }
        if asked {
            // Also when it is sent again, however the header has grown.
            let media = media_of(viewer);
            viewer.send_rtcp(&mut world, |out| {
                rtcp::nack(out, Ssrc(1), media, &[30_000]);
            });
            world.run_ms(50);
            let again = viewer.packets(&world);
            assert_eq!(again.len(), 1);
            assert!(again[0].elements.contains(&(12, structure())));
        }
    }
}

#[test]
fn a_descriptor_that_cannot_be_read_is_not_passed_on() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::Av1, 45)]);
    let mut viewer = Peer::join(&mut world, 2);
    watch(&mut world, &viewer, vec![codec(CodecKind::Av1, 39)], Some(12));
    for (n, lie) in
        [vec![0xc0, 0, 1], vec![0xff; 16], structure()[..40].to_vec()].iter().enumerate()
    {
        let extensions: [(u8, &[u8]); 2] = [(4, b"0"), (DESCRIPTOR, lie)];
        let payload = [0x18, 0x08, n as u8];
        let packet = teacher.seal_with(VIDEO, 45, true, n as u32 * 6000, &payload, &extensions);
        world.receive(teacher.id, &packet);
        world.run(FRAME);
    }
    let got = viewer.packets(&world);
    assert_eq!(got.len(), 3, "the picture itself is");
    assert!(got.iter().all(|p| p.elements.iter().all(|(id, _)| *id != 12)));
}

fn says(world: &mut World, viewer: &Peer) -> Vec<bool> {
    let session = viewer.session();
    let said = world.events.iter().filter_map(|event| match event {
        Event::SlotPlays { session: of, slot: Slot::Video, plays } if *of == session => {
            Some(*plays)
        }
        _ => None,
    });
    let said = said.collect();
    world.events.clear();
    said
}

#[test]
fn a_viewer_that_cannot_decode_is_named_once_and_again_when_it_can() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::Vp8, 96), codec(CodecKind::H264, 102)]);
    let mut old = Peer::join(&mut world, 2);
    watch(&mut world, &old, vec![codec(CodecKind::Vp8, 100)], None);
    let mut new = Peer::join(&mut world, 3);
    let both = vec![codec(CodecKind::H264, 110), codec(CodecKind::Vp8, 100)];
    watch(&mut world, &new, both, None);
    teacher.send_frame(&mut world, true, 0, 3);
    world.run(FRAME);
    assert_eq!(says(&mut world, &old), []);
    assert_eq!(old.packets(&world).len(), 3);
    // The teacher changes to H264: a delimiter in a packet of its own, then SPS and IDR.
    for n in 1..10u32 {
        let units: [(bool, &[u8]); 3] =
            [(false, &[0x09, 0x10]), (false, &[0x67, 1]), (true, &[0x65, 2])];
        for (marker, unit) in units {
            let packet = teacher.seal(VIDEO, 102, marker, n * 6000, unit);
            world.receive(teacher.id, &packet);
        }
        world.run(FRAME);
    }
    assert_eq!(says(&mut world, &old), [false], "said once");
    assert_eq!(old.packets(&world).len(), 0);
    let got = new.packets(&world);
    assert_eq!(got.len(), 3 + 9 * 3);
    assert!(got[3..].iter().all(|p| p.header.payload_type == 110));
    // One who comes now hears it at once, and asks for nothing that would not help.
    let mut late = Peer::join(&mut world, 4);
    watch(&mut world, &late, vec![codec(CodecKind::Vp8, 100)], None);
    let before = asks(&world, &teacher);
    let packet = teacher.seal(VIDEO, 102, true, 60_000, &[0x61, 2]);
    world.receive(teacher.id, &packet);
    world.run(FRAME);
    assert_eq!(says(&mut world, &late), [false]);
    world.run_ms(1000);
    assert_eq!(asks(&world, &teacher), before);
    teacher.send_frame(&mut world, true, 300_000, 3);
    world.run(FRAME);
    for viewer in [&mut old, &mut late] {
        assert_eq!(viewer.packets(&world).len(), 3);
        assert!(viewer.packets(&world).is_empty());
    }
    let said = world.events.iter().filter(|e| matches!(e, Event::SlotPlays { plays: true, .. }));
    assert_eq!(said.count(), 2);
}

#[test]
fn one_who_cannot_decode_asks_for_no_picture() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::H264, 102)]);
    for n in 0..200u32 {
        // Too long a group of pictures to be replayed.
        let unit = [if n == 0 { 0x65 } else { 0x61 }, 1];
        let packet = teacher.seal(VIDEO, 102, true, n * 6000, &unit);
        world.receive(teacher.id, &packet);
        world.run(FRAME);
    }
    let before = asks(&world, &teacher);
    for (id, kind, cost) in [(2, CodecKind::Vp8, 0), (3, CodecKind::H264, 1)] {
        let viewer = Peer::join(&mut world, id);
        watch(&mut world, &viewer, vec![codec(kind, 110)], None);
        let packet = teacher.seal(VIDEO, 102, true, (200 + u32::from(id)) * 6000, &[0x61, 2]);
        world.receive(teacher.id, &packet);
        world.run(FRAME);
        assert_eq!(asks(&world, &teacher) - before, cost);
    }
}

#[test]
fn a_joiner_begins_at_a_keyframe_behind_a_delimiter() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    publish(&mut world, &teacher, vec![codec(CodecKind::H264, 102)]);
    let units: [(bool, &[u8]); 4] =
        [(false, &[0x09, 0x10]), (false, &[0x06, 5]), (false, &[0x67, 1]), (true, &[0x65, 2])];
    for (marker, unit) in units {
        let packet = teacher.seal(VIDEO, 102, marker, 6000, unit);
        world.receive(teacher.id, &packet);
    }
    world.run(FRAME);
    let mut viewer = Peer::join(&mut world, 2);
    watch(&mut world, &viewer, vec![codec(CodecKind::H264, 110)], None);
    world.run(FRAME);
    let got: Vec<u8> = viewer.packets(&world).iter().map(|p| p.payload[0]).collect();
    assert_eq!(got, [0x67, 0x65], "what stood before the first keyframe is not needed");
}

#[test]
fn malformed_payloads_go_nowhere_and_the_class_goes_on() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    let kinds = [CodecKind::Vp8, CodecKind::Vp9, CodecKind::H264, CodecKind::Av1];
    let types = [96u8, 98, 102, 45];
    let codecs = || kinds.iter().zip(types).map(|(kind, n)| codec(*kind, n)).collect::<Vec<_>>();
    publish(&mut world, &teacher, codecs());
    let mut viewer = Peer::join(&mut world, 2);
    watch(&mut world, &viewer, codecs(), None);
    let lies: [&[u8]; 8] = [
        &[],
        &[0x90],
        &[0x90, 0xff, 0xff],
        &[0x8a, 0xff, 0xff, 0x08, 0xff],
        &[0x78, 0xff, 0xff, 0x67],
        &[0x7c, 0xff],
        &[0xff, 0xff],
        &[0x20, 0xff, 0xff, 0xff],
    ];
    let mut frames = 0;
    for n in 0..40u32 {
        // Under each payload type: those that are well-formed in one codec are a lie in another.
        for (lie, payload_type) in lies.iter().flat_map(|lie| types.map(|n| (lie, n))) {
            let read = lectern_core::codec::Reader::default().glance(
                kinds[types.iter().position(|n| *n == payload_type).expect("one of them")],
                lie,
                &[],
            );
            if read.is_none() {
                let packet = teacher.seal(VIDEO, payload_type, false, n * 6000, lie);
                world.receive(teacher.id, &packet);
            }
        }
        teacher.send_frame(&mut world, n == 0, n * 6000 + 3000, 3);
        world.run(FRAME);
        frames += 1;
    }
    let got = viewer.packets(&world);
    assert_eq!(got.len(), frames * 3);
    for (n, packet) in got.iter().enumerate() {
        assert_eq!(packet.header.sequence, 30_000 + n as u16);
        assert_eq!(packet.header.payload_type, 96);
    }
}
