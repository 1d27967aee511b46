//! The teacher: frames at an even pace, a keyframe first and whenever one is asked for.

use std::time::Duration;

use lectern_core::demux::{self, Kind};
use lectern_core::ids::{Ssrc, Time};
use lectern_core::srtp::SealedStream;
use lectern_core::{rtcp, rtp};
use lectern_io::batch::{ReceiveBatch, Received};
use lectern_io::sys;

use crate::connection::Connection;
use crate::pattern::{self, Label};
use crate::plan::Load;
use crate::viewer::{MID, TRANSPORT_CC};

pub const PAYLOAD_TYPE: u8 = 96;
/// Header (12), extension head (4), MID of one byte and transport-wide number (5, filled up to 8).
pub const HEADER_BYTES: usize = 24;
const CLOCK_HZ: u64 = 90_000;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Before the first frame, so that whoever waits for "begun" has heard it.
const PRELUDE: Duration = Duration::from_millis(100);
/// NTP counts from 1900 (RFC 5905 section 6).
const NTP_UNIX_S: u64 = 2_208_988_800;

pub struct Publisher {
    pub connection: Connection,
    pub keyframes_asked: u64,
    load: Load,
    stream: SealedStream,
    begun: Time,
    /// Frames sent in this round, and how many there are to be.
    frame: u64,
    frames: u64,
    /// Packets of the current frame that are sent.
    packet: usize,
    /// Frames of earlier rounds.
    frames_before: u64,
    key_wanted: bool,
    key: bool,
    transport_sequence: u16,
    packets: u32,
    octets: u32,
    report_at: Time,
    bytes: Vec<u8>,
    rtcp: Vec<u8>,
    batch: ReceiveBatch,
    received: Vec<Received>,
}

impl Publisher {
    /// None: the connection has sealed under this SSRC before.
    pub fn new(mut connection: Connection, ssrc: Ssrc, load: Load) -> Option<Publisher> {
        let stream = connection.sealer.stream(ssrc, 1)?;
        Some(Publisher {
            connection,
            keyframes_asked: 0,
            load,
            stream,
            begun: Time(0),
            frame: 0,
            frames: 0,
            packet: 0,
            frames_before: 0,
            key_wanted: true,
            key: true,
            transport_sequence: 0,
            packets: 0,
            octets: 0,
            report_at: Time(0),
            bytes: Vec::new(),
            rtcp: Vec::new(),
            batch: ReceiveBatch::new(),
            received: Vec::new(),
        })
    }

    /// Send so many frames from now on, the first one a keyframe.
    pub fn begin(&mut self, now: Time, frames: u64) {
        self.frames_before += self.frame;
        (self.begun, self.frame, self.frames, self.packet) = (now + PRELUDE, 0, frames, 0);
        self.key_wanted = true;
        self.keyframes_asked = 0;
    }

    /// When the next packet goes; None: all are sent.
    pub fn next(&self) -> Option<Time> {
        let share = self.packet as u32;
        let packets = self.load.packets_per_frame as u32;
        let frame = Duration::from_nanos(1_000_000_000 * self.frame / u64::from(self.load.fps));
        let at = self.begun + frame + self.load.spread * share / packets;
        (self.frame < self.frames).then_some(at)
    }

    /// Send the packets that are due.
    pub fn send_due(&mut self, now: Time) {
        while self.next().is_some_and(|at| at <= now) {
            if self.packet == 0 {
                self.key = std::mem::take(&mut self.key_wanted);
            }
            self.send_packet();
            self.packet += 1;
            if self.packet == self.load.packets_per_frame {
                self.packet = 0;
                self.frame += 1;
            }
        }
    }

    /// Check the path, report, and hear what is asked for.
    pub fn chores(&mut self, now: Time) {
        self.connection.check(now);
        if self.batch.fill(&self.connection.socket, &mut self.received).is_ok() {
            for index in 0..self.received.len() {
                self.take(index);
            }
        }
        let plays = self.packets > 0 && self.frame < self.frames;
        if plays && now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            self.report(now);
        }
    }

    fn send_packet(&mut self) {
        let load = &self.load;
        let frame = self.frames_before + self.frame;
        let packet = self.packet as u16;
        let marker = self.packet + 1 == load.packets_per_frame;
        let number = self.transport_sequence.to_be_bytes();
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let label = Label { key: self.key, frame, packet, sent_ns: sys::wall_ns() };
        let sealer = &self.connection.sealer;
        let payload_bytes = load.packet_bytes - HEADER_BYTES - sealer.tag_bytes();
        self.bytes.clear();
        rtp::write_header(
            &mut self.bytes,
            PAYLOAD_TYPE,
            marker,
            false,
            0,
            timestamp(load, frame),
            self.stream.ssrc(),
            &[(MID, b"0"), (TRANSPORT_CC, &number)],
        );
        debug_assert_eq!(self.bytes.len(), HEADER_BYTES);
        pattern::write(&mut self.bytes, label, payload_bytes);
        self.bytes.resize(load.packet_bytes, 0);
        if sealer.seal_rtp(&mut self.stream, &mut self.bytes, HEADER_BYTES) {
            self.connection.send(&self.bytes);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(payload_bytes as u32);
        }
    }

    fn report(&mut self, now: Time) {
        let wall = sys::wall_ns();
        let fraction = (u128::from(wall % 1_000_000_000) << 32) / 1_000_000_000;
        let ntp = (wall / 1_000_000_000 + NTP_UNIX_S) << 32 | fraction as u64;
        let passed = now.since(self.begun).as_nanos() as u64 / 1000 * CLOCK_HZ / 1_000_000;
        let timestamp = timestamp(&self.load, self.frames_before).wrapping_add(passed as u32);
        let mut rtcp = std::mem::take(&mut self.rtcp);
        rtcp.clear();
        let (ssrc, packets, octets) = (self.stream.ssrc(), self.packets, self.octets);
        rtcp::sender_report(&mut rtcp, ssrc, ntp, timestamp, packets, octets, &[]);
        self.connection.send_rtcp(&mut rtcp);
        self.rtcp = rtcp;
    }

    fn take(&mut self, index: usize) {
        let datagram = &mut self.batch.bytes(index)[..self.received[index].length];
        match demux::kind(datagram) {
            Kind::Stun => self.connection.take_answer(datagram),
            Kind::Rtcp => {
                let Some(length) = self.connection.opener.open_rtcp(datagram) else { return };
                let asks = |packet| matches!(packet, rtcp::Packet::Pli { .. });
                if rtcp::packets(&datagram[..length]).any(asks) {
                    self.keyframes_asked += 1;
                    self.key_wanted = true;
                }
            }
            Kind::Rtp | Kind::Dtls | Kind::Other => {}
        }
    }
}

fn timestamp(load: &Load, frame: u64) -> u32 {
    (frame * CLOCK_HZ / u64::from(load.fps)) as u32
}
