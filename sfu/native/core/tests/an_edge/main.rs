//! A class on two nodes and on three, in virtual time: an origin, an edge that copies it, viewers of both.

mod tree;
#[path = "../world/mod.rs"]
mod world;

use std::time::Duration;

use lectern_core::api::{Command, Event};
use lectern_core::ids::{SessionId, Ssrc, Time};
use lectern_core::rtcp;
use tree::*;
use world::*;

#[test]
fn a_tree_of_depth_two_shows_everybody_the_same_and_costs_one_copy_a_link() {
    let mut tree = Tree::new(3);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(1, 2, false);
    let mut viewers: Vec<(usize, Peer)> =
        [(0, 10), (1, 11), (1, 12), (2, 13)].map(|(n, id)| (n, watch(&mut tree, n, id))).into();
    tree.run_ms(50);
    play(&mut tree, &mut teacher, 60, 12, true);
    for (node, viewer) in &mut viewers {
        let got = viewer.packets(&tree.nodes[*node]);
        assert_eq!(payloads(&got), frames(0, 60, 12), "on node {node}");
        assert!(got.iter().filter(|p| p.mid == b"m").count() >= 59, "sound on node {node}");
        let times: Vec<u32> =
            got.iter().filter(|p| p.mid == b"v").map(|p| p.header.timestamp).collect();
        assert_eq!(times.first(), Some(&0), "the time line is the origin's");
        assert_eq!(times.last(), Some(&(59 * 6000)));
    }
    for (parent, _, session, _) in tree.ends.clone() {
        let probes = tree.counter(parent, session, "probe_packets_out");
        assert_eq!(tree.counter(parent, session, "packets_out") - probes, 60 * 12 + 60);
    }
    assert_eq!(tree.dropped, 0);
    assert!(asks(&tree) <= 1);
}

#[test]
fn a_hop_adds_no_more_than_its_line_and_a_turn() {
    let mut tree = Tree::new(3);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(1, 2, false);
    let (mut near, mut far) = (watch(&mut tree, 0, 10), watch(&mut tree, 2, 13));
    tree.run_ms(50);
    // The first frame waits until the codec is told; a keyframe of 100 packets comes later.
    for n in 0..10u32 {
        teacher.send_frame(&mut tree.nodes[0], n % 5 == 0, n * 6000, if n == 5 { 100 } else { 12 });
        tree.run_ms(100);
    }
    let ends = |got: &[Got]| -> Vec<Time> {
        got.iter().filter(|p| p.header.marker).map(|p| p.at).collect()
    };
    let (near, far) = (ends(&near.packets(&tree.nodes[0])), ends(&far.packets(&tree.nodes[2])));
    assert_eq!((near.len(), far.len()), (10, 10));
    for (n, (near, far)) in near.iter().zip(&far).enumerate().skip(1) {
        let added = far.since(*near);
        assert!(added <= Duration::from_millis(2 * 5), "frame {n}: {added:?} over two hops");
    }
}

#[test]
fn what_a_link_loses_is_repaired_by_its_parent_and_nobody_notices() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    let mut viewer = watch(&mut tree, 1, 10);
    tree.run_ms(50);
    tree.drops = |n, _| n % 13 == 5;
    play(&mut tree, &mut teacher, 90, 12, true);
    tree.drops = |_, _| false;
    tree.run_ms(500);
    assert!(tree.dropped > 50, "{} dropped", tree.dropped);
    let got = viewer.packets(&tree.nodes[1]);
    assert_eq!(payloads(&got), frames(0, 90, 12));
    let (_, _, _, child) = tree.ends[0];
    assert!(tree.counter(1, child, "packets_repaired") > 50);
    assert_eq!(tree.counter(1, child, "packets_given_up"), 0);
    assert!(asks(&tree) <= 1, "repairs are the parent's business");
}

#[test]
fn a_joiner_on_an_edge_is_served_from_its_cache_and_nobody_is_asked() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.run_ms(50);
    play(&mut tree, &mut teacher, 20, 3, false);
    let before = asks(&tree);
    let mut late = watch(&mut tree, 1, 10);
    tree.run_ms(100);
    let got = payloads(&late.packets(&tree.nodes[1]));
    assert_eq!(got, frames(0, 20, 3), "the picture and what came since");
    assert_eq!(asks(&tree), before);
    let (_, _, above, below) = tree.ends[0];
    assert_eq!(tree.counter(1, below, "keyframes_asked"), 0);
    assert_eq!(tree.counter(0, above, "picture_losses"), 0);
}

#[test]
fn nodes_that_are_far_from_each_other_are_linked_too() {
    let mut tree = Tree::new(2);
    // A round trip is longer than checks are apart.
    tree.delay = Duration::from_millis(120);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    let mut viewer = watch(&mut tree, 1, 10);
    tree.run_ms(600);
    play(&mut tree, &mut teacher, 20, 3, false);
    tree.run_ms(500);
    assert_eq!(payloads(&viewer.packets(&tree.nodes[1])), frames(0, 20, 3));
}

#[test]
fn joiners_everywhere_cost_the_teacher_one_keyframe_in_five_seconds() {
    let mut tree = Tree::new(3);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(1, 2, false);
    tree.run_ms(50);
    // A group of pictures that is not worth replaying.
    for n in 0..200u32 {
        teacher.send_frame(&mut tree.nodes[0], n == 0, n * 6000, 3);
        tree.run_ms(33);
    }
    let before = asks(&tree);
    let mut late: Vec<(usize, Peer)> =
        [(0, 20), (1, 21), (2, 22), (2, 23)].map(|(n, id)| (n, watch(&mut tree, n, id))).into();
    tree.run_ms(40);
    assert_eq!(asks(&tree), before + 1, "whoever asked first, and on whichever node");
    teacher.send_frame(&mut tree.nodes[0], true, 200 * 6000, 9);
    tree.run_ms(40);
    for (node, peer) in &mut late {
        assert_eq!(payloads(&peer.packets(&tree.nodes[*node])).len(), 9, "on node {node}");
    }
}

#[test]
fn another_parent_takes_over_and_the_viewers_miss_nothing_and_see_nothing_twice() {
    let mut tree = Tree::new(4);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(0, 2, false);
    tree.link(1, 3, false);
    let mut viewer = watch(&mut tree, 3, 10);
    tree.run_ms(50);
    let send = |tree: &mut Tree, teacher: &mut Peer, n: u32| {
        for packet in teacher.frame(n == 0, n * 6000, 12, 1100) {
            tree.nodes[0].receive(teacher.id, &packet);
            tree.run_ms(1);
        }
        let sound = teacher.seal(MIC, 111, false, n * 3168, &[n as u8; 80]);
        tree.nodes[0].receive(teacher.id, &sound);
        tree.run_ms(20);
    };
    for n in 0..20 {
        send(&mut tree, &mut teacher, n);
    }
    tree.link(2, 3, true); // both live for a while
    for n in 20..25 {
        send(&mut tree, &mut teacher, n);
    }
    let follows = Event::Follows { session: tree.ends[3].3 };
    assert!(tree.nodes[3].events.contains(&follows));
    tree.end(2);
    for n in 25..40 {
        send(&mut tree, &mut teacher, n);
    }
    let got = viewer.packets(&tree.nodes[3]);
    assert_eq!(payloads(&got), frames(0, 40, 12));
    let times: Vec<u32> =
        got.iter().filter(|p| p.mid == b"m").map(|p| p.header.timestamp).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "sound goes on, each once: {times:?}");
    assert!(asks(&tree) <= 1);
}

#[test]
fn a_parent_that_died_is_replaced_from_the_cache_of_another() {
    let mut tree = Tree::new(4);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(0, 2, false);
    tree.link(1, 3, false);
    let mut viewer = watch(&mut tree, 3, 10);
    tree.run_ms(50);
    play(&mut tree, &mut teacher, 20, 3, false);
    let (_, _, above, below) = tree.ends[2];
    tree.nodes[1].command(Command::RemoveSession { session: above });
    for n in 20..40 {
        teacher.send_frame(&mut tree.nodes[0], false, n * 6000, 3);
        tree.run_ms(66);
    }
    let silent = |e: &Event| matches!(e, Event::Silent { session, .. } if *session == below);
    assert!(tree.nodes[3].events.iter().any(silent), "the child has noticed");
    assert_eq!(payloads(&viewer.packets(&tree.nodes[3])), frames(0, 20, 3));
    tree.link(2, 3, true);
    for n in 40..45 {
        teacher.send_frame(&mut tree.nodes[0], false, n * 6000, 3);
        tree.run_ms(66);
    }
    assert_eq!(payloads(&viewer.packets(&tree.nodes[3])), frames(20, 45, 3));
    assert!(asks(&tree) <= 1);
}

#[test]
fn a_line_that_was_dead_for_longer_than_repairs_costs_the_class_no_keyframe() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    let mut viewer = watch(&mut tree, 1, 10);
    tree.run_ms(50);
    for n in 0..60u32 {
        // The line is dead for a second and a half: longer than repairs are waited for.
        tree.drops = if (10..32).contains(&n) { |_, _| true } else { |_, _| false };
        teacher.send_frame(&mut tree.nodes[0], n == 0, n * 6000, 3);
        tree.run_ms(66);
    }
    assert!(tree.dropped > 20, "{}", tree.dropped);
    assert_eq!(payloads(&viewer.packets(&tree.nodes[1])), frames(0, 60, 3));
    assert!(asks(&tree) <= 1, "the class was not bothered");
}

#[test]
fn a_picture_broken_on_the_way_is_mended_from_the_parents_cache() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    let mut viewer = watch(&mut tree, 1, 10);
    tree.run_ms(50);
    for n in 0..40u32 {
        // One packet is lost, and every repair: it is given up after a second.
        tree.drops = match n {
            10 => |_, ssrc| ssrc % 16 == 0,
            11..30 => |_, ssrc| ssrc % 16 == 1,
            _ => |_, _| false,
        };
        teacher.send_frame(&mut tree.nodes[0], n == 0, n * 6000, 2);
        tree.run_ms(66);
    }
    tree.run_ms(500);
    let (_, _, above, below) = tree.ends[0];
    assert!(tree.counter(1, below, "packets_given_up") > 0, "the picture was broken");
    assert_eq!(tree.counter(0, above, "starts_again"), 1, "and sent once more");
    let got = payloads(&viewer.packets(&tree.nodes[1]));
    assert_eq!(got, frames(0, 40, 2));
    assert!(asks(&tree) <= 1, "the class was not bothered");
}

#[test]
fn two_links_of_one_pair_of_nodes_are_told_apart_and_strangers_get_nothing() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(0, 1, false);
    tree.run_ms(50);
    teacher.send_frame(&mut tree.nodes[0], true, 0, 3);
    tree.run_ms(50);
    for (_, _, above, below) in tree.ends.clone() {
        assert_eq!(tree.counter(0, above, "packets_out"), 3);
        assert_eq!(tree.counter(1, below, "refused"), 0);
    }
    // A link whose checks nobody answers, and that nobody proved, is sent nothing.
    tree.nodes[0].command(Command::AddLink {
        session: SessionId(99),
        ice_ufrag: "other".into(),
        ice_pwd: "a-password-that-nobody-has".into(),
        call: vec![],
        hears: vec![Ssrc(1)],
    });
    let sent = tree.nodes[0].sent.len();
    tree.nodes[0].receive(4711, &check(99, "a-password-that-is-wrong"));
    tree.run_ms(20);
    teacher.send_frame(&mut tree.nodes[0], false, 6000, 3);
    tree.run_ms(20);
    assert!(tree.nodes[0].sent[sent..].iter().all(|(_, port, ..)| *port != 4711));
}

#[test]
fn a_line_narrower_than_the_class_loses_whole_frames_and_bothers_nobody_else() {
    let mut tree = Tree::new(2);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    let (mut near, mut far) = (watch(&mut tree, 0, 10), watch(&mut tree, 1, 11));
    tree.run_ms(50);
    let send = |tree: &mut Tree, teacher: &mut Peer, n: u32| {
        teacher.send_frame(&mut tree.nodes[0], n % 75 == 0, n * 6000, 6);
        tree.run_ms(66);
    };
    for n in 0..45 {
        send(&mut tree, &mut teacher, n);
    }
    let asked = asks(&tree);
    tree.narrow = Some(400_000); // of 800 kbit/s
    for n in 45..450 {
        send(&mut tree, &mut teacher, n);
    }
    assert!(tree.dropped > 0, "the line was full");
    assert_eq!(payloads(&near.packets(&tree.nodes[0])), frames(0, 450, 6));
    let got = payloads(&far.packets(&tree.nodes[1]));
    let mut whole: Vec<u32> = got.iter().map(|(frame, _)| *frame).collect();
    whole.dedup();
    assert!(whole.is_sorted(), "never back");
    let last = *whole.last().expect("something came");
    for frame in whole.iter().filter(|frame| **frame < last) {
        let parts = got.iter().filter(|(of, _)| of == frame).count();
        assert_eq!(parts, 6, "frame {frame}");
    }
    let shown = whole.iter().filter(|frame| **frame >= 45).count();
    assert!(shown > 405 / 5, "{shown} of 405 frames at half the rate");
    let (_, _, above, _) = tree.ends[0];
    let shed = tree.counter(0, above, "skips") + tree.counter(0, above, "frames_left_out");
    assert!(shed > 0, "it was shed, not lost");
    let bound = 27 / 5 + 2;
    assert!(asks(&tree) - asked <= bound, "{} keyframes in 27 s", asks(&tree) - asked);
}

#[test]
fn the_teachers_clock_reaches_the_viewers_of_an_edge() {
    let mut tree = Tree::new(3);
    let mut teacher = teach(&mut tree);
    tree.link(0, 1, false);
    tree.link(1, 2, false);
    let mut far = watch(&mut tree, 2, 13);
    tree.run_ms(50);
    const NTP: u64 = 0xe000_0000 << 32;
    let begins = tree.nodes[0].now;
    for n in 0..60u32 {
        teacher.send_frame(&mut tree.nodes[0], n == 0, n * 5940, 3);
        if n % 15 == 0 {
            let passed = tree.nodes[0].now.since(begins).as_nanos();
            let ntp = NTP + ((passed << 32) / 1_000_000_000) as u64;
            let timestamp = (passed * 90_000 / 1_000_000_000) as u32;
            teacher.send_rtcp(&mut tree.nodes[0], |out| {
                rtcp::sender_report(out, VIDEO, ntp, timestamp, 1, 1, &[]);
            });
        }
        tree.run_ms(66);
    }
    let mut seen = 0;
    for compound in far.reports(&tree.nodes[2]) {
        for packet in rtcp::packets(&compound) {
            let rtcp::Packet::SenderReport { ntp, rtp_timestamp, .. } = packet else { continue };
            let of_ntp = (i128::from(ntp - NTP) * 90_000) >> 32;
            let off_ms = (of_ntp - i128::from(rtp_timestamp)).abs() / 90;
            assert!(off_ms <= 2, "{off_ms} ms between the clock and the picture");
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} reports");
}
