//! Receiving: joined datagrams are taken apart, stamps are the kernel's, one peer has one name.

mod echo;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use echo::{client, counter, eventually, options, start, Echo, LOCALHOST};
use lectern_core::api::{Command, Outbox, Run};
use lectern_core::ids::SessionId;
use lectern_io::media::Media;
use lectern_io::receive::{udp_path, Receiver};
use lectern_io::send::{Progress, Sender};
use lectern_io::sys::{now, UdpSocket};

fn socket(host: IpAddr) -> UdpSocket {
    UdpSocket::bind(host, 0, 4 << 20, 4 << 20).unwrap()
}

/// Everything that waits: (path, arrival, bytes).
fn drain(receiver: &mut Receiver, socket: &UdpSocket) -> Vec<(SocketAddr, u64, Vec<u8>)> {
    receiver.wake();
    let mut all = Vec::new();
    while let Some(datagram) = receiver.next(socket) {
        all.push((datagram.path.address, datagram.arrived.0, datagram.bytes.to_vec()));
    }
    assert!(!receiver.is_pending());
    all
}

#[test]
fn joined_datagrams_are_taken_apart() {
    let (from, to) = (socket(LOCALHOST), socket(LOCALHOST));
    assert!(to.joins, "this kernel cannot join datagrams");
    let mut outbox = Outbox::default();
    let mut wanted: Vec<Vec<u8>> = Vec::new();
    for (segment, length) in [(1150, 12 * 1150 - 3), (1150, 1150), (200, 64 * 200), (1, 1), (9, 28)]
    {
        let start = outbox.bytes.len();
        outbox.bytes.extend((0..length).map(|at| (at * 13 + at / segment) as u8));
        outbox.runs.push(Run { path: udp_path(to.local), start, length, segment });
        wanted.extend(outbox.bytes[start..].chunks(segment).map(<[u8]>::to_vec));
    }
    let mut sender = Sender::new(true);
    assert_eq!(sender.flush(&mut &from, &mut outbox), Progress::Drained);
    let mut receiver = Receiver::new();
    let got = drain(&mut receiver, &to);
    assert!(got.iter().all(|(path, _, _)| *path == from.local));
    let got: Vec<_> = got.into_iter().map(|(_, _, bytes)| bytes).collect();
    assert!(got == wanted, "{:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
    let counters = receiver.counters;
    assert_eq!(counters.datagrams_in, wanted.len() as u64);
    assert_eq!(counters.bytes_in, wanted.iter().map(Vec::len).sum::<usize>() as u64);
    assert_eq!(counters.messages_in, 5, "they came joined");
}

#[test]
fn empty_and_largest_datagrams_come_through() {
    let to = socket(LOCALHOST);
    let from = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
    from.send_to(&[], to.local).unwrap();
    from.send_to(&[7; 65_507], to.local).unwrap();
    let mut receiver = Receiver::new();
    let got = drain(&mut receiver, &to);
    let sizes: Vec<_> = got.iter().map(|(_, _, bytes)| bytes.len()).collect();
    assert_eq!(sizes, [0, 65_507]);
    assert_eq!(receiver.counters.receive_truncated, 0);
}

#[test]
fn more_than_a_batch_comes_whole_and_in_order() {
    let to = socket(LOCALHOST);
    let from = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
    for n in 0..300u32 {
        from.send_to(&n.to_be_bytes(), to.local).unwrap();
    }
    let got = drain(&mut Receiver::new(), &to);
    let numbers: Vec<_> =
        got.iter().map(|(_, _, bytes)| u32::from_be_bytes(bytes[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

#[test]
fn arrival_is_when_the_kernel_had_it_not_when_we_looked() {
    let to = socket(LOCALHOST);
    let from = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let mut sent = Vec::new();
    for n in 0..5u8 {
        let before = now();
        from.send_to(&[n], to.local).unwrap();
        sent.push((before, now()));
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut receiver = Receiver::new();
    let got = drain(&mut receiver, &to);
    let slack_ns = 1_000_000; // the two clocks are read one after the other
    for ((before, after), (_, arrived, _)) in sent.iter().zip(&got) {
        assert!(before.0 <= arrived + slack_ns && *arrived <= after.0 + slack_ns);
    }
    let waited = receiver.take_waited().unwrap();
    assert!(waited >= Duration::from_millis(49), "{waited:?}");
    assert_eq!(receiver.take_waited(), None);
}

#[test]
fn arrivals_never_run_backwards_through_the_thread() {
    let media = start(Echo::default());
    let clients: Vec<_> = (0..4).map(|_| client(&media)).collect();
    for _ in 0..500 {
        for client in &clients {
            client.send(&[1; 50]).unwrap();
        }
    }
    media.close();
    assert_eq!(counter(&media, "arrived_backwards"), 0);
    assert_eq!(counter(&media, "arrived_implausibly"), 0);
    assert!(counter(&media, "received") >= 1, "nothing was tested");
}

#[test]
fn a_mapped_peer_is_an_ipv4_peer() {
    let to = socket(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let v4 = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let v6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = to.local.port();
    v4.send_to(b"4", (Ipv4Addr::LOCALHOST, port)).unwrap();
    v6.send_to(b"6", (Ipv6Addr::LOCALHOST, port)).unwrap();
    let got = drain(&mut Receiver::new(), &to);
    let peers: Vec<_> = got.iter().map(|(path, _, _)| *path).collect();
    assert_eq!(peers, [v4.local_addr().unwrap(), v6.local_addr().unwrap()]);
}

#[test]
fn both_families_are_answered_by_one_port() {
    let engine = Echo { copies: 3, ..Echo::default() };
    let media = Media::start(&options(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), engine).unwrap();
    for host in [LOCALHOST, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let client = std::net::UdpSocket::bind((host, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.connect((host, media.port())).unwrap();
        client.send(&[5; 100]).unwrap();
        for _ in 0..3 {
            assert_eq!(client.recv(&mut [0; 200]).unwrap(), 100);
        }
    }
}

#[test]
fn a_flood_of_datagrams_does_not_keep_commands_waiting() {
    let media = start(Echo { work: Duration::from_micros(50), ..Echo::default() });
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    // More comes than the engine can do: the socket is never empty, and each turn ends all the same.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = client(&media);
            let end = Instant::now() + Duration::from_secs(10); // where the test fails
            while !stop.load(Relaxed) && Instant::now() < end {
                sent.fetch_add(u64::from(client.send(&[1; 20]).is_ok()), Relaxed);
            }
        });
        eventually("the flood begins", || sent.load(Relaxed) > 1000);
        let mut late = Vec::new();
        for number in 0..20 {
            let begun = Instant::now();
            let session = SessionId(number);
            media.command(Command::SendDtls { session, datagram: vec![22; 5] }).unwrap();
            eventually("the command is done", || !media.events().unwrap().is_empty());
            late.push(begun.elapsed());
        }
        stop.store(true, Relaxed);
        late.sort();
        assert!(late[10] < Duration::from_millis(100), "{late:?}");
    });
    media.close();
    assert!(counter(&media, "received") > 1000, "there was no flood");
}
