//! A small engine for the tests: it sends back what comes, as often as it is told, and counts.
//!
//! Included by the test files, each of which uses a part of it.
#![allow(dead_code)]

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use lectern_core::api::{Command, Counters, Event, Outbox, Run};
use lectern_core::ids::{PathId, SessionId, Time};
use lectern_io::engine::Engine;
use lectern_io::media::{Media, Options};
use lectern_io::sys::set_option;

pub const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Default)]
pub struct Echo {
    pub copies: usize,
    /// Wake up this long after each datagram and say so with an event.
    pub alarm_after: Option<Duration>,
    pub panic_on: Option<u8>,
    /// After each datagram, be due again at once for so many turns.
    pub turns_more: u64,
    /// How long the engine works on each datagram.
    pub work: Duration,
    pub state: State,
}

#[derive(Default)]
pub struct State {
    waiting: Vec<(PathId, Vec<u8>)>,
    deadline: Option<Time>,
    turns_left: u64,
    events: Vec<Event>,
    received: u64,
    commands: u64,
    advances: u64,
    last_arrived: Time,
    arrived_backwards: u64,
    arrived_implausibly: u64,
    /// Paths that have sent `CHECK`.
    known: HashSet<PathId>,
    forgotten: u64,
}

/// What stands for a valid STUN check here: a datagram that begins like this, at least 20 bytes long.
pub const CHECK: [u8; 20] = *b"\0\x01valid check here..";

/// What lets the engine forget the path again, as the end of its session would.
pub const FAREWELL: [u8; 20] = *b"\0\x01farewell to you...";

impl Engine for Echo {
    fn command(&mut self, _now: Time, command: Command) {
        self.state.commands += 1;
        if let Command::SendDtls { session, datagram } = command {
            self.state.events.push(Event::Dtls { session, datagram });
        }
    }

    fn receive(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]) {
        assert!(self.panic_on.is_none() || datagram.first() != self.panic_on.as_ref(), "told to");
        self.state.received += 1;
        let work_until = lectern_io::sys::now() + self.work;
        while lectern_io::sys::now() < work_until {}
        let now = lectern_io::sys::now();
        self.state.arrived_backwards += u64::from(self.state.last_arrived > arrived);
        self.state.arrived_implausibly +=
            u64::from(arrived > now || now.since(arrived) > Duration::from_millis(500));
        self.state.last_arrived = arrived;
        if datagram.starts_with(&CHECK) {
            self.state.known.insert(path);
        }
        if datagram.starts_with(&FAREWELL) {
            self.state.known.remove(&path);
        }
        self.state.waiting.push((path, datagram.to_vec()));
        self.state.turns_left = self.turns_more;
        if let Some(after) = self.alarm_after {
            self.state.deadline = Some(arrived + after);
        }
    }

    fn knows(&self, path: PathId) -> bool {
        self.state.known.contains(&path)
    }

    fn forget(&mut self, _now: Time, path: PathId) {
        self.state.forgotten += u64::from(self.state.known.remove(&path));
    }

    fn advance(&mut self, now: Time, out: &mut Outbox) {
        assert!(out.is_empty(), "the rim asked for more than it had sent");
        self.state.advances += 1;
        self.state.turns_left = self.state.turns_left.saturating_sub(1);
        for (path, datagram) in self.state.waiting.drain(..) {
            let start = out.bytes.len();
            for _ in 0..self.copies {
                out.bytes.extend_from_slice(&datagram);
            }
            if self.copies > 0 {
                let length = out.bytes.len() - start;
                out.runs.push(Run { path, start, length, segment: datagram.len() });
            }
        }
        if self.state.deadline.is_some_and(|deadline| deadline <= now) {
            let late = now.since(self.state.deadline.unwrap());
            self.state
                .events
                .push(Event::Silent { session: SessionId(0), ms_ago: late.as_millis() as u32 });
            self.state.deadline = None;
        }
    }

    fn deadline(&self) -> Option<Time> {
        if self.state.turns_left > 0 {
            return Some(Time(0));
        }
        self.state.deadline
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.state.events);
    }

    fn counters(&self) -> Counters {
        vec![
            ("received", self.state.received),
            ("commands", self.state.commands),
            ("advances", self.state.advances),
            ("arrived_backwards", self.state.arrived_backwards),
            ("arrived_implausibly", self.state.arrived_implausibly),
            ("known", self.state.known.len() as u64),
            ("forgotten", self.state.forgotten),
        ]
    }

    fn session_counters(&self, session: SessionId) -> Option<Counters> {
        Some(vec![("number", u64::from(session.0))])
    }
}

pub fn options(host: IpAddr) -> Options {
    let (receive_buffer_bytes, send_buffer_bytes) = (4 << 20, 4 << 20);
    Options { host, port: 0, tcp: None, receive_buffer_bytes, send_buffer_bytes, gso: true }
}

pub fn start(engine: Echo) -> Media {
    Media::start(&options(LOCALHOST), engine).unwrap()
}

/// A plain socket, without UDP_GRO, with room for some thousands of datagrams.
pub fn reader_on(host: IpAddr) -> UdpSocket {
    let fd = OwnedFd::from(UdpSocket::bind((host, 0)).unwrap());
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20)
        .or_else(|_| set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 8 << 20))
        .unwrap();
    UdpSocket::from(fd)
}

pub fn reader() -> UdpSocket {
    reader_on(LOCALHOST)
}

pub fn client(media: &Media) -> UdpSocket {
    let socket = reader();
    socket.connect(SocketAddr::new(LOCALHOST, media.port())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

pub fn counter(media: &Media, name: &str) -> u64 {
    media.counters().iter().find(|(known, _)| *known == name).map_or(0, |&(_, value)| value)
}

/// Wait until it holds, 3 s at most.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(3);
    while !holds() {
        assert!(Instant::now() < end, "not in 3 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
