//! The least that forwarding can cost here: seal and send, and nothing else.
//!
//! Every viewer has a key of its own (AES-128-GCM), every frame is 12 packets of 1150 bytes to each, sealed one by one
//! and sent as one run. Threads of this process drain the viewers' sockets without UDP_GRO, which would flatter the
//! sender. The last line on standard output is JSON; `cpu_us_per_packet` is the processor time of the sending thread
//! alone, the kernel's work on its behalf included.
//!
//! cargo run --release -p lectern-io --example floor -- [viewers 500] [frames 150] [fps 15] [gso 1]

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket as Viewer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM};
use lectern_core::api::Run;
use lectern_core::ids::PathId;
use lectern_io::batch::Wire;
use lectern_io::receive::udp_path;
use lectern_io::sys::{random_seed, thread_cpu, UdpSocket};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PACKETS_PER_FRAME: usize = 12;
const PACKET_BYTES: usize = 1150;
const HEADER_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const FRAME_BYTES: usize = PACKETS_PER_FRAME * PACKET_BYTES;
const SOCKET_BYTES: usize = 8 << 20;
const READERS: usize = 2;

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let argument = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    let (viewers, frames) = (argument(0, 500) as usize, argument(1, 150));
    let (fps, gso) = (argument(2, 15), argument(3, 1) != 0);
    let sockets: Vec<Viewer> = (0..viewers).map(|_| viewer()).collect();
    let (received, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let (received, done) = (&received, &done);
    std::thread::scope(|scope| {
        for part in sockets.chunks(viewers.div_ceil(READERS)) {
            scope.spawn(|| drain(part, received, done));
        }
        let sent = send(&sockets, frames, fps, gso);
        std::thread::sleep(Duration::from_millis(300));
        done.store(true, Relaxed);
        let received = received.load(Relaxed);
        println!(
            "{{\"viewers\": {viewers}, \"fps\": {fps}, \"gso\": {gso}, \"packets\": {}, \"packets_received\": {received}, \
             \"seconds\": {:.2}, \"cpu_us_per_packet\": {:.3}, \"seal_us_per_packet\": {:.3}}}",
            sent.packets,
            sent.took.as_secs_f64(),
            micros_each(sent.cpu, sent.packets),
            micros_each(sent.cpu_sealing, sent.packets),
        );
    });
}

fn micros_each(span: Duration, count: u64) -> f64 {
    span.as_secs_f64() * 1e6 / count as f64
}

fn viewer() -> Viewer {
    let socket = Viewer::bind((LOCALHOST, 0)).expect("a port for each viewer");
    socket.set_nonblocking(true).expect("a socket that does not block");
    socket
}

/// Read and count all that comes.
fn drain(viewers: &[Viewer], received: &AtomicU64, done: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !done.load(Relaxed) {
        let mut count = 0;
        for viewer in viewers {
            while viewer.recv(&mut buffer).is_ok() {
                count += 1;
            }
        }
        received.fetch_add(count, Relaxed);
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Sent {
    packets: u64,
    took: Duration,
    cpu: Duration,
    cpu_sealing: Duration,
}

fn send(viewers: &[Viewer], frames: u64, fps: u64, gso: bool) -> Sent {
    let socket = UdpSocket::bind(LOCALHOST, 0, SOCKET_BYTES, SOCKET_BYTES).expect("a socket");
    let keys: Vec<LessSafeKey> = viewers.iter().map(|_| key()).collect();
    let paths: Vec<PathId> = viewers
        .iter()
        .map(|viewer| udp_path(viewer.local_addr().expect("a bound socket")))
        .collect();
    let plain: Vec<u8> = (0..FRAME_BYTES).map(|at| at as u8).collect();
    let mut bytes = plain.clone();
    let (begun, cpu_begun) = (Instant::now(), thread_cpu());
    let (mut packets, mut cpu_sealing) = (0, Duration::ZERO);
    for frame in 0..frames {
        let due = begun + Duration::from_secs(frame) / fps as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for (&path, key) in paths.iter().zip(&keys) {
            // The clock of a thread costs a call to the kernel: it is read for one frame in 16.
            let sealing = (frame % 16 == 0).then(thread_cpu);
            bytes.copy_from_slice(&plain);
            for (index, packet) in bytes.chunks_exact_mut(PACKET_BYTES).enumerate() {
                seal(key, frame * PACKETS_PER_FRAME as u64 + index as u64, packet);
            }
            cpu_sealing += sealing.map_or(Duration::ZERO, |begun| thread_cpu() - begun);
            let segment = if gso { FRAME_BYTES } else { PACKET_BYTES };
            let runs: Vec<Run> = (0..FRAME_BYTES)
                .step_by(segment)
                .map(|start| Run { path, start, length: segment, segment: PACKET_BYTES })
                .collect();
            packets += send_all(&socket, &runs, &bytes);
        }
    }
    let measured_frames = frames.div_ceil(16);
    let cpu_sealing = cpu_sealing.mul_f64(frames as f64 / measured_frames as f64);
    Sent { packets, took: begun.elapsed(), cpu: thread_cpu() - cpu_begun, cpu_sealing }
}

fn key() -> LessSafeKey {
    let half = || random_seed().expect("randomness").to_be_bytes();
    let key = [half(), half()].concat();
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key of 16 bytes"))
}

/// Seal in place as SRTP does: the header is authenticated, the rest encrypted, the tag last (RFC 7714).
fn seal(key: &LessSafeKey, index: u64, packet: &mut [u8]) {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&index.to_be_bytes());
    let (header, rest) = packet.split_at_mut(HEADER_BYTES);
    let (payload, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealed = key
        .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
        .expect("a payload of sane size");
    tag.copy_from_slice(sealed.as_ref());
}

/// Send all of them, waiting where the socket is full, and return the number of packets.
fn send_all(mut socket: &UdpSocket, runs: &[Run], bytes: &[u8]) -> u64 {
    let (mut at, mut packets) = (0, 0);
    while at < runs.len() {
        match socket.send(&runs[at..], bytes) {
            Ok(count) => {
                packets += runs[at..at + count]
                    .iter()
                    .map(|run| run.length.div_ceil(run.segment) as u64)
                    .sum::<u64>();
                at += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(error) => panic!("sending: {error}"),
        }
    }
    packets
}
