//! What strangers and misbehaving peers send: dropped, counted, and nothing else.

mod world;

use lectern_core::api::Event;
use lectern_core::ids::Ssrc;
use lectern_core::rtcp;
use world::*;

fn counter(world: &World, name: &str) -> u64 {
    world.node.counters().iter().find(|(n, _)| *n == name).expect("is counted").1
}

#[test]
fn strangers_get_no_answer_and_no_dtls_reaches_python() {
    let mut world = World::new();
    let _peer = Peer::join(&mut world, 1);
    world.run_ms(5);
    world.sent.clear();
    world.events.clear();
    let hello = {
        let mut bytes = vec![22u8, 0xfe, 0xfd];
        bytes.resize(200, 1);
        bytes
    };
    world.receive(999, &hello);
    world.receive(999, &check(1, "wrong-password-of-somebody"));
    world.receive(999, &check(2, &pwd(2)));
    world.receive(999, &[0x80; 100]);
    world.receive(
        999,
        &[0x80, 200, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    for length in 0..100 {
        world.receive(999, &vec![0xff; length]);
        world.receive(999, &check(1, &pwd(1))[..length.min(90)]);
    }
    world.run_ms(1);
    assert!(world.sent.iter().all(|(_, port, ..)| *port != 999));
    assert!(world.events.is_empty());
    assert!(counter(&world, "stun_refused") >= 2);
    assert_eq!(counter(&world, "datagrams_of_unknown_path"), 3);
    // From a tuple that passed a check it is let in.
    world.receive(1, &hello);
    world.run_ms(1);
    assert!(matches!(&world.events[..], [Event::Dtls { datagram, .. }] if *datagram == hello));
}

#[test]
fn an_answer_is_never_larger_than_the_question() {
    let mut world = World::new();
    let _peer = Peer::join(&mut world, 1);
    world.run_ms(1);
    world.sent.clear();
    let question = check(1, &pwd(1));
    world.receive(1, &question);
    world.run_ms(1);
    let answers: Vec<_> = world.sent.iter().filter(|(.., d)| d[0] < 2).collect();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].3.len() <= question.len());
}

#[test]
fn forged_and_replayed_packets_change_nothing() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    let mut viewer = Peer::join(&mut world, 2);
    viewer.subscribe(&mut world);
    let mut frames = Vec::new();
    for n in 0..20 {
        for packet in teacher.frame(n == 0, n * 6000, 4, 900) {
            for bit in [0usize, 12, 100, packet.len() * 8 - 1] {
                let mut forged = packet.clone();
                let at = (bit / 8 + 2).min(forged.len() - 1);
                forged[at] ^= 1;
                world.receive(1, &forged);
            }
            world.receive(1, &packet);
            world.receive(1, &packet);
            frames.push(packet);
        }
        world.run_ms(66);
    }
    for packet in &frames {
        world.receive(1, packet);
        world.receive(2, packet);
    }
    world.run_ms(66);
    assert_eq!(viewer.packets(&world).len(), 80);
    assert!(counter(&world, "media_packets_refused") >= 80 * 6);
    assert_eq!(counter(&world, "media_packets_of_unknown_ssrc"), 80);
    assert_eq!(counter(&world, "media_packets_in"), 80);
}

#[test]
fn ten_thousand_ssrcs_on_one_transport_are_refused() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    for n in 0..10_000u32 {
        let packet =
            teacher.seal(Ssrc(0x10_0000 + n), 96, true, 0, &vp8_payload(true, true, 0, 0, 50));
        world.receive(1, &packet);
    }
    teacher.send_frame(&mut world, true, 0, 3);
    world.run_ms(10);
    let counters = world.node.session_counters(teacher.session()).expect("is here");
    let value = |name| counters.iter().find(|(n, _)| *n == name).expect("is counted").1;
    assert!(value("packets_received") >= 3, "the announced stream goes on");
    assert!(value("packets_of_unknown_ssrc") + value("refused") >= 9_990);
}

#[test]
fn a_flood_is_cut_to_a_rate_that_a_forger_of_the_port_cannot_use_up() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    for n in 0..20_000u32 {
        let mut forged = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        forged[8..12].copy_from_slice(&VIDEO.0.to_be_bytes());
        forged.extend_from_slice(&[n as u8; 40]);
        world.receive(1, &forged);
    }
    assert_eq!(counter(&world, "media_packets_over_rate"), 0);
    let frames = 700;
    for n in 0..frames {
        teacher.send_frame(&mut world, n == 0, n * 10, 10);
    }
    assert_eq!(counter(&world, "media_packets_refused"), 20_000);
    assert_eq!(counter(&world, "media_packets_in"), 5000);
    assert_eq!(counter(&world, "media_packets_over_rate"), u64::from(frames) * 10 - 5000);
}

#[test]
fn storms_of_feedback_are_answered_within_bounds() {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    let mut viewer = Peer::join(&mut world, 2);
    viewer.subscribe(&mut world);
    for n in 0..60 {
        teacher.send_frame(&mut world, n == 0, n * 6000, 5);
        world.run_ms(66);
    }
    let media = viewer.packets(&world)[0].header.ssrc;
    let everything: Vec<u16> = (29_000..31_000).collect();
    for _ in 0..200 {
        viewer.send_rtcp(&mut world, |out| {
            for part in everything.chunks(250) {
                rtcp::nack(out, Ssrc(3), media, part);
            }
            rtcp::pli(out, Ssrc(3), media);
        });
    }
    world.run_ms(1000);
    let repaired = viewer.packets(&world).len();
    assert!(repaired <= 1600, "a second of pacing: {repaired}");
    let counters = world.node.session_counters(teacher.session()).expect("is here");
    let asked = counters.iter().find(|(n, _)| *n == "keyframes_asked").expect("is counted").1;
    assert!(asked <= 3, "{asked}");
}
