//! A replay window (RFC 3711 section 3.3.2): which of the newest indices were seen.

/// Four seconds of a busy video stream; RFC 3711 asks for 64 at least.
pub const REPLAY_WINDOW_PACKETS: u64 = 1024;

const WORDS: usize = (REPLAY_WINDOW_PACKETS / 64) as usize;

#[derive(Clone, Debug)]
pub(super) struct Window {
    highest: u64,
    /// A ring of bits by index; those of the last `REPLAY_WINDOW_PACKETS` indices mean something.
    seen: [u64; WORDS],
}

impl Window {
    /// A window that has seen `first` alone.
    pub(super) fn new(first: u64) -> Window {
        let mut window = Window { highest: first, seen: [0; WORDS] };
        window.set(first);
        window
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Neither seen nor too old to know.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        self.highest - index < REPLAY_WINDOW_PACKETS && self.seen[word(index)] & bit(index) == 0
    }

    /// Take `index`, which `is_new`.
    pub(super) fn note(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= REPLAY_WINDOW_PACKETS {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.highest + 1..index {
                    self.seen[word(skipped)] &= !bit(skipped);
                }
            }
            self.highest = index;
        }
        self.set(index);
    }

    fn set(&mut self, index: u64) {
        self.seen[word(index)] |= bit(index);
    }
}

fn word(index: u64) -> usize {
    (index % REPLAY_WINDOW_PACKETS / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn agrees_with_a_set_of_all_that_was_seen() {
        let mut random = 1u64;
        let mut next = move || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let mut window = Window::new(5000);
        let mut seen = HashSet::from([5000u64]);
        for _ in 0..300_000 {
            let step = match next() % 100 {
                0 => next() % 3000,
                1..=5 => next() % 70,
                _ => next() % 4,
            };
            let back = if next() % 3 == 0 { next() % 1100 } else { 0 };
            let index = (window.highest() + step).saturating_sub(back);
            let too_old = window.highest() >= index + REPLAY_WINDOW_PACKETS;
            assert_eq!(window.is_new(index), !too_old && !seen.contains(&index), "{index}");
            if window.is_new(index) {
                window.note(index);
                seen.insert(index);
            }
        }
        assert!(window.highest() > 100_000);
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let mut window = Window::new(0);
        window.note(REPLAY_WINDOW_PACKETS - 1);
        assert!(!window.is_new(0), "seen and still in the window");
        assert!(window.is_new(1));
        window.note(REPLAY_WINDOW_PACKETS + 1);
        assert!(!window.is_new(1), "never seen and too old");
        assert!(window.is_new(2));
    }
}
