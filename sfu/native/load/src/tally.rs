//! What arrived, by the numbers in the headers.

/// Delays remembered for one measurement; later ones are not looked at.
const DELAYS_MAX: usize = 1 << 20;

/// Sequence numbers of one stream, in the order in which they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequences {
    /// The extended highest sequence number (RFC 3550 section 6.4.1).
    highest: Option<u32>,
    pub received: u64,
    /// Numbers passed over and not seen since.
    pub missing: u64,
    /// Came after a later one; counted as missing before.
    pub late: u64,
    came_ns: Option<u64>,
    /// The longest time without a packet.
    pub gap_ns_max: u64,
}

impl Sequences {
    /// `came_ns` is the kernel's stamp.
    pub fn note(&mut self, sequence: u16, came_ns: u64) {
        self.received += 1;
        let before = self.came_ns.replace(came_ns);
        self.gap_ns_max = before.map_or(0, |ns| came_ns.saturating_sub(ns)).max(self.gap_ns_max);
        let Some(highest) = self.highest else {
            self.highest = Some(u32::from(sequence));
            return;
        };
        let ahead = sequence.wrapping_sub(highest as u16).wrapping_sub(1);
        if ahead < 0x8000 {
            self.missing += u64::from(ahead);
            self.highest = Some(highest.wrapping_add(u32::from(ahead) + 1));
        } else {
            self.late += 1;
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// None before the first packet.
    pub fn highest(&self) -> Option<u32> {
        self.highest
    }

    /// Begin to count anew; numbers go on.
    pub fn begin(&mut self) {
        *self = Sequences { highest: self.highest, ..Sequences::default() };
    }
}

/// What all viewers saw during one measurement.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub opened: u64,
    /// Did not open, or did not hold what was sent.
    pub failed: u64,
    /// Of no stream that we know.
    pub strange: u64,
    pub rtcp: u64,
    /// Dropped by our own sockets for want of buffer.
    pub overflowed: u64,
    delays_us: Vec<u32>,
}

impl Tally {
    pub fn note_delay(&mut self, nanoseconds: u64) {
        if self.delays_us.len() < DELAYS_MAX {
            self.delays_us.push((nanoseconds / 1000).min(u64::from(u32::MAX)) as u32);
        }
    }

    /// The delay that `share` of the packets looked at did not exceed; 0 where there was none.
    pub fn delay_us(&mut self, share: f64) -> u64 {
        self.delays_us.sort_unstable();
        let last = self.delays_us.len().saturating_sub(1);
        self.delays_us.get((last as f64 * share) as usize).map_or(0, |&us| u64::from(us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_missing_until_they_are_filled() {
        for first in [0u16, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF] {
            let mut sequences = Sequences::default();
            for offset in [0u16, 1, 4, 5, 2, 6] {
                sequences.note(first.wrapping_add(offset), u64::from(offset) * 10);
            }
            assert_eq!((sequences.received, sequences.missing, sequences.late), (6, 1, 1));
            assert_eq!(sequences.highest(), Some(u32::from(first) + 6));
            sequences.begin();
            sequences.note(first.wrapping_add(8), 500);
            assert_eq!((sequences.received, sequences.missing), (1, 1), "a gap between two counts");
        }
    }

    #[test]
    fn delays_have_their_quantiles() {
        let mut tally = Tally::default();
        assert_eq!(tally.delay_us(0.5), 0);
        for ms in (0..=100).rev() {
            tally.note_delay(ms * 1_000_000);
        }
        assert_eq!(
            (tally.delay_us(0.5), tally.delay_us(0.99), tally.delay_us(1.0)),
            (50_000, 99_000, 100_000)
        );
    }
}
