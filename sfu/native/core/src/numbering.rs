//! Which stored packet went out under which number.
//!
//! A viewer's numbers are contiguous and given at send, the positions of what was sent have jumps
//! (dropped frames, a new source, a replay). Between jumps the two run in parallel, so a few spans
//! remember a thousand packets. A frame that is left out makes a jump, and with it goes how far the
//! codec's own numbers were shifted by then: a packet that is sent again must be the same one.

use std::collections::VecDeque;

use crate::codec::vp8::Shift;

/// Jumps remembered; with more, the oldest packets can no longer be repaired. The longest replay has 150
/// frames, and may leave out every other one.
const SPANS_MAX: usize = 96;

#[derive(Clone, Copy, Debug)]
struct Span {
    index: u64,
    position: u64,
    shift: Shift,
}

#[derive(Debug, Default)]
pub struct Numbering {
    spans: VecDeque<Span>,
    end: u64,
}

impl Numbering {
    pub fn new() -> Numbering {
        Numbering::default()
    }

    /// Note that `position` went out as `index`, its own numbers moved by `shift`; indexes come in order
    /// without gaps.
    pub fn sent(&mut self, index: u64, position: u64, shift: Shift) {
        let runs_on = self.spans.back().is_some_and(|s| {
            index == self.end
                && position.wrapping_sub(s.position) == index - s.index
                && shift == s.shift
        });
        if !runs_on {
            if self.spans.len() == SPANS_MAX {
                self.spans.pop_front();
            }
            self.spans.push_back(Span { index, position, shift });
        }
        self.end = index + 1;
    }

    /// The position that went out as `index` and its shift, None where it is unknown or forgotten.
    pub fn position(&self, index: u64) -> Option<(u64, Shift)> {
        if index >= self.end {
            return None;
        }
        let span = self.spans.iter().rev().find(|s| s.index <= index)?;
        Some((span.position + (index - span.index), span.shift))
    }

    /// The index that this 16-bit sequence number of a sent packet stands for.
    pub fn index_of(&self, sequence: u16) -> Option<u64> {
        let last = self.end.checked_sub(1)?;
        let behind = (last as u16).wrapping_sub(sequence);
        last.checked_sub(u64::from(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_keep_numbers_contiguous_and_findable() {
        let mut numbering = Numbering::new();
        let positions: Vec<u64> = (100..110).chain(150..160).chain(100..105).collect();
        for (i, &position) in positions.iter().enumerate() {
            numbering.sent(65_530 + i as u64, position, Shift::default());
        }
        for (i, &position) in positions.iter().enumerate() {
            let index = numbering.index_of((65_530 + i as u64) as u16).expect("was sent");
            assert_eq!(index, 65_530 + i as u64);
            assert_eq!(numbering.position(index), Some((position, Shift::default())));
        }
        assert_eq!(numbering.position(65_529), None);
        assert_eq!(numbering.position(65_530 + positions.len() as u64), None);
    }

    #[test]
    fn memory_is_bounded_whatever_jumps() {
        let mut numbering = Numbering::new();
        for i in 0..1000 {
            numbering.sent(i, i * 7, Shift::default());
        }
        assert_eq!(numbering.spans.len(), SPANS_MAX);
        assert_eq!(numbering.position(999), Some((999 * 7, Shift::default())));
        assert_eq!(numbering.position(10), None);
    }
}
