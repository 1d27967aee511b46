//! Sending: what leaves is what the outbox said, in its order, whatever the kernel can and cannot do.

mod echo;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lectern_core::api::{Outbox, Run};
use lectern_core::ids::PathId;
use lectern_io::batch::{Wire, MESSAGES_PER_CALL_MAX};
use lectern_io::receive::udp_path;
use lectern_io::send::{
    Progress, Sender, DATAGRAMS_SENT_PER_TURN_MAX, GSO_REFUSALS_MAX, SEGMENTS_PER_SEND_MAX,
    SEND_BYTES_MAX,
};
use lectern_io::sys::UdpSocket;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn socket() -> UdpSocket {
    UdpSocket::bind(LOCALHOST, 0, 4 << 20, 4 << 20).unwrap()
}

struct Reader(std::net::UdpSocket);

impl Reader {
    fn new() -> Reader {
        Reader::on(LOCALHOST)
    }

    fn on(host: IpAddr) -> Reader {
        let socket = echo::reader_on(host);
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        Reader(socket)
    }

    fn path(&self) -> PathId {
        udp_path(self.0.local_addr().unwrap())
    }

    /// The next datagrams, until none comes for a while.
    fn drain(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = self.0.recv(&mut buffer) {
            all.push(buffer[..length].to_vec());
        }
        all
    }
}

/// Append a run of datagrams whose bytes tell them apart, and return them.
fn add_run(
    outbox: &mut Outbox,
    path: PathId,
    segment: usize,
    length: usize,
    seed: u64,
) -> Vec<Vec<u8>> {
    let start = outbox.bytes.len();
    outbox.bytes.extend((0..length).map(|at| (seed as usize * 31 + at * 7 + at / segment) as u8));
    outbox.runs.push(Run { path, start, length, segment });
    outbox.bytes[start..].chunks(segment).map(<[u8]>::to_vec).collect()
}

fn assert_same(got: &[Vec<u8>], wanted: &[Vec<u8>]) {
    let sizes = |list: &[Vec<u8>]| list.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(got), sizes(wanted));
    assert!(got == wanted, "the sizes agree, the bytes do not");
}

/// A wire that keeps datagrams in memory and refuses as it is told.
#[derive(Default)]
struct Fake {
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Joined sends fail with this.
    joined_error: Option<i32>,
    /// Sends to this port fail with this.
    port_error: Option<(u16, i32)>,
    /// Calls that find room, and for how many messages; then the socket is full until this is set again.
    room: Option<usize>,
    calls: usize,
}

impl Wire for Fake {
    fn send(&mut self, runs: &[Run], bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        assert!(runs.len() <= MESSAGES_PER_CALL_MAX);
        for (index, run) in runs.iter().enumerate() {
            let error = self.error_of(run);
            if let Some(error) = error {
                return if index == 0 {
                    Err(io::Error::from_raw_os_error(error))
                } else {
                    Ok(index)
                };
            }
            self.room = self.room.map(|room| room - 1);
            let payload = &bytes[run.start..run.start + run.length];
            assert!(payload.len() <= SEND_BYTES_MAX);
            assert!(payload.len().div_ceil(run.segment) <= SEGMENTS_PER_SEND_MAX);
            self.sent
                .extend(payload.chunks(run.segment).map(|part| (run.path.address, part.to_vec())));
        }
        Ok(runs.len())
    }
}

impl Fake {
    fn error_of(&self, run: &Run) -> Option<i32> {
        if self.room == Some(0) {
            return Some(libc::EAGAIN);
        }
        if let Some((port, error)) = self.port_error {
            if run.path.address.port() == port {
                return Some(error);
            }
        }
        self.joined_error.filter(|_| run.length > run.segment)
    }

    fn payloads(&self) -> Vec<Vec<u8>> {
        self.sent.iter().map(|(_, payload)| payload.clone()).collect()
    }
}

fn anybody(port: u16) -> PathId {
    udp_path(SocketAddr::new(LOCALHOST, port))
}

#[test]
fn a_run_arrives_as_its_datagrams_with_and_without_gso() {
    for (gso, messages) in [(true, 1), (false, 12)] {
        for host in [LOCALHOST, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let socket = UdpSocket::bind(host, 0, 4 << 20, 4 << 20).unwrap();
            let reader = Reader::on(host);
            let mut outbox = Outbox::default();
            let wanted = add_run(&mut outbox, reader.path(), 1150, 11 * 1150 + 700, 1);
            let mut sender = Sender::new(gso);
            assert_eq!(sender.flush(&mut &socket, &mut outbox), Progress::Drained);
            assert!(outbox.is_empty() && outbox.bytes.is_empty());
            assert_same(&reader.drain(), &wanted);
            let counters = sender.counters;
            assert_eq!(counters.messages_out, messages, "gso {gso} to {host}");
            assert_eq!((counters.sends, counters.runs_out, counters.datagrams_out), (1, 1, 12));
            assert_eq!(counters.bytes_out, 11 * 1150 + 700);
        }
    }
}

#[test]
fn runs_beyond_the_kernels_limits_are_split_between_datagrams() {
    let (socket, reader) = (socket(), Reader::new());
    let mut outbox = Outbox::default();
    // 56 x 1150 is the most below 65,507 bytes; 64 is the most in number.
    let mut wanted = add_run(&mut outbox, reader.path(), 1150, 100 * 1150, 1);
    wanted.extend(add_run(&mut outbox, reader.path(), 100, 130 * 100 + 1, 2));
    wanted.extend(add_run(&mut outbox, reader.path(), 65_507, 65_507, 3));
    let mut sender = Sender::new(true);
    assert_eq!(sender.flush(&mut &socket, &mut outbox), Progress::Drained);
    assert_same(&reader.drain(), &wanted);
    let counters = sender.counters;
    assert_eq!((counters.messages_out, counters.runs_out), (2 + 3 + 1, 3));
    assert_eq!(counters.datagrams_out, wanted.len() as u64);
}

#[test]
fn many_readers_each_get_their_own_in_few_calls() {
    let (socket, readers) = (socket(), (0..10).map(|_| Reader::new()).collect::<Vec<_>>());
    let mut outbox = Outbox::default();
    let wanted: Vec<_> = readers
        .iter()
        .enumerate()
        .map(|(n, reader)| add_run(&mut outbox, reader.path(), 1100, 5 * 1100, n as u64))
        .collect();
    let mut sender = Sender::new(true);
    assert_eq!(sender.flush(&mut &socket, &mut outbox), Progress::Drained);
    for (reader, wanted) in readers.iter().zip(&wanted) {
        assert_same(&reader.drain(), wanted);
    }
    assert_eq!(sender.counters.sends, 1);
}

#[test]
fn a_mapped_address_reaches_an_ipv4_reader_from_an_ipv6_socket() {
    let socket = UdpSocket::bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, 1 << 20, 1 << 20).unwrap();
    let reader = Reader::new();
    let mut outbox = Outbox::default();
    let wanted = add_run(&mut outbox, reader.path(), 1150, 4 * 1150 + 5, 1);
    assert_eq!(Sender::new(true).flush(&mut &socket, &mut outbox), Progress::Drained);
    assert_same(&reader.drain(), &wanted);
}

#[test]
fn a_kernel_without_segmentation_gets_datagrams_one_by_one_and_is_remembered() {
    for error in [libc::EIO, libc::EINVAL, libc::EOPNOTSUPP, libc::EMSGSIZE] {
        let mut wire = Fake { joined_error: Some(error), ..Fake::default() };
        let mut sender = Sender::new(true);
        let mut wanted = Vec::new();
        for turn in 0..u64::from(GSO_REFUSALS_MAX) + 5 {
            let mut outbox = Outbox::default();
            wanted.extend(add_run(&mut outbox, anybody(9), 1150, 100 * 1150 + 3, turn));
            assert_eq!(sender.flush(&mut wire, &mut outbox), Progress::Drained);
        }
        assert_same(&wire.payloads(), &wanted);
        assert_eq!(sender.counters.gso_refused, u64::from(GSO_REFUSALS_MAX));
        assert!(!sender.gso());
        assert_eq!(sender.counters.send_errors, 0);
    }
}

#[test]
fn one_peer_who_cannot_be_segmented_costs_the_others_nothing() {
    let mut wire = Fake::default();
    let mut sender = Sender::new(true);
    for turn in 0..100 {
        let mut outbox = Outbox::default();
        wire.joined_error = (turn % 2 == 0).then_some(libc::EMSGSIZE);
        let wanted = add_run(&mut outbox, anybody(9), 1150, 10 * 1150, turn);
        wire.sent.clear();
        assert_eq!(sender.flush(&mut wire, &mut outbox), Progress::Drained);
        assert_same(&wire.payloads(), &wanted);
    }
    assert!(sender.gso());
    assert_eq!(sender.counters.gso_refused, 50);
}

#[test]
fn a_peer_who_cannot_be_reached_loses_its_run_and_nobody_else_does() {
    for error in [libc::EPERM, libc::ENETUNREACH, libc::ECONNREFUSED, libc::EMSGSIZE, libc::EINVAL]
    {
        let mut wire = Fake { port_error: Some((7, error)), ..Fake::default() };
        let mut sender = Sender::new(true);
        let mut outbox = Outbox::default();
        let mut wanted = add_run(&mut outbox, anybody(9), 1150, 3 * 1150, 1);
        add_run(&mut outbox, anybody(7), 1150, 3 * 1150, 2);
        add_run(&mut outbox, anybody(7), 500, 500, 3);
        wanted.extend(add_run(&mut outbox, anybody(9), 1150, 3 * 1150, 4));
        assert_eq!(sender.flush(&mut wire, &mut outbox), Progress::Drained);
        assert_same(&wire.payloads(), &wanted);
        assert_eq!((sender.counters.send_errors, sender.counters.runs_out), (2, 2));
        assert!(sender.gso());
        assert_eq!(sender.counters.gso_refused, 0);
    }
}

#[test]
fn what_the_kernel_itself_refuses_is_dropped_and_counted() {
    let (socket, reader) = (socket(), Reader::new());
    let mut outbox = Outbox::default();
    let mut wanted = add_run(&mut outbox, reader.path(), 1150, 3 * 1150, 1);
    add_run(&mut outbox, anybody(0), 1150, 3 * 1150, 2); // port 0
    add_run(&mut outbox, udp_path("[::1]:9".parse().unwrap()), 1150, 1150, 3); // another family
    add_run(&mut outbox, udp_path("255.255.255.255:9".parse().unwrap()), 1150, 1150, 4);
    add_run(&mut outbox, PathId { via: 5, ..reader.path() }, 1150, 1150, 5); // not by UDP: passed over
    add_run(&mut outbox, reader.path(), SEND_BYTES_MAX + 1, SEND_BYTES_MAX + 1, 6);
    wanted.extend(add_run(&mut outbox, reader.path(), 1150, 3 * 1150, 7));
    let mut sender = Sender::new(true);
    assert_eq!(sender.flush(&mut &socket, &mut outbox), Progress::Drained);
    assert_same(&reader.drain(), &wanted);
    assert_eq!((sender.counters.send_errors, sender.counters.runs_out), (4, 2));
    assert!(sender.gso());
}

#[test]
fn a_full_socket_keeps_the_rest_in_order() {
    let mut wire = Fake { room: Some(0), ..Fake::default() };
    let mut sender = Sender::new(true);
    let mut outbox = Outbox::default();
    let mut wanted = Vec::new();
    for n in 0..100 {
        wanted.extend(add_run(&mut outbox, anybody(9), 1150, 70 * 1150 + 9, n));
    }
    let mut again = 0;
    loop {
        match sender.flush(&mut wire, &mut outbox) {
            Progress::Drained => break,
            Progress::Blocked => again += 1,
            Progress::Bounded => continue,
        }
        assert!(!outbox.is_empty());
        wire.room = Some(3);
    }
    assert_same(&wire.payloads(), &wanted);
    assert_eq!(sender.counters.send_again, again);
    assert!(again > 60, "{again}");
}

#[test]
fn a_turn_ends_after_so_many_datagrams_and_the_next_goes_on() {
    let mut wire = Fake::default();
    let mut sender = Sender::new(false);
    let mut outbox = Outbox::default();
    let count = 3 * DATAGRAMS_SENT_PER_TURN_MAX / 2;
    let wanted = add_run(&mut outbox, anybody(9), 10, 10 * count, 1);
    assert_eq!(sender.flush(&mut wire, &mut outbox), Progress::Bounded);
    assert_eq!(wire.sent.len(), DATAGRAMS_SENT_PER_TURN_MAX);
    assert_eq!(sender.flush(&mut wire, &mut outbox), Progress::Drained);
    assert_same(&wire.payloads(), &wanted);
}

/// xorshift64: the same every time for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn any_outbox_over_any_wire_arrives_whole_and_in_order() {
    for seed in 1..60u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut wire = Fake::default();
        let mut sender = Sender::new(dice.below(4) > 0);
        for _ in 0..5 {
            let mut outbox = Outbox::default();
            let mut wanted = Vec::new();
            for n in 0..dice.below(80) {
                let segment = 1 + dice.below(1500) as usize;
                let length = 1 + dice.below(segment as u64 * 80) as usize;
                wanted.extend(add_run(&mut outbox, anybody(9), segment, length, n));
            }
            wire.sent.clear();
            for _ in 0..100_000 {
                wire.room = (dice.below(2) == 0).then(|| dice.below(6) as usize);
                wire.joined_error = (dice.below(3) == 0).then_some(libc::EIO);
                if sender.flush(&mut wire, &mut outbox) == Progress::Drained {
                    break;
                }
            }
            assert!(outbox.is_empty(), "seed {seed}");
            assert!(wire.payloads() == wanted, "seed {seed}");
        }
        assert_eq!(sender.counters.send_errors, 0);
    }
}
