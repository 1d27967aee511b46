//! ICE over TCP: we listen, browsers connect (RFC 6544, passive candidates), each datagram is a frame (RFC 4571).
//!
//! A connection is a path like any other, and behaves like a UDP path with a short queue: what it cannot take is
//! dropped by whole datagrams, and nobody waits for it. It belongs to nobody until a STUN check on it is valid; the
//! engine knows when that is, and for how long a session holds the path.

mod connection;
mod counters;
mod crowd;
mod table;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use lectern_core::api::Outbox;
use lectern_core::ids::Time;

use crate::engine::Engine;
use crate::framing::{FRAME_BYTES_MAX, LENGTH_BYTES};
use crate::receive::VIA_UDP;
use crate::sys::{self, Epoll, Interest, Ready, StreamOptions};
use connection::{Connection, Ended};
pub use counters::TcpCounters;
use crowd::Crowd;
use table::Table;
pub use table::VIA_CONNECTION_MIN;

/// Taken from the kernel in one call; a shared buffer holds it while it is taken apart.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Frames given to the engine in one turn, and up to one read's worth beyond: about a millisecond of work.
pub const FRAMES_PER_TURN_MAX: usize = 256;

/// Connections accepted in one turn: about half a millisecond.
pub const ACCEPTS_PER_TURN_MAX: usize = 32;

/// After the system refused to give us a connection (no descriptors, no memory), the listener rests so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How often deadlines are looked at while there are connections.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// Memory of backlogs that is kept for the next ones.
const SPARE_BACKLOGS_MAX: usize = 64;

/// Of each connection, in the kernel. 256 KiB carry 10 Mbit/s over a round trip of 200 ms; the kernel's own counting
/// doubles them.
const KERNEL_BUFFER_BYTES: usize = 256 * 1024;

/// Of these, not yet sent: one pacing interval of a fast viewer. What waits longer waits here, where it is counted.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// The bounds of a node's connections.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Twice the viewers that a node carries. When all are taken, the one that has gone longest without a valid check
    /// makes room.
    pub connections_max: usize,
    /// From one IPv4 address or one IPv6 /64: a whole school behind one NAT.
    pub per_address_max: usize,
    /// Of these, those without a valid check: a bell's worth of students between connecting and checking.
    pub unproven_per_address_max: usize,
    /// A connection that has not brought a valid STUN check by then is closed. Browsers check within a round trip;
    /// RFC 6544 names no figure, and this is a TCP handshake's patience with two losses.
    pub check_timeout: Duration,
    /// No whole frame for so long: closed. Consent checks come every 6 s at the latest (RFC 7675 section 5.1); spare
    /// connections of browsers are checked every 25 s.
    pub idle_timeout: Duration,
    /// Framed bytes that wait for one connection, and up to one frame beyond: half a second at 2 Mbit/s, or the
    /// keyframe that a joiner gets while TCP starts slowly. More is dropped.
    pub backlog_bytes_max: usize,
    /// Of all connections together.
    pub backlogs_bytes_max: usize,
}

impl Default for TcpLimits {
    fn default() -> TcpLimits {
        TcpLimits {
            connections_max: 4096,
            per_address_max: 1024,
            unproven_per_address_max: 256,
            check_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            backlog_bytes_max: 128 * 1024,
            backlogs_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// How to open the node's TCP port.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpOptions {
    /// 0: the system picks one.
    pub port: u16,
    pub limits: TcpLimits,
}

/// The listener and its connections, all of them served by the media thread.
pub struct Tcp {
    listener: TcpListener,
    local: SocketAddr,
    token: u32,
    limits: TcpLimits,
    table: Table,
    crowd: Crowd,
    /// Those that the kernel said have something to read, in the order they are served.
    readable: VecDeque<u32>,
    /// The listener rests until then.
    paused_until: Option<Time>,
    swept: Time,
    read: Vec<u8>,
    framed: Vec<u8>,
    spares: Vec<VecDeque<u8>>,
    backlogged: usize,
    pub counters: TcpCounters,
}

impl Tcp {
    /// Listen on the host. Errors are those of bind(2) and listen(2).
    pub fn listen(host: IpAddr, options: &TcpOptions) -> io::Result<Tcp> {
        let stream = StreamOptions {
            receive_buffer_bytes: KERNEL_BUFFER_BYTES,
            send_buffer_bytes: KERNEL_BUFFER_BYTES,
            unsent_bytes_max: UNSENT_BYTES_MAX,
        };
        let listener = sys::listen(host, options.port, stream)?;
        let local = listener.local_addr()?;
        Ok(Tcp {
            listener,
            local,
            token: 0,
            limits: options.limits,
            table: Table::new(options.limits.connections_max),
            crowd: Crowd::default(),
            readable: VecDeque::new(),
            paused_until: None,
            swept: Time(0),
            read: vec![0; READ_BYTES_MAX],
            framed: Vec::new(),
            spares: Vec::new(),
            backlogged: 0,
            counters: TcpCounters::default(),
        })
    }

    pub fn port(&self) -> u16 {
        self.local.port()
    }

    /// Be woken for connections that come, under this token; theirs are `VIA_CONNECTION_MIN` and higher.
    pub fn watch(&mut self, epoll: &Epoll, token: u32) -> io::Result<()> {
        self.token = token;
        epoll.add(self.listener.as_fd(), token)
    }

    /// There is something to take without another wake-up.
    pub fn is_pending(&self) -> bool {
        !self.readable.is_empty()
    }

    /// When `sweep` has work; None: not before the next connection.
    pub fn due(&self) -> Option<Time> {
        let sweep = (self.table.count() > 0).then(|| self.swept + SWEEP_INTERVAL);
        [sweep, self.paused_until].into_iter().flatten().min()
    }

    pub fn open(&self) -> u64 {
        self.table.count() as u64
    }

    pub fn backlogged_bytes(&self) -> u64 {
        self.backlogged as u64
    }

    /// A connection, or the listener, is ready.
    pub fn wake(&mut self, epoll: &Epoll, engine: &mut impl Engine, ready: Ready) {
        if ready.token == self.token {
            self.accept(epoll, engine);
            return;
        }
        let Some(connection) = self.table.get(ready.token) else { return };
        if ready.readable && !connection.queued {
            connection.queued = true;
            self.readable.push_back(ready.token);
        }
        if ready.writable && connection.blocked() {
            self.flush(epoll, engine, ready.token);
        }
    }

    fn accept(&mut self, epoll: &Epoll, engine: &mut impl Engine) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.listener.accept() {
                Ok((stream, address)) => self.admit(epoll, engine, stream, canonical(address)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Gone again before we came (accept(2)).
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    self.counters.accept_errors += 1;
                    self.set_listening(epoll, false);
                    return;
                }
            }
        }
    }

    fn set_listening(&mut self, epoll: &Epoll, listening: bool) {
        let interest = if listening { Interest::READ } else { Interest::NONE };
        self.paused_until = (!listening).then(|| sys::now() + ACCEPT_PAUSE);
        epoll.change(self.listener.as_fd(), self.token, interest).expect("the listener is watched");
    }

    fn admit(
        &mut self,
        epoll: &Epoll,
        engine: &mut impl Engine,
        stream: TcpStream,
        address: SocketAddr,
    ) {
        let limits = &self.limits;
        let room = self.crowd.admits(
            address.ip(),
            limits.per_address_max,
            limits.unproven_per_address_max,
        );
        if !room || !self.make_room(epoll, engine) || stream.set_nonblocking(true).is_err() {
            self.counters.refused += 1;
            sys::reset_on_close(stream.as_fd());
            return;
        }
        let now = sys::now();
        if self.table.count() == 0 {
            self.swept = now;
        }
        let via = self.table.next_via();
        if epoll.add(stream.as_fd(), via).is_err() {
            self.counters.refused += 1;
            return;
        }
        self.table.insert(Connection::new(stream, address, via, now));
        self.crowd.join(address.ip());
        self.counters.accepted += 1;
    }

    /// Whether there is a place for one more, if need be that of the oldest without a valid check.
    fn make_room(&mut self, epoll: &Epoll, engine: &mut impl Engine) -> bool {
        if self.table.count() < self.limits.connections_max {
            return true;
        }
        let unproven = self.table.iter().filter(|connection| !connection.proven);
        let Some(via) = unproven.min_by_key(|c| c.opened).map(|c| c.path.via) else {
            return false;
        };
        self.counters.evicted += 1;
        self.close(epoll, engine, via, Ended::Reset);
        true
    }

    /// Read what waits and hand on its frames, within the bounds of a turn.
    pub fn receive(&mut self, epoll: &Epoll, engine: &mut impl Engine) -> bool {
        let stop = self.counters.frames_in + FRAMES_PER_TURN_MAX as u64;
        let mut worked = false;
        while self.counters.frames_in < stop {
            let Some(via) = self.readable.pop_front() else { break };
            let Some(connection) = self.table.get(via) else { continue };
            connection.queued = false;
            worked = true;
            let proven = connection.proven;
            let ended = connection.receive(&mut self.read, engine, &mut self.counters);
            if connection.proven && !proven {
                self.crowd.prove(connection.path.address.ip());
                self.counters.proven += 1;
            }
            if let Err(ended) = ended {
                self.close(epoll, engine, via, ended);
            }
        }
        worked
    }

    /// Send the outbox's runs that are for connections; those that a connection cannot take are dropped.
    pub fn send(&mut self, epoll: &Epoll, engine: &mut impl Engine, outbox: &Outbox) {
        for run in outbox.runs.iter().filter(|run| run.path.via != VIA_UDP) {
            let datagrams = run.length.div_ceil(run.segment.max(1)) as u64;
            let found = self.table.get(run.path.via).filter(|c| c.path == run.path);
            let (Some(connection), 1..=FRAME_BYTES_MAX) = (found, run.segment) else {
                self.counters.unsendable += datagrams;
                continue;
            };
            let payload = &outbox.bytes[run.start..run.start + run.length];
            let before = connection.backlogged();
            if before == 0 {
                connection.lend(self.spares.pop().unwrap_or_default());
            }
            let room = self.limits.backlog_bytes_max.saturating_sub(before);
            let room = room.min(self.limits.backlogs_bytes_max.saturating_sub(self.backlogged));
            self.framed.clear();
            crate::framing::write_frames(&mut self.framed, payload, run.segment);
            let sent = connection.send(&self.framed, room, &mut self.counters);
            let after = connection.backlogged();
            self.backlogged += after - before;
            if after == 0 {
                give_back(&mut self.spares, connection.take_memory());
            }
            match sent {
                Err(ended) => self.close(epoll, engine, run.path.via, ended),
                Ok(()) if before == 0 && after > 0 => {
                    self.watch_writing(epoll, run.path.via, true);
                }
                Ok(()) => {}
            }
        }
    }

    /// The connection's socket has room again.
    fn flush(&mut self, epoll: &Epoll, engine: &mut impl Engine, via: u32) {
        let Some(connection) = self.table.get(via) else { return };
        let before = connection.backlogged();
        let flushed = connection.flush(&mut self.counters);
        let after = connection.backlogged();
        self.backlogged -= before - after;
        if after == 0 {
            give_back(&mut self.spares, connection.take_memory());
        }
        match flushed {
            Err(ended) => self.close(epoll, engine, via, ended),
            Ok(()) if after == 0 => self.watch_writing(epoll, via, false),
            Ok(()) => {}
        }
    }

    fn watch_writing(&mut self, epoll: &Epoll, via: u32, writing: bool) {
        let interest = if writing { Interest::READ_AND_WRITE } else { Interest::READ };
        if let Some(connection) = self.table.get(via) {
            epoll.change(connection.stream.as_fd(), via, interest).expect("it is watched");
        }
    }

    /// Close what is past its deadline, or whose session is gone.
    pub fn sweep(&mut self, epoll: &Epoll, engine: &mut impl Engine, now: Time) -> bool {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.set_listening(epoll, true);
        }
        if self.table.count() == 0 || now < self.swept + SWEEP_INTERVAL {
            return false;
        }
        self.swept = now;
        for index in 0..self.table.places() {
            let Some(connection) = self.table.at(index) else { continue };
            let (via, counters) = (connection.path.via, &mut self.counters);
            let ended = if !connection.proven {
                let late = now.since(connection.opened) >= self.limits.check_timeout;
                late.then_some((&mut counters.unchecked, Ended::Reset))
            } else if now.since(connection.heard) >= self.limits.idle_timeout {
                Some((&mut counters.idle, Ended::Reset))
            } else if !engine.knows(connection.path) {
                Some((&mut counters.unclaimed, Ended::Orderly))
            } else {
                None
            };
            if let Some((counter, ended)) = ended {
                *counter += 1;
                self.close(epoll, engine, via, ended);
            }
        }
        true
    }

    fn close(&mut self, epoll: &Epoll, engine: &mut impl Engine, via: u32, ended: Ended) {
        let Some(mut connection) = self.table.remove(via) else { return };
        self.backlogged -= connection.backlogged();
        if ended == Ended::Reset || connection.blocked() {
            sys::reset_on_close(connection.stream.as_fd());
        }
        give_back(&mut self.spares, connection.take_memory());
        self.crowd.leave(connection.path.address.ip(), connection.proven);
        self.counters.closed += 1;
        engine.forget(sys::now(), connection.path);
        // A descriptor is free again; somebody may have waited for one.
        if self.paused_until.is_some() {
            self.set_listening(epoll, true);
        }
    }
}

fn give_back(spares: &mut Vec<VecDeque<u8>>, mut memory: VecDeque<u8>) {
    if memory.capacity() > 0 && spares.len() < SPARE_BACKLOGS_MAX {
        memory.clear();
        spares.push(memory);
    }
}

/// One peer has one name: mapped IPv4 is IPv4, and the flow label is no part of it, as over UDP.
fn canonical(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(mut v6) = address else { return address };
    match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::from((v4, v6.port())),
        None => {
            v6.set_flowinfo(0);
            SocketAddr::V6(v6)
        }
    }
}

/// A frame that was kept and what is read on top of it never move, so one read's room is enough.
const _: () = assert!(READ_BYTES_MAX >= LENGTH_BYTES + FRAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_name_whatever_the_listeners_family() {
        for (seen, name) in [
            ("192.0.2.7:5000", "192.0.2.7:5000"),
            ("[::ffff:192.0.2.7]:5000", "192.0.2.7:5000"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            assert_eq!(canonical(seen.parse().unwrap()), name.parse().unwrap());
        }
    }
}
