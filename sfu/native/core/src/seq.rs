//! Wrapping numbers, unwrapped once: the rest of the core counts in 64 bits.

/// Whether `a` comes after `b`, by the shorter way round; not at exactly half the circle.
pub fn newer(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

/// The same for 32-bit timestamps.
pub fn newer_timestamp(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000_0000
}

/// The index nearest to `highest` whose low 16 bits are `value` (RFC 3711 section 3.3.1).
///
/// At exactly half the circle it stays in the cycle of `highest`, as the RFC has it. None: it would lie
/// before index 0.
pub fn nearest(highest: u64, value: u16) -> Option<u64> {
    let last = highest as u16;
    let cycle = highest >> 16;
    let cycle = if last < 0x8000 {
        if value > last && value - last > 0x8000 {
            cycle.checked_sub(1)?
        } else {
            cycle
        }
    } else if last - 0x8000 > value {
        cycle + 1
    } else {
        cycle
    };
    Some(cycle << 16 | u64::from(value))
}

/// Extends 16-bit sequence numbers to 64 bits.
///
/// The first value maps to `1 << 16 | value`, so that packets from before it have an index too.
#[derive(Clone, Debug, Default)]
pub struct Unwrapper {
    highest: Option<u64>,
}

impl Unwrapper {
    pub fn new() -> Unwrapper {
        Unwrapper::default()
    }

    /// The index of `value`, which becomes the highest if it is.
    pub fn unwrap(&mut self, value: u16) -> u64 {
        let index = self.peek(value);
        if self.highest.is_none_or(|highest| index > highest) {
            self.highest = Some(index);
        }
        index
    }

    /// The index that `value` would get now.
    pub fn peek(&self, value: u16) -> u64 {
        let first = 1 << 16 | u64::from(value);
        // `highest` is never in cycle 0, so `nearest` always has an answer.
        self.highest.map_or(first, |highest| nearest(highest, value).unwrap_or(first))
    }

    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends 32-bit timestamps to 64 bits; the first value maps to `1 << 32 | value`.
#[derive(Clone, Debug, Default)]
pub struct TimestampUnwrapper {
    highest: Option<u64>,
}

impl TimestampUnwrapper {
    pub fn new() -> TimestampUnwrapper {
        TimestampUnwrapper::default()
    }

    pub fn unwrap(&mut self, value: u32) -> u64 {
        let extended = self.peek(value);
        if self.highest.is_none_or(|highest| extended > highest) {
            self.highest = Some(extended);
        }
        extended
    }

    pub fn peek(&self, value: u32) -> u64 {
        let Some(highest) = self.highest else {
            return 1 << 32 | u64::from(value);
        };
        let step = value.wrapping_sub(highest as u32) as i32;
        highest.wrapping_add_signed(i64::from(step))
    }

    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDARIES: [u16; 9] = [0, 1, 2, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF];

    #[test]
    fn counting_up_from_every_boundary_never_breaks() {
        for start in BOUNDARIES {
            let mut unwrapper = Unwrapper::new();
            let first = unwrapper.unwrap(start);
            assert_eq!(first, 1 << 16 | u64::from(start));
            for step in 1..200_000u64 {
                let value = start.wrapping_add(step as u16);
                assert_eq!(unwrapper.peek(value), first + step);
                assert_eq!(unwrapper.unwrap(value), first + step);
                assert_eq!(unwrapper.highest(), Some(first + step));
            }
        }
    }

    #[test]
    fn steps_of_any_size_below_half_are_found_both_ways() {
        for start in BOUNDARIES {
            for step in (1..0x8000u16).step_by(7).chain([0x7FFF]) {
                let mut unwrapper = Unwrapper::new();
                let first = unwrapper.unwrap(start);
                assert_eq!(unwrapper.unwrap(start.wrapping_sub(step)), first - u64::from(step));
                assert_eq!(unwrapper.highest(), Some(first), "an older one moves nothing");
                assert_eq!(unwrapper.unwrap(start.wrapping_add(step)), first + u64::from(step));
                assert_eq!(unwrapper.highest(), Some(first + u64::from(step)));
            }
        }
    }

    #[test]
    fn half_the_circle_stays_in_the_cycle() {
        assert_eq!(nearest(5 << 16 | 0x10, 0x8010), Some(5 << 16 | 0x8010));
        assert_eq!(nearest(5 << 16 | 0x8010, 0x10), Some(5 << 16 | 0x10));
        assert_eq!(nearest(5 << 16 | 0x8011, 0x10), Some(6 << 16 | 0x10));
        assert_eq!(nearest(5 << 16 | 0x0F, 0x8010), Some(4 << 16 | 0x8010));
        assert_eq!(nearest(0x0F, 0x8010), None);
    }

    #[test]
    fn newer_goes_the_shorter_way_round() {
        for base in BOUNDARIES {
            assert!(!newer(base, base));
            assert!(newer(base.wrapping_add(1), base) && !newer(base, base.wrapping_add(1)));
            assert!(newer(base.wrapping_add(0x7FFF), base));
            assert!(!newer(base.wrapping_add(0x8000), base));
        }
        assert!(newer_timestamp(5, u32::MAX - 5) && !newer_timestamp(u32::MAX - 5, 5));
    }

    #[test]
    fn timestamps_unwrap_over_the_end() {
        for start in [0u32, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            let mut unwrapper = TimestampUnwrapper::new();
            let first = unwrapper.unwrap(start);
            assert_eq!(first, 1 << 32 | u64::from(start));
            let mut expected = first;
            for step in [3000u64, 0x7FFF_FFFF, 1, 0x7000_0000, 0x6000_0000] {
                expected += step;
                assert_eq!(unwrapper.unwrap(expected as u32), expected);
                assert_eq!(unwrapper.peek((expected - 90_000) as u32), expected - 90_000);
            }
        }
    }
}
