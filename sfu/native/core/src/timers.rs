//! What wakes when: one waking time for each target, moved freely.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ids::Time;

/// A heap of (time, target). Moving a target leaves its old entry behind; the owner knows each
/// target's true waking time, and `due` skips entries that do not agree with it.
#[derive(Debug)]
pub struct Timers<T: Ord + Copy> {
    heap: BinaryHeap<Reverse<(Time, T)>>,
}

impl<T: Ord + Copy> Default for Timers<T> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<T: Ord + Copy> Timers<T> {
    /// Wake `target` at `at`. `wake` is where the owner keeps the target's waking time.
    pub fn set(&mut self, wake: &mut Option<Time>, at: Time, target: T) {
        if *wake != Some(at) {
            *wake = Some(at);
            self.heap.push(Reverse((at, target)));
        }
    }

    /// Wake `target` at `at`, unless it wakes before that anyway.
    pub fn set_earlier(&mut self, wake: &mut Option<Time>, at: Time, target: T) {
        if wake.is_none_or(|current| at < current) {
            self.set(wake, at, target);
        }
    }

    /// The next target whose time has come. The caller compares the time with the target's own
    /// waking time and clears that before it does the work.
    pub fn due(&mut self, now: Time) -> Option<(Time, T)> {
        match self.heap.peek() {
            Some(&Reverse((at, _))) if at <= now => self.heap.pop().map(|Reverse(entry)| entry),
            _ => None,
        }
    }

    /// When to call `due` again. May be early: left-over entries count too.
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|&Reverse((at, _))| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_target_wakes_at_its_last_time() {
        let mut timers = Timers::default();
        let mut wake = None;
        timers.set(&mut wake, Time(50), 1u32);
        timers.set_earlier(&mut wake, Time(60), 1);
        timers.set_earlier(&mut wake, Time(20), 1);
        assert_eq!(timers.next(), Some(Time(20)));
        assert_eq!(timers.due(Time(19)), None);
        assert_eq!(timers.due(Time(20)), Some((Time(20), 1)));
        assert_eq!(wake, Some(Time(20)));
    }
}
