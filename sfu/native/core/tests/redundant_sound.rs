//! RED (RFC 2198) goes to who offers it under the own numbers, and to everybody else without its copies.

mod world;

use lectern_core::api::{CodecKind, CodecSpec, Command, ExtensionIds, SinkSpec, TrackSpec};
use lectern_core::ids::{Slot, Ssrc};
use world::*;

fn red(payload_type: u8, opus: u8) -> CodecSpec {
    let fmtp = format!("{opus}/{opus}");
    CodecSpec { kind: CodecKind::Red, fmtp, ..world::opus(payload_type) }
}

fn teach(world: &mut World, teacher: &Peer) {
    let mic = TrackSpec {
        slot: Slot::Mic,
        mid: "1".into(),
        codecs: vec![red(63, 111), opus(111)],
        ssrc: Some(MIC),
        rtx_ssrc: None,
        extensions: ExtensionIds { transport_cc: Some(3), mid: Some(4), ..Default::default() },
        nack: false,
        pli: false,
    };
    world.command(Command::Publish { session: teacher.session(), room: ROOM, tracks: vec![mic] });
}

fn listen(world: &mut World, viewer: &Peer, codecs: Vec<CodecSpec>) {
    let mic = SinkSpec {
        slot: Slot::Mic,
        mid: "m".into(),
        codecs,
        ssrc: Ssrc(0x9002 + u32::from(viewer.id) * 4),
        rtx_ssrc: None,
        cname: "node".into(),
        first_sequence: 30_000,
        extensions: ExtensionIds { mid: Some(6), ..Default::default() },
        nack: false,
    };
    world.command(Command::Subscribe { session: viewer.session(), room: ROOM, sinks: vec![mic] });
}

/// One copy of 3 bytes and a block of 4, then the block alone.
fn redundant(n: u8) -> (Vec<u8>, Vec<u8>) {
    let own = vec![n, 1, 2, 3];
    let copy = [0x80 | 111, 0x0f, 0x00, 3, 111, n.wrapping_sub(1), 7, 7];
    ([&copy[..], &own].concat(), own)
}

#[test]
fn it_is_relabelled_for_some_stripped_for_others_and_dropped_where_malformed() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teach(&mut world, &teacher);
    let mut modern = Peer::join(&mut world, 2);
    listen(&mut world, &modern, vec![opus(109), red(70, 109)]);
    let mut plain = Peer::join(&mut world, 3);
    listen(&mut world, &plain, vec![opus(96)]);
    for n in 0..20u8 {
        let (payload, _) = redundant(n);
        let packet = teacher.seal(MIC, 63, false, u32::from(n) * 960, &payload);
        world.receive(teacher.id, &packet);
        if n == 10 {
            let broken = teacher.seal(MIC, 63, false, 9999, &[0xff; 40]);
            world.receive(teacher.id, &broken);
        }
        world.run_ms(20);
    }
    let (whole, stripped) = (modern.packets(&world), plain.packets(&world));
    assert!(whole.len() >= 19 && whole.len() == stripped.len(), "{}", whole.len());
    for (whole, stripped) in whole.iter().zip(&stripped) {
        assert_eq!((whole.header.payload_type, stripped.header.payload_type), (70, 96));
        let (mut wanted, own) = redundant(stripped.payload[0]);
        (wanted[0], wanted[4]) = (0x80 | 109, 109);
        assert_eq!(whole.payload, wanted);
        assert_eq!(stripped.payload, own);
    }
}

#[test]
fn a_teacher_may_change_between_both() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teach(&mut world, &teacher);
    let mut modern = Peer::join(&mut world, 2);
    listen(&mut world, &modern, vec![red(70, 109), opus(109)]);
    for n in 0..20u8 {
        let (payload, own) = redundant(n);
        let (number, payload) = if n % 2 == 0 { (63, payload) } else { (111, own) };
        let packet = teacher.seal(MIC, number, false, u32::from(n) * 960, &payload);
        world.receive(teacher.id, &packet);
        world.run_ms(20);
    }
    let seen: Vec<u8> = modern.packets(&world).iter().map(|p| p.header.payload_type).collect();
    assert!(seen.len() >= 19);
    assert!(seen.windows(2).all(|two| two[0] != two[1]), "{seen:?}");
    assert!(seen.iter().all(|number| [70, 109].contains(number)));
}
