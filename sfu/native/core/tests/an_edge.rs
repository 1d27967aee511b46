//! A class on two nodes and on three, in virtual time: an origin, an edge that copies it, viewers of both.

mod world;

use std::collections::VecDeque;
use std::time::Duration;

use lectern_core::api::{CodecSpec, Command, Event, LinkStream, Profile};
use lectern_core::ids::{RoomId, SessionId, Slot, Ssrc, Time};
use lectern_core::rtcp;
use world::*;

const PROFILE: Profile = Profile::AeadAes128Gcm;

/// Several nodes that take turns; what one sends to another's address arrives there after `delay`.
struct Tree {
    nodes: Vec<World>,
    links: u16,
    delay: Duration,
    /// (when, to, from, datagram)
    on_the_way: VecDeque<(Time, usize, usize, Vec<u8>)>,
    /// Of datagrams between nodes that hold media: by how many there were, and by SSRC.
    drops: fn(u64, u32) -> bool,
    carried: u64,
    /// In bit/s, of media between nodes, with half a second of queue; None: as wide as one likes.
    narrow: Option<u64>,
    free_at: Time,
    pub dropped: u64,
    read: Vec<usize>,
    told: Vec<usize>,
    /// (parent, child, parent's session, child's)
    ends: Vec<(usize, usize, SessionId, SessionId)>,
}

/// Nodes have the ports above those of any peer.
fn node_port(node: usize) -> u16 {
    60_000 + node as u16
}

impl Tree {
    fn new(nodes: usize) -> Tree {
        Tree {
            nodes: (0..nodes).map(|_| World::new()).collect(),
            links: 0,
            delay: Duration::from_millis(1),
            on_the_way: VecDeque::new(),
            drops: |_, _| false,
            carried: 0,
            narrow: None,
            free_at: Time(0),
            dropped: 0,
            read: vec![0; nodes],
            told: vec![0; nodes],
            ends: Vec::new(),
        }
    }

    /// Let `child` follow `parent`, as both are told by their Python.
    fn link(&mut self, parent: usize, child: usize, continues: bool) {
        self.links += 1;
        let n = self.links;
        let session = SessionId(50_000 + u32::from(n));
        let base = 0x5000_0000 + u32::from(n) * 16;
        let stream = |slot: Slot| LinkStream {
            slot,
            ssrc: Ssrc(base + slot as u32 * 2),
            rtx_ssrc: Ssrc(base + slot as u32 * 2 + 1),
        };
        let streams = vec![stream(Slot::Video), stream(Slot::Mic), stream(Slot::ScreenAudio)];
        let report = Ssrc(base + 15);
        let (ufrag, pwd) = (format!("link{n}"), format!("password-of-the-link-{n:05}"));
        let (down, up) = (vec![n as u8; 28], vec![!(n as u8); 28]);
        let add = |call: Vec<_>, hears| Command::AddLink {
            session,
            ice_ufrag: ufrag.clone(),
            ice_pwd: pwd.clone(),
            call,
            hears,
        };
        let keys = |local: &Vec<u8>, remote: &Vec<u8>| Command::SetKeys {
            session,
            profile: PROFILE,
            local: local.clone(),
            remote: remote.clone(),
        };
        let hears = streams.iter().flat_map(|s| [s.ssrc, s.rtx_ssrc]).collect();
        let below = &mut self.nodes[child];
        below.command(add(vec![path(node_port(parent)).address], hears));
        below.command(keys(&up, &down));
        below.command(Command::FollowLink {
            session,
            room: ROOM,
            streams: streams.clone(),
            report_ssrc: report,
            continues,
        });
        below.run(Duration::from_micros(1));
        let stands = |event: &Event| match event {
            Event::Stands { session: of, stand } if *of == session => Some(*stand),
            _ => None,
        };
        let from = below.events.iter().find_map(stands).expect("it says how far it has come");
        let above = &mut self.nodes[parent];
        above.command(add(vec![], vec![report]));
        above.command(keys(&down, &up));
        above.command(Command::FeedLink {
            session,
            room: ROOM,
            streams,
            cname: "link".into(),
            first_sequence: 7,
            from,
        });
        self.ends.push((parent, child, session, session));
        // What Python has heard of the parent's codecs before.
        let known: Vec<_> = codecs_of(&self.nodes[parent].events);
        for (slot, index, codec) in known {
            self.tell_codec(self.ends.len() - 1, slot, index, &codec);
        }
    }

    fn tell_codec(&mut self, link: usize, slot: Slot, index: u8, codec: &CodecSpec) {
        let (parent, child, above, below) = self.ends[link];
        let numbered = CodecSpec {
            payload_type: 96 + index * 2,
            rtx_payload_type: Some(97 + index * 2),
            ..codec.clone()
        };
        self.nodes[child].command(Command::AddCodec {
            session: below,
            slot,
            codec: numbered.clone(),
        });
        self.nodes[parent].command(Command::AddCodec { session: above, slot, codec: numbered });
    }

    fn end(&mut self, link: usize) {
        let (parent, child, above, below) = self.ends[link];
        self.nodes[parent].command(Command::RemoveSession { session: above });
        self.nodes[child].command(Command::RemoveSession { session: below });
    }

    /// Run all nodes in steps of half a millisecond.
    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms * 2 {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.nodes[0].now;
        while self.on_the_way.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, to, from, datagram) = self.on_the_way.pop_front().expect("there is one");
            self.nodes[to].receive(node_port(from), &datagram);
        }
        for from in 0..self.nodes.len() {
            self.nodes[from].run(Duration::from_micros(500));
            let fresh = self.read[from]..self.nodes[from].sent.len();
            self.read[from] = fresh.end;
            for at in fresh {
                let (_, port, _, datagram) = self.nodes[from].sent[at].clone();
                let Some(to) = (0..self.nodes.len()).find(|n| node_port(*n) == port) else {
                    continue;
                };
                let mut at = now + self.delay;
                if datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1]) {
                    self.carried += 1;
                    let ssrc: [u8; 4] = datagram[8..12].try_into().expect("4 bytes");
                    let ssrc = u32::from_be_bytes(ssrc);
                    if (self.drops)(self.carried, ssrc) || self.is_full(now, datagram.len()) {
                        self.dropped += 1;
                        continue;
                    }
                    at = at.max(self.free_at);
                }
                let place = self.on_the_way.partition_point(|(other, ..)| *other <= at);
                self.on_the_way.insert(place, (at, to, from, datagram));
            }
            let events = self.told[from]..self.nodes[from].events.len();
            self.told[from] = events.end;
            for (slot, index, codec) in codecs_of(&self.nodes[from].events[events]) {
                for link in 0..self.ends.len() {
                    if self.ends[link].0 == from {
                        self.tell_codec(link, slot, index, &codec);
                    }
                }
            }
        }
    }

    /// Whether the narrow line has no room for a datagram; else it takes its time.
    fn is_full(&mut self, now: Time, bytes: usize) -> bool {
        let Some(rate) = self.narrow else { return false };
        let begins = self.free_at.max(now);
        if begins.since(now) > Duration::from_millis(500) {
            return true;
        }
        self.free_at = begins + Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
        false
    }

    fn counter(&self, node: usize, session: SessionId, name: &str) -> u64 {
        let counters = self.nodes[node].node.session_counters(session).expect("it is there");
        counters.iter().find(|(n, _)| *n == name).expect("it is counted").1
    }
}

fn codecs_of(events: &[Event]) -> Vec<(Slot, u8, CodecSpec)> {
    let codec = |event: &Event| match event {
        Event::SlotCodec { room: RoomId(_), slot, index, codec } => {
            Some((*slot, *index, codec.clone()))
        }
        _ => None,
    };
    events.iter().filter_map(codec).collect()
}

/// How often the teacher was asked for a keyframe.
fn asks(tree: &Tree) -> u64 {
    tree.counter(0, SessionId(1), "keyframes_asked")
}

fn watch(tree: &mut Tree, node: usize, id: u16) -> Peer {
    let peer = Peer::join(&mut tree.nodes[node], id);
    peer.subscribe(&mut tree.nodes[node]);
    peer
}

fn teach(tree: &mut Tree) -> Peer {
    let teacher = Peer::join(&mut tree.nodes[0], 1);
    teacher.publish(&mut tree.nodes[0]);
    teacher
}

/// Send so many frames, 15 a second, the first of them a keyframe, with sound to each or without.
fn play(tree: &mut Tree, teacher: &mut Peer, count: u32, packets: usize, with_sound: bool) {
    for n in 0..count {
        teacher.send_frame(&mut tree.nodes[0], n == 0, n * 6000, packets);
        if with_sound {
            let sound = teacher.seal(MIC, 111, false, n * 3168, &[n as u8; 80]);
            tree.nodes[0].receive(teacher.id, &sound);
        }
        tree.run_ms(66);
    }
}

/// (frame, packet of it), as the payload says; its other bytes are looked at as well.
fn payloads(got: &[Got]) -> Vec<(u32, u16)> {
    let numbers = |p: &Got| {
        let frame = u32::from_be_bytes(p.payload[2..6].try_into().expect("4 bytes")) / 6000;
        let part = u16::from_be_bytes(p.payload[6..8].try_into().expect("2 bytes"));
        let bytes = vp8_payload(p.payload[1] == 0, part == 0, frame * 6000, part.into(), 1100);
        assert_eq!(p.payload.len(), bytes.len());
        assert!(p.payload == bytes, "frame {frame}, packet {part}");
        (frame, part)
    };
    got.iter().filter(|p| p.mid == b"v").map(numbers).collect()
}

fn frames(from: u32, to: u32, packets: u16) -> Vec<(u32, u16)> {
    (from..to).flat_map(|frame| (0..packets).map(move |part| (frame, part))).collect()
}

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
