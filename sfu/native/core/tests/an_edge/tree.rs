//! Several nodes in virtual time and the lines between them.

use std::collections::VecDeque;
use std::time::Duration;

use lectern_core::api::{CodecSpec, Command, Event, LinkStream, Profile};
use lectern_core::ids::{RoomId, SessionId, Slot, Ssrc, Time};

use crate::world::*;

pub const PROFILE: Profile = Profile::AeadAes128Gcm;

/// Several nodes that take turns; what one sends to another's address arrives there after `delay`.
pub struct Tree {
    pub nodes: Vec<World>,
    pub links: u16,
    pub delay: Duration,
    /// (when, to, from, datagram)
    pub on_the_way: VecDeque<(Time, usize, usize, Vec<u8>)>,
    /// Of datagrams between nodes that hold media: by how many there were, and by SSRC.
    pub drops: fn(u64, u32) -> bool,
    pub carried: u64,
    /// In bit/s, of media between nodes, with half a second of queue; None: as wide as one likes.
    pub narrow: Option<u64>,
    pub free_at: Time,
    pub dropped: u64,
    pub read: Vec<usize>,
    pub told: Vec<usize>,
    /// (parent, child, parent's session, child's)
    pub ends: Vec<(usize, usize, SessionId, SessionId)>,
}

/// Nodes have the ports above those of any peer.
pub fn node_port(node: usize) -> u16 {
    60_000 + node as u16
}

impl Tree {
    pub fn new(nodes: usize) -> Tree {
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
    pub fn link(&mut self, parent: usize, child: usize, continues: bool) {
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

    pub fn tell_codec(&mut self, link: usize, slot: Slot, index: u8, codec: &CodecSpec) {
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

    pub fn end(&mut self, link: usize) {
        let (parent, child, above, below) = self.ends[link];
        self.nodes[parent].command(Command::RemoveSession { session: above });
        self.nodes[child].command(Command::RemoveSession { session: below });
    }

    /// Run all nodes in steps of half a millisecond.
    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms * 2 {
            self.step();
        }
    }

    pub fn step(&mut self) {
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
    pub fn is_full(&mut self, now: Time, bytes: usize) -> bool {
        let Some(rate) = self.narrow else { return false };
        let begins = self.free_at.max(now);
        if begins.since(now) > Duration::from_millis(500) {
            return true;
        }
        self.free_at = begins + Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
        false
    }

    pub fn counter(&self, node: usize, session: SessionId, name: &str) -> u64 {
        let counters = self.nodes[node].node.session_counters(session).expect("it is there");
        counters.iter().find(|(n, _)| *n == name).expect("it is counted").1
    }
}

pub fn codecs_of(events: &[Event]) -> Vec<(Slot, u8, CodecSpec)> {
    let codec = |event: &Event| match event {
        Event::SlotCodec { room: RoomId(_), slot, index, codec } => {
            Some((*slot, *index, codec.clone()))
        }
        _ => None,
    };
    events.iter().filter_map(codec).collect()
}

/// How often the teacher was asked for a keyframe.
pub fn asks(tree: &Tree) -> u64 {
    tree.counter(0, SessionId(1), "keyframes_asked")
}

pub fn watch(tree: &mut Tree, node: usize, id: u16) -> Peer {
    let peer = Peer::join(&mut tree.nodes[node], id);
    peer.subscribe(&mut tree.nodes[node]);
    peer
}

pub fn teach(tree: &mut Tree) -> Peer {
    let teacher = Peer::join(&mut tree.nodes[0], 1);
    teacher.publish(&mut tree.nodes[0]);
    teacher
}

/// Send so many frames, 15 a second, the first of them a keyframe, with sound to each or without.
pub fn play(tree: &mut Tree, teacher: &mut Peer, count: u32, packets: usize, with_sound: bool) {
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
pub fn payloads(got: &[Got]) -> Vec<(u32, u16)> {
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

pub fn frames(from: u32, to: u32, packets: u16) -> Vec<(u32, u16)> {
    (from..to).flat_map(|frame| (0..packets).map(move |part| (frame, part))).collect()
}
