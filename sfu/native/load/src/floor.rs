//! The least that forwarding can cost: seal and send the same load to the same sockets, and nothing else.
//!
//! Every viewer has a key of its own, every packet is sealed by itself (AES-128-GCM over header and payload, as
//! RFC 7714 has it), every frame goes to each viewer as one run with UDP_SEGMENT (or a packet at a time, where
//! that is what is asked for), many in one sendmmsg. There is no state, no pacing, no repair and nobody to listen to. Its figure is the processor time of the sending thread.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM};
use lectern_core::api::Run;
use lectern_core::ids::{PathId, Ssrc, Time};
use lectern_core::rtp::{self, Header};
use lectern_io::batch::Wire;
use lectern_io::sys::{self, UdpSocket};

use crate::pattern::{self, Label};
use crate::plan::{Load, TRANSPORT_CC};
use crate::publisher::{HEADER_BYTES, VP8_PAYLOAD_TYPE};
use crate::viewer::MID;

/// Viewers know the plain sender's packets by it.
pub const SSRC: Ssrc = Ssrc(0x000f_1008);
const TAG_BYTES: usize = 16;
const SEND_BUFFER_BYTES: usize = 8 << 20;
/// The node's own outbox is as large; more does not stay in the cache between sealing and sending.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// As the node's media thread.
const NICENESS: i32 = 10;
/// The socket is full: the readers are behind.
const FULL_WAIT: Duration = Duration::from_micros(100);

pub type Key = LessSafeKey;

#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub packets: u64,
    pub cpu: Duration,
    /// Of `cpu`, estimated from one frame in 16.
    pub cpu_sealing: Duration,
    pub waits: u64,
}

/// A pair of the same key, for the two ends.
pub fn key(random: u128) -> (Key, Key) {
    let bytes = random.to_be_bytes();
    let key = || LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &bytes).expect("16 bytes"));
    (key(), key())
}

pub struct Floor {
    socket: UdpSocket,
    targets: Vec<(PathId, Key)>,
    load: Load,
    /// Frames sent so far: no nonce is used twice.
    frame: u64,
}

impl Floor {
    /// Errors are those of binding a socket.
    pub fn new(host: IpAddr, targets: Vec<(PathId, Key)>, load: Load) -> io::Result<Floor> {
        let socket = UdpSocket::bind(host, 0, SEND_BUFFER_BYTES, SEND_BUFFER_BYTES)?;
        Ok(Floor { socket, targets, load, frame: 0 })
    }

    /// Send so many frames, on time, from `begin` on; a datagram a message where not `in_runs`.
    pub fn send(&mut self, begin: Time, frames: u64, in_runs: bool) -> Sent {
        sys::outrank_others(NICENESS);
        let frame_bytes = self.load.packets_per_frame * self.load.packet_bytes;
        let batch = (BATCH_BYTES_MAX / frame_bytes).max(1);
        let mut sent =
            Sent { packets: 0, cpu: sys::thread_cpu(), cpu_sealing: Duration::ZERO, waits: 0 };
        let mut bytes = vec![0; frame_bytes * batch];
        for frame in 0..frames {
            let due =
                begin + Duration::from_nanos(1_000_000_000 * frame / u64::from(self.load.fps));
            std::thread::sleep(due.since(sys::now()));
            let plain = self.plain_frame();
            for targets in self.targets.chunks(batch) {
                // The clock of a thread costs a call to the kernel: it is read for one frame in 16.
                let sealing = (frame % 16 == 0).then(sys::thread_cpu);
                let parts = bytes.chunks_exact_mut(frame_bytes);
                for ((_, key), part) in targets.iter().zip(parts) {
                    part.copy_from_slice(&plain);
                    for (n, packet) in part.chunks_exact_mut(self.load.packet_bytes).enumerate() {
                        seal(key, nonce(self.frame as u32, self.sequence(n)), packet);
                    }
                }
                sent.cpu_sealing += sealing.map_or(Duration::ZERO, |at| sys::thread_cpu() - at);
                sent.waits += self.send_all(targets, &bytes, in_runs);
                sent.packets += (targets.len() * self.load.packets_per_frame) as u64;
            }
            self.frame += 1;
        }
        sent.cpu = sys::thread_cpu() - sent.cpu;
        sent.cpu_sealing = sent.cpu_sealing.mul_f64(frames as f64 / frames.div_ceil(16) as f64);
        sent
    }

    /// One frame as packets of the load's size, with room for the tags.
    fn plain_frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in 0..self.load.packets_per_frame {
            let start = bytes.len();
            let sequence = self.sequence(n);
            let marker = n + 1 == self.load.packets_per_frame;
            let number = sequence.to_be_bytes();
            rtp::write_header(
                &mut bytes,
                VP8_PAYLOAD_TYPE,
                marker,
                false,
                sequence,
                self.frame as u32,
                SSRC,
                &[(MID, b"0"), (TRANSPORT_CC, &number)],
            );
            let label = Label { key: false, frame: self.frame, packet: n as u16, sent_ns: 0 };
            pattern::write(&mut bytes, label, self.load.packet_bytes - HEADER_BYTES - TAG_BYTES);
            bytes.resize(start + self.load.packet_bytes, 0);
        }
        bytes
    }

    fn sequence(&self, packet: usize) -> u16 {
        (self.frame * self.load.packets_per_frame as u64 + packet as u64) as u16
    }

    /// Send all and return how often the socket was full.
    fn send_all(&self, targets: &[(PathId, Key)], bytes: &[u8], in_runs: bool) -> u64 {
        let segment = self.load.packet_bytes;
        let (messages, length) = match in_runs {
            true => (1, self.load.packets_per_frame * segment),
            false => (self.load.packets_per_frame, segment),
        };
        let paths = targets.iter().flat_map(|(path, _)| std::iter::repeat_n(*path, messages));
        let runs: Vec<Run> = paths
            .enumerate()
            .map(|(n, path)| Run { path, start: n * length, length, segment })
            .collect();
        let (mut at, mut waits) = (0, 0);
        while at < runs.len() {
            match (&self.socket).send(&runs[at..], bytes) {
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    waits += 1;
                    std::thread::sleep(FULL_WAIT);
                }
                // A kernel without UDP_SEGMENT has no such floor.
                Err(error) => panic!("the plain sender cannot send: {error}"),
            }
        }
        waits
    }
}

/// Of a frame's number, which is its timestamp, and a packet's sequence number: no pair comes twice.
fn nonce(frame: u32, sequence: u16) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..8].copy_from_slice(&frame.to_be_bytes());
    bytes[10..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Seal in place: the header is authenticated, the rest encrypted, the tag last.
fn seal(key: &Key, nonce: Nonce, packet: &mut [u8]) {
    let (header, rest) = packet.split_at_mut(HEADER_BYTES);
    let (payload, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
    let sealed = key
        .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
        .expect("a payload of sane size");
    tag.copy_from_slice(sealed.as_ref());
}

/// Open what the plain sender sealed and return its payload; None: forged.
pub fn open<'a>(key: &Key, header: &Header, packet: &'a mut [u8]) -> Option<&'a [u8]> {
    let nonce = nonce(header.timestamp, header.sequence);
    let (head, body) = packet.split_at_mut_checked(header.payload_offset)?;
    key.open_in_place(nonce, Aad::from(&*head), body).ok().map(|opened| &*opened)
}
