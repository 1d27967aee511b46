//! Datagrams in: batches from the kernel, joined ones taken apart, each with the time it arrived.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lectern_core::ids::{PathId, Time};

use crate::batch::{ReceiveBatch, Received, MESSAGES_PER_CALL_MAX};
use crate::sys::{self, UdpSocket};

/// The `via` of the node's UDP socket; connections and links take the others.
pub const VIA_UDP: u32 = 0;

/// A stamp older than this is not believed: the wall clock was set in between. A process that was stopped for
/// half a minute has to find out who fell silent meanwhile.
const STAMP_AGE_NS_MAX: u64 = 60_000_000_000;
/// Nor is one from so long before the socket was last read: it would have been taken then.
const STAMP_BEFORE_NS_MAX: u64 = 1_000_000_000;

/// A socket that fails this often in one turn is left alone until the next.
const ERRORS_PER_FILL_MAX: u32 = 16;

#[derive(Clone, Copy, Debug, Default)]
pub struct ReceiveCounters {
    pub datagrams_in: u64,
    pub bytes_in: u64,
    /// Calls to the kernel.
    pub receives: u64,
    /// Messages in those calls; one that UDP_GRO has joined is many datagrams.
    pub messages_in: u64,
    /// Messages that were longer than the largest datagram.
    pub receive_truncated: u64,
    pub receive_errors: u64,
    /// Came from a port that cannot be answered.
    pub receive_unanswerable: u64,
    /// Dropped by the kernel for want of buffer.
    pub receive_overflows: u64,
}

/// One datagram, valid until the next is asked for.
pub struct Datagram<'a> {
    pub arrived: Time,
    pub path: PathId,
    pub bytes: &'a mut [u8],
}

pub struct Receiver {
    batch: ReceiveBatch,
    received: Vec<Received>,
    /// The message that is being taken apart, and where in it the next datagram begins.
    message: usize,
    offset: usize,
    /// What to add to a stamp of this batch to be on the monotonic clock.
    wall_to_monotonic_ns: i64,
    filled: Time,
    filled_before: Time,
    last_arrived: Time,
    waited: Option<Duration>,
    /// The kernel's own count, which begins again at 2^32.
    kernel_dropped: u32,
    /// The socket may hold more than the last batch had room for.
    more: bool,
    pub counters: ReceiveCounters,
}

impl Receiver {
    pub fn new() -> Receiver {
        Receiver {
            batch: ReceiveBatch::new(),
            received: Vec::with_capacity(MESSAGES_PER_CALL_MAX),
            message: 0,
            offset: 0,
            wall_to_monotonic_ns: 0,
            filled: Time(0),
            filled_before: Time(0),
            last_arrived: Time(0),
            waited: None,
            kernel_dropped: 0,
            more: false,
            counters: ReceiveCounters::default(),
        }
    }

    /// The socket is readable.
    pub fn wake(&mut self) {
        self.more = true;
    }

    /// There is, or may be, something to take without another wake-up.
    pub fn is_pending(&self) -> bool {
        self.more || self.message < self.received.len()
    }

    /// Take the next datagram; None: nothing waits.
    pub fn next(&mut self, socket: &UdpSocket) -> Option<Datagram<'_>> {
        loop {
            if self.message >= self.received.len() && !self.fill(socket) {
                return None;
            }
            let index = self.message;
            let received = self.received[index];
            let segment = received.segment.unwrap_or(received.length);
            let start = self.offset;
            let end = received.length.min(start + segment);
            self.offset = end;
            if end >= received.length {
                self.message += 1;
                self.offset = 0;
            }
            self.counters.datagrams_in += 1;
            self.counters.bytes_in += (end - start) as u64;
            if received.from.port() == 0 {
                self.counters.receive_unanswerable += 1;
                continue;
            }
            let arrived = self.arrival(received.stamp_ns);
            let path = PathId { address: received.from, via: VIA_UDP };
            return Some(Datagram {
                arrived,
                path,
                bytes: &mut self.batch.bytes(index)[start..end],
            });
        }
    }

    /// The longest that a datagram had waited in the socket, of the batches since the last call.
    pub fn take_waited(&mut self) -> Option<Duration> {
        self.waited.take()
    }

    fn fill(&mut self, socket: &UdpSocket) -> bool {
        self.received.clear();
        self.message = 0;
        self.offset = 0;
        let mut errors = 0;
        while self.more {
            self.counters.receives += 1;
            match self.batch.fill(socket, &mut self.received) {
                Ok(()) => {
                    // Not full: it is drained, and the next one to come wakes us.
                    self.more = self.received.len() == MESSAGES_PER_CALL_MAX;
                    self.note_batch();
                    return !self.received.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.more = false,
                // What a peer's network said about something that we sent; the next call goes on.
                Err(_) => {
                    self.counters.receive_errors += 1;
                    errors += 1;
                    self.more = errors < ERRORS_PER_FILL_MAX;
                }
            }
        }
        false
    }

    fn note_batch(&mut self) {
        self.filled_before = std::mem::replace(&mut self.filled, sys::now());
        self.wall_to_monotonic_ns = (self.filled.0 as i64).wrapping_sub(sys::wall_ns() as i64);
        self.counters.messages_in += self.received.len() as u64;
        // The first has waited longest.
        if let Some(first) = self.received.first() {
            let waited = self.filled.since(self.on_monotonic(first.stamp_ns));
            self.waited = self.waited.max(Some(waited));
        }
        for received in &self.received {
            self.counters.receive_truncated += u64::from(received.truncated);
            if let Some(dropped) = received.dropped {
                let new = dropped.wrapping_sub(self.kernel_dropped);
                self.counters.receive_overflows += u64::from(new);
                self.kernel_dropped = dropped;
            }
        }
    }

    fn on_monotonic(&self, stamp_ns: Option<u64>) -> Time {
        let Some(stamp_ns) = stamp_ns else { return self.filled };
        let at = (stamp_ns as i64).wrapping_add(self.wall_to_monotonic_ns) as u64;
        let oldest = self.filled.0.saturating_sub(STAMP_AGE_NS_MAX);
        let oldest = oldest.max(self.filled_before.0.saturating_sub(STAMP_BEFORE_NS_MAX));
        if at > self.filled.0 || at < oldest {
            return self.filled;
        }
        Time(at)
    }

    /// The time of arrival, which never runs backwards from one datagram to the next.
    fn arrival(&mut self, stamp_ns: Option<u64>) -> Time {
        self.last_arrived = self.last_arrived.max(self.on_monotonic(stamp_ns));
        self.last_arrived
    }
}

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver::new()
    }
}

/// A path over the node's UDP socket.
pub fn udp_path(address: SocketAddr) -> PathId {
    PathId { address, via: VIA_UDP }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_become_arrivals_that_never_run_backwards_nor_ahead() {
        let mut receiver = Receiver::new();
        let second = 1_000_000_000;
        receiver.filled = Time(100 * second);
        receiver.filled_before = Time(70 * second);
        receiver.wall_to_monotonic_ns = -(1_700_000_000 * second as i64);
        let wall = |monotonic_ns: u64| Some(1_700_000_000 * second + monotonic_ns);
        let mut arrival = |stamp_ns| receiver.arrival(stamp_ns).0;
        // It waited while the process was stopped.
        assert_eq!(arrival(wall(72 * second)), 72 * second);
        assert_eq!(arrival(wall(100 * second - 500)), 100 * second - 500);
        // Another core stamped this one a little earlier.
        assert_eq!(arrival(wall(100 * second - 700)), 100 * second - 500);
        assert_eq!(arrival(wall(100 * second - 200)), 100 * second - 200);
        // The wall clock was set back, or forth, since the stamp; or there is none.
        assert_eq!(arrival(wall(100 * second + 1)), 100 * second);
        assert_eq!(arrival(wall(60 * second)), 100 * second);
        assert_eq!(arrival(None), 100 * second);
    }
}
