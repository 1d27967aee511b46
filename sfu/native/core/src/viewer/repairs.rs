//! Retransmissions owed to one viewer: which ones, how soon again, and at most how many.
//!
//! Whatever a viewer asks for, the work per NACK is constant, the memory fixed, and the bytes a share of
//! what it was sent anyway: a viewer that asks for everything gets no more than that.

use std::collections::VecDeque;
use std::time::Duration;

use crate::codec::vp8::Shift;
use crate::ids::Time;

/// Repairs may take this share of the bytes sent to the viewer. 10 % lost each way need 12 % with the
/// repairs of repairs; a line that loses a third is congested, and repairing all of it makes it worse.
const REPAIR_PERCENT_MAX: usize = 33;
/// Where the line is known to take twice what is sent: 20 % lost each way need 55 % with two copies.
const REPAIR_PERCENT_ROOMY_MAX: usize = 66;
/// What may be repaired at once however little was sent before: a key picture lost in a gap of the radio.
const REPAIR_BURST_BYTES_MAX: usize = 128 * 1024;
/// Packets that wait for their retransmission.
const WAITING_MAX: usize = 256;
/// Packets whose last repair is remembered, by the low bits of their number.
const REMEMBERED_MAX: usize = 512;
/// Sequence numbers looked at per viewer: libwebrtc asks for at most 1000 at once, and every 20 ms.
const ASKS_BURST_MAX: u32 = 1000;
const ASKS_PER_SECOND_MAX: u32 = 10_000;
/// On a line that loses much a repair is sent twice, and so is what is asked for once more: a repair
/// that is lost costs its receiver another 100 ms, the wait of libwebrtc.
const COPIES_MAX: usize = 2;
/// The end of a frame is missed only when the next one comes. On a line that loses, the last packet goes
/// out once more after `TAIL_WAIT`, so often at most: with 1200 B, 144 kbit/s.
const TAILS_PER_SECOND_MAX: u32 = 15;
pub const TAIL_WAIT: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    pub sink: usize,
    /// The number it went out under the first time.
    pub sequence: u16,
    pub position: u64,
    /// Of its picture numbers, as they went out.
    pub shift: Shift,
}

/// What became of one sequence number of a NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Queued,
    /// It is on its way: sent less than a round trip ago, or waiting.
    Repeated,
    /// The budget is spent, or too many wait.
    Refused,
}

#[derive(Clone, Copy)]
struct Memory {
    sink: usize,
    sequence: u16,
    /// None: it waits.
    sent: Option<Time>,
}

#[derive(Default)]
pub struct Repairs {
    waiting: VecDeque<(Repair, usize)>,
    /// Empty until the first NACK.
    memory: Vec<Option<Memory>>,
    spent_bytes: usize,
    asks: u32,
    asks_since: Option<Time>,
    tails: u32,
    tails_since: Option<Time>,
}

impl Repairs {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sequence numbers that may be looked at now, of a NACK with any number of them.
    pub fn admit(&mut self, now: Time) -> usize {
        let since = *self.asks_since.get_or_insert(now);
        let earned = now.since(since).as_nanos() * u128::from(ASKS_PER_SECOND_MAX) / 1_000_000_000;
        if earned > 0 {
            self.asks = self.asks.saturating_sub(earned.min(u128::from(u32::MAX)) as u32);
            self.asks_since = Some(now);
        }
        (ASKS_BURST_MAX - self.asks.min(ASKS_BURST_MAX)) as usize
    }

    /// Note that a number was looked at for which there is no repair.
    pub fn look_in_vain(&mut self) {
        self.asks += 1;
    }

    /// Take one sequence number that was asked for; `bytes` is what its repair costs, `lossy` says that
    /// repairs are lost as well.
    pub fn ask(
        &mut self,
        now: Time,
        round_trip: Duration,
        repair: Repair,
        bytes: usize,
        lossy: bool,
    ) -> Asked {
        self.asks += 1;
        if self.memory.is_empty() {
            self.memory.resize(REMEMBERED_MAX, None);
        }
        let known = &mut self.memory[usize::from(repair.sequence) % REMEMBERED_MAX];
        let before = known.filter(|m| (m.sink, m.sequence) == (repair.sink, repair.sequence));
        if before.is_some_and(|m| m.sent.is_none_or(|at| now.since(at) < round_trip)) {
            return Asked::Repeated;
        }
        if self.waiting.len() >= WAITING_MAX || self.spent_bytes + bytes > REPAIR_BURST_BYTES_MAX {
            return Asked::Refused;
        }
        *known = Some(Memory { sink: repair.sink, sequence: repair.sequence, sent: None });
        let rich = self.spent_bytes < REPAIR_BURST_BYTES_MAX / 2;
        for _ in 0..if rich && (lossy || before.is_some()) { COPIES_MAX } else { 1 } {
            self.spent_bytes += bytes;
            self.waiting.push_back((repair, bytes));
        }
        Asked::Queued
    }

    /// Send the last packet of a frame once more, unasked; false: enough of that in this second.
    pub fn add_tail(&mut self, now: Time, repair: Repair, bytes: usize) -> bool {
        if self.tails_since.is_none_or(|at| now.since(at) >= Duration::from_secs(1)) {
            (self.tails, self.tails_since) = (0, Some(now));
        }
        let admitted = self.tails < TAILS_PER_SECOND_MAX && self.waiting.len() < WAITING_MAX;
        if admitted {
            self.tails += 1;
            self.waiting.push_back((repair, bytes));
        }
        admitted
    }

    /// The next one to send and its bytes; it stays until `sent`.
    pub fn next(&self) -> Option<(Repair, usize)> {
        self.waiting.front().copied()
    }

    /// The next one was sent, or (`at` is None) could not be.
    pub fn done(&mut self, at: Option<Time>) {
        let Some((repair, _)) = self.waiting.pop_front() else { return };
        let slot = usize::from(repair.sequence) % REMEMBERED_MAX;
        // A frame's tail is sent again unasked, and then nothing may be remembered yet.
        let known = self.memory.get_mut(slot).and_then(Option::as_mut);
        if let Some(memory) =
            known.filter(|m| (m.sink, m.sequence) == (repair.sink, repair.sequence))
        {
            memory.sent = at.or(Some(Time(0)));
        }
    }

    /// New packets of so many bytes went out and earn their share; more of it where the line `has_room`.
    pub fn earn(&mut self, bytes: usize, has_room: bool) {
        let percent = if has_room { REPAIR_PERCENT_ROOMY_MAX } else { REPAIR_PERCENT_MAX };
        self.spent_bytes = self.spent_bytes.saturating_sub(bytes * percent / 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    fn ms(value: u64) -> Time {
        Time(value * 1_000_000)
    }

    fn repair(sequence: u16) -> Repair {
        Repair { sink: 0, sequence, position: u64::from(sequence), shift: Shift::default() }
    }

    fn send_all(repairs: &mut Repairs, now: Time) -> Vec<u16> {
        let mut sent = Vec::new();
        while let Some((repair, _)) = repairs.next() {
            repairs.done(Some(now));
            sent.push(repair.sequence);
        }
        sent
    }

    #[test]
    fn a_repeat_within_a_round_trip_is_not_sent_twice_and_after_it_doubly() {
        let mut repairs = Repairs::default();
        let ask =
            |repairs: &mut Repairs, at| repairs.ask(ms(at), ROUND_TRIP, repair(7), 1000, false);
        assert_eq!(ask(&mut repairs, 0), Asked::Queued);
        assert_eq!(ask(&mut repairs, 1), Asked::Repeated, "it waits");
        assert_eq!(send_all(&mut repairs, ms(10)), [7]);
        assert_eq!(ask(&mut repairs, 59), Asked::Repeated);
        assert_eq!(ask(&mut repairs, 60), Asked::Queued);
        assert_eq!(send_all(&mut repairs, ms(60)), [7, 7]);
    }

    #[test]
    fn a_tail_goes_out_where_nothing_was_ever_asked_for() {
        let mut repairs = Repairs::default();
        assert!(repairs.add_tail(ms(0), repair(349), 1000));
        assert_eq!(send_all(&mut repairs, ms(1)), [349]);
    }

    #[test]
    fn numbers_without_a_repair_are_looked_at_no_oftener() {
        let mut repairs = Repairs::default();
        let mut looked = 0;
        for _ in 0..10 * ASKS_BURST_MAX {
            if repairs.admit(ms(0)) > 0 {
                looked += 1;
                repairs.look_in_vain();
            }
        }
        assert_eq!(looked, ASKS_BURST_MAX);
    }

    #[test]
    fn who_asks_for_everything_gets_a_share_of_what_was_sent() {
        let mut repairs = Repairs::default();
        let (mut sent, mut repaired) = (0, 0);
        for round in 0..10_000u64 {
            sent += 1200;
            repairs.earn(1200, false);
            for sequence in 0..20 {
                let sequence = (round as u16).wrapping_mul(20).wrapping_add(sequence);
                repairs.ask(ms(round), ROUND_TRIP, repair(sequence), 1200, true);
            }
            repaired += send_all(&mut repairs, ms(round)).len() * 1200;
        }
        let allowed = sent * REPAIR_PERCENT_MAX / 100 + REPAIR_BURST_BYTES_MAX;
        assert!(repaired <= allowed && repaired * 10 > allowed * 9, "{repaired} of {allowed}");
    }

    #[test]
    fn the_numbers_looked_at_are_bounded_by_time() {
        let mut repairs = Repairs::default();
        let mut looked = 0;
        for at in 0..1000 {
            let admitted = repairs.admit(ms(at));
            for sequence in 0..admitted {
                repairs.ask(ms(at), ROUND_TRIP, repair(sequence as u16), 1200, false);
            }
            looked += admitted as u32;
        }
        assert!(looked <= ASKS_BURST_MAX + ASKS_PER_SECOND_MAX, "{looked}");
        assert!(looked >= ASKS_PER_SECOND_MAX, "{looked}");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut repairs = Repairs::default();
        for sequence in 0..2000 {
            repairs.ask(ms(0), ROUND_TRIP, repair(sequence), 10, false);
        }
        assert_eq!(send_all(&mut repairs, ms(0)).len(), WAITING_MAX);
    }
}
