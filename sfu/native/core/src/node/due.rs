//! What is due when: reports, repairs, paced packets, signs of life.

use std::time::Duration;

use super::{random, Node, Target, OUTBOX_BYTES_SOFT_MAX};
use crate::api::{Event, Outbox};
use crate::ids::{RoomId, SessionId, Slot, Time};
use crate::publisher::Publisher;
use crate::room::Room;
use crate::rtcp;
use crate::session::{Role, Session, IDLE_INTERVAL};

/// No target wakes again sooner: a deadline that is not met must not spin.
const TICK_MIN: Duration = Duration::from_micros(500);

impl Node {
    pub(super) fn session_due(&mut self, now: Time, at: Time, id: SessionId, out: &mut Outbox) {
        let Node { sessions, rooms, timers, events, tally, scratch, seed, .. } = self;
        let Some(session) = sessions.get_mut(&id).filter(|s| s.wake == Some(at)) else { return };
        session.wake = None;
        let check_at = call(now, session, seed, out);
        let Some(path) = session.path() else {
            // Nowhere to send to; silence is judged all the same.
            let silent_at = session.note_silence(now, events);
            if let Some(at) = [silent_at, check_at].into_iter().flatten().min() {
                timers.set(&mut session.wake, at.max(now + TICK_MIN), Target::Session(id));
            }
            return;
        };
        let (runs_before, rtcp) = (out.runs.len(), &mut scratch.rtcp);
        rtcp.clear();
        let mut next = Some(session.last_sent.max(now) + IDLE_INTERVAL);
        let mut note = |at: Option<Time>| next = [next, at].into_iter().flatten().min();
        note(check_at);
        match &mut session.role {
            Role::Publisher(publisher) => {
                publisher.report(now, rtcp);
                if let Some(room) = rooms.get_mut(&publisher.room) {
                    repair(now, session.id, publisher, room, rtcp, events);
                    if let Some(at) = room.due() {
                        timers.set_earlier(&mut room.wake, at, Target::Room(room.id));
                    }
                }
                note(publisher.due());
            }
            Role::Viewer { room, viewer } => {
                if let (Some(room), Some(keys)) = (rooms.get_mut(room), &session.keys) {
                    let before = viewer.counters.packets;
                    note(viewer.send(
                        now,
                        (path, &keys.sealer),
                        &room.slots,
                        room.keyframe_is_near(now),
                        &mut scratch.plan,
                        out,
                    ));
                    tally.media_packets_out += viewer.counters.packets - before;
                    note(viewer.report(now, &room.slots, rtcp));
                    viewer.say_what_plays(session.id, events);
                    room.take_wish(viewer);
                    if let Some(at) = room.due() {
                        timers.set_earlier(&mut room.wake, at, Target::Room(room.id));
                    }
                }
            }
            Role::None | Role::Waiting { .. } => {}
        }
        let idle = now.since(session.last_sent) >= IDLE_INTERVAL && out.runs.len() == runs_before;
        if idle && rtcp.is_empty() {
            rtcp::receiver_report(rtcp, session.report_ssrc(), &[]);
        }
        session.send_rtcp(path, rtcp, out);
        if out.runs.len() > runs_before {
            session.last_sent = now;
        }
        note(session.note_silence(now, events));
        if let Some(at) = next {
            timers.set(&mut session.wake, at.max(now + TICK_MIN), Target::Session(id));
        }
    }

    pub(super) fn room_due(&mut self, now: Time, at: Time, id: RoomId, out: &mut Outbox) {
        let Node { sessions, rooms, timers, events, tally, flushing, scratch, .. } = self;
        let Some(room) = rooms.get_mut(&id).filter(|r| r.wake == Some(at)) else { return };
        room.wake = None;
        for slot in &mut room.slots {
            if slot.note_silence(now) {
                events.push(Event::SlotFlows { room: id, slot: slot.slot, flows: false });
            }
        }
        if room.begin_flush(now) {
            flushing.push_back(id);
        }
        if room.take_keyframe_ask(now) {
            if let Some(session) = room.publisher.and_then(|id| sessions.get_mut(&id)) {
                if session.ask_keyframe(room.is_broken(), &mut scratch.rtcp, out) {
                    session.last_sent = now;
                    tally.keyframes_asked += 1;
                }
            }
        }
        if let Some(at) = room.due() {
            timers.set(&mut room.wake, at.max(now + TICK_MIN), Target::Room(id));
        }
    }

    /// Serve viewers of rooms with new packets until the outbox is full; the rest come next turn.
    pub(super) fn flush(&mut self, now: Time, out: &mut Outbox) {
        let Node { sessions, rooms, timers, events, tally, flushing, scratch, .. } = self;
        while let Some(&id) = flushing.front() {
            let Some(room) = rooms.get_mut(&id) else {
                flushing.pop_front();
                continue;
            };
            let keyframe_is_near = room.keyframe_is_near(now);
            loop {
                if out.bytes.len() >= OUTBOX_BYTES_SOFT_MAX {
                    return;
                }
                let Some(viewer_id) = room.next_to_serve() else { break };
                let Some(session) = sessions.get_mut(&viewer_id) else { continue };
                let (Role::Viewer { viewer, .. }, Some(keys)) = (&mut session.role, &session.keys)
                else {
                    continue;
                };
                let Some(path) = session.selected else { continue };
                let (before, runs_before) = (viewer.counters.packets, out.runs.len());
                let to = (path, &keys.sealer);
                let more =
                    viewer.send(now, to, &room.slots, keyframe_is_near, &mut scratch.plan, out);
                tally.media_packets_out += viewer.counters.packets - before;
                if out.runs.len() > runs_before {
                    session.last_sent = now;
                }
                if let Some(at) = more {
                    timers.set_earlier(&mut session.wake, at, Target::Session(session.id));
                }
                viewer.say_what_plays(session.id, events);
                if std::mem::take(&mut viewer.wants_keyframe) {
                    room.want_keyframe(false);
                }
            }
            flushing.pop_front();
            if let Some(at) = room.due() {
                timers.set_earlier(&mut room.wake, at, Target::Room(id));
            }
        }
    }
}

/// Send a check where this is the end of a link that sends them; when the next one is due.
fn call(now: Time, session: &mut Session, seed: &mut u64, out: &mut Outbox) -> Option<Time> {
    let caller = session.link.as_mut()?.caller.as_mut()?;
    if caller.check_at <= now {
        let (check, paths) = caller.check(now, session.id, random(seed), session.selected);
        for path in paths {
            out.push(path, &check);
        }
    }
    Some(caller.check_at)
}

/// Ask the publisher for what is missing, hand on what is in order after giving up.
fn repair(
    now: Time,
    id: SessionId,
    publisher: &mut Publisher,
    room: &mut Room,
    rtcp: &mut Vec<u8>,
    events: &mut Vec<Event>,
) {
    if room.publisher != Some(id) {
        return;
    }
    // Feedback follows a report in its compound (RFC 3550 section 6.1).
    let reported = !rtcp.is_empty();
    if !reported {
        rtcp::receiver_report(rtcp, publisher.ssrc, &[]);
    }
    let length = rtcp.len();
    let gave_up = publisher.repair(now, rtcp, &mut |slot: Slot, packet, codec, lost| {
        let Some(codec) = codec else { return };
        let admitted = room.slot(slot).admit(packet, codec, lost);
        room.note_admitted(now, slot, packet.marker, admitted, events);
    });
    if !reported && rtcp.len() == length {
        rtcp.clear();
    }
    if gave_up {
        room.want_keyframe(true);
    }
}
