//! All viewers of a process, served in turn by one thread.

use std::time::Duration;

use lectern_core::ids::Time;
use lectern_io::batch::ReceiveBatch;
use lectern_io::sys;

use crate::plan::Load;
use crate::tally::Tally;
use crate::viewer::{Shared, Viewer};

/// Sockets are looked at this often and not waited for: on a real network a sender pays for no receiver's waking up.
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// Viewers served before others of this thread have their turn: about 0.2 ms.
const SLICE_VIEWERS: usize = 16;

/// What became of one stream's packets at all viewers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    pub received: u64,
    pub missing: u64,
    pub late: u64,
    /// Viewers that have got as many as they should, or more.
    pub complete: usize,
    /// The longest time that one of them had no packet.
    pub gap_ns_max: u64,
}

pub struct Crowd {
    viewers: Vec<Viewer>,
    shared: Shared,
    /// The next to serve in this sweep.
    at: usize,
    sweep_at: Time,
    sweeps: u64,
}

impl Crowd {
    pub fn new(viewers: Vec<Viewer>, load: Load) -> Crowd {
        let shared = Shared {
            batch: ReceiveBatch::new(),
            received: Vec::new(),
            rtcp: Vec::new(),
            tally: Tally::default(),
            load,
        };
        Crowd { viewers, shared, at: 0, sweep_at: sys::now(), sweeps: 0 }
    }

    /// Serve the next few, if their turn has come, and say when it comes again.
    pub fn serve(&mut self, now: Time) -> Time {
        if now < self.sweep_at {
            return self.sweep_at;
        }
        let end = self.viewers.len().min(self.at + SLICE_VIEWERS);
        for viewer in &mut self.viewers[self.at..end] {
            viewer.receive(&mut self.shared);
            viewer.chores(now, &mut self.shared);
        }
        self.at = end;
        if end == self.viewers.len() {
            self.at = 0;
            self.sweeps += 1;
            self.sweep_at = (self.sweep_at + SWEEP_INTERVAL).max(now);
        }
        self.sweep_at
    }

    /// How often every socket was emptied.
    pub fn sweeps(&self) -> u64 {
        self.sweeps
    }

    pub fn len(&self) -> usize {
        self.viewers.len()
    }

    /// How many the node has answered.
    pub fn checked(&self) -> usize {
        self.viewers.iter().filter(|viewer| viewer.connection.is_checked()).count()
    }

    /// Begin to count anew.
    pub fn begin(&mut self) {
        self.shared.tally = Tally::default();
        for viewer in &mut self.viewers {
            viewer.media.begin();
            viewer.floor.begin();
        }
    }

    /// What came since `begin`: the node's packets, the plain sender's, and what was seen of both; `each` were meant
    /// for every viewer.
    pub fn arrived(&mut self, each: u64) -> (Arrived, Arrived, &mut Tally) {
        let (mut media, mut floor) = (Arrived::default(), Arrived::default());
        for viewer in &self.viewers {
            for (sum, one) in [(&mut media, &viewer.media), (&mut floor, &viewer.floor)] {
                sum.received += one.received;
                sum.missing += one.missing;
                sum.late += one.late;
                sum.complete += usize::from(one.received >= each);
                sum.gap_ns_max = sum.gap_ns_max.max(one.gap_ns_max);
            }
        }
        (media, floor, &mut self.shared.tally)
    }
}
