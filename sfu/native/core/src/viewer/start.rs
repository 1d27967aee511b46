//! Whether the beginning of a viewer's first picture has arrived.
//!
//! What is lost before the first packet that arrives, nobody asks for: a receiver counts losses from there
//! on, and asks for a key picture only once something came. Firefox drops 10-40 packets right after the
//! handshake. Transport-wide feedback tells it to us, and so does its absence.

use std::time::Duration;

use crate::ids::Time;
use crate::twcc::Feedback;

/// Browsers send their first feedback 50-100 ms after the first packet.
const ANSWER_WAIT: Duration = Duration::from_millis(200);
/// A viewer that never says anything costs no more pictures than these.
const STARTS_MAX: u8 = 5;

/// The last start of the first picture.
#[derive(Clone, Copy, Debug)]
pub struct Unconfirmed {
    /// Transport-wide number of its first packet.
    first: u16,
    again_at: Time,
    starts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    Unknown,
    Arrived,
    Lost,
}

impl Unconfirmed {
    /// A start whose first packet goes out as `first` now; `before` was the last one.
    pub fn begin(
        before: Option<Unconfirmed>,
        now: Time,
        round_trip: Duration,
        first: u16,
    ) -> Unconfirmed {
        let starts = before.map_or(1, |b| b.starts + 1);
        Unconfirmed { first, again_at: now + ANSWER_WAIT + round_trip, starts }
    }

    /// When to start again if nothing is heard; None: not any more.
    pub fn again_at(&self) -> Option<Time> {
        (self.starts < STARTS_MAX).then_some(self.again_at)
    }

    /// What a feedback says of the beginning.
    pub fn judge(&self, feedback: &Feedback<'_>) -> Beginning {
        let into = self.first.wrapping_sub(feedback.base_sequence);
        if into < feedback.status_count {
            let arrived = feedback.received().any(|(sequence, _)| sequence == self.first);
            return if arrived { Beginning::Arrived } else { Beginning::Lost };
        }
        if into < 0x8000 {
            return Beginning::Unknown;
        }
        // The first feedback of all begins with the first packet that arrived. A later one may follow a
        // feedback that was lost: then the viewer has to ask.
        if feedback.feedback_count == 0 {
            Beginning::Lost
        } else {
            Beginning::Arrived
        }
    }
}
