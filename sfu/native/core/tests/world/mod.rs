//! A node and its peers in virtual time: what they send is delivered at once, unless a test drops it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use lectern_core::api::{
    CodecKind, CodecSpec, Command, Event, ExtensionIds, Outbox, Profile, SinkSpec, TrackSpec,
};
use lectern_core::ids::{PathId, RoomId, SessionId, Slot, Ssrc, Time};
use lectern_core::node::Node;
use lectern_core::srtp::{Opener, SealedStream, Sealer};
use lectern_core::{rtcp, rtp, stun};

pub const ROOM: RoomId = RoomId(7);
pub const VIDEO: Ssrc = Ssrc(0x1111);
pub const VIDEO_RTX: Ssrc = Ssrc(0x1112);
pub const MIC: Ssrc = Ssrc(0x2222);
pub const SCREEN_SOUND: Ssrc = Ssrc(0x3333);
const PROFILE: Profile = Profile::AeadAes128Gcm;

pub struct World {
    pub node: Node,
    pub now: Time,
    pub events: Vec<Event>,
    /// Datagrams by the path's port, with their time and the run they came in.
    pub sent: Vec<(Time, u16, usize, Vec<u8>)>,
    pub largest_turn: usize,
    runs: usize,
}

pub fn path(port: u16) -> PathId {
    PathId { address: SocketAddr::from(([127, 0, 0, 1], port)), via: 0 }
}

impl World {
    pub fn new() -> World {
        World {
            node: Node::new(1),
            now: Time(1_000_000_000),
            events: Vec::new(),
            sent: Vec::new(),
            largest_turn: 0,
            runs: 0,
        }
    }

    pub fn command(&mut self, command: Command) {
        self.node.command(self.now, command);
    }

    pub fn receive(&mut self, port: u16, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        self.node.receive(self.now, path(port), &mut bytes);
    }

    /// Let the node do what is due until `span` has passed.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..1_000_000 {
            let mut out = Outbox::default();
            self.node.advance(self.now, &mut out);
            self.largest_turn = self.largest_turn.max(out.bytes.len());
            for run in &out.runs {
                self.runs += 1;
                for datagram in out.bytes[run.start..run.start + run.length].chunks(run.segment) {
                    self.sent.push((
                        self.now,
                        run.path.address.port(),
                        self.runs,
                        datagram.to_vec(),
                    ));
                }
            }
            self.node.take_events(&mut self.events);
            match self.node.deadline() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the node asks to be woken without end");
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }
}

/// A peer that passed ICE and has keys; `id` is also its port.
pub struct Peer {
    pub id: u16,
    pub sealer: Sealer,
    pub opener: Opener,
    taken: usize,
    streams: HashMap<Ssrc, SealedStream>,
}

pub fn pwd(id: u16) -> String {
    format!("password-of-{id:010}")
}

pub fn check(id: u16, pwd: &str) -> Vec<u8> {
    let mut request = Vec::new();
    let username = format!("node{id}:peer");
    stun::write_request(&mut request, &[9; 12], username.as_bytes(), pwd.as_bytes(), 1, 5, true);
    request
}

impl Peer {
    pub fn join(world: &mut World, id: u16) -> Peer {
        let session = SessionId(u32::from(id));
        world.command(Command::AddSession {
            session,
            ice_ufrag: format!("node{id}"),
            ice_pwd: pwd(id),
        });
        world.receive(id, &check(id, &pwd(id)));
        let (ours, theirs) = (vec![id as u8; 28], vec![!(id as u8); 28]);
        let peer = Peer {
            id,
            sealer: Sealer::new(PROFILE, &ours).expect("28 bytes"),
            opener: Opener::new(PROFILE, &theirs).expect("28 bytes"),
            taken: 0,
            streams: HashMap::new(),
        };
        world.command(Command::SetKeys { session, profile: PROFILE, local: theirs, remote: ours });
        peer
    }

    pub fn session(&self) -> SessionId {
        SessionId(u32::from(self.id))
    }

    pub fn publish(&self, world: &mut World) {
        self.publish_slots(world, false);
    }

    pub fn publish_with_screen_sound(&self, world: &mut World) {
        self.publish_slots(world, true);
    }

    fn publish_slots(&self, world: &mut World, screen_sound: bool) {
        let video = TrackSpec {
            slot: Slot::Video,
            mid: "0".into(),
            codecs: vec![vp8(96, Some(97))],
            ssrc: Some(VIDEO),
            rtx_ssrc: Some(VIDEO_RTX),
            extensions: ExtensionIds { transport_cc: Some(3), mid: Some(4), ..Default::default() },
            nack: true,
            pli: true,
        };
        let mic = TrackSpec {
            slot: Slot::Mic,
            mid: "1".into(),
            codecs: vec![opus(111)],
            ssrc: None,
            rtx_ssrc: None,
            nack: false,
            pli: false,
            ..video.clone()
        };
        let sound = TrackSpec { slot: Slot::ScreenAudio, mid: "2".into(), ..mic.clone() };
        let mut tracks = vec![video, mic];
        tracks.extend(screen_sound.then_some(sound));
        world.command(Command::Publish { session: self.session(), room: ROOM, tracks });
    }

    /// Watch without transport-wide feedback.
    pub fn subscribe(&self, world: &mut World) {
        self.subscribe_with(world, None);
    }

    pub fn subscribe_without_repair(&self, world: &mut World) {
        self.subscribe_as(world, None, false, 30_000, false);
    }

    pub fn subscribe_from(&self, world: &mut World, first_sequence: u16) {
        self.subscribe_as(world, None, true, first_sequence, false);
    }

    pub fn subscribe_with(&self, world: &mut World, transport_cc: Option<u8>) {
        self.subscribe_as(world, transport_cc, true, 30_000, false);
    }

    pub fn subscribe_with_screen_sound(&self, world: &mut World, transport_cc: Option<u8>) {
        self.subscribe_as(world, transport_cc, true, 30_000, true);
    }

    fn subscribe_as(
        &self,
        world: &mut World,
        transport_cc: Option<u8>,
        repairs: bool,
        first_sequence: u16,
        screen_sound: bool,
    ) {
        let video = SinkSpec {
            slot: Slot::Video,
            mid: "v".into(),
            codecs: vec![vp8(100, Some(101))],
            ssrc: Ssrc(0x9000 + u32::from(self.id) * 4),
            rtx_ssrc: repairs.then(|| Ssrc(0x9001 + u32::from(self.id) * 4)),
            cname: "node".into(),
            first_sequence,
            extensions: ExtensionIds { transport_cc, mid: Some(6), ..Default::default() },
            nack: true,
        };
        let mic = SinkSpec {
            slot: Slot::Mic,
            mid: "m".into(),
            codecs: vec![opus(109)],
            ssrc: Ssrc(0x9002 + u32::from(self.id) * 4),
            rtx_ssrc: None,
            ..video.clone()
        };
        let sound = SinkSpec {
            slot: Slot::ScreenAudio,
            mid: "s".into(),
            ssrc: Ssrc(0x9003 + u32::from(self.id) * 4),
            ..mic.clone()
        };
        let mut sinks = vec![video, mic];
        sinks.extend(screen_sound.then_some(sound));
        world.command(Command::Subscribe { session: self.session(), room: ROOM, sinks });
    }

    /// Seal one packet of ours; the caller sends or drops it.
    pub fn seal(
        &mut self,
        ssrc: Ssrc,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let number = self.next_sequence(ssrc).to_be_bytes();
        let extensions: [(u8, &[u8]); 2] =
            [(3, &number), (4, if ssrc == MIC { b"1" } else { b"0" })];
        self.seal_with(ssrc, payload_type, marker, timestamp, payload, &extensions)
    }

    pub fn seal_screen_sound(&mut self, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let number = self.next_sequence(SCREEN_SOUND).to_be_bytes();
        let extensions: [(u8, &[u8]); 2] = [(3, &number), (4, b"2")];
        self.seal_with(SCREEN_SOUND, 111, false, timestamp, payload, &extensions)
    }

    /// The same with header extensions of the caller's choice.
    pub fn seal_with(
        &mut self,
        ssrc: Ssrc,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
        extensions: &[(u8, &[u8])],
    ) -> Vec<u8> {
        let stream = self
            .streams
            .entry(ssrc)
            .or_insert_with(|| self.sealer.stream(ssrc, 65_000).expect("a new one"));
        let mut packet = Vec::new();
        rtp::write_header(&mut packet, payload_type, marker, false, 0, timestamp, ssrc, extensions);
        let offset = packet.len();
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + self.sealer.tag_bytes(), 0);
        assert!(self.sealer.seal_rtp(stream, &mut packet, offset));
        packet
    }

    pub fn next_sequence(&self, ssrc: Ssrc) -> u16 {
        self.streams.get(&ssrc).map_or(65_000, SealedStream::next_sequence)
    }

    /// One VP8 frame as sealed packets of `bytes` each.
    pub fn frame(
        &mut self,
        key: bool,
        timestamp: u32,
        packets: usize,
        bytes: usize,
    ) -> Vec<Vec<u8>> {
        (0..packets)
            .map(|n| {
                let payload = vp8_payload(key, n == 0, timestamp, n, bytes);
                self.seal(VIDEO, 96, n + 1 == packets, timestamp, &payload)
            })
            .collect()
    }

    pub fn send_frame(&mut self, world: &mut World, key: bool, timestamp: u32, packets: usize) {
        for packet in self.frame(key, timestamp, packets, 1100) {
            world.receive(self.id, &packet);
        }
    }

    pub fn send_rtcp(&mut self, world: &mut World, write: impl FnOnce(&mut Vec<u8>)) {
        let mut compound = Vec::new();
        rtcp::receiver_report(&mut compound, Ssrc(1), &[]);
        write(&mut compound);
        assert!(self.sealer.seal_rtcp(&mut compound));
        world.receive(self.id, &compound);
    }

    /// RTP that came since the last call, opened.
    pub fn packets(&mut self, world: &World) -> Vec<Got> {
        let mut got = Vec::new();
        for (at, port, run, datagram) in &world.sent[self.taken..] {
            if *port == self.id && datagram[0] >> 6 == 2 && !(192..=223).contains(&datagram[1]) {
                let mut bytes = datagram.clone();
                let header = rtp::Header::parse(&bytes).expect("the node sends RTP");
                let (length, _) =
                    self.opener.open_rtp(&mut bytes, &header).expect("sealed for us, once");
                let payload =
                    rtp::payload(&header, &bytes[..length]).expect("valid padding").to_vec();
                let mid =
                    header.extension(&bytes, 6).expect("every packet names its section").to_vec();
                let number = header.extension(&bytes, 5).and_then(|v| v.try_into().ok());
                let transport_sequence = number.map(u16::from_be_bytes);
                let elements = header.extensions(&bytes).map(|(id, v)| (id, v.to_vec())).collect();
                got.push(Got {
                    at: *at,
                    run: *run,
                    header,
                    payload,
                    mid,
                    transport_sequence,
                    elements,
                });
            }
        }
        self.taken = world.sent.len();
        got
    }

    /// The world has forgotten what it sent.
    pub fn forget_taken(&mut self) {
        self.taken = 0;
    }

    /// Compounds of RTCP sent to us so far, opened; may be asked only once.
    pub fn reports(&mut self, world: &World) -> Vec<Vec<u8>> {
        let ours = world.sent.iter().filter(|(_, port, _, d)| {
            *port == self.id && d[0] >> 6 == 2 && (192..=223).contains(&d[1])
        });
        ours.map(|(_, _, _, datagram)| {
            let mut bytes = datagram.clone();
            let length = self.opener.open_rtcp(&mut bytes).expect("sealed for us, once");
            bytes.truncate(length);
            bytes
        })
        .collect()
    }
}

#[derive(Debug)]
pub struct Got {
    pub at: Time,
    pub run: usize,
    pub header: rtp::Header,
    pub payload: Vec<u8>,
    pub mid: Vec<u8>,
    pub transport_sequence: Option<u16>,
    /// Header extensions.
    pub elements: Vec<(u8, Vec<u8>)>,
}

pub fn vp8(payload_type: u8, rtx_payload_type: Option<u8>) -> CodecSpec {
    CodecSpec {
        kind: CodecKind::Vp8,
        payload_type,
        clock_rate: 90_000,
        rtx_payload_type,
        fmtp: String::new(),
    }
}

pub fn opus(payload_type: u8) -> CodecSpec {
    CodecSpec {
        kind: CodecKind::Opus,
        payload_type,
        clock_rate: 48_000,
        rtx_payload_type: None,
        fmtp: String::new(),
    }
}

/// RFC 7741: S bit on the first packet, P bit clear on a keyframe; then which packet it is.
pub fn vp8_payload(key: bool, first: bool, timestamp: u32, n: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![if first { 0x10 } else { 0 }, u8::from(!key)];
    payload.extend_from_slice(&timestamp.to_be_bytes());
    payload.extend_from_slice(&(n as u16).to_be_bytes());
    payload.resize(bytes.max(payload.len()), 0xab);
    payload
}
