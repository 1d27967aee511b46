//! The loop: datagrams and commands in, the engine advanced, its outbox sent, its events passed on; then sleep.
//!
//! Every step of a turn is bounded, so that none of them keeps another waiting: a flood of datagrams delays a deadline
//! by one bound's worth of work, not by the flood's length.

use std::any::Any;
use std::io;
use std::os::fd::AsFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender as ChannelSender;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lectern_core::api::{Command, Counters, Event, Outbox};
use lectern_core::ids::{SessionId, Time};

use crate::counters::{Lag, Snapshot, PUBLISH_INTERVAL, SESSIONS_PER_TURN_MAX};
use crate::engine::Engine;
use crate::media::Shared;
use crate::receive::Receiver;
use crate::send::{Progress, Sender};
use crate::sys::{self, Epoll, Interest, Ready, UdpSocket};
use crate::tcp::Tcp;

/// Datagrams given to the engine in one turn: about a millisecond of work.
pub const DATAGRAMS_PER_TURN_MAX: usize = 256;

/// From the beginning of a turn to the next one, where there is little to do. Much shorter than the 4 ms that a frame
/// waits for its end, and long enough that a thousand teachers' packets come ten at a time.
const BREATH: Duration = Duration::from_micros(400);

/// Commands given to the engine in one turn; a subscription costs tens of microseconds.
pub const COMMANDS_PER_TURN_MAX: usize = 64;

/// What waits when the thread is closed is done for this long, well below `media::CLOSE_TIMEOUT`.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(200);

pub(crate) const LAG_COUNTER: &str = "loop_lag_us_max";

/// Ahead of the interpreter's threads, which run on the same cores; where that is not allowed, beside them.
const NICENESS: i32 = 10;

const TOKEN_SOCKET: u32 = 0;
const TOKEN_WAKE: u32 = 1;
const TOKEN_LISTENER: u32 = 2;

pub(crate) struct Sockets {
    pub udp: UdpSocket,
    pub tcp: Option<Tcp>,
    /// Send runs over UDP with UDP_SEGMENT.
    pub gso: bool,
}

/// Start the thread. `says` hears of its start, and is dropped when it has let go of everything.
pub(crate) fn spawn<E: Engine>(
    engine: E,
    mut sockets: Sockets,
    shared: Arc<Shared>,
    says: ChannelSender<()>,
) -> io::Result<JoinHandle<()>> {
    let epoll = Epoll::new()?;
    epoll.add(sockets.udp.fd().as_fd(), TOKEN_SOCKET)?;
    if let Some(tcp) = &mut sockets.tcp {
        tcp.watch(&epoll, TOKEN_LISTENER)?;
    }
    epoll.add(shared.wake.fd().as_fd(), TOKEN_WAKE)?;
    Builder::new().name("lectern-media".to_owned()).spawn(move || {
        let for_death = Arc::clone(&shared);
        let life = AssertUnwindSafe(|| {
            sys::outrank_others(NICENESS);
            let mut life = Loop::new(engine, sockets, epoll, shared);
            life.publish();
            let _ = says.send(());
            life.run();
        });
        // Not to go on: a panic is our bug. It is told, and the node ends.
        if let Err(panic) = catch_unwind(life) {
            for_death.die(message_of(panic.as_ref()));
        }
        drop(says);
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic without words".to_owned())
}

struct Loop<E: Engine> {
    engine: E,
    socket: UdpSocket,
    epoll: Epoll,
    shared: Arc<Shared>,
    receiver: Receiver,
    sender: Sender,
    tcp: Option<Tcp>,
    outbox: Outbox,
    /// The socket was full; the outbox waits for it.
    blocked: bool,
    /// Commands taken from the queue, next one last.
    commands: Vec<Command>,
    events: Vec<Event>,
    shown: Shown,
    lag: Lag,
    /// When the sleep should end at the latest, for the engine's sake.
    wake_by: Option<Time>,
    wakeups: u64,
    turns: u64,
}

/// What was published when, and how far the sessions' counters are.
#[derive(Default)]
struct Shown {
    at: Time,
    /// Something has happened since.
    stale: bool,
    sessions: Vec<SessionId>,
    /// Sessions of this round that are still to be shown are those before this index.
    sessions_left: usize,
    part: Vec<(SessionId, Counters)>,
}

impl<E: Engine> Loop<E> {
    fn new(engine: E, sockets: Sockets, epoll: Epoll, shared: Arc<Shared>) -> Loop<E> {
        Loop {
            engine,
            socket: sockets.udp,
            epoll,
            shared,
            receiver: Receiver::new(),
            sender: Sender::new(sockets.gso),
            tcp: sockets.tcp,
            outbox: Outbox::default(),
            blocked: false,
            commands: Vec::new(),
            events: Vec::new(),
            shown: Shown { stale: true, ..Shown::default() },
            lag: Lag::default(),
            wake_by: None,
            wakeups: 0,
            turns: 0,
        }
    }

    fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            let began = sys::now();
            self.turn();
            self.publish();
            self.breathe(began);
            let timeout = self.timeout();
            let found = self.epoll.wait(timeout);
            self.wakeups += 1;
            for ready in found.iter() {
                self.wake(ready);
            }
        }
        self.finish();
    }

    /// Let what comes next gather, if this turn was a short one: a packet by itself costs a waking.
    fn breathe(&self, began: Time) {
        let spent = sys::now().since(began);
        if spent < BREATH && self.commands.is_empty() && !self.receiver.is_pending() {
            std::thread::sleep(BREATH - spent);
        }
    }

    fn wake(&mut self, ready: Ready) {
        match (ready.token, &mut self.tcp) {
            (TOKEN_SOCKET, _) => {
                if ready.readable {
                    self.receiver.wake();
                }
                if self.blocked && ready.writable {
                    self.set_blocked(false);
                }
            }
            (TOKEN_WAKE, _) => {
                self.shared.wake.clear();
                self.take_commands();
            }
            (_, Some(tcp)) => {
                self.shown.stale = true;
                tcp.wake(&self.epoll, &mut self.engine, ready);
            }
            (_, None) => {}
        }
    }

    /// Say what was still to be said, DTLS farewells among it, and show the last counters.
    fn finish(&mut self) {
        let end = sys::now() + FAREWELL_TIMEOUT;
        self.take_commands();
        loop {
            self.turn();
            let done = self.commands.is_empty() && self.outbox.is_empty();
            if done || self.blocked || sys::now() >= end {
                break;
            }
        }
        self.shown.at = Time(0);
        self.shown.stale = true;
        self.publish();
    }

    /// One bounded round of work.
    fn turn(&mut self) {
        let now = sys::now();
        let asked = self.command(now);
        let heard = self.receive() | self.receive_tcp(now);
        if asked | heard | self.advance() | self.send() {
            self.shown.stale = true;
            self.turns += 1;
        }
        self.engine.take_events(&mut self.events);
        self.shared.events.put(&mut self.events);
    }

    fn take_commands(&mut self) {
        let mut taken = Vec::new();
        self.shared.swap_commands(&mut taken);
        // Kept in reverse, so that the next one is popped; what is left of earlier ones comes first.
        taken.reverse();
        taken.append(&mut self.commands);
        self.commands = taken;
    }

    fn command(&mut self, now: Time) -> bool {
        for count in 0..COMMANDS_PER_TURN_MAX {
            let Some(command) = self.commands.pop() else { return count > 0 };
            if let Command::AddSession { session, .. } | Command::AddLink { session, .. } = command
            {
                self.shown.sessions.push(session);
            }
            self.engine.command(now, command);
        }
        true
    }

    fn receive(&mut self) -> bool {
        let mut count = 0;
        while count < DATAGRAMS_PER_TURN_MAX {
            let Some(datagram) = self.receiver.next(&self.socket) else { break };
            self.engine.receive(datagram.arrived, datagram.path, datagram.bytes);
            count += 1;
        }
        if let Some(waited) = self.receiver.take_waited() {
            self.lag.note(sys::now(), waited);
        }
        count > 0
    }

    fn receive_tcp(&mut self, now: Time) -> bool {
        let Some(tcp) = &mut self.tcp else { return false };
        tcp.receive(&self.epoll, &mut self.engine) | tcp.sweep(&self.epoll, &mut self.engine, now)
    }

    /// Let the engine do what is due, unless the socket still owes it the last outbox.
    fn advance(&mut self) -> bool {
        if !self.outbox.is_empty() {
            return false;
        }
        let now = sys::now();
        if let Some(wake_by) = self.wake_by.take().filter(|&wake_by| wake_by <= now) {
            self.lag.note(now, now.since(wake_by));
        }
        let due = self.engine.deadline().is_some_and(|due| due <= now);
        self.engine.advance(now, &mut self.outbox);
        if let Some(tcp) = &mut self.tcp {
            tcp.send(&self.epoll, &mut self.engine, &self.outbox);
        }
        due
    }

    fn send(&mut self) -> bool {
        if self.outbox.is_empty() || self.blocked {
            return false;
        }
        if self.sender.flush(&mut &self.socket, &mut self.outbox) == Progress::Blocked {
            self.set_blocked(true);
        }
        true
    }

    fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        let interest = if blocked { Interest::READ_AND_WRITE } else { Interest::READ };
        self.epoll
            .change(self.socket.fd().as_fd(), TOKEN_SOCKET, interest)
            .expect("the socket is watched");
    }

    /// How long to sleep; None: until something comes.
    fn timeout(&mut self) -> Option<Duration> {
        let more_to_send = !self.outbox.is_empty() && !self.blocked;
        let more_to_read =
            self.receiver.is_pending() || self.tcp.as_ref().is_some_and(Tcp::is_pending);
        if more_to_read || !self.commands.is_empty() || more_to_send {
            return Some(Duration::ZERO);
        }
        // While the socket is full the engine is not asked, so that its deadline means nothing.
        let due = if self.blocked { None } else { self.engine.deadline() };
        let now = sys::now();
        // A deadline in the past asks for the next turn; it was not missed.
        self.wake_by = due.map(|due| due.max(now));
        let swept = self.tcp.as_ref().and_then(Tcp::due);
        let next = [due, self.shown.due(), swept].into_iter().flatten().min()?;
        Some(next.since(now))
    }

    fn publish(&mut self) {
        let now = sys::now();
        if self.shown.sessions_left > 0 {
            self.publish_some_sessions();
        }
        if !self.shown.stale || now < self.shown.at + PUBLISH_INTERVAL {
            return;
        }
        self.shown.at = now;
        self.shown.stale = false;
        let mut counters = self.engine.counters();
        self.add_own_counters(now, &mut counters);
        self.shared.publish(Snapshot { taken: now, counters });
        self.shown.sessions_left = self.shown.sessions.len();
        self.publish_some_sessions();
    }

    fn publish_some_sessions(&mut self) {
        for _ in 0..SESSIONS_PER_TURN_MAX {
            if self.shown.sessions_left == 0 {
                break;
            }
            self.shown.sessions_left -= 1;
            let index = self.shown.sessions_left;
            let session = self.shown.sessions[index];
            match self.engine.session_counters(session) {
                Some(counters) => self.shown.part.push((session, counters)),
                // Gone. What takes its place was shown already in this round.
                None => drop(self.shown.sessions.swap_remove(index)),
            }
        }
        self.shared.publish_sessions(&mut self.shown.part);
    }

    fn add_own_counters(&mut self, now: Time, into: &mut Counters) {
        let received = self.receiver.counters;
        let sent = self.sender.counters;
        let (dtls_dropped, others_dropped) = self.shared.events.dropped();
        into.extend([
            ("datagrams_in", received.datagrams_in),
            ("bytes_in", received.bytes_in),
            ("receives", received.receives),
            ("messages_in", received.messages_in),
            ("receive_truncated", received.receive_truncated),
            ("receive_errors", received.receive_errors),
            ("receive_unanswerable", received.receive_unanswerable),
            ("receive_overflows", received.receive_overflows),
            ("datagrams_out", sent.datagrams_out),
            ("bytes_out", sent.bytes_out),
            ("sends", sent.sends),
            ("messages_out", sent.messages_out),
            ("runs_out", sent.runs_out),
            ("gso_on", u64::from(self.sender.gso())),
            ("gso_refused", sent.gso_refused),
            ("send_again", sent.send_again),
            ("send_errors", sent.send_errors),
            ("events_dtls_dropped", dtls_dropped),
            ("events_dropped", others_dropped),
            ("commands_dtls_dropped", self.shared.commands_dropped.load(Ordering::Relaxed)),
            ("receive_buffer_bytes", self.socket.receive_buffer_bytes),
            ("send_buffer_bytes", self.socket.send_buffer_bytes),
            ("wakeups", self.wakeups),
            ("turns", self.turns),
            (LAG_COUNTER, self.lag.max_us(now)),
            ("cpu_us", sys::thread_cpu().as_micros() as u64),
        ]);
        if let Some(tcp) = &self.tcp {
            into.push(("tcp_connections", tcp.open()));
            into.push(("tcp_backlog_bytes", tcp.backlogged_bytes()));
            tcp.counters.add_to(into);
        }
    }
}

impl Shown {
    fn due(&self) -> Option<Time> {
        if self.sessions_left > 0 {
            return Some(Time(0));
        }
        self.stale.then(|| self.at + PUBLISH_INTERVAL)
    }
}
