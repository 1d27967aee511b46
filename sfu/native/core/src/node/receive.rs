//! Whose datagram it is, and what becomes of it.

use super::{Node, Target};
use crate::api::Event;
use crate::ids::{PathId, SessionId, Ssrc, Time};
use crate::link;
use crate::session::{Role, Unopened};
use crate::stun;

impl Node {
    pub(super) fn receive_stun(&mut self, arrived: Time, path: PathId, datagram: &[u8]) {
        if link::is_response(datagram) {
            if self.take_answer(arrived, path, datagram).is_none() {
                self.tally.stun_refused += 1;
            }
            return;
        }
        self.tally.stun_requests += 1;
        if self.answer_check(arrived, path, datagram).is_none() {
            self.tally.stun_refused += 1;
        }
    }

    /// Take the answer to a check of ours: its path is proven.
    fn take_answer(&mut self, arrived: Time, path: PathId, datagram: &[u8]) -> Option<()> {
        let id = link::session_of(datagram)?;
        let session = self.sessions.get_mut(&id)?;
        let caller = session.link.as_mut()?.caller.as_mut()?;
        if !caller.take(arrived, path, datagram) {
            return None;
        }
        if !std::mem::replace(&mut session.was_reached, true) {
            self.events.push(Event::Reachable { session: id });
        }
        session.note_check(arrived, path, true);
        // What it owes goes out now.
        self.timers.set_earlier(&mut session.wake, arrived, Target::Session(id));
        Some(())
    }

    /// Answer one connectivity check (RFC 8445 section 7.3); None: not one under our credentials.
    fn answer_check(&mut self, arrived: Time, path: PathId, datagram: &[u8]) -> Option<()> {
        let request = stun::parse_request(datagram)?;
        let id = *self.by_ufrag.get(request.local_ufrag)?;
        let session = self.sessions.get_mut(&id)?;
        let restarted = session.restart.as_ref().filter(|c| *c.ufrag == *request.local_ufrag);
        let credentials = restarted.unwrap_or(&session.credentials);
        if !request.verify(&credentials.pwd) {
            return None;
        }
        let mut answer = Vec::with_capacity(96);
        if request.controlled.is_some() {
            // We are lite and so always controlled (RFC 8445 section 7.3.1.1).
            stun::write_error(&mut answer, &request.transaction, 487, Some(&credentials.pwd));
            self.push_pending(path, &answer);
            return Some(());
        }
        if !request.unknown().is_empty() {
            stun::write_unknown_attributes(
                &mut answer,
                &request.transaction,
                request.unknown(),
                &credentials.pwd,
            );
            // Never an answer larger than the question.
            answer.truncate(if answer.len() <= datagram.len() { answer.len() } else { 0 });
            self.push_pending(path, &answer);
            return Some(());
        }
        stun::write_success(&mut answer, &request.transaction, path.address, &credentials.pwd);
        if restarted.is_some() {
            let new = session.restart.take()?;
            let old = std::mem::replace(&mut session.credentials, new);
            self.by_ufrag.remove(&old.ufrag);
        }
        let first = !std::mem::replace(&mut session.was_reached, true);
        let lost = session.path().is_none();
        let (new, gone) = session.note_check(arrived, path, request.use_candidate);
        let is_link = session.link.is_some();
        if new && !is_link {
            self.by_path.insert(path, id);
        }
        if let Some(gone) = gone.filter(|_| !is_link) {
            self.by_path.remove(&gone);
        }
        if first {
            self.events.push(Event::Reachable { session: id });
        }
        if lost && (!first || is_link) {
            // Its path was closed; what it owes goes out over this one.
            self.timers.set_earlier(&mut session.wake, arrived, Target::Session(id));
        }
        self.push_pending(path, &answer);
        Some(())
    }

    /// Whose packet it is: by its path, or, of a link, by its SSRC (at this offset) from a path that was proven.
    fn holder(&self, path: PathId, datagram: &[u8], ssrc_at: usize) -> Option<SessionId> {
        if let Some(id) = self.by_path.get(&path) {
            return Some(*id);
        }
        let ssrc: &[u8; 4] = datagram.get(ssrc_at..)?.first_chunk()?;
        let id = self.by_stream.get(&Ssrc(u32::from_be_bytes(*ssrc)))?;
        self.sessions.get(id)?.paths().contains(&path).then_some(*id)
    }

    pub(super) fn receive_dtls(&mut self, arrived: Time, path: PathId, datagram: &[u8]) {
        let id = self.by_path.get(&path);
        let Some(session) = id.and_then(|id| self.sessions.get_mut(id)) else {
            self.tally.unknown_path += 1;
            return;
        };
        if !session.admits_dtls(arrived, datagram.len()) {
            self.tally.dtls_refused += 1;
            return;
        }
        self.tally.dtls_in += 1;
        session.counters.dtls_in += 1;
        self.events.push(Event::Dtls { session: session.id, datagram: datagram.to_vec() });
    }

    pub(super) fn receive_rtp(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]) {
        let Some(id) = self.holder(path, datagram, 8) else {
            self.tally.unknown_path += 1;
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let opened = session.open_rtp(arrived, datagram);
        let (header, length, index) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                session.counters.refused += 1;
                *match why {
                    Unopened::Malformed => &mut self.tally.media_malformed,
                    Unopened::UnknownSsrc => &mut self.tally.unknown_ssrc,
                    Unopened::Forged => &mut self.tally.media_refused,
                } += 1;
                return;
            }
        };
        // Only what is genuine is counted against its sender: who forges its port must not use up its rate.
        if !session.admits_media(arrived) {
            session.counters.refused += 1;
            self.tally.media_flood += 1;
            return;
        }
        if matches!(&session.role, Role::Publisher(p) if p.waits.is_some()) {
            self.seat_link(arrived, id);
        }
        let Node { sessions, rooms, timers, tally, events, .. } = self;
        let Some(session) = sessions.get_mut(&id) else { return };
        let Role::Publisher(publisher) = &mut session.role else { return };
        tally.media_in += 1;
        let Some(room) = rooms.get_mut(&publisher.room).filter(|r| r.publisher == Some(session.id))
        else {
            return;
        };
        let payload_bytes_in = &mut session.counters.payload_bytes_in;
        let malformed_before = publisher.malformed;
        let mut unreadable = 0;
        publisher.packet(
            arrived,
            index,
            &header,
            &datagram[..length],
            &mut |slot, packet, codec, lost| {
                let Some(codec) = codec else { return };
                let admitted = room.slot(slot).admit(packet, codec, lost);
                if admitted.stored {
                    *payload_bytes_in += packet.payload.len() as u64;
                }
                unreadable += u64::from(admitted.unreadable);
                room.note_admitted(arrived, slot, packet.marker, admitted, events);
            },
        );
        publisher.malformed += unreadable;
        tally.media_malformed += publisher.malformed - malformed_before;
        let room_at = room.due();
        let session_at = if publisher.wants_feedback() {
            Some(publisher.due().unwrap_or(arrived))
        } else {
            publisher.due()
        };
        if let Some(at) = room_at {
            timers.set_earlier(&mut room.wake, at, Target::Room(room.id));
        }
        if let Some(at) = session_at {
            timers.set_earlier(&mut session.wake, at, Target::Session(session.id));
        }
    }

    pub(super) fn receive_rtcp(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]) {
        let Some(id) = self.holder(path, datagram, 4) else {
            self.tally.unknown_path += 1;
            return;
        };
        let Node { sessions, rooms, timers, tally, scratch, .. } = self;
        let Some(session) = sessions.get_mut(&id) else { return };
        let length = match &mut session.keys {
            Some(keys) => keys.opener.open_rtcp(datagram),
            None => None,
        };
        let Some(length) = length else {
            session.counters.refused += 1;
            tally.media_refused += 1;
            return;
        };
        session.heard_report(arrived);
        if !session.admits_media(arrived) {
            session.counters.refused += 1;
            tally.media_flood += 1;
            return;
        }
        session.counters.rtcp_in += 1;
        let compound = &datagram[..length];
        match &mut session.role {
            Role::Publisher(publisher) => {
                let room =
                    rooms.get_mut(&publisher.room).filter(|r| r.publisher == Some(session.id));
                let Some(room) = room else { return };
                publisher
                    .feedback(arrived, compound, |slot, report| room.slot(slot).note_clock(report));
            }
            Role::Viewer { room, viewer } => {
                let Some(room) = rooms.get_mut(room) else { return };
                viewer.feedback(arrived, compound, &room.slots, &mut scratch.arrivals);
                room.take_wish(viewer);
                if let Some(at) = room.due() {
                    timers.set_earlier(&mut room.wake, at, Target::Room(room.id));
                }
                if viewer.has_work() {
                    timers.set_earlier(&mut session.wake, arrived, Target::Session(session.id));
                }
            }
            Role::None | Role::Waiting { .. } => {}
        }
    }
}
