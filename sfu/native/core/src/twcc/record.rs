//! Arrivals of one transport's packets, and the feedback packets made of them.

use super::{
    FORMAT, HEADER_BYTES, LARGE_DELTA, NOT_RECEIVED, RUN_MAX, SMALL_DELTA, TICKS_PER_REFERENCE,
    TICK_NS, TRANSPORT_FEEDBACK,
};
use crate::ids::{Ssrc, Time};
use crate::seq::Unwrapper;

/// Sequence numbers remembered: three seconds at 15 Mbit/s.
pub const WINDOW_PACKETS: u64 = 4096;

/// One feedback packet, so that it fits a datagram with other RTCP and the tag.
pub const FEEDBACK_BYTES_MAX: usize = 1100;

/// What a publisher sent us, until it was told.
#[derive(Debug, Default)]
pub struct Recorder {
    unwrapper: Unwrapper,
    /// A ring by index: arrival in ticks + 1, 0 for none. Empty before the first packet.
    pub(super) arrivals: Vec<u64>,
    /// The first index that the next feedback tells of.
    next: u64,
    /// One past the highest index recorded.
    end: u64,
    feedback_count: u8,
    statuses: Vec<u8>,
    deltas: Vec<u8>,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// Take the transport-wide sequence number of an authentic packet; a repeated one counts once.
    pub fn record(&mut self, sequence: u16, arrived: Time) {
        let index = self.unwrapper.unwrap(sequence);
        if self.arrivals.is_empty() {
            self.arrivals.resize(WINDOW_PACKETS as usize, 0);
            self.next = index;
            self.end = index;
        }
        if index >= self.end {
            let forgotten = (index + 1).saturating_sub(WINDOW_PACKETS);
            for skipped in self.end.max(forgotten)..index {
                self.arrivals[slot(skipped)] = 0;
            }
            self.arrivals[slot(index)] = 0;
            self.end = index + 1;
            self.next = self.next.max(forgotten);
        } else if index + WINDOW_PACKETS < self.end {
            return;
        }
        let arrival = &mut self.arrivals[slot(index)];
        if *arrival == 0 {
            *arrival = arrived.0 / TICK_NS + 1;
            // One that was told as lost: tell again from there, as browsers' own receivers do.
            self.next = self.next.min(index);
        }
    }

    /// Whether `feedback` has something to tell.
    pub fn is_pending(&self) -> bool {
        self.next < self.end
    }

    /// Append one feedback packet of at most `FEEDBACK_BYTES_MAX`; false: nothing new. Call again for more.
    pub fn feedback(&mut self, sender: Ssrc, media: Ssrc, out: &mut Vec<u8>) -> bool {
        let Some(first_arrival) = self.first_arrival() else {
            return false;
        };
        let base = self.next;
        let reference = first_arrival / TICKS_PER_REFERENCE;
        self.collect(reference * TICKS_PER_REFERENCE);

        let start = out.len();
        out.extend_from_slice(&[0x80 | FORMAT, TRANSPORT_FEEDBACK, 0, 0]);
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&media.0.to_be_bytes());
        out.extend_from_slice(&(base as u16).to_be_bytes());
        out.extend_from_slice(&(self.statuses.len() as u16).to_be_bytes());
        out.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out.push(self.feedback_count);
        write_chunks(out, &self.statuses);
        out.extend_from_slice(&self.deltas);
        let padding = (out.len() - start).next_multiple_of(4) - (out.len() - start);
        if padding > 0 {
            out[start] |= 0x20;
            out.resize(out.len() + padding, 0);
            *out.last_mut().expect("just filled") = padding as u8;
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        self.feedback_count = self.feedback_count.wrapping_add(1);
        true
    }

    /// The arrival that the next feedback begins with. The highest index always has one.
    fn first_arrival(&self) -> Option<u64> {
        (self.next..self.end).find_map(|index| self.arrivals[slot(index)].checked_sub(1))
    }

    /// Fill `statuses` and `deltas` from `next` on and move it: up to the end, to a full packet, or to a delta
    /// that two bytes cannot hold. The last status is of a received packet.
    fn collect(&mut self, reference_ticks: u64) {
        self.statuses.clear();
        self.deltas.clear();
        let mut last = reference_ticks;
        let mut received = 0;
        let mut missing = 0;
        for index in self.next..self.end {
            let Some(arrival) = self.arrivals[slot(index)].checked_sub(1) else {
                missing += 1;
                continue;
            };
            let Ok(delta) = i16::try_from(arrival as i64 - last as i64) else {
                break;
            };
            let statuses = self.statuses.len() + missing + 1;
            // A chunk holds 7 statuses or more, and no received packet costs more than two chunks.
            let chunks = (statuses.div_ceil(7)).min(2 * received + 2);
            if HEADER_BYTES + 2 * chunks + self.deltas.len() + 2 + 3 > FEEDBACK_BYTES_MAX {
                break;
            }
            self.statuses.resize(self.statuses.len() + missing, NOT_RECEIVED);
            missing = 0;
            received += 1;
            last = arrival;
            if let Ok(small) = u8::try_from(delta) {
                self.statuses.push(SMALL_DELTA);
                self.deltas.push(small);
            } else {
                self.statuses.push(LARGE_DELTA);
                self.deltas.extend_from_slice(&delta.to_be_bytes());
            }
            self.next = index + 1;
        }
    }
}

fn slot(index: u64) -> usize {
    (index % WINDOW_PACKETS) as usize
}

/// Append the chunks: a run where one is as long as a vector would be, else a vector.
fn write_chunks(out: &mut Vec<u8>, mut statuses: &[u8]) {
    while let Some(first) = statuses.first() {
        let run = statuses.iter().take(RUN_MAX).take_while(|status| *status == first).count();
        let one_bit = statuses.iter().take(14).take_while(|status| **status != LARGE_DELTA).count();
        let vector = if one_bit >= statuses.len().min(14) { 14 } else { 7 };
        let (word, taken) = if run >= vector || run == statuses.len() {
            (u16::from(*first) << 13 | run as u16, run)
        } else {
            let taken = statuses.len().min(vector);
            let bits = 14 / vector;
            let (tag, symbols) =
                if bits == 1 { (0x8000, &statuses[..taken]) } else { (0xC000, &statuses[..taken]) };
            let word = symbols.iter().enumerate().fold(tag, |word, (at, status)| {
                word | u16::from(*status) << (14 - bits * (at + 1))
            });
            (word, taken)
        };
        out.extend_from_slice(&word.to_be_bytes());
        statuses = &statuses[taken..];
    }
}
