//! Events on their way to Python: a bounded queue with a descriptor that is readable while it holds any.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use lectern_core::api::Event;

use crate::sys::EventFd;

/// DTLS datagrams that wait: about 12 MB of handshakes. A peer sends again what is dropped (RFC 6347 section 4.2.4).
pub const DTLS_EVENTS_MAX: usize = 8192;

/// All other events that wait: they are few per session and carry what is not said again.
pub const OTHER_EVENTS_MAX: usize = 65_536;

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(Instant, Event)>,
    dtls: usize,
    dtls_dropped: u64,
    others_dropped: u64,
}

pub struct EventQueue {
    waiting: Mutex<Waiting>,
    ready: EventFd,
}

impl EventQueue {
    pub fn new() -> io::Result<EventQueue> {
        Ok(EventQueue { waiting: Mutex::default(), ready: EventFd::new()? })
    }

    /// Readable while events wait, or after `alarm`.
    pub fn ready(&self) -> &EventFd {
        &self.ready
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Poisoned means that a thread died inside; the queue itself is whole after every line.
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Move all of `events` into the queue, as far as there is room: DTLS is dropped long before anything else.
    pub fn put(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let was_empty = waiting.events.is_empty();
        let now = Instant::now();
        for event in events.drain(..) {
            waiting.put(now, event);
        }
        if was_empty && !waiting.events.is_empty() {
            self.ready.set();
        }
    }

    /// Take at most `count_max` events, oldest first. What says how long ago something was says it as of now:
    /// a loop that stood still finds its events old.
    pub fn take(&self, count_max: usize) -> Vec<Event> {
        let mut waiting = self.lock();
        let count = count_max.min(waiting.events.len());
        let taken: Vec<Event> =
            waiting.events.drain(..count).map(|(put_at, event)| aged(event, put_at)).collect();
        waiting.dtls -= taken.iter().filter(|event| is_dtls(event)).count();
        if waiting.events.is_empty() {
            self.ready.clear();
        }
        taken
    }

    /// Make the descriptor readable though nothing waits: the thread has died.
    pub fn alarm(&self) {
        self.ready.set();
    }

    /// (DTLS datagrams, other events) that were dropped for want of room.
    pub fn dropped(&self) -> (u64, u64) {
        let waiting = self.lock();
        (waiting.dtls_dropped, waiting.others_dropped)
    }
}

impl Waiting {
    fn put(&mut self, now: Instant, event: Event) {
        if is_dtls(&event) {
            if self.dtls >= DTLS_EVENTS_MAX {
                self.dtls_dropped += 1;
                return;
            }
            self.dtls += 1;
        } else if self.events.len() - self.dtls >= OTHER_EVENTS_MAX {
            self.others_dropped += 1;
            return;
        }
        self.events.push_back((now, event));
    }
}

fn aged(mut event: Event, put_at: Instant) -> Event {
    if let Event::Silent { ms_ago, .. } = &mut event {
        *ms_ago = ms_ago.saturating_add(put_at.elapsed().as_millis() as u32);
    }
    event
}

fn is_dtls(event: &Event) -> bool {
    matches!(event, Event::Dtls { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lectern_core::ids::SessionId;

    fn dtls(number: u32) -> Event {
        Event::Dtls { session: SessionId(number), datagram: vec![22; 100] }
    }

    #[test]
    fn a_flood_of_dtls_leaves_room_for_the_rest() {
        let queue = EventQueue::new().unwrap();
        queue.put(&mut (0..DTLS_EVENTS_MAX as u32 + 5).map(dtls).collect());
        queue.put(&mut vec![Event::Reachable { session: SessionId(7) }]);
        assert_eq!(queue.dropped(), (5, 0));
        let taken = queue.take(usize::MAX);
        assert_eq!(taken.len(), DTLS_EVENTS_MAX + 1);
        assert_eq!(taken.last(), Some(&Event::Reachable { session: SessionId(7) }));
    }

    #[test]
    fn taking_makes_room_again() {
        let queue = EventQueue::new().unwrap();
        queue.put(&mut (0..DTLS_EVENTS_MAX as u32).map(dtls).collect());
        assert_eq!(queue.take(10).len(), 10);
        queue.put(&mut (0..11).map(dtls).collect());
        assert_eq!(queue.dropped(), (1, 0));
    }

    #[test]
    fn a_silence_grows_while_it_waits() {
        let queue = EventQueue::new().unwrap();
        queue.put(&mut vec![Event::Silent { session: SessionId(1), ms_ago: 8000 }]);
        std::thread::sleep(std::time::Duration::from_millis(30));
        let taken = queue.take(usize::MAX);
        assert!(matches!(taken[..], [Event::Silent { ms_ago: 8030.., .. }]), "{taken:?}");
    }

    #[test]
    fn other_events_have_a_bound_of_their_own() {
        let queue = EventQueue::new().unwrap();
        let many = OTHER_EVENTS_MAX as u32 + 3;
        queue.put(&mut (0..many).map(|n| Event::Reachable { session: SessionId(n) }).collect());
        queue.put(&mut vec![dtls(1)]);
        assert_eq!(queue.dropped(), (0, 3));
        assert_eq!(queue.take(usize::MAX).len(), OTHER_EVENTS_MAX + 1);
    }
}
