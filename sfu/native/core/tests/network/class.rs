//! A class over lines: a teacher with a good one, a node, students with lines of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use lectern_core::ids::{Ssrc, Time};
use lectern_core::{rtcp, rtp};

use crate::line::{Carrier, Line, Random};
use crate::receiver::Receiver;
use crate::world::*;

const FPS: u64 = 15;
const TRANSPORT_CC: u8 = 5;
const TEACHER: u16 = 1;
const PACKET_BYTES: usize = 1100;
/// T0 T2 T1 T2, every other round in step with its base picture: what Chromium's VP8 does.
const LAYERS: [(u8, bool); 8] =
    [(0, false), (2, true), (1, true), (2, false), (0, false), (2, false), (1, false), (2, false)];
/// Of the bytes of four pictures, by layer.
const SHARES: [f64; 3] = [0.4, 0.2, 0.2];

#[derive(Clone, Debug)]
pub struct Screen {
    pub bps: f64,
    pub keyframe_bytes: usize,
    /// Without layers every picture needs the one before.
    pub layers: bool,
    /// (from, until) in ms: nothing moves, one small picture a second.
    pub still: Option<(u64, u64)>,
    pub mic: bool,
    pub screen_sound_bps: f64,
}

impl Default for Screen {
    fn default() -> Self {
        Screen {
            bps: 450e3,
            keyframe_bytes: 60_000,
            layers: true,
            still: None,
            mic: true,
            screen_sound_bps: 0.0,
        }
    }
}

struct Student {
    peer: Peer,
    down: Carrier,
    up: Carrier,
    receiver: Receiver,
    coming: BinaryHeap<Reverse<(Time, u64, usize)>>,
    datagrams: Vec<Option<Vec<u8>>>,
    going: BinaryHeap<Reverse<(Time, u64, Vec<u8>)>>,
}

pub struct Class {
    pub world: World,
    teacher: Peer,
    students: Vec<Student>,
    screen: Screen,
    random: Random,
    pub begins: Time,
    order: u64,
    picture: u64,
    picture_id: u16,
    base_index: u8,
    key_at: Option<Time>,
    asked: u64,
    next_picture: Time,
    next_sound: Time,
    next_report: Time,
    /// When keyframes were asked of the teacher.
    pub keyframes: Vec<Time>,
}

impl Class {
    pub fn new(screen: Screen, lines: Vec<(Line, Line)>, seed: u64) -> Class {
        let mut world = World::new();
        let teacher = Peer::join(&mut world, TEACHER);
        teacher.publish_with_screen_sound(&mut world);
        let begins = world.now;
        let mut students = Vec::new();
        for (n, (down, up)) in lines.into_iter().enumerate() {
            let id = 2 + n as u16;
            let peer = Peer::join(&mut world, id);
            peer.subscribe_with_screen_sound(&mut world, Some(TRANSPORT_CC));
            let mixed = seed.wrapping_mul(1000).wrapping_add(u64::from(id));
            students.push(Student {
                receiver: Receiver::new(0x9000 + u32::from(id) * 4),
                peer,
                down: Carrier::new(down, mixed, begins),
                up: Carrier::new(up, !mixed, begins),
                coming: BinaryHeap::new(),
                datagrams: Vec::new(),
                going: BinaryHeap::new(),
            });
        }
        Class {
            world,
            teacher,
            students,
            screen,
            random: Random(seed),
            begins,
            order: 0,
            picture: 0,
            picture_id: 7,
            base_index: 250,
            key_at: None,
            asked: 0,
            next_picture: begins,
            next_sound: begins,
            next_report: begins + Duration::from_millis(500),
            keyframes: Vec::new(),
        }
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.world.now + span;
        while self.world.now < end {
            self.teach();
            self.listen();
            self.world.run_ms(1);
            self.carry();
        }
    }

    pub fn student(&self, n: usize) -> &Receiver {
        &self.students[n].receiver
    }

    pub fn students(&self) -> usize {
        self.students.len()
    }

    pub fn waits(&self, n: usize) -> &[f32] {
        &self.students[n].down.waits
    }

    pub fn counter(&self, n: usize, name: &str) -> u64 {
        let session = self.students[n].peer.session();
        let counters = self.world.node.session_counters(session).expect("is here");
        counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }

    fn teach(&mut self) {
        let now = self.world.now;
        let counters = self.world.node.session_counters(self.teacher.session()).expect("is here");
        let asked = counters.iter().find(|(n, _)| *n == "keyframes_asked").expect("counted").1;
        if asked > self.asked {
            self.asked = asked;
            self.keyframes.push(now);
            // A round trip to the teacher, and the encoder.
            self.key_at.get_or_insert(now + Duration::from_millis(80));
        }
        if now >= self.next_sound {
            self.next_sound = self.next_sound + Duration::from_millis(20);
            self.speak(now);
        }
        if now >= self.next_report {
            self.next_report = self.next_report + Duration::from_secs(1);
            let ntp = (u128::from(now.0) << 32) / 1_000_000_000;
            let ticks = (now.0 / 1_000_000 * 90) as u32;
            self.teacher.send_rtcp(&mut self.world, |out| {
                rtcp::sender_report(out, VIDEO, ntp as u64, ticks, 1, 1, &[]);
            });
        }
        if now >= self.next_picture {
            let ms = now.since(self.begins).as_millis() as u64;
            let still = self.screen.still.is_some_and(|(from, until)| ms >= from && ms < until);
            let wait = if still { 1000 } else { 1000 / FPS };
            self.next_picture = self.next_picture + Duration::from_millis(wait);
            self.show(now, still);
        }
    }

    fn speak(&mut self, now: Time) {
        let ticks = (now.0 / 1_000_000 * 48) as u32;
        let mut payload = now.0.to_be_bytes().to_vec();
        if self.screen.screen_sound_bps > 0.0 {
            payload.resize((self.screen.screen_sound_bps / 8.0 / 50.0) as usize, 1);
            let sound = self.teacher.seal_screen_sound(ticks, &payload);
            self.world.receive(TEACHER, &sound);
        }
        if self.screen.mic {
            payload.resize(80, 1);
            let sound = self.teacher.seal(MIC, 111, false, ticks, &payload);
            self.world.receive(TEACHER, &sound);
        }
    }

    fn show(&mut self, now: Time, still: bool) {
        let key = self.picture == 0 || self.key_at.is_some_and(|at| at <= now);
        if key {
            (self.picture, self.key_at) = (0, None);
        }
        let (layer, sync) = match self.screen.layers {
            true => LAYERS[(self.picture % 8) as usize],
            false => (0, false),
        };
        self.picture += 1;
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        self.base_index = self.base_index.wrapping_add(u8::from(layer == 0));
        let mean = self.screen.bps / 8.0 / FPS as f64;
        let share = if self.screen.layers { SHARES[usize::from(layer)] * 4.0 } else { 1.0 };
        let bytes = match (key, still) {
            (true, _) => self.screen.keyframe_bytes,
            (_, true) => 300,
            _ => (mean * share * (0.7 + 0.6 * self.random.part())) as usize,
        };
        let ticks = (now.0 / 1_000_000 * 90) as u32;
        let packets = bytes.div_ceil(PACKET_BYTES).max(1);
        for n in 0..packets {
            let first = if n == 0 { 0x90 } else { 0x80 };
            let id = self.picture_id.to_be_bytes();
            let last = [layer << 6 | u8::from(sync) << 5, u8::from(!key)];
            let mut payload = vec![first, 0xE0, 0x80 | id[0], id[1], self.base_index];
            payload.extend_from_slice(&last);
            payload.resize(payload.len() + bytes.div_ceil(packets), 0xab);
            let packet = self.teacher.seal(VIDEO, 96, n + 1 == packets, ticks, &payload);
            self.world.receive(TEACHER, &packet);
        }
    }

    /// What students' feedback has come to the node by now.
    fn listen(&mut self) {
        for student in &mut self.students {
            while student.going.peek().is_some_and(|Reverse((at, ..))| *at <= self.world.now) {
                let Reverse((_, _, datagram)) = student.going.pop().expect("just seen");
                self.world.receive(student.peer.id, &datagram);
            }
        }
    }

    /// Put what the node sent on the lines, and give the students what arrived.
    fn carry(&mut self) {
        for (at, port, _, datagram) in std::mem::take(&mut self.world.sent) {
            let Some(student) = self.students.get_mut(usize::from(port).wrapping_sub(2)) else {
                continue;
            };
            if let Some(arrives) = student.down.carry(at, datagram.len()) {
                self.order += 1;
                student.coming.push(Reverse((arrives, self.order, student.datagrams.len())));
                student.datagrams.push(Some(datagram));
            }
        }
        let now = self.world.now;
        for student in &mut self.students {
            while student.coming.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
                let Reverse((at, _, place)) = student.coming.pop().expect("just seen");
                let datagram = student.datagrams[place].take().expect("comes once");
                student.take(at, datagram);
            }
            if student.coming.is_empty() {
                student.datagrams.clear();
            }
            let mut compound = Vec::new();
            student.receiver.work(now, &mut compound);
            if !compound.is_empty() && student.peer.sealer.seal_rtcp(&mut compound) {
                if let Some(arrives) = student.up.carry(now, compound.len()) {
                    self.order += 1;
                    student.going.push(Reverse((arrives, self.order, compound)));
                }
            }
        }
    }
}

impl Student {
    fn take(&mut self, at: Time, mut datagram: Vec<u8>) {
        if datagram[0] >> 6 != 2 {
            return;
        }
        if (192..=223).contains(&datagram[1]) {
            let length = self.peer.opener.open_rtcp(&mut datagram).expect("sealed for us");
            for packet in rtcp::packets(&datagram[..length]) {
                if let rtcp::Packet::SenderReport { ssrc, ntp, .. } = packet {
                    if ssrc == Ssrc(self.receiver.video) {
                        self.receiver.note_report(at, ntp);
                    }
                }
            }
            return;
        }
        let header = rtp::Header::parse(&datagram).expect("the node sends RTP");
        let Some((length, _)) = self.peer.opener.open_rtp(&mut datagram, &header) else {
            // Reordered beyond the window of replay protection.
            return;
        };
        let payload = rtp::payload(&header, &datagram[..length]).expect("valid padding").to_vec();
        let mid = header.extension(&datagram, 6).expect("its section").to_vec();
        let number = header.extension(&datagram, TRANSPORT_CC).and_then(|v| v.try_into().ok());
        let got = Got {
            at,
            run: 0,
            header,
            payload,
            mid,
            transport_sequence: number.map(u16::from_be_bytes),
            elements: Vec::new(),
        };
        self.receiver
            .take(at, &got, |payload| Some(Time(u64::from_be_bytes(*payload.first_chunk()?))));
    }
}
