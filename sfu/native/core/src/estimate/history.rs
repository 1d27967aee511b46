//! What was sent to one viewer under which transport-wide number, and what was heard of it.

use std::time::Duration;

use crate::ids::Time;
use crate::twcc::Feedback;

/// Packets remembered: half a second at 20 Mbit/s, two at 5. 16 bytes each.
pub const PACKETS_MAX: u64 = 1024;
/// A packet counts as lost only when one that was sent so much later has arrived.
const REORDERED_MAX: Duration = Duration::from_millis(100);
/// What nothing was heard of for so long is not in flight any more.
const FLIGHT_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Sent,
    Arrived,
    /// The feedback that would have told of it was lost.
    Untold,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    at: Time,
    bytes: u16,
    cluster: u8,
    state: State,
}

/// A packet that arrived, told for the first time.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub sent: Time,
    /// On the receiver's clock.
    pub arrived_ms: f64,
    pub bytes: u16,
    pub cluster: u8,
}

/// Packets whose fate is settled now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub seen: u64,
    pub lost: u64,
}

#[derive(Debug, Default)]
pub struct History {
    /// A ring by index. Empty until the first packet.
    packets: Vec<Sent>,
    end: u64,
    /// One past the last that a feedback told of.
    told: u64,
    /// What lies before is neither in flight nor counted again.
    settled: u64,
    newest_arrived: Time,
    in_flight_bytes: usize,
}

impl History {
    /// The number that the next packet will go out under.
    pub fn next_sequence(&self) -> u16 {
        self.end as u16
    }

    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    pub fn sent(&mut self, at: Time, bytes: usize, cluster: u8) {
        if self.packets.is_empty() {
            self.packets.resize(PACKETS_MAX as usize, Sent::default());
        }
        if self.end - self.settled == PACKETS_MAX {
            self.settle_oldest();
        }
        let bytes = bytes.min(usize::from(u16::MAX)) as u16;
        self.packets[place(self.end)] = Sent { at, bytes, cluster, state: State::Sent };
        self.in_flight_bytes += usize::from(bytes);
        self.end += 1;
    }

    /// Take a feedback whose ticks of 250 us are counted from `reference_ms`; appends what arrived to `into`.
    /// False: it tells of packets that were never sent or are forgotten.
    pub fn take(
        &mut self,
        feedback: &Feedback<'_>,
        reference_ms: f64,
        into: &mut Vec<Arrival>,
    ) -> bool {
        let Some(base) = self.index_of(feedback.base_sequence) else { return false };
        let covered = base + u64::from(feedback.status_count);
        if covered > self.end {
            return false;
        }
        for index in self.told.max(self.settled)..base {
            let packet = &mut self.packets[place(index)];
            if packet.state == State::Sent {
                packet.state = State::Untold;
            }
        }
        self.told = self.told.max(covered);
        for (sequence, ticks) in feedback.received() {
            let Some(index) = self.index_of(sequence) else { continue };
            let packet = &mut self.packets[place(index)];
            if packet.state == State::Arrived {
                continue;
            }
            packet.state = State::Arrived;
            self.newest_arrived = self.newest_arrived.max(packet.at);
            if index >= self.settled {
                self.in_flight_bytes -= usize::from(packet.bytes);
            }
            into.push(Arrival {
                sent: packet.at,
                arrived_ms: reference_ms + ticks as f64 * 0.25,
                bytes: packet.bytes,
                cluster: packet.cluster,
            });
        }
        true
    }

    /// Judge what later packets have overtaken by long enough.
    pub fn settle(&mut self) -> Settled {
        let mut settled = Settled::default();
        while self.settled < self.told {
            let packet = self.packets[place(self.settled)];
            if packet.state != State::Arrived && packet.at + REORDERED_MAX > self.newest_arrived {
                break;
            }
            if packet.state != State::Untold {
                settled.seen += 1;
                settled.lost += u64::from(packet.state == State::Sent);
            }
            self.settle_oldest();
        }
        settled
    }

    /// Give up what was sent long ago and never told of.
    pub fn expire(&mut self, now: Time) {
        while self.settled < self.end
            && now.since(self.packets[place(self.settled)].at) > FLIGHT_MAX
        {
            self.settle_oldest();
        }
        self.told = self.told.max(self.settled);
    }

    fn settle_oldest(&mut self) {
        let packet = self.packets[place(self.settled)];
        if packet.state != State::Arrived {
            self.in_flight_bytes -= usize::from(packet.bytes);
        }
        self.settled += 1;
    }

    /// Of a number that was sent and is remembered.
    fn index_of(&self, sequence: u16) -> Option<u64> {
        let last = self.end.checked_sub(1)?;
        let behind = u64::from((last as u16).wrapping_sub(sequence));
        (behind < PACKETS_MAX).then(|| last.checked_sub(behind)).flatten()
    }
}

fn place(index: u64) -> usize {
    (index % PACKETS_MAX) as usize
}
