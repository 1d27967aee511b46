//! A link slower than what is sent over it: the socket fills, and nothing is lost or reordered by us.
//!
//! In a network namespace of its own, whose loopback is made slow; needs root.

mod echo;

use std::process::Command;
use std::time::{Duration, Instant};

use echo::{client, counter, eventually, options, Echo, LOCALHOST};
use lectern_io::media::Media;

/// Give this thread, and those it starts, a network of their own with 20 Mbit/s.
fn enter_slow_network() {
    // SAFETY: no pointers are passed; only this thread's network changes.
    let failed = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    for line in
        ["ip link set lo up", "tc qdisc add dev lo root tbf rate 20mbit burst 20kb limit 50mb"]
    {
        let words: Vec<_> = line.split(' ').collect();
        let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
        assert!(status.success(), "{line}");
    }
}

#[test]
fn a_full_socket_is_waited_for_while_receiving_goes_on() {
    // SAFETY: no pointers are passed.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    enter_slow_network();
    let mut tiny = options(LOCALHOST);
    tiny.send_buffer_bytes = 20_000;
    let media = Media::start(&tiny, Echo { copies: 5, ..Echo::default() }).unwrap();
    let client = client(&media);
    let begun = Instant::now();
    let count = 200u32;
    for number in 0..count {
        let mut datagram = [0; 1000];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        client.send(&datagram).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut buffer = [0; 2000];
    for at in 0..5 * count {
        assert_eq!(client.recv(&mut buffer).unwrap(), 1000);
        assert_eq!(u32::from_be_bytes(buffer[..4].try_into().unwrap()), at / 5);
    }
    assert!(begun.elapsed() > Duration::from_millis(300), "the network was not slow");
    eventually("the counters are shown", || {
        counter(&media, "datagrams_out") == u64::from(5 * count)
    });
    assert!(counter(&media, "send_again") > 10, "the socket was never full");
    // Each datagram that comes is a turn; none of those asks a socket that is known to be full.
    assert!(counter(&media, "send_again") < u64::from(count / 2), "it was asked in vain");
    assert_eq!(counter(&media, "send_errors"), 0);
    assert!(counter(&media, "cpu_us") < 100_000, "it did not sleep while it waited");
}
