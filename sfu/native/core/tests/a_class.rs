//! A class from its first packet to its last, in virtual time.

mod world;

use std::time::Duration;

use lectern_core::api::{Command, Event};
use lectern_core::ids::{RoomId, SessionId, Slot, Ssrc, Time};
use lectern_core::rtcp;
use world::*;

fn class(viewers: u16) -> (World, Peer, Vec<Peer>) {
    let mut world = World::new();
    let teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    let viewers = (2..2 + viewers).map(|id| {
        let peer = Peer::join(&mut world, id);
        peer.subscribe(&mut world);
        peer
    });
    let viewers = viewers.collect();
    world.run_ms(1);
    (world, teacher, viewers)
}

fn count_asks(teacher: &mut Peer, world: &World) -> usize {
    let compounds = teacher.reports(world);
    let packets = compounds.iter().flat_map(|c| rtcp::packets(c));
    packets.filter(|p| matches!(p, rtcp::Packet::Pli { media, .. } if *media == VIDEO)).count()
}

#[test]
fn every_viewer_gets_every_packet_once_in_order_under_its_own_numbers() {
    let (mut world, mut teacher, mut viewers) = class(3);
    for n in 0..200u32 {
        teacher.send_frame(&mut world, n == 0, n * 6000, 12);
        world.run_ms(66);
    }
    for viewer in &mut viewers {
        let got = viewer.packets(&world);
        assert_eq!(got.len(), 200 * 12);
        for (i, packet) in got.iter().enumerate() {
            let (frame, part) = (i / 12, i % 12);
            assert_eq!(packet.header.sequence, 30_000u16.wrapping_add(i as u16));
            assert_eq!(packet.header.payload_type, 100);
            assert_eq!(packet.header.ssrc, Ssrc(0x9000 + u32::from(viewer.id) * 4));
            assert_eq!(packet.mid, b"v");
            assert_eq!(packet.header.marker, part == 11);
            assert_eq!(
                packet.payload,
                vp8_payload(frame == 0, part == 0, frame as u32 * 6000, part, 1100)
            );
        }
        let runs: std::collections::HashSet<usize> = got.iter().map(|p| p.run).collect();
        assert_eq!(runs.len(), 200, "a frame is one send");
    }
}

#[test]
fn sound_flows_without_a_picture_and_is_bound_by_its_mid() {
    let (mut world, mut teacher, mut viewers) = class(1);
    for n in 0..50u32 {
        let packet = teacher.seal(MIC, 111, false, n * 960, &[n as u8; 100]);
        world.receive(teacher.id, &packet);
        world.run_ms(20);
    }
    let got = viewers[0].packets(&world);
    assert_eq!(got.len(), 50);
    assert!(got.iter().all(|p| p.header.payload_type == 109 && p.mid == b"m"));
    assert!(world.events.contains(&Event::SlotFlows { room: ROOM, slot: Slot::Mic, flows: true }));
}

#[test]
fn a_joiner_sees_the_current_picture_at_once_and_the_teacher_is_not_asked() {
    let (mut world, mut teacher, _) = class(1);
    teacher.send_frame(&mut world, true, 0, 40);
    world.run_ms(1000);
    teacher.send_frame(&mut world, false, 90_000, 2);
    world.run_ms(19_000);
    let before = count_asks(&mut teacher, &world);
    let mut late = Peer::join(&mut world, 50);
    late.subscribe(&mut world);
    let start = world.now;
    world.run_ms(100);
    let got = late.packets(&world);
    assert_eq!(got.len(), 0, "after seconds of silence nothing is replayed");
    teacher.send_frame(&mut world, true, 1_800_000, 40);
    world.run_ms(500);
    let mut later = Peer::join(&mut world, 51);
    later.subscribe(&mut world);
    world.run_ms(100);
    let got = later.packets(&world);
    assert_eq!(got.len(), 40);
    assert_eq!(got[39].header.sequence, 30_039);
    assert!(got[39].at.since(start) < Duration::from_millis(700));
    assert!(before <= 1);
}

#[test]
fn a_joiner_into_a_long_group_of_pictures_waits_for_the_keyframe_that_it_costs() {
    let (mut world, mut teacher, _) = class(1);
    for n in 0..300u32 {
        teacher.send_frame(&mut world, n == 0, n * 6000, 3);
        world.run_ms(66);
    }
    let before = count_new_asks(&mut teacher, &world);
    let mut late = Peer::join(&mut world, 50);
    late.subscribe(&mut world);
    world.run_ms(66);
    teacher.send_frame(&mut world, false, 300 * 6000, 3);
    world.run_ms(66);
    assert_eq!(late.packets(&world).len(), 0);
    assert_eq!(count_new_asks(&mut teacher, &world), before + 1);
    teacher.send_frame(&mut world, true, 301 * 6000, 9);
    world.run_ms(66);
    assert_eq!(late.packets(&world).len(), 9);
    let mut unlucky = Peer::join(&mut world, 51);
    unlucky.subscribe(&mut world);
    world.run_ms(66);
    assert_eq!(unlucky.packets(&world).len(), 9, "nobody is asked twice in five seconds");
}

#[test]
fn a_keyframe_of_160_packets_is_paced() {
    let (mut world, mut teacher, mut viewers) = class(1);
    teacher.send_frame(&mut world, true, 0, 160);
    world.run_ms(1000);
    let got = viewers[0].packets(&world);
    assert_eq!(got.len(), 160);
    for window in got.windows(17) {
        assert!(window[16].at.since(window[0].at) >= Duration::from_millis(9));
    }
    let span = got[159].at.since(got[0].at);
    assert!(span <= Duration::from_millis(150), "{span:?}");
}

#[test]
fn what_the_teachers_line_loses_is_asked_for_and_fits_in() {
    let (mut world, mut teacher, mut viewers) = class(2);
    teacher.send_frame(&mut world, true, 0, 4);
    world.run_ms(66);
    let packets = teacher.frame(false, 6000, 10, 1000);
    let first = teacher.next_sequence(VIDEO).wrapping_sub(10);
    for (n, packet) in packets.iter().enumerate() {
        if n != 3 && n != 4 {
            world.receive(teacher.id, packet);
        }
    }
    world.run_ms(15);
    assert_eq!(viewers[0].packets(&world).len(), 4 + 3, "the rest waits behind the hole");
    let mut lost: Vec<u16> = Vec::new();
    for compound in teacher.reports(&world) {
        for packet in rtcp::packets(&compound) {
            if let rtcp::Packet::Nack { media, pairs, .. } = packet {
                assert_eq!(media, VIDEO);
                lost.extend(pairs.sequences());
            }
        }
    }
    assert_eq!(lost, [first.wrapping_add(3), first.wrapping_add(4)]);
    for (n, number) in [(3usize, lost[0]), (4, lost[1])] {
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend(vp8_payload(false, false, 6000, n, 1000));
        let packet = teacher.seal(VIDEO_RTX, 97, false, 6000, &payload);
        world.receive(teacher.id, &packet);
    }
    world.run_ms(50);
    let got = viewers[1].packets(&world);
    assert_eq!(got.len(), 14);
    for (n, packet) in got[4..].iter().enumerate() {
        assert_eq!(packet.payload, vp8_payload(false, n == 0, 6000, n, 1000));
    }
}

#[test]
fn what_a_viewers_line_loses_is_sent_again_from_the_ring() {
    let (mut world, mut teacher, mut viewers) = class(1);
    teacher.send_frame(&mut world, true, 0, 12);
    world.run_ms(66);
    let viewer = &mut viewers[0];
    let got = viewer.packets(&world);
    let media = got[0].header.ssrc;
    viewer.send_rtcp(&mut world, |out| {
        // Before the first and after the last: never sent, never answered.
        rtcp::nack(out, Ssrc(1), media, &[29_990, 30_003, 30_011, 30_012]);
    });
    world.run_ms(20);
    let again = viewer.packets(&world);
    assert_eq!(again.len(), 2);
    for (packet, n) in again.iter().zip([3usize, 11]) {
        assert_eq!(packet.header.payload_type, 101);
        assert_eq!(packet.payload[..2], (30_000 + n as u16).to_be_bytes());
        assert_eq!(packet.payload[2..], got[n].payload[..]);
    }
}

#[test]
fn another_source_goes_on_in_number_and_time_from_its_keyframe() {
    let (mut world, mut teacher, mut viewers) = class(1);
    for n in 0..30 {
        teacher.send_frame(&mut world, n == 0, 3_000_000_000 + n * 6000, 3);
        world.run_ms(66);
    }
    world.run_ms(2000);
    let mut again = Peer::join(&mut world, 40);
    again.publish(&mut world);
    again.send_frame(&mut world, false, 5, 3);
    world.run_ms(66);
    again.send_frame(&mut world, true, 6005, 3);
    world.run_ms(66);
    let got = viewers[0].packets(&world);
    assert_eq!(got.len(), 93, "what came before the keyframe is not forwarded");
    for pair in got.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
    }
    let jump = got[90].header.timestamp.wrapping_sub(got[89].header.timestamp);
    let passed = got[90].at.since(got[89].at).as_millis() as u32 * 90;
    assert!(jump.abs_diff(passed) < 900, "{jump} ticks for {passed}");
}

#[test]
fn a_hundred_joiners_and_their_picture_losses_cost_one_keyframe_in_five_seconds() {
    let (mut world, mut teacher, _) = class(1);
    teacher.send_frame(&mut world, true, 0, 4);
    let mut joiners = Vec::new();
    for n in 0..100u16 {
        // A long group of pictures, not worth replaying.
        teacher.send_frame(&mut world, false, u32::from(n) * 6000 + 6000, 12);
        let peer = Peer::join(&mut world, 100 + n);
        peer.subscribe(&mut world);
        joiners.push(peer);
        world.run_ms(10);
        for joiner in &mut joiners {
            let media = Ssrc(0x9000 + u32::from(joiner.id) * 4);
            joiner.send_rtcp(&mut world, |out| rtcp::pli(out, Ssrc(1), media));
        }
        world.run_ms(10);
        if count_new_asks(&mut teacher, &world) > 0 {
            teacher.send_frame(&mut world, true, u32::from(n) * 6000 + 9000, 4);
        }
    }
    let counters = world.node.session_counters(teacher.session()).expect("is here");
    let asked = counters.iter().find(|(name, _)| *name == "keyframes_asked").expect("is counted").1;
    assert_eq!(asked, 1);
    for joiner in &mut joiners {
        assert!(joiner.packets(&world).len() >= 4);
    }
}

fn count_new_asks(teacher: &mut Peer, world: &World) -> u64 {
    let counters = world.node.session_counters(teacher.session()).expect("is here");
    counters.iter().find(|(name, _)| *name == "keyframes_asked").expect("is counted").1
}

#[test]
fn a_still_class_is_heard_every_quarter_second_and_a_silent_viewer_is_missed() {
    let (mut world, teacher, mut viewers) = class(1);
    world.run_ms(7900);
    assert!(!world.events.iter().any(|e| matches!(e, Event::Silent { .. })));
    world.run_ms(200);
    let silent: Vec<_> =
        world.events.iter().filter(|e| matches!(e, Event::Silent { .. })).collect();
    assert_eq!(silent.len(), 2);
    let viewer = &mut viewers[0];
    let reports = viewer.reports(&world);
    assert!((30..=34).contains(&reports.len()), "{}", reports.len());
    world.command(Command::RemoveSession { session: teacher.session() });
    world.command(Command::RemoveSession { session: viewer.session() });
    world.run_ms(10);
    let sent = world.sent.len();
    world.run_ms(10_000);
    assert_eq!(world.sent.len(), sent, "nobody is left to talk to");
    assert_eq!(world.node.deadline(), None, "an empty node sleeps");
}

#[test]
fn sender_reports_carry_the_teachers_clock_onto_the_viewers_time_line() {
    let (mut world, mut teacher, mut viewers) = class(1);
    teacher.send_frame(&mut world, true, 1000, 2);
    let ntp: u64 = 0xe000_0000_0000_0000;
    let mut report = Vec::new();
    rtcp::sender_report(&mut report, VIDEO, ntp, 1000, 2, 2000, &[]);
    assert!(teacher.sealer.seal_rtcp(&mut report));
    world.receive(teacher.id, &report);
    world.run_ms(1500);
    let got = viewers[0].packets(&world);
    let mut seen = 0;
    for compound in viewers[0].reports(&world) {
        for packet in rtcp::packets(&compound) {
            if let rtcp::Packet::SenderReport {
                ssrc, ntp: at, rtp_timestamp, packet_count, ..
            } = packet
            {
                seen += 1;
                assert_eq!((ssrc, packet_count), (got[0].header.ssrc, 2));
                let passed = (at - ntp) as f64 / f64::from(u32::MAX);
                let ticks = rtp_timestamp.wrapping_sub(got[0].header.timestamp);
                assert!((passed * 90_000.0 - f64::from(ticks)).abs() < 2.0);
            }
        }
    }
    assert!(seen >= 2);
}

#[test]
fn an_ice_restart_moves_the_session_and_the_old_credentials_die() {
    let (mut world, _, viewers) = class(1);
    let session = viewers[0].session();
    world.command(Command::RestartIce { session, ice_ufrag: "node9".into(), ice_pwd: pwd(9) });
    world.sent.clear();
    world.receive(900, &check(9, &pwd(9)));
    world.run_ms(10);
    assert!(world.sent.iter().any(|(_, port, ..)| *port == 900), "answered");
    world.sent.clear();
    world.receive(901, &check(viewers[0].id, &pwd(viewers[0].id)));
    world.run_ms(300);
    assert!(world.sent.iter().all(|(_, port, ..)| *port != 901), "the old ones are dead");
    assert!(world.sent.iter().any(|(_, port, ..)| *port == 900), "and media goes the new way");
}

#[test]
fn rooms_and_sessions_leave_nothing_behind() {
    let mut world = World::new();
    for round in 0..50u16 {
        let peers: Vec<Peer> = (1..20).map(|n| Peer::join(&mut world, round * 20 + n)).collect();
        peers[0].publish(&mut world);
        peers[1..].iter().for_each(|p| p.subscribe(&mut world));
        world.run_ms(5);
        for peer in &peers {
            world.command(Command::RemoveSession { session: peer.session() });
        }
    }
    world.run_ms(1000);
    let counters = world.node.counters();
    assert!(counters.contains(&("sessions", 0)) && counters.contains(&("rooms", 0)));
    let _ = (RoomId(0), SessionId(0), Time(0));
}
