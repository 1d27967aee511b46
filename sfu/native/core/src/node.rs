//! A media node: whose datagram it is, what becomes of it, and what is due when.

mod due;
mod receive;

use std::collections::{HashMap, VecDeque};

use crate::api::{CodecSpec, Command, Counters, Event, Outbox, Profile};
use crate::demux::{self, Kind};
use crate::estimate::Arrival;
use crate::ids::{PathId, RoomId, SessionId, Slot, Ssrc, Time};
use crate::link::{self, Caller};
use crate::publisher::{Continues, Publisher};
use crate::room::Room;
use crate::session::{Credentials, Keys, Link, Role, Session};
use crate::slot::Start;
use crate::srtp::{Opener, Sealer};
use crate::timers::Timers;
use crate::viewer::{Plan, Viewer};

/// Soft bound of one outbox: small enough to stay in the cache while it is sealed and sent.
const OUTBOX_BYTES_SOFT_MAX: usize = 256 * 1024;
/// Answers to peers that wait for the next turn; more are dropped, peers ask again.
const PENDING_DATAGRAMS_MAX: usize = 4096;
const TARGETS_PER_TURN_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Session(SessionId),
    Room(RoomId),
}

/// What came in, and why it was dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    stun_requests: u64,
    stun_refused: u64,
    dtls_in: u64,
    dtls_refused: u64,
    media_in: u64,
    media_refused: u64,
    media_flood: u64,
    media_malformed: u64,
    unknown_ssrc: u64,
    unknown_path: u64,
    unknown_kind: u64,
    no_path: u64,
    pending_full: u64,
    keyframes_asked: u64,
    media_packets_out: u64,
}

#[derive(Default)]
struct Scratch {
    plan: Plan,
    arrivals: Vec<Arrival>,
    rtcp: Vec<u8>,
}

pub struct Node {
    sessions: HashMap<SessionId, Session>,
    rooms: HashMap<RoomId, Room>,
    by_ufrag: HashMap<Box<[u8]>, SessionId>,
    by_path: HashMap<PathId, SessionId>,
    /// Of links, which share their paths.
    by_stream: HashMap<Ssrc, SessionId>,
    timers: Timers<Target>,
    flushing: VecDeque<RoomId>,
    pending: Outbox,
    events: Vec<Event>,
    tally: Tally,
    scratch: Scratch,
    seed: u64,
}

impl Node {
    /// `seed` feeds what need not be secret; secrets come with the commands.
    pub fn new(seed: u64) -> Node {
        Node {
            sessions: HashMap::new(),
            rooms: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_path: HashMap::new(),
            by_stream: HashMap::new(),
            timers: Timers::default(),
            flushing: VecDeque::new(),
            pending: Outbox::default(),
            events: Vec::new(),
            tally: Tally::default(),
            scratch: Scratch::default(),
            seed,
        }
    }

    pub fn command(&mut self, now: Time, command: Command) {
        match command {
            Command::AddSession { session, ice_ufrag, ice_pwd } => {
                self.add_session(now, session, credentials(&ice_ufrag, &ice_pwd));
            }
            Command::RestartIce { session, ice_ufrag, ice_pwd } => {
                self.restart_ice(session, credentials(&ice_ufrag, &ice_pwd));
            }
            Command::RemoveSession { session } => self.remove_session(session),
            Command::SendDtls { session, datagram } => self.send_dtls(now, session, &datagram),
            Command::SetKeys { session, profile, local, remote } => {
                self.set_keys(now, session, profile, &local, &remote);
            }
            Command::Publish { session, room, tracks } => {
                let ssrc = Ssrc(random(&mut self.seed) as u32 | 1);
                if let Some(found) = self.sessions.get_mut(&session) {
                    found.role = Role::Publisher(Box::new(Publisher::new(room, tracks, ssrc)));
                    self.seat(now, session, room, None);
                }
            }
            Command::Subscribe { session, room, sinks } => {
                if let Some(found) = self.sessions.get_mut(&session) {
                    let decodes =
                        self.rooms.get(&room).is_some_and(|room| room.is_decoded_by(&sinks));
                    found.role = Role::Waiting { room, sinks, link: None };
                    if decodes {
                        self.foresee_viewer(now, room);
                    }
                    self.begin_watching(now, session);
                }
            }
            Command::Touch { session } => {
                if let Some(found) = self.sessions.get_mut(&session) {
                    found.heard_report(now);
                }
            }
            Command::AddLink { session, ice_ufrag, ice_pwd, call, hears } => {
                let caller = Caller::new(&ice_ufrag, &ice_pwd, &call, now);
                let link = Link { caller: (!call.is_empty()).then_some(caller), hears };
                self.add_link(now, session, credentials(&ice_ufrag, &ice_pwd), link);
            }
            Command::FeedLink { session, room, streams, cname, first_sequence, from } => {
                let sinks = streams.iter().map(|s| link::sink(s, &cname, first_sequence)).collect();
                if let Some(found) = self.sessions.get_mut(&session) {
                    found.role = Role::Waiting { room, sinks, link: Some(from) };
                    self.begin_watching(now, session);
                }
            }
            Command::FollowLink { session, room, streams, report_ssrc, continues } => {
                if let Some(found) = self.sessions.get_mut(&session) {
                    let publisher = Publisher::link(room, &streams, report_ssrc, continues);
                    found.role = Role::Publisher(Box::new(publisher));
                    let slots = self.rooms.get(&room).filter(|_| continues).map(|r| &r.slots);
                    let stand = slots.map_or([None; 3], |s| s.each_ref().map(|s| s.stand()));
                    self.events.push(Event::Stands { session, stand });
                }
            }
            Command::AddCodec { session, slot, codec } => {
                self.add_codec(now, session, slot, codec);
            }
        }
    }

    /// Take one datagram. `arrived` is the kernel's stamp on the same clock as `now` elsewhere.
    /// The bytes may be decrypted in place.
    pub fn receive(&mut self, arrived: Time, path: PathId, datagram: &mut [u8]) {
        match demux::kind(datagram) {
            Kind::Stun => self.receive_stun(arrived, path, datagram),
            Kind::Dtls => self.receive_dtls(arrived, path, datagram),
            Kind::Rtp => self.receive_rtp(arrived, path, datagram),
            Kind::Rtcp => self.receive_rtcp(arrived, path, datagram),
            Kind::Other => self.tally.unknown_kind += 1,
        }
    }

    /// Whether a session holds this path: a check on it was valid, and the session and the path are still there.
    pub fn knows(&self, path: PathId) -> bool {
        self.by_path.contains_key(&path)
    }

    /// Take note that a path is no more: its connection was closed. Its session goes on over the path that was checked
    /// last of its others, or over none until the next check.
    pub fn forget(&mut self, now: Time, path: PathId) {
        let Some(id) = self.by_path.remove(&path) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.forget_path(path);
        // What it looks at when it is due depends on the path.
        self.timers.set_earlier(&mut session.wake, now, Target::Session(id));
    }

    /// Do what is due and fill the (empty) outbox; called after a batch of `receive` and `command`
    /// and at the deadline.
    pub fn advance(&mut self, now: Time, out: &mut Outbox) {
        debug_assert!(out.is_empty());
        std::mem::swap(out, &mut self.pending);
        for _ in 0..TARGETS_PER_TURN_MAX {
            if out.bytes.len() >= OUTBOX_BYTES_SOFT_MAX {
                return;
            }
            match self.timers.due(now) {
                Some((at, Target::Session(session))) => self.session_due(now, at, session, out),
                Some((at, Target::Room(room))) => self.room_due(now, at, room, out),
                None => break,
            }
        }
        self.flush(now, out);
    }

    /// When `advance` has work again; None: not before the next datagram or command.
    pub fn deadline(&self) -> Option<Time> {
        if !self.flushing.is_empty() || !self.pending.is_empty() {
            return Some(Time(0));
        }
        self.timers.next()
    }

    /// Move the waiting events to `into`.
    pub fn take_events(&mut self, into: &mut Vec<Event>) {
        into.append(&mut self.events);
    }

    pub fn counters(&self) -> Counters {
        let t = &self.tally;
        vec![
            ("sessions", self.sessions.len() as u64),
            ("rooms", self.rooms.len() as u64),
            ("stun_requests", t.stun_requests),
            ("stun_refused", t.stun_refused),
            ("dtls_datagrams_in", t.dtls_in),
            ("dtls_datagrams_refused", t.dtls_refused),
            ("media_packets_in", t.media_in),
            ("media_packets_refused", t.media_refused),
            ("media_packets_over_rate", t.media_flood),
            ("media_packets_malformed", t.media_malformed),
            ("media_packets_of_unknown_ssrc", t.unknown_ssrc),
            ("media_packets_out", t.media_packets_out),
            ("datagrams_of_unknown_path", t.unknown_path),
            ("datagrams_of_unknown_kind", t.unknown_kind),
            ("dtls_datagrams_without_path", t.no_path),
            ("answers_dropped", t.pending_full),
            ("keyframes_asked", t.keyframes_asked),
        ]
    }

    pub fn session_counters(&self, session: SessionId) -> Option<Counters> {
        Some(self.sessions.get(&session)?.report())
    }

    pub fn session_ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.keys().copied()
    }

    fn add_session(&mut self, now: Time, id: SessionId, credentials: Credentials) {
        if self.sessions.contains_key(&id) || self.by_ufrag.contains_key(&credentials.ufrag) {
            return;
        }
        self.by_ufrag.insert(credentials.ufrag.clone(), id);
        self.sessions.insert(id, Session::new(id, credentials, now));
    }

    fn add_link(&mut self, now: Time, id: SessionId, credentials: Credentials, link: Link) {
        self.add_session(now, id, credentials);
        let Some(session) = self.sessions.get_mut(&id).filter(|s| s.link.is_none()) else { return };
        for ssrc in &link.hears {
            self.by_stream.insert(*ssrc, id);
        }
        session.link = Some(link);
        self.timers.set_earlier(&mut session.wake, now, Target::Session(id));
    }

    fn add_codec(&mut self, now: Time, id: SessionId, slot: Slot, codec: CodecSpec) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match &mut session.role {
            Role::Publisher(publisher) => publisher.add_codec(slot, codec),
            Role::Viewer { room, viewer } => {
                if let Some(room) = self.rooms.get(room) {
                    viewer.add_codec(slot, codec, &room.slots);
                    self.timers.set_earlier(&mut session.wake, now, Target::Session(id));
                }
            }
            Role::None | Role::Waiting { .. } => {}
        }
    }

    fn restart_ice(&mut self, id: SessionId, credentials: Credentials) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if self.by_ufrag.contains_key(&credentials.ufrag) {
            return;
        }
        self.by_ufrag.insert(credentials.ufrag.clone(), id);
        if let Some(unused) = session.restart.replace(credentials) {
            self.by_ufrag.remove(&unused.ufrag);
        }
    }

    fn remove_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.by_ufrag.remove(&session.credentials.ufrag);
        if let Some(restart) = &session.restart {
            self.by_ufrag.remove(&restart.ufrag);
        }
        for ssrc in session.link.iter().flat_map(|link| &link.hears) {
            if self.by_stream.get(ssrc) == Some(&id) {
                self.by_stream.remove(ssrc);
            }
        }
        for path in session.paths() {
            if self.by_path.get(path) == Some(&id) {
                self.by_path.remove(path);
            }
        }
        let room_id = match &session.role {
            Role::None => return,
            Role::Waiting { room, .. } => *room,
            Role::Publisher(publisher) => publisher.room,
            Role::Viewer { room, .. } => *room,
        };
        let Some(room) = self.rooms.get_mut(&room_id) else { return };
        room.leave(id);
        if room.is_empty() {
            self.rooms.remove(&room_id);
        }
    }

    fn send_dtls(&mut self, now: Time, id: SessionId, datagram: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match session.path() {
            Some(path) => {
                session.counters.dtls_out += 1;
                session.last_sent = now;
                self.push_pending(path, datagram);
            }
            None => self.tally.no_path += 1,
        }
    }

    fn set_keys(
        &mut self,
        now: Time,
        id: SessionId,
        profile: Profile,
        local: &[u8],
        remote: &[u8],
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // Once a session: new streams under the same keys would seal an index twice.
        if session.keys.is_some() {
            return;
        }
        let (Some(sealer), Some(opener)) =
            (Sealer::new(profile, local), Opener::new(profile, remote))
        else {
            return;
        };
        session.keys = Some(Keys { sealer, opener });
        session.heard(now);
        self.timers.set_earlier(&mut session.wake, now, Target::Session(id));
        self.begin_watching(now, id);
    }

    /// Let a session feed a room; `link`: it is another node.
    fn seat(&mut self, now: Time, id: SessionId, room_id: RoomId, link: Option<Continues>) {
        let room = self.rooms.entry(room_id).or_insert_with(|| Room::new(room_id));
        let before = room.publisher.replace(id);
        for slot in &mut room.slots {
            match link {
                Some(Continues(continues)) => slot.follow(continues),
                None => slot.change_source(),
            }
        }
        room.forget_asks();
        self.timers.set_earlier(&mut room.wake, now, Target::Room(room_id));
        if let Some(other) = before.filter(|other| *other != id) {
            if let Some(session) = self.sessions.get_mut(&other) {
                session.role = Role::None;
            }
        }
    }

    /// Let a link that has waited feed its room: its first packet has come.
    fn seat_link(&mut self, now: Time, id: SessionId) {
        let Some(Session { role: Role::Publisher(publisher), .. }) = self.sessions.get_mut(&id)
        else {
            return;
        };
        let (room, continues) = (publisher.room, publisher.waits.take());
        self.seat(now, id, room, continues);
        self.events.push(Event::Follows { session: id });
    }

    /// Ask for the keyframe that a viewer will need while it still shakes hands.
    fn foresee_viewer(&mut self, now: Time, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let video = &room.slots[Slot::Video as usize];
        if video.flows && video.start(room.keyframe_is_near(now)) == Start::NeedsKeyframe {
            room.want_keyframe(false);
            self.timers.set_earlier(&mut room.wake, now, Target::Room(id));
        }
    }

    /// Turn a waiting viewer into one that is served, once it has keys.
    fn begin_watching(&mut self, now: Time, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(keys) = &mut session.keys else { return };
        let Role::Waiting { room, sinks, link } = &mut session.role else { return };
        let (room_id, sinks, link) = (*room, std::mem::take(sinks), *link);
        let made = Viewer::new(&mut keys.sealer, sinks);
        let Some(viewer) = made.map(|v| if let Some(from) = link { v.link(from) } else { v })
        else {
            session.role = Role::None;
            return;
        };
        session.role = Role::Viewer { room: room_id, viewer: Box::new(viewer) };
        self.timers.set_earlier(&mut session.wake, now, Target::Session(id));
        let room = self.rooms.entry(room_id).or_insert_with(|| Room::new(room_id));
        if link.is_some() { &mut room.links } else { &mut room.viewers }.push(id);
    }

    fn push_pending(&mut self, path: PathId, datagram: &[u8]) {
        if datagram.is_empty() || self.pending.runs.len() >= PENDING_DATAGRAMS_MAX {
            self.tally.pending_full += 1;
            return;
        }
        self.pending.push(path, datagram);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn credentials(ufrag: &str, pwd: &str) -> Credentials {
    Credentials { ufrag: ufrag.as_bytes().into(), pwd: pwd.as_bytes().into() }
}
