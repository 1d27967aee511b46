//! ICE over TCP: frames in and out, and peers that do not behave, while others are served as if nothing were.

mod echo;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use echo::{client, counter, eventually, options, Echo, CHECK, FAREWELL, LOCALHOST};
use lectern_io::framing::{write_frames, Deframer};
use lectern_io::media::Media;
use lectern_io::sys::RawAddress;
use lectern_io::tcp::{TcpLimits, TcpOptions};

fn start_on(host: IpAddr, limits: TcpLimits, engine: Echo) -> Media {
    let mut options = options(host);
    options.tcp = Some(TcpOptions { port: 0, limits });
    Media::start(&options, engine).unwrap()
}

fn start(limits: TcpLimits, engine: Echo) -> Media {
    start_on(LOCALHOST, limits, engine)
}

fn echo() -> Echo {
    Echo { copies: 1, ..Echo::default() }
}

/// A client's end of a connection.
struct Peer {
    stream: TcpStream,
    deframer: Deframer,
    read: Vec<u8>,
}

impl Peer {
    fn to(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Peer { stream, deframer: Deframer::default(), read: Vec::new() }
    }

    fn of(media: &Media) -> Peer {
        Peer::to(SocketAddr::new(LOCALHOST, media.tcp_port().unwrap()))
    }

    /// Connected and proven.
    fn checked(media: &Media) -> Peer {
        let mut peer = Peer::of(media);
        peer.check();
        peer
    }

    fn check(&mut self) {
        self.send(&CHECK);
        assert_eq!(self.receive().as_deref(), Some(&CHECK[..]));
    }

    fn send(&mut self, datagram: &[u8]) {
        let mut frame = Vec::new();
        write_frames(&mut frame, datagram, datagram.len());
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame; None: the connection was closed.
    fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut input = &mut self.read[..];
            let frame = self.deframer.next(&mut input).unwrap().map(|frame| frame.to_vec());
            let rest = input.len();
            self.read.drain(..self.read.len() - rest);
            if frame.is_some() {
                return frame;
            }
            let mut more = [0; 65_536];
            match self.stream.read(&mut more) {
                Ok(0) => return None,
                Ok(count) => self.read.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }
}

/// Ask and be answered over UDP and over a connection of its own, `count` times; the longest that it took.
fn others_are_served(media: &Media, peer: &mut Peer, count: usize) -> Duration {
    let over_udp = client(media);
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let asked = Instant::now();
        let datagram = [128, number as u8, 1, 2, 3];
        over_udp.send(&datagram).unwrap();
        peer.send(&datagram);
        let mut buffer = [0; 100];
        let got = over_udp.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], datagram);
        assert_eq!(peer.receive().as_deref(), Some(&datagram[..]));
        longest = longest.max(asked.elapsed());
    }
    longest
}

#[test]
fn frames_are_datagrams_in_order_and_counted() {
    let media = start(TcpLimits::default(), echo());
    let mut peer = Peer::checked(&media);
    let datagrams: Vec<Vec<u8>> = (1..200).map(|length| vec![128; length * 7]).collect();
    let mut stream = Vec::new();
    for datagram in &datagrams {
        write_frames(&mut stream, datagram, datagram.len());
    }
    peer.stream.write_all(&stream).unwrap();
    for datagram in &datagrams {
        assert_eq!(peer.receive().as_ref(), Some(datagram));
    }
    media.close();
    for (name, value) in [
        ("tcp_accepted", 1),
        ("tcp_proven", 1),
        ("tcp_connections", 1),
        ("tcp_datagrams_in", 200),
        ("tcp_datagrams_out", 200),
        ("tcp_bytes_in", stream.len() as u64 + 22),
        ("tcp_bytes_out", stream.len() as u64 + 22),
        ("tcp_datagrams_dropped", 0),
        ("tcp_backlog_bytes", 0),
        ("received", 200),
        ("datagrams_in", 0),
        ("send_errors", 0),
        ("arrived_backwards", 0),
        ("arrived_implausibly", 0),
    ] {
        assert_eq!(counter(&media, name), value, "{name}");
    }
}

#[test]
fn a_run_is_one_write() {
    let media = start(TcpLimits::default(), Echo { copies: 16, ..Echo::default() });
    let mut peer = Peer::of(&media);
    peer.send(&CHECK);
    for _ in 0..16 {
        assert_eq!(peer.receive().as_deref(), Some(&CHECK[..]));
    }
    media.close();
    assert_eq!((counter(&media, "tcp_writes"), counter(&media, "tcp_datagrams_out")), (1, 16));
}

#[test]
fn both_families_come_to_one_port() {
    let media = start_on(IpAddr::V6(Ipv6Addr::UNSPECIFIED), TcpLimits::default(), echo());
    for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        Peer::to(SocketAddr::new(host, media.tcp_port().unwrap())).check();
    }
}

#[test]
fn a_taken_tcp_port_is_told_from_a_taken_udp_port() {
    let taken = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let mut options = options(LOCALHOST);
    let port = taken.local_addr().unwrap().port();
    options.tcp = Some(TcpOptions { port, limits: TcpLimits::default() });
    let error = Media::start(&options, echo()).err().unwrap();
    assert_eq!(error.error.raw_os_error(), Some(libc::EADDRINUSE));
    assert!(error.to_string().starts_with(&format!("TCP 127.0.0.1:{port}: ")), "{error}");
}

#[test]
fn a_peer_that_dribbles_is_understood_and_delays_nobody() {
    let media = start(TcpLimits::default(), echo());
    let mut other = Peer::checked(&media);
    let mut dribbler = Peer::of(&media);
    let mut stream = Vec::new();
    for datagram in [&CHECK[..], &[128; 300], &[129; 300]] {
        write_frames(&mut stream, datagram, datagram.len());
    }
    let mut longest = Duration::ZERO;
    for (at, byte) in stream.iter().enumerate() {
        dribbler.stream.write_all(&[*byte]).unwrap();
        if at % 20 == 0 {
            longest = longest.max(others_are_served(&media, &mut other, 1));
        }
    }
    assert_eq!(dribbler.receive().as_deref(), Some(&CHECK[..]));
    assert_eq!(dribbler.receive(), Some(vec![128; 300]));
    assert_eq!(dribbler.receive(), Some(vec![129; 300]));
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[test]
fn a_peer_that_stops_reading_loses_whole_datagrams_and_nobody_else_does() {
    let limits = TcpLimits::default();
    let media = start(limits, Echo { copies: 1, ..Echo::default() });
    let mut other = Peer::checked(&media);
    let mut deaf = Peer::checked(&media);
    let mut longest = Duration::ZERO;
    let asked = 20_000u32;
    for number in 0..asked {
        let mut datagram = [128; 1000];
        datagram[4..8].copy_from_slice(&number.to_be_bytes());
        deaf.send(&datagram);
        if number % 1000 == 0 {
            longest = longest.max(others_are_served(&media, &mut other, 1));
        }
    }
    eventually("all were asked", || counter(&media, "received") >= u64::from(asked));
    let dropped = counter(&media, "tcp_datagrams_dropped");
    let waiting = counter(&media, "tcp_backlog_bytes") as usize;
    assert!(dropped > 1000, "the socket was never full: {dropped}");
    assert!((1..limits.backlog_bytes_max + 1002).contains(&waiting), "{waiting}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    // What it gets when it reads again is whole, in order, and as much as was not dropped.
    let mut last = None;
    for _ in 0..u64::from(asked) - dropped {
        let datagram = deaf.receive().unwrap();
        assert_eq!((datagram.len(), datagram[0], datagram[999]), (1000, 128, 128));
        let number = u32::from_be_bytes(datagram[4..8].try_into().unwrap());
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
    }
    deaf.send(&[128; 5]);
    assert_eq!(deaf.receive(), Some(vec![128; 5]), "and it is served as before");
    eventually("nothing waits", || counter(&media, "tcp_backlog_bytes") == 0);
}

#[test]
fn all_backlogs_together_are_bounded() {
    let backlogs_bytes_max = 100_000;
    let limits = TcpLimits { backlogs_bytes_max, ..TcpLimits::default() };
    let media = start(limits, Echo { copies: 100, ..Echo::default() });
    let mut deaf: Vec<Peer> = (0..4).map(|_| Peer::of(&media)).collect();
    for _ in 0..40 {
        for peer in &mut deaf {
            let mut check = [0; 1000];
            check[..20].copy_from_slice(&CHECK);
            peer.send(&check);
        }
    }
    eventually("all were asked", || counter(&media, "received") == 160);
    eventually("some were dropped", || counter(&media, "tcp_datagrams_dropped") > 1000);
    let waiting = counter(&media, "tcp_backlog_bytes") as usize;
    assert!((1..backlogs_bytes_max + 4 * 1002).contains(&waiting), "{waiting}");
    // Those who found no room at all still get whole frames.
    for peer in &mut deaf {
        peer.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut all = Vec::new();
        let error = peer.stream.read_to_end(&mut all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let mut input = &mut all[..];
        while let Some(datagram) = peer.deframer.next(&mut input).unwrap() {
            assert_eq!((datagram.len(), &datagram[..20]), (1000, &CHECK[..]));
        }
        assert_eq!(peer.deframer.kept(), 0);
    }
}

#[test]
fn a_connection_without_a_valid_check_is_closed_in_time() {
    let check_timeout = Duration::from_millis(600);
    let limits = TcpLimits { check_timeout, ..TcpLimits::default() };
    let media = start(limits, echo());
    let begun = Instant::now();
    let mut other = Peer::checked(&media);
    let mut silent = Peer::of(&media);
    let mut half_a_frame = Peer::of(&media);
    half_a_frame.stream.write_all(&[0, 20, 0]).unwrap();
    let mut guesser = Peer::of(&media);
    guesser.send(b"\0\x01no valid check at all");
    assert!(guesser.receive().is_some(), "the echo");
    for peer in [&mut silent, &mut half_a_frame, &mut guesser] {
        assert!(peer.is_closed());
    }
    assert!(begun.elapsed() >= check_timeout);
    others_are_served(&media, &mut other, 1);
    media.close();
    assert_eq!(counter(&media, "tcp_closed_unchecked"), 3);
    assert_eq!(counter(&media, "tcp_connections"), 1);
}

#[test]
fn anything_but_stun_before_a_check_ends_the_connection_at_once() {
    let media = start(TcpLimits::default(), echo());
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\x0e\x16\xfe\xfd0123456789ab", b"\0\x01x"] {
        let mut peer = Peer::of(&media);
        peer.stream.write_all(first).unwrap();
        assert!(peer.is_closed());
    }
    let mut peer = Peer::checked(&media);
    peer.send(&[22; 14]);
    assert_eq!(peer.receive(), Some(vec![22; 14]), "afterwards everything goes");
    peer.stream.write_all(&[0xFF; 2]).unwrap();
    assert!(peer.is_closed(), "but no frame that is too long");
    media.close();
    assert_eq!(counter(&media, "tcp_closed_malformed"), 4);
    assert_eq!((counter(&media, "received"), counter(&media, "forgotten")), (2, 1));
}

#[test]
fn a_flood_from_one_address_is_refused_and_others_come_in() {
    let limits =
        TcpLimits { per_address_max: 6, unproven_per_address_max: 4, ..TcpLimits::default() };
    let media = start(limits, echo());
    let mut flood: Vec<Peer> = (0..50).map(|_| Peer::of(&media)).collect();
    eventually("it was refused", || counter(&media, "tcp_refused") == 46);
    for peer in &mut flood[..4] {
        peer.check();
    }
    assert!(flood[4..].iter_mut().all(Peer::is_closed));
    let mut more: Vec<Peer> = (0..2).map(|_| Peer::checked(&media)).collect();
    assert!(Peer::of(&media).is_closed(), "the six of this address are there");
    connect_from(Ipv4Addr::new(127, 0, 0, 2), &media).check();
    drop(flood);
    eventually("they have left", || counter(&media, "tcp_connections") == 2);
    others_are_served(&media, &mut more[0], 3);
    Peer::checked(&media);
}

/// Connect from another address of loopback's.
fn connect_from(source: Ipv4Addr, media: &Media) -> Peer {
    let to = SocketAddr::new(LOCALHOST, media.tcp_port().unwrap());
    let family = lectern_io::sys::Family::V4;
    let [from, to] =
        [SocketAddr::from((source, 0)), to].map(|a| RawAddress::new(a, family).unwrap());
    let length = RawAddress::length(family);
    // SAFETY: no pointers but those to addresses of the length that is named.
    let stream = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        assert_eq!(libc::bind(fd, (&raw const from).cast(), length), 0);
        assert_eq!(libc::connect(fd, (&raw const to).cast(), length), 0);
        TcpStream::from(OwnedFd::from_raw_fd(fd))
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Peer { stream, deframer: Deframer::default(), read: Vec::new() }
}

#[test]
fn when_all_places_are_taken_the_oldest_without_a_check_makes_room() {
    let media = start(TcpLimits { connections_max: 3, ..TcpLimits::default() }, echo());
    let mut first = Peer::checked(&media);
    let mut idle = Peer::of(&media);
    eventually("it is there", || counter(&media, "tcp_accepted") == 2);
    let mut later = Peer::of(&media);
    eventually("it is there", || counter(&media, "tcp_accepted") == 3);
    let mut second = Peer::checked(&media);
    assert!(idle.is_closed());
    later.check();
    assert!(Peer::of(&media).is_closed(), "all three have shown a check");
    for peer in [&mut first, &mut second, &mut later] {
        others_are_served(&media, peer, 1);
    }
    media.close();
    assert_eq!((counter(&media, "tcp_evicted"), counter(&media, "tcp_refused")), (1, 1));
}

#[test]
fn a_connection_that_no_session_holds_any_more_is_closed() {
    let media = start(TcpLimits::default(), echo());
    let mut other = Peer::checked(&media);
    let mut peer = Peer::checked(&media);
    peer.send(&FAREWELL);
    assert!(peer.receive().is_some(), "the echo of the farewell still comes");
    assert!(peer.is_closed());
    others_are_served(&media, &mut other, 1);
    media.close();
    assert_eq!(counter(&media, "tcp_closed_unclaimed"), 1);
}

#[test]
fn a_connection_without_whole_frames_is_idle_however_it_dribbles() {
    let idle_timeout = Duration::from_millis(700);
    let media = start(TcpLimits { idle_timeout, ..TcpLimits::default() }, echo());
    let mut dribbler = Peer::checked(&media);
    dribbler.stream.write_all(&[15, 0]).unwrap();
    let begun = Instant::now();
    while dribbler.stream.write_all(&[1]).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it goes on and on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() > idle_timeout / 2);
    eventually("it is counted", || counter(&media, "tcp_closed_idle") == 1);
    assert_eq!(counter(&media, "forgotten"), 1);
}

#[test]
fn a_connection_that_ends_is_forgotten_by_the_engine() {
    let media = start(TcpLimits::default(), echo());
    let peers: Vec<Peer> = (0..5).map(|_| Peer::checked(&media)).collect();
    eventually("they are known", || counter(&media, "known") == 5);
    drop(peers);
    eventually("they are forgotten", || counter(&media, "forgotten") == 5);
    assert_eq!((counter(&media, "known"), counter(&media, "tcp_closed")), (0, 5));
}

#[test]
fn what_is_sent_to_a_connection_that_is_gone_is_counted_and_goes_nowhere() {
    let media = start(TcpLimits::default(), Echo { copies: 3, ..Echo::default() });
    let mut peer = Peer::of(&media);
    // It is closed for its second frame before the first one's answer is due.
    let mut stream = Vec::new();
    write_frames(&mut stream, &CHECK, CHECK.len());
    stream.extend([0xFF; 2]);
    peer.stream.write_all(&stream).unwrap();
    eventually("it is counted", || counter(&media, "tcp_datagrams_unsendable") == 3);
    assert_eq!(counter(&media, "tcp_datagrams_out"), 0);
}
