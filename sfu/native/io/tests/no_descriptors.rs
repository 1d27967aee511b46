//! The process has no descriptor left for another connection. Alone in its process, whose limit it changes.

mod echo;

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use echo::{client, counter, eventually, options, Echo, LOCALHOST};
use lectern_io::media::Media;
use lectern_io::sys::{Family, RawAddress};
use lectern_io::tcp::TcpOptions;

fn limit_descriptors(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count.max(1024) };
    // SAFETY: `limit` outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

fn descriptors() -> usize {
    // The listing has one itself.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

const PEERS: usize = 10;
const PLACES: u64 = 3;

/// Sockets first, and their connections later: a connection needs a descriptor at our end only.
fn sockets() -> Vec<OwnedFd> {
    let socket = |_| {
        // SAFETY: no pointers are passed; the descriptor is new and nobody else's.
        unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) }
    };
    (0..PEERS).map(socket).collect()
}

fn connect(socket: &OwnedFd, to: SocketAddr) {
    let raw = RawAddress::new(to, Family::V4).unwrap();
    let length = RawAddress::length(Family::V4);
    // SAFETY: the pointer and the length are those of `raw`.
    assert_eq!(unsafe { libc::connect(socket.as_raw_fd(), (&raw const raw).cast(), length) }, 0);
}

#[test]
fn the_listener_rests_and_everything_else_goes_on() {
    let mut options = options(LOCALHOST);
    options.tcp = Some(TcpOptions::default());
    let media = Media::start(&options, Echo { copies: 1, ..Echo::default() }).unwrap();
    let (udp, peers) = (client(&media), sockets());
    limit_descriptors(descriptors() as u64 + PLACES);
    for peer in &peers {
        connect(peer, SocketAddr::new(LOCALHOST, media.tcp_port().unwrap()));
    }
    eventually("the system refuses", || counter(&media, "tcp_accept_errors") > 0);
    let before_us = counter(&media, "cpu_us");
    for number in 0..60 {
        udp.send(&[number; 10]).unwrap();
        assert_eq!(udp.recv(&mut [0; 100]).unwrap(), 10);
        std::thread::sleep(Duration::from_millis(20));
    }
    let accepted = counter(&media, "tcp_accepted");
    assert!((1..PEERS as u64).contains(&accepted), "{accepted}");
    assert!(counter(&media, "tcp_accept_errors") < 10, "it asked again and again");
    assert!(counter(&media, "cpu_us") - before_us < 300_000, "it did not sleep");
    limit_descriptors(1024);
    eventually("those who waited come in", || counter(&media, "tcp_accepted") == PEERS as u64);
}
