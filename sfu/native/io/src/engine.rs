//! What the thread drives: the core's node, or a small one of a test.

use lectern_core::api::{Command, Counters, Event, Outbox};
use lectern_core::ids::{PathId, SessionId, Time};
use lectern_core::node::Node;

/// The methods of [`Node`], whose documentation holds here too.
pub trait Engine: Send + 'static {
    fn command(&mut self, now: Time, command: Command);
    fn receive(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]);
    fn knows(&self, path: PathId) -> bool;
    fn forget(&mut self, now: Time, path: PathId);
    fn advance(&mut self, now: Time, out: &mut Outbox);
    fn deadline(&self) -> Option<Time>;
    fn take_events(&mut self, into: &mut Vec<Event>);
    fn counters(&self) -> Counters;
    fn session_counters(&self, session: SessionId) -> Option<Counters>;
}

impl Engine for Node {
    fn command(&mut self, now: Time, command: Command) {
        Node::command(self, now, command);
    }

    fn receive(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]) {
        Node::receive(self, arrived, path, datagram);
    }

    fn knows(&self, path: PathId) -> bool {
        Node::knows(self, path)
    }

    fn forget(&mut self, now: Time, path: PathId) {
        Node::forget(self, now, path);
    }

    fn advance(&mut self, now: Time, out: &mut Outbox) {
        Node::advance(self, now, out);
    }

    fn deadline(&self) -> Option<Time> {
        Node::deadline(self)
    }

    fn take_events(&mut self, into: &mut Vec<Event>) {
        Node::take_events(self, into);
    }

    fn counters(&self) -> Counters {
        Node::counters(self)
    }

    fn session_counters(&self, session: SessionId) -> Option<Counters> {
        Node::session_counters(self, session)
    }
}
