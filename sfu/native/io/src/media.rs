//! The handle of the media thread: commands in, events and counters out, never waiting for it but to close it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver as FinishedReceiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lectern_core::api::{Command, Counters, Event};
use lectern_core::ids::SessionId;

use crate::counters::{SessionSnapshots, Snapshot, PUBLISH_INTERVAL};
use crate::engine::Engine;
use crate::events::EventQueue;
use crate::sys::{self, EventFd, UdpSocket};
use crate::tcp::{Tcp, TcpOptions};
use crate::thread;

/// Commands that wait for the thread; DTLS beyond this is dropped, as a full network would.
pub const COMMANDS_DTLS_MAX: usize = 65_536;

/// All commands that wait; more means that the thread no longer runs, and is an error.
pub const COMMANDS_MAX: usize = 262_144;

/// Events in one take, so that their conversion does not hold up the caller.
pub const EVENTS_PER_TAKE_MAX: usize = 4096;

/// The thread ends within one turn; if it has not by then, it is left behind.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The thread says its first word after some tens of microseconds.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// How to open the node's sockets.
#[derive(Clone, Debug)]
pub struct Options {
    /// "::" takes IPv4 as well.
    pub host: IpAddr,
    /// Of UDP; 0: the system picks one.
    pub port: u16,
    /// None: no TCP.
    pub tcp: Option<TcpOptions>,
    pub receive_buffer_bytes: usize,
    pub send_buffer_bytes: usize,
    /// Send runs with UDP_SEGMENT where the kernel can.
    pub gso: bool,
}

/// A port that could not be had, or a thread.
#[derive(Debug)]
pub struct StartError {
    pub protocol: &'static str,
    pub address: SocketAddr,
    pub error: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.protocol, self.address, self.error)
    }
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The thread has died of a bug; what it said.
    Dead(String),
    /// `COMMANDS_MAX` commands wait.
    Full,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Dead(message) => write!(f, "the media thread has died: {message}"),
            CommandError::Full => write!(f, "{COMMANDS_MAX} commands wait for the media thread"),
        }
    }
}

/// What the thread and its handle share. Each lock is held for a few moves only.
pub(crate) struct Shared {
    commands: Mutex<Vec<Command>>,
    pub(crate) commands_dropped: AtomicU64,
    pub(crate) wake: EventFd,
    pub(crate) events: EventQueue,
    pub(crate) closing: AtomicBool,
    dead: OnceLock<String>,
    snapshot: Mutex<Snapshot>,
    sessions: Mutex<SessionSnapshots>,
}

/// A lock whose holder died leaves data that is whole after every line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new() -> io::Result<Shared> {
        Ok(Shared {
            commands: Mutex::default(),
            commands_dropped: AtomicU64::new(0),
            wake: EventFd::new()?,
            events: EventQueue::new()?,
            closing: AtomicBool::new(false),
            dead: OnceLock::new(),
            snapshot: Mutex::default(),
            sessions: Mutex::default(),
        })
    }

    /// Exchange the waiting commands for an empty list.
    pub(crate) fn swap_commands(&self, empty: &mut Vec<Command>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut *lock(&self.commands), empty);
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *lock(&self.snapshot) = snapshot;
    }

    /// Refresh the counters of sessions that have not been removed meanwhile.
    pub(crate) fn publish_sessions(&self, counters: &mut Vec<(SessionId, Counters)>) {
        let mut sessions = lock(&self.sessions);
        for (session, counters) in counters.drain(..) {
            if let Some(shown) = sessions.get_mut(&session) {
                *shown = counters;
            }
        }
    }

    pub(crate) fn die(&self, message: String) {
        let _ = self.dead.set(message);
        self.events.alarm();
    }
}

/// A running media thread. Dropping it closes it.
pub struct Media {
    shared: Arc<Shared>,
    port: u16,
    tcp_port: Option<u16>,
    running: Mutex<Option<Running>>,
}

struct Running {
    thread: JoinHandle<()>,
    finished: FinishedReceiver<()>,
}

impl Media {
    /// Bind the sockets and start the thread around `engine`.
    pub fn start<E: Engine>(options: &Options, engine: E) -> Result<Media, StartError> {
        let failed = |protocol, port| {
            let address = SocketAddr::new(options.host, port);
            move |error| StartError { protocol, address, error }
        };
        let socket = UdpSocket::bind(
            options.host,
            options.port,
            options.receive_buffer_bytes,
            options.send_buffer_bytes,
        )
        .map_err(failed("UDP", options.port))?;
        let tcp = match &options.tcp {
            Some(tcp) => Some(Tcp::listen(options.host, tcp).map_err(failed("TCP", tcp.port))?),
            None => None,
        };
        let (port, tcp_port) = (socket.local.port(), tcp.as_ref().map(Tcp::port));
        let shared = Arc::new(Shared::new().map_err(failed("UDP", port))?);
        let (says, finished) = channel();
        let sockets = thread::Sockets { udp: socket, tcp, gso: options.gso };
        let thread = thread::spawn(engine, sockets, Arc::clone(&shared), says)
            .map_err(failed("UDP", port))?;
        // From here on its counters can be asked for. A thread that dies at once says so elsewhere.
        let _ = finished.recv_timeout(START_TIMEOUT);
        let running = Mutex::new(Some(Running { thread, finished }));
        Ok(Media { shared, port, tcp_port, running })
    }

    /// Of UDP.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp_port
    }

    /// An eventfd, readable while events wait; it lives as long as the handle.
    pub fn event_fd(&self) -> RawFd {
        self.shared.events.ready().fd().as_raw_fd()
    }

    /// Hand a command to the thread. After `close` it is ignored.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        if let Some(message) = self.shared.dead.get() {
            return Err(CommandError::Dead(message.clone()));
        }
        if self.shared.closing.load(Ordering::Relaxed) {
            return Ok(());
        }
        match &command {
            Command::AddSession { session, .. } | Command::AddLink { session, .. } => {
                lock(&self.shared.sessions).entry(*session).or_default();
            }
            Command::RemoveSession { session } => {
                lock(&self.shared.sessions).remove(session);
            }
            _ => {}
        }
        let mut commands = lock(&self.shared.commands);
        if commands.len() >= COMMANDS_DTLS_MAX && matches!(command, Command::SendDtls { .. }) {
            self.shared.commands_dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if commands.len() >= COMMANDS_MAX {
            return Err(CommandError::Full);
        }
        commands.push(command);
        if commands.len() == 1 {
            self.shared.wake.set();
        }
        Ok(())
    }

    /// Touch sessions and send DTLS datagrams: the thread is woken once for all of them, not for each.
    pub fn hand_over(
        &self,
        datagrams: Vec<(SessionId, Vec<u8>)>,
        touched: &[SessionId],
    ) -> Result<(), CommandError> {
        if let Some(message) = self.shared.dead.get() {
            return Err(CommandError::Dead(message.clone()));
        }
        if self.shared.closing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut commands = lock(&self.shared.commands);
        let was_empty = commands.is_empty();
        if commands.len() + touched.len() > COMMANDS_MAX {
            return Err(CommandError::Full);
        }
        commands.extend(touched.iter().map(|&session| Command::Touch { session }));
        for (session, datagram) in datagrams {
            if commands.len() >= COMMANDS_DTLS_MAX {
                self.shared.commands_dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            commands.push(Command::SendDtls { session, datagram });
        }
        if was_empty && !commands.is_empty() {
            self.shared.wake.set();
        }
        Ok(())
    }

    /// Take the waiting events, at most `EVENTS_PER_TAKE_MAX`. Err: the thread has died of a bug.
    pub fn events(&self) -> Result<Vec<Event>, CommandError> {
        if let Some(message) = self.shared.dead.get() {
            return Err(CommandError::Dead(message.clone()));
        }
        Ok(self.shared.events.take(EVENTS_PER_TAKE_MAX))
    }

    /// The counters as last shown, `PUBLISH_INTERVAL` old at the most.
    pub fn counters(&self) -> Counters {
        let snapshot = lock(&self.shared.snapshot);
        let mut counters = snapshot.counters.clone();
        // A thread that sleeps shows nothing new, and is late for nothing.
        if sys::now().since(snapshot.taken) > 2 * PUBLISH_INTERVAL {
            for (name, value) in &mut counters {
                if *name == thread::LAG_COUNTER {
                    *value = 0;
                }
            }
        }
        counters
    }

    /// A session's counters as last shown, empty before the first time; None: it was not added, or was removed.
    pub fn session_counters(&self, session: SessionId) -> Option<Counters> {
        lock(&self.shared.sessions).get(&session).cloned()
    }

    /// Stop the thread and close the socket, within `CLOSE_TIMEOUT`; again: nothing.
    pub fn close(&self) {
        let Some(running) = lock(&self.running).take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake.set();
        // The thread drops its end of the channel last of all, also when it panics.
        if running.finished.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Disconnected) {
            let _ = running.thread.join();
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.close();
    }
}
