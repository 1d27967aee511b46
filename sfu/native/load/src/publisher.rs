//! A teacher: frames at an even pace, a keyframe first and whenever one is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use lectern_core::api::Run;
use lectern_core::demux::{self, Kind};
use lectern_core::ids::{Ssrc, Time};
use lectern_core::srtp::SealedStream;
use lectern_core::{rtcp, rtp};
use lectern_io::batch::{ReceiveBatch, Received, Wire};
use lectern_io::receive::udp_path;
use lectern_io::sys::{self, UdpSocket};

use crate::connection::Connection;
use crate::pattern::{self, Label};
use crate::plan::{Load, TRANSPORT_CC};
use crate::viewer::MID;

pub const VP8_PAYLOAD_TYPE: u8 = 96;
const OPUS_PAYLOAD_TYPE: u8 = 111;
/// Header (12), extension head (4), MID of one byte and transport-wide number (5, filled up to 8).
pub const HEADER_BYTES: usize = 24;
const VIDEO_CLOCK_HZ: u64 = 90_000;
const OPUS_CLOCK_HZ: u64 = 48_000;
/// What sealing adds (AES-128-GCM): RTP without keys is shorter by it, so that viewers get the same size.
const TAG_BYTES: usize = 16;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Before the first frame, so that whoever waits for "begun" has heard it.
const PRELUDE: Duration = Duration::from_millis(100);
/// NTP counts from 1900 (RFC 5905 section 6).
const NTP_UNIX_S: u64 = 2_208_988_800;

/// How a teacher's packets go to the server.
pub enum Line {
    Session(Box<Connection>, SealedStream),
    /// RTP without keys (`plan::Source::Plain`) under an SSRC, to an address, from this number on.
    Plain(UdpSocket, SocketAddr, Ssrc, u16),
}

pub struct Publisher {
    line: Line,
    pub keyframes_asked: u64,
    load: Load,
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
}

impl Publisher {
    pub fn new(line: Line, load: Load) -> Publisher {
        Publisher {
            line,
            keyframes_asked: 0,
            load,
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
        }
    }

    /// The server has answered a check, where there are checks.
    pub fn is_checked(&self) -> bool {
        match &self.line {
            Line::Session(connection, _) => connection.is_checked(),
            Line::Plain(..) => true,
        }
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
    pub fn chores(&mut self, now: Time, batch: &mut ReceiveBatch, received: &mut Vec<Received>) {
        let Line::Session(connection, _) = &mut self.line else { return };
        // Before the next check, which an answer to the last one would no longer match.
        if batch.fill(&connection.socket, received).is_ok() {
            for (index, received) in received.iter().enumerate() {
                if asks_for_keyframe(connection, &mut batch.bytes(index)[..received.length]) {
                    self.keyframes_asked += 1;
                    self.key_wanted = true;
                }
            }
        }
        if let Line::Session(connection, _) = &mut self.line {
            connection.check(now);
        }
        // Between two plays as well: who has reported once and falls silent is taken for gone.
        if self.packets > 0 && now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            self.report(now);
        }
    }

    fn send_packet(&mut self) {
        let load = &self.load;
        let frame = self.frames_before + self.frame;
        let packet = self.packet as u16;
        let marker = self.packet + 1 == load.packets_per_frame && !load.is_audio;
        let payload_type = if load.is_audio { OPUS_PAYLOAD_TYPE } else { VP8_PAYLOAD_TYPE };
        let number = self.transport_sequence.to_be_bytes();
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let label = Label { key: self.key, frame, packet, sent_ns: sys::wall_ns() };
        let (ssrc, sequence, tag_bytes) = match &self.line {
            Line::Session(connection, stream) => (stream.ssrc(), 0, connection.sealer.tag_bytes()),
            Line::Plain(_, _, ssrc, sequence) => (*ssrc, *sequence, TAG_BYTES),
        };
        let payload_bytes = load.packet_bytes - HEADER_BYTES - tag_bytes;
        self.bytes.clear();
        rtp::write_header(
            &mut self.bytes,
            payload_type,
            marker,
            false,
            sequence,
            timestamp(load, frame),
            ssrc,
            &[(MID, b"0"), (TRANSPORT_CC, &number)],
        );
        debug_assert_eq!(self.bytes.len(), HEADER_BYTES);
        pattern::write(&mut self.bytes, label, payload_bytes);
        match &mut self.line {
            Line::Session(connection, stream) => {
                self.bytes.resize(load.packet_bytes, 0);
                if !connection.sealer.seal_rtp(stream, &mut self.bytes, HEADER_BYTES) {
                    return;
                }
                connection.send(&self.bytes);
            }
            Line::Plain(socket, to, _, sequence) => {
                *sequence = sequence.wrapping_add(1);
                let length = self.bytes.len();
                let run = Run { path: udp_path(*to), start: 0, length, segment: length };
                let _ = (&*socket).send(&[run], &self.bytes);
            }
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_bytes as u32);
    }

    fn report(&mut self, now: Time) {
        let wall = sys::wall_ns();
        let fraction = (u128::from(wall % 1_000_000_000) << 32) / 1_000_000_000;
        let ntp = (wall / 1_000_000_000 + NTP_UNIX_S) << 32 | fraction as u64;
        let passed =
            now.since(self.begun).as_nanos() as u64 / 1000 * clock_hz(&self.load) / 1_000_000;
        let timestamp = timestamp(&self.load, self.frames_before).wrapping_add(passed as u32);
        let Line::Session(connection, stream) = &mut self.line else { return };
        let rtcp = &mut self.rtcp;
        rtcp.clear();
        rtcp::sender_report(rtcp, stream.ssrc(), ntp, timestamp, self.packets, self.octets, &[]);
        connection.send_rtcp(rtcp);
    }
}

/// Take what the server says: whether it asks for a keyframe.
fn asks_for_keyframe(connection: &mut Connection, datagram: &mut [u8]) -> bool {
    match demux::kind(datagram) {
        Kind::Stun => {
            connection.take_stun(datagram);
            false
        }
        Kind::Rtcp => connection.opener.open_rtcp(datagram).is_some_and(|length| {
            let asks = |packet| matches!(packet, rtcp::Packet::Pli { .. });
            rtcp::packets(&datagram[..length]).any(asks)
        }),
        Kind::Rtp | Kind::Dtls | Kind::Other => false,
    }
}

fn clock_hz(load: &Load) -> u64 {
    if load.is_audio {
        OPUS_CLOCK_HZ
    } else {
        VIDEO_CLOCK_HZ
    }
}

fn timestamp(load: &Load, frame: u64) -> u32 {
    (frame * clock_hz(load) / u64::from(load.fps)) as u32
}
