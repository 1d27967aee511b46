//! One class on this node: three slots, who feeds them, who watches.

use std::time::Duration;

use crate::api::{Event, SinkSpec};
use crate::codec::fit::fit;
use crate::ids::{RoomId, SessionId, Slot, Time, SLOTS};
use crate::slot::{Admitted, SlotState};
use crate::viewer::Viewer;

/// However many join or lose pictures: a keyframe costs every viewer of the class.
const KEYFRAME_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// A picture that the publisher's own line has broken for everybody.
const KEYFRAME_REPAIR_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The request or its answer was lost.
const KEYFRAME_ANSWER_WAIT: Duration = Duration::from_secs(1);
const KEYFRAME_REPEATS_MAX: u8 = 2;
/// A publisher's pacer spreads a frame; waiting for its end makes one run of it.
const FRAME_WAIT_MAX: Duration = Duration::from_millis(4);

#[derive(Debug, Default)]
struct KeyframeNeed {
    wanted: bool,
    urgent: bool,
    asked: Option<Time>,
    answered: bool,
    repeats: u8,
}

/// Whose turn it is while new packets go out to the viewers.
#[derive(Debug, Default)]
struct Flush {
    next: usize,
    left: usize,
    /// Links that were served.
    links: usize,
    runs: bool,
}

pub struct Room {
    pub id: RoomId,
    pub slots: [SlotState; 3],
    pub publisher: Option<SessionId>,
    pub viewers: Vec<SessionId>,
    /// Other nodes, which are served first: their own viewers wait behind them.
    pub links: Vec<SessionId>,
    pub wake: Option<Time>,
    flush: Flush,
    flush_at: Option<Time>,
    need: KeyframeNeed,
}

impl Room {
    pub fn new(id: RoomId) -> Room {
        Room {
            id,
            slots: SLOTS.map(SlotState::new),
            publisher: None,
            viewers: Vec::new(),
            links: Vec::new(),
            wake: None,
            flush: Flush::default(),
            flush_at: None,
            need: KeyframeNeed::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.publisher.is_none() && self.viewers.is_empty() && self.links.is_empty()
    }

    /// Whether a viewer with these sections can decode the picture that flows.
    pub fn is_decoded_by(&self, sinks: &[SinkSpec]) -> bool {
        let video = &self.slots[Slot::Video as usize];
        let Some(codec) = video.codec() else { return true };
        let ours = &video.codecs[usize::from(codec)];
        let mut theirs = sinks.iter().filter(|s| s.slot == Slot::Video).flat_map(|s| &s.codecs);
        theirs.any(|theirs| fit(theirs, ours).is_some())
    }

    /// Forget a session; its picture stays until the slot's silence is noticed.
    pub fn leave(&mut self, session: SessionId) {
        if self.publisher == Some(session) {
            self.publisher = None;
        }
        if let Some(index) = self.links.iter().position(|l| *l == session) {
            self.links.remove(index);
            self.flush.links = 0;
        }
        if let Some(index) = self.viewers.iter().position(|v| *v == session) {
            self.viewers.swap_remove(index);
            // The one that moved may have been served already or not: serve everybody again.
            if self.flush.left > 0 {
                self.flush.left = self.viewers.len();
            }
        }
    }

    /// A viewer may have missed a picture.
    pub fn take_wish(&mut self, viewer: &mut Viewer) {
        if std::mem::take(&mut viewer.wants_keyframe) {
            self.want_keyframe(false);
        }
    }

    /// What follows from a packet that a slot has judged.
    pub fn note_admitted(
        &mut self,
        now: Time,
        slot: Slot,
        marker: bool,
        admitted: Admitted,
        events: &mut Vec<Event>,
    ) {
        if admitted.needs_keyframe {
            self.want_keyframe(true);
        }
        if (admitted.keyframe || admitted.healed) && slot == Slot::Video {
            self.note_keyframe();
        }
        if !admitted.stored {
            return;
        }
        let state = self.slot(slot);
        for (index, codec) in state.take_new_codecs() {
            events.push(Event::SlotCodec { room: self.id, slot, index, codec });
        }
        let state = self.slot(slot);
        if !state.flows {
            state.flows = true;
            events.push(Event::SlotFlows { room: self.id, slot, flows: true });
        }
        self.note_stored(now, marker || slot != Slot::Video);
    }

    /// Packets were stored; `complete`: they end a frame, or are sound.
    pub fn note_stored(&mut self, now: Time, complete: bool) {
        let at = if complete { now } else { now + FRAME_WAIT_MAX };
        self.flush_at = Some(self.flush_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Begin to serve the viewers if it is time. True: it began just now.
    pub fn begin_flush(&mut self, now: Time) -> bool {
        if self.flush_at.is_none_or(|at| at > now) {
            return false;
        }
        self.flush_at = None;
        let idle = !self.flush.runs;
        self.flush.left = self.viewers.len();
        self.flush.links = 0;
        self.flush.runs = !(self.viewers.is_empty() && self.links.is_empty());
        idle && self.flush.runs
    }

    /// The next viewer to serve, in turn; None: all were.
    pub fn next_to_serve(&mut self) -> Option<SessionId> {
        if let Some(link) = self.links.get(self.flush.links) {
            self.flush.links += 1;
            return Some(*link);
        }
        let Some(left) = self.flush.left.checked_sub(1) else {
            self.flush.runs = false;
            return None;
        };
        self.flush.left = left;
        // Goes on where the last flush ended: with too much to do nobody is always last.
        self.flush.next =
            if self.flush.next + 1 < self.viewers.len() { self.flush.next + 1 } else { 0 };
        self.viewers.get(self.flush.next).copied()
    }

    pub fn want_keyframe(&mut self, urgent: bool) {
        self.need.wanted = true;
        self.need.urgent |= urgent;
    }

    pub fn note_keyframe(&mut self) {
        self.need.wanted = false;
        self.need.urgent = false;
        self.need.answered = true;
        self.need.repeats = 0;
    }

    /// Whether a keyframe is coming: it was asked for just now, or would be if somebody wanted one.
    pub fn keyframe_is_near(&self, now: Time) -> bool {
        let asked = self.need.asked.filter(|_| !self.need.answered);
        let awaited = asked.is_some_and(|at| now.since(at) < KEYFRAME_ANSWER_WAIT);
        self.publisher.is_some() && (awaited || self.ask_at(false).is_none_or(|at| at <= now))
    }

    /// Whether the picture is broken here, which its source may mend by sending it once more.
    pub fn is_broken(&self) -> bool {
        self.need.urgent
    }

    /// Whether to ask the publisher now; notes that it was done.
    pub fn take_keyframe_ask(&mut self, now: Time) -> bool {
        if !self.need.wanted || self.publisher.is_none() {
            return false;
        }
        if self.repeat_at().is_some_and(|at| at <= now) {
            self.need.repeats += 1;
        } else if self.ask_at(self.need.urgent).is_none_or(|at| at <= now) {
            self.need.repeats = 0;
        } else {
            return false;
        }
        self.need.asked = Some(now);
        self.need.answered = false;
        true
    }

    /// A new publisher may be asked at once.
    pub fn forget_asks(&mut self) {
        self.need.asked = None;
        self.need.repeats = 0;
    }

    pub fn due(&self) -> Option<Time> {
        let ask = if self.need.wanted && self.publisher.is_some() {
            let at = self.ask_at(self.need.urgent).unwrap_or(Time(0));
            Some(self.repeat_at().map_or(at, |repeat| repeat.min(at)))
        } else {
            None
        };
        let silence = self.slots.iter().map(SlotState::silence_at);
        silence.chain([self.flush_at, ask]).flatten().min()
    }

    pub fn slot(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.slots[slot as usize]
    }

    fn ask_at(&self, urgent: bool) -> Option<Time> {
        let interval = if urgent { KEYFRAME_REPAIR_INTERVAL_MIN } else { KEYFRAME_INTERVAL_MIN };
        self.need.asked.map(|at| at + interval)
    }

    fn repeat_at(&self) -> Option<Time> {
        let open = !self.need.answered && self.need.repeats < KEYFRAME_REPEATS_MAX;
        self.need.asked.filter(|_| open).map(|at| at + KEYFRAME_ANSWER_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: u64) -> Time {
        Time(value * 1_000_000_000)
    }

    #[test]
    fn a_thousand_joiners_cost_one_keyframe_in_five_seconds() {
        let mut room = Room::new(RoomId(1));
        room.publisher = Some(SessionId(1));
        let mut asked = 0;
        for ms in 0..10_000 {
            let now = Time(ms * 1_000_000);
            room.want_keyframe(false);
            if room.take_keyframe_ask(now) {
                asked += 1;
                room.note_keyframe();
            }
        }
        assert_eq!(asked, 2);
    }

    #[test]
    fn an_unanswered_ask_is_repeated_twice_and_then_left_to_the_interval() {
        let mut room = Room::new(RoomId(1));
        room.publisher = Some(SessionId(1));
        room.want_keyframe(false);
        let asked: Vec<u64> = (0..12).filter(|s| room.take_keyframe_ask(seconds(*s))).collect();
        assert_eq!(asked, [0, 1, 2, 7, 8, 9]);
    }

    #[test]
    fn a_frame_waits_for_its_end_but_not_long() {
        let mut room = Room::new(RoomId(1));
        room.note_stored(Time(0), false);
        assert_eq!(room.due(), Some(Time(4_000_000)));
        room.note_stored(Time(1_000_000), true);
        assert_eq!(room.due(), Some(Time(1_000_000)));
        assert!(!room.begin_flush(Time(999_999)));
        assert!(!room.begin_flush(Time(1_000_000)), "nobody watches");
        assert_eq!(room.due(), None);
    }

    #[test]
    fn everybody_is_served_once_and_the_turn_goes_round() {
        let mut room = Room::new(RoomId(1));
        room.viewers = (1..=5).map(SessionId).collect();
        let served = |room: &mut Room, n: usize| -> Vec<u32> {
            (0..n).map_while(|_| room.next_to_serve()).map(|id| id.0).collect()
        };
        room.note_stored(Time(0), true);
        assert!(room.begin_flush(Time(0)));
        let first = served(&mut room, 3);
        room.note_stored(Time(1), true);
        assert!(!room.begin_flush(Time(1)), "one is under way");
        let mut second = served(&mut room, 10);
        assert!(!second[..2].iter().any(|id| first.contains(id)), "those who waited come first");
        second.sort_unstable();
        assert_eq!(second, [1, 2, 3, 4, 5]);
    }
}
