//! A line slower than what is sent over it: what arrives is fresh, because the rest is dropped and does not wait.
//!
//! In a network namespace of its own, whose loopback is made slow; needs root.

mod echo;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use echo::{counter, eventually, options, Echo, CHECK, LOCALHOST};
use lectern_io::framing::{write_frames, Deframer};
use lectern_io::media::Media;
use lectern_io::tcp::TcpOptions;

const ASKED_MS: usize = 3000;
/// 4 Mbit/s are asked for, over 2 Mbit/s.
const COPIES: usize = 20;
const DATAGRAM_BYTES: usize = 1000;
const INTERVAL_MS: u64 = 40;

fn enter_slow_network() {
    // SAFETY: no pointers are passed; only this thread's network changes.
    let failed = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    // Loopback's own packets are larger than the bucket.
    for line in [
        "ip link set lo mtu 1500 up",
        "tc qdisc add dev lo root tbf rate 2mbit burst 20kb limit 40kb",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{line}");
    }
}

/// How old each datagram was when it came; its first bytes say when it was asked for.
fn ages(mut stream: TcpStream, begun: Instant) -> Vec<Duration> {
    let (mut deframer, mut buffer, mut ages) = (Deframer::default(), vec![0; 65_536], Vec::new());
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return ages,
            Err(error) => panic!("{error}"),
        };
        let mut input = &mut buffer[..count];
        while let Some(datagram) = deframer.next(&mut input).unwrap() {
            let asked_ms = u64::from_be_bytes(datagram[20..28].try_into().unwrap());
            ages.push(begun.elapsed().saturating_sub(Duration::from_millis(asked_ms)));
        }
    }
}

#[test]
fn video_does_not_pile_up_before_a_slow_line() {
    // SAFETY: no pointers are passed.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    enter_slow_network();
    let mut options = options(LOCALHOST);
    options.tcp = Some(TcpOptions::default());
    let media = Media::start(&options, Echo { copies: COPIES, ..Echo::default() }).unwrap();
    let to = SocketAddr::new(LOCALHOST, media.tcp_port().unwrap());
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let begun = Instant::now();
    let reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || ages(reading, begun));
    while begun.elapsed() < Duration::from_millis(ASKED_MS as u64) {
        let mut datagram = [0; DATAGRAM_BYTES];
        datagram[..20].copy_from_slice(&CHECK);
        datagram[20..28].copy_from_slice(&(begun.elapsed().as_millis() as u64).to_be_bytes());
        let mut frame = Vec::new();
        write_frames(&mut frame, &datagram, DATAGRAM_BYTES);
        stream.write_all(&frame).unwrap();
        std::thread::sleep(Duration::from_millis(INTERVAL_MS));
    }
    let ages = reader.join().unwrap();
    eventually("it was too much", || counter(&media, "tcp_datagrams_dropped") > 100);
    let oldest = ages.iter().max().unwrap();
    println!("{} datagrams came, the oldest {oldest:?} after it was asked for", ages.len());
    assert!(ages.len() > 500, "{}", ages.len());
    // 128 KiB of ours are 0.6 s, the line's own queue twice 0.2 s, and a lost packet is waited for.
    assert!(*oldest < Duration::from_millis(2500), "{oldest:?}");
}
