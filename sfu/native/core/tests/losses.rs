//! What viewers' lines lose, in virtual time: repairs, lost beginnings, viewers that cannot keep up.

mod world;

use std::time::Duration;

use lectern_core::ids::Ssrc;
use lectern_core::rtcp;
use lectern_core::twcc::Recorder;
use world::*;

const TRANSPORT_CC: u8 = 5;

fn class() -> (World, Peer, Peer) {
    let mut world = World::new();
    let teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    let viewer = Peer::join(&mut world, 2);
    viewer.subscribe_with(&mut world, Some(TRANSPORT_CC));
    (world, teacher, viewer)
}

fn class_without_feedback() -> (World, Peer, Peer) {
    let (mut world, teacher, _) = class();
    let viewer = Peer::join(&mut world, 4);
    viewer.subscribe(&mut world);
    (world, teacher, viewer)
}

fn video_of(peer: &Peer) -> Ssrc {
    Ssrc(0x9000 + u32::from(peer.id) * 4)
}

fn counter(world: &World, peer: &Peer, name: &str) -> u64 {
    let counters = world.node.session_counters(peer.session()).expect("is here");
    counters.iter().find(|(known, _)| *known == name).expect("is counted").1
}

/// A viewer's end of its line: what arrives there is told to the node every 50 ms.
#[derive(Default)]
struct Line {
    recorder: Recorder,
}

impl Line {
    /// Take what the node sent; `arrives` decides by the count of packets. Returns what came.
    fn carry(
        &mut self,
        world: &mut World,
        peer: &mut Peer,
        mut arrives: impl FnMut() -> bool,
    ) -> Vec<Got> {
        let mut came = peer.packets(world);
        came.retain(|_| arrives());
        for got in &came {
            if let Some(value) = got.transport_sequence {
                self.recorder.record(value, got.at);
            }
        }
        if self.recorder.is_pending() {
            let media = video_of(peer);
            let recorder = &mut self.recorder;
            peer.send_rtcp(world, |out| {
                recorder.feedback(Ssrc(1), media, out);
            });
        }
        came
    }
}

/// Not a retransmission, by which the line is probed as well.
fn is_picture(got: &Got) -> bool {
    got.header.payload_type == 100
}

#[test]
fn a_picture_whose_first_packets_were_lost_is_sent_once_more() {
    let (mut world, mut teacher, mut viewer) = class();
    let mut line = Line::default();
    teacher.send_frame(&mut world, true, 0, 12);
    let (mut dropped, mut came) = (0, Vec::new());
    for _ in 0..10 {
        world.run_ms(50);
        came.extend(line.carry(&mut world, &mut viewer, || {
            dropped += 1;
            dropped > 5
        }));
    }
    assert_eq!(counter(&world, &viewer, "starts_again"), 1);
    came.retain(is_picture);
    assert_eq!(came.len(), 7 + 12, "the rest of the first start, and the second");
    for (n, got) in came[7..].iter().enumerate() {
        assert_eq!(got.payload, vp8_payload(true, n == 0, 0, n, 1100));
        assert_eq!(got.header.sequence, 30_012 + n as u16, "under new numbers");
        assert_eq!(got.header.timestamp, came[0].header.timestamp);
    }
}

#[test]
fn a_viewer_that_heard_nothing_is_sent_the_picture_again_a_few_times() {
    let (mut world, mut teacher, mut viewer) = class();
    teacher.send_frame(&mut world, true, 0, 12);
    world.run_ms(260);
    assert_eq!(viewer.packets(&world).len(), 24, "once more after 200 ms and a round trip");
    world.run_ms(5000);
    assert_eq!(viewer.packets(&world).len(), 36, "and not for ever");
    assert_eq!(counter(&world, &teacher, "keyframes_asked"), 0, "the teacher pays nothing for it");
}

#[test]
fn a_viewer_that_says_it_has_the_beginning_is_sent_nothing_twice() {
    let (mut world, mut teacher, mut viewer) = class();
    let mut line = Line::default();
    teacher.send_frame(&mut world, true, 0, 12);
    let mut came = 0;
    for _ in 0..40 {
        world.run_ms(50);
        came +=
            line.carry(&mut world, &mut viewer, || true).iter().filter(|g| is_picture(g)).count();
    }
    assert_eq!(came, 12);
}

#[test]
fn a_picture_loss_said_before_the_picture_can_have_come_is_not_one() {
    let (mut world, mut teacher, mut viewer) = class();
    let media = video_of(&viewer);
    teacher.send_frame(&mut world, true, 0, 12);
    world.run_ms(20);
    viewer.send_rtcp(&mut world, |out| rtcp::pli(out, Ssrc(1), media));
    world.run_ms(10);
    assert_eq!(viewer.packets(&world).len(), 12);
    world.run_ms(50);
    viewer.send_rtcp(&mut world, |out| rtcp::pli(out, Ssrc(1), media));
    world.run_ms(20);
    assert_eq!(viewer.packets(&world).len(), 12, "later it is, and is answered from the ring");
    assert_eq!(counter(&world, &teacher, "keyframes_asked"), 0);
}

#[test]
fn without_retransmission_negotiated_a_loss_is_not_answered() {
    let (mut world, mut teacher, _) = class();
    let mut plain = Peer::join(&mut world, 3);
    plain.subscribe_without_repair(&mut world);
    teacher.send_frame(&mut world, true, 0, 12);
    world.run_ms(50);
    assert_eq!(plain.packets(&world).len(), 12);
    let media = video_of(&plain);
    plain.send_rtcp(&mut world, |out| {
        rtcp::nack(out, Ssrc(1), media, &[30_003]);
    });
    world.run_ms(50);
    assert_eq!(plain.packets(&world).len(), 0);
    assert_eq!(counter(&world, &plain, "nacks_unanswered"), 1);
}

#[test]
fn repairs_go_before_new_pictures_and_after_sound() {
    let (mut world, mut teacher, mut viewer) = class_without_feedback();
    let media = video_of(&viewer);
    teacher.send_frame(&mut world, true, 0, 12);
    world.run_ms(200);
    viewer.packets(&world);
    viewer.send_rtcp(&mut world, |out| {
        rtcp::nack(out, Ssrc(1), media, &[30_001, 30_002]);
    });
    teacher.send_frame(&mut world, false, 6000, 8);
    let sound = teacher.seal(MIC, 111, false, 960, &[1; 100]);
    world.receive(teacher.id, &sound);
    world.run_ms(15);
    let order: Vec<u8> = viewer.packets(&world).iter().map(|got| got.header.payload_type).collect();
    assert_eq!(order, [&[109, 101, 101][..], &[100; 8][..]].concat());
    // Its line loses: the end of a frame, which nothing follows that would tell, goes out once more.
    world.run_ms(500);
    let tail = viewer.packets(&world);
    assert_eq!(tail.len(), 1);
    assert_eq!(tail[0].payload[..2], 30_019u16.to_be_bytes());
}

/// A line that after a second carries a third of what is sent, for a teacher's 3 Mbit/s.
fn watch_on_a_bad_line(seconds: u64, keyframe_every: u32) -> (World, Peer, Peer, Vec<Got>, Peer) {
    let (mut world, mut teacher, mut slow) = class();
    let other = Peer::join(&mut world, 3);
    other.subscribe(&mut world);
    let (mut line, mut random, mut sent) = (Line::default(), Random(1), Vec::new());
    let mut answered = 0;
    for n in 0..seconds as u32 * 20 {
        let asks = counter(&world, &teacher, "keyframes_asked");
        teacher.send_frame(&mut world, n % keyframe_every == 0 || asks > answered, n * 4500, 17);
        answered = asks;
        let sound = teacher.seal(MIC, 111, false, n * 2400, &[1; 100]);
        world.receive(teacher.id, &sound);
        world.run_ms(50);
        let came = line.carry(&mut world, &mut slow, || n < 20 || random.below(3) == 0);
        sent.extend(came);
    }
    (world, teacher, slow, sent, other)
}

#[test]
fn a_viewer_that_cannot_keep_up_skips_to_a_keyframe_and_never_back() {
    let (world, teacher, slow, came, mut other) = watch_on_a_bad_line(30, 100);
    assert!(counter(&world, &slow, "skips") > 0, "it did fall behind");
    let video: Vec<&Got> = came.iter().filter(|got| got.header.payload_type == 100).collect();
    for pair in video.windows(2) {
        let forward = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!(forward < 1 << 31, "the picture went back in time");
    }
    // Its trouble is its own.
    let others = other.packets(&world);
    let pictures = others.iter().filter(|got| got.header.payload_type == 100).count();
    assert_eq!(pictures, 30 * 20 * 17);
    assert!(counter(&world, &teacher, "keyframes_asked") <= 3);
    // All that its line let through of the sound was sent at once.
    let sounds: Vec<&Got> = came.iter().filter(|got| got.header.payload_type == 109).collect();
    assert!(sounds.len() > 30 * 20 / 5, "{}", sounds.len());
}

#[test]
fn who_falls_behind_a_teacher_without_keyframes_asks_for_few() {
    let (world, teacher, slow, _, _) = watch_on_a_bad_line(40, u32::MAX);
    assert!(counter(&world, &slow, "skips") > 0);
    let asked = counter(&world, &teacher, "keyframes_asked");
    assert!((1..=4).contains(&asked), "{asked} in 40 s, 15 s apart");
}

#[test]
fn who_asks_for_everything_gets_a_share_and_the_others_notice_nothing() {
    let (mut world, mut teacher, mut greedy) = class_without_feedback();
    let mut other = Peer::join(&mut world, 3);
    other.subscribe(&mut world);
    let media = video_of(&greedy);
    let mut late = Duration::ZERO;
    let mut sent = 0;
    for n in 0..200u32 {
        let before = world.now;
        teacher.send_frame(&mut world, n == 0, n * 4500, 10);
        world.run_ms(50);
        for got in other.packets(&world) {
            late = late.max(got.at.since(before));
        }
        sent += greedy.packets(&world).len();
        let from = 30_000u16.wrapping_add(n as u16 * 10);
        let everything: Vec<u16> = (0..400).map(|i| from.wrapping_sub(i)).collect();
        for _ in 0..5 {
            greedy.send_rtcp(&mut world, |out| {
                rtcp::nack(out, Ssrc(1), media, &everything);
            });
        }
    }
    let tails = counter(&world, &greedy, "tails_repeated") as usize;
    assert!(tails <= 16 * 10, "{tails} in 10 s");
    let (sent, repaired) =
        (sent - tails, counter(&world, &greedy, "packets_repaired") as usize - tails);
    assert!(repaired <= (sent - repaired) / 3 + 130, "{repaired} of {sent}");
    assert!(counter(&world, &greedy, "nacks_refused") > 0);
    assert!(late <= Duration::from_millis(20), "{late:?}");
    assert_eq!(counter(&world, &other, "packets_out"), 2000);
}

#[test]
fn a_viewer_that_stops_reading_costs_nobody_a_picture() {
    let (mut world, mut teacher, _) = class();
    let mut other = Peer::join(&mut world, 3);
    other.subscribe(&mut world);
    for n in 0..100u32 {
        teacher.send_frame(&mut world, n == 0, n * 4500, 10);
        world.run_ms(50);
    }
    assert_eq!(other.packets(&world).len(), 1000);
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}
