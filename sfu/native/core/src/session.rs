//! One person's connection: ICE credentials and paths, SRTP keys, signs of life.

use std::time::Duration;

use crate::api::{Counters, Event, Outbox, SinkSpec, Stand};
use crate::ids::{PathId, RoomId, SessionId, Ssrc, Time};
use crate::link::{self, Caller};
use crate::publisher::Publisher;
use crate::rtcp;
use crate::rtp;
use crate::srtp::{Opener, Sealer};
use crate::viewer::Viewer;

/// Tuples that passed a check; a browser has a handful (interfaces, address families, TCP).
const PATHS_MAX: usize = 8;
/// Conforming clients may leave 6 s between consent checks (RFC 7675 section 5.1: 5 s, +-20 %).
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// For clients that were heard to report every second. A page outlives a cut of 5 s with its session, by an
/// ICE restart that takes one more second.
const SILENCE_TALKATIVE_MAX: Duration = Duration::from_secs(7);
const TALKATIVE_SIGNS: u32 = 3;
/// Idle is not silent: pages notice a dead node by this.
pub const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// What goes up to Python. A ClientHello is two datagrams, a whole handshake a dozen, and each flight may be repeated.
const DTLS_HANDSHAKE_DATAGRAMS_PER_SECOND_MAX: u32 = 64;
/// Once there are keys: a window of a data channel's tiny messages is 300.
const DTLS_DATAGRAMS_PER_SECOND_MAX: u32 = 600;
const DTLS_BYTES_PER_SECOND_MAX: usize = 1024 * 1024;
/// Genuine packets of SRTP and SRTCP: 46 Mbit/s of full ones. A 4K share takes 2,000, and a viewer that reports a
/// hundred times a second 100; a second's worth at once covers any keyframe.
const MEDIA_PACKETS_PER_SECOND_MAX: u64 = 5000;
const MEDIA_PACKETS_BURST_MAX: u64 = 5000;

pub struct Credentials {
    pub ufrag: Box<[u8]>,
    pub pwd: Box<[u8]>,
}

pub enum Role {
    /// Known to ICE and DTLS only.
    None,
    /// A viewer whose keys are not there yet.
    Waiting {
        room: RoomId,
        sinks: Vec<SinkSpec>,
        /// To another node, which has come so far.
        link: Option<Stand>,
    },
    Publisher(Box<Publisher>),
    Viewer {
        room: RoomId,
        viewer: Box<Viewer>,
    },
}

/// What a session has that is one end of a link between nodes.
#[derive(Default)]
pub struct Link {
    /// Of the end that sends the checks: the child.
    pub caller: Option<Caller>,
    /// SSRCs that come.
    pub hears: Vec<Ssrc>,
}

pub struct Keys {
    pub sealer: Sealer,
    pub opener: Opener,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SessionCounters {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub payload_bytes_in: u64,
    pub rtcp_in: u64,
    pub rtcp_out: u64,
    pub dtls_in: u64,
    pub dtls_out: u64,
    pub refused: u64,
    pub keyframes_asked: u64,
}

pub struct Session {
    pub id: SessionId,
    pub credentials: Credentials,
    /// New ones after a restart, until a check under them is valid.
    pub restart: Option<Credentials>,
    pub keys: Option<Keys>,
    pub role: Role,
    pub wake: Option<Time>,
    pub counters: SessionCounters,
    /// A check was valid, once.
    pub was_reached: bool,
    /// The one that was checked last comes last.
    paths: Vec<PathId>,
    pub(crate) selected: Option<PathId>,
    last_heard: Time,
    reports_heard: u32,
    pub silence_said: bool,
    pub link: Option<Link>,
    pub last_sent: Time,
    dtls_second: Time,
    dtls_datagrams: u32,
    dtls_bytes: usize,
    /// Until then its media packets are paid for, at the rate that they may have.
    media_paid_until: Time,
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// No RTP header, or one that says more than there is.
    Malformed,
    /// Of no stream that was announced; viewers announce none.
    UnknownSsrc,
    /// Forged, changed on its way, replayed, or before the keys.
    Forged,
}

impl Session {
    pub fn new(id: SessionId, credentials: Credentials, now: Time) -> Session {
        Session {
            id,
            credentials,
            restart: None,
            keys: None,
            role: Role::None,
            wake: None,
            counters: SessionCounters::default(),
            was_reached: false,
            paths: Vec::new(),
            selected: None,
            last_heard: now,
            reports_heard: 0,
            silence_said: false,
            link: None,
            last_sent: now,
            dtls_second: now,
            dtls_datagrams: 0,
            dtls_bytes: 0,
            media_paid_until: now,
        }
    }

    /// Where to send: the last nominated path, before that the first that was checked.
    pub fn path(&self) -> Option<PathId> {
        self.selected
    }

    pub fn paths(&self) -> &[PathId] {
        &self.paths
    }

    /// Note a valid check. Returns (path is new, a path that had to make room for it).
    pub fn note_check(
        &mut self,
        now: Time,
        path: PathId,
        nominated: bool,
    ) -> (bool, Option<PathId>) {
        self.heard(now);
        let known = self.paths.iter().position(|p| *p == path);
        let mut gone = None;
        if let Some(known) = known {
            self.paths.remove(known);
        } else if self.paths.len() == PATHS_MAX {
            let oldest = self.paths.iter().position(|p| Some(*p) != self.selected).unwrap_or(0);
            gone = Some(self.paths.remove(oldest));
        }
        self.paths.push(path);
        if nominated || self.selected.is_none() {
            self.selected = Some(path);
        }
        (known.is_none(), gone)
    }

    /// A path is no more; if it was the selected one, the one that was checked last takes its place.
    pub fn forget_path(&mut self, path: PathId) {
        self.paths.retain(|p| *p != path);
        if self.selected == Some(path) {
            self.selected = self.paths.last().copied();
        }
    }

    /// An authenticated packet came.
    pub fn heard(&mut self, now: Time) {
        self.last_heard = self.last_heard.max(now);
    }

    /// A report, or an answer to a ping, came.
    pub fn heard_report(&mut self, now: Time) {
        self.heard(now);
        self.reports_heard = self.reports_heard.saturating_add(1);
    }

    /// Whether this end follows another node.
    fn is_child(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.caller.is_some())
    }

    pub fn silent_at(&self) -> Time {
        if self.is_child() {
            return self.last_heard + link::SILENCE_MAX;
        }
        let talkative = self.reports_heard >= TALKATIVE_SIGNS;
        self.last_heard + if talkative { SILENCE_TALKATIVE_MAX } else { SILENCE_MAX }
    }

    /// Say once that the session is silent; else when that would be. Judged from the keys on: before
    /// them the handshake has deadlines of its own.
    pub fn note_silence(&mut self, now: Time, events: &mut Vec<Event>) -> Option<Time> {
        if self.silence_said || self.keys.is_none() {
            return None;
        }
        let at = self.silent_at();
        if now < at {
            return Some(at);
        }
        self.silence_said = true;
        let ms_ago = now.since(self.last_heard).as_millis() as u32;
        events.push(Event::Silent { session: self.id, ms_ago });
        None
    }

    /// Open a packet: its header, its opened length and its 64-bit index.
    pub fn open_rtp(
        &mut self,
        now: Time,
        datagram: &mut [u8],
    ) -> Result<(rtp::Header, usize, u64), Unopened> {
        let header = rtp::Header::parse(datagram).ok_or(Unopened::Malformed)?;
        match &mut self.role {
            Role::Publisher(publisher) if publisher.expects(&header, datagram) => {}
            Role::Publisher(publisher) => {
                publisher.unknown_ssrc += 1;
                return Err(Unopened::UnknownSsrc);
            }
            _ => return Err(Unopened::UnknownSsrc),
        }
        let opener = self.keys.as_mut().map(|keys| &mut keys.opener);
        let opened = opener.and_then(|opener| opener.open_rtp(datagram, &header));
        let (length, index) = opened.ok_or(Unopened::Forged)?;
        self.heard(now);
        self.counters.packets_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        Ok((header, length, index))
    }

    /// Seal and send a compound; an empty one is not sent.
    pub fn send_rtcp(&mut self, path: PathId, rtcp: &mut Vec<u8>, out: &mut Outbox) {
        let Some(keys) = &mut self.keys else { return };
        if !rtcp.is_empty() && keys.sealer.seal_rtcp(rtcp) {
            out.push(path, rtcp);
            self.counters.rtcp_out += 1;
        }
    }

    /// Ask this publisher for a key picture; false where it cannot be asked. `lost`: the last one may do as well, where
    /// the publisher has kept it.
    pub fn ask_keyframe(&mut self, lost: bool, rtcp: &mut Vec<u8>, out: &mut Outbox) -> bool {
        let (Role::Publisher(publisher), Some(path)) = (&mut self.role, self.selected) else {
            return false;
        };
        rtcp.clear();
        rtcp::receiver_report(rtcp, publisher.ssrc, &[]);
        if self.keys.is_none() || !publisher.ask_keyframe(lost, rtcp) {
            return false;
        }
        self.counters.keyframes_asked += 1;
        self.send_rtcp(path, rtcp, out);
        true
    }

    /// Under which SSRC an empty report goes out.
    pub fn report_ssrc(&self) -> Ssrc {
        match &self.role {
            Role::Publisher(publisher) => publisher.ssrc,
            Role::Viewer { viewer, .. } => viewer.report_ssrc(),
            Role::None | Role::Waiting { .. } => Ssrc(1),
        }
    }

    pub fn report(&self) -> Counters {
        let c = &self.counters;
        let mut counters = vec![
            ("packets_in", c.packets_in),
            ("bytes_in", c.bytes_in),
            ("payload_bytes_in", c.payload_bytes_in),
            ("rtcp_in", c.rtcp_in),
            ("rtcp_out", c.rtcp_out),
            ("dtls_datagrams_in", c.dtls_in),
            ("dtls_datagrams_out", c.dtls_out),
            ("refused", c.refused),
            ("keyframes_asked", c.keyframes_asked),
        ];
        match &self.role {
            Role::Publisher(publisher) => publisher.add_counters(&mut counters),
            Role::Viewer { viewer, .. } => viewer.add_counters(&mut counters),
            Role::None | Role::Waiting { .. } => {}
        }
        counters
    }

    /// Whether one more genuine packet of media or of reports is taken now: a leaky bucket.
    pub fn admits_media(&mut self, now: Time) -> bool {
        const PRICE: Duration = Duration::from_nanos(1_000_000_000 / MEDIA_PACKETS_PER_SECOND_MAX);
        let paid_until = self.media_paid_until.max(now);
        let admitted = paid_until.since(now) < PRICE * MEDIA_PACKETS_BURST_MAX as u32;
        if admitted {
            self.media_paid_until = paid_until + PRICE;
        }
        admitted
    }

    /// Whether one more DTLS datagram may go up to Python in this second.
    pub fn admits_dtls(&mut self, now: Time, bytes: usize) -> bool {
        if now.since(self.dtls_second) >= Duration::from_secs(1) {
            self.dtls_second = now;
            self.dtls_datagrams = 0;
            self.dtls_bytes = 0;
        }
        self.dtls_datagrams += 1;
        self.dtls_bytes += bytes;
        let datagrams_max = match self.keys {
            None => DTLS_HANDSHAKE_DATAGRAMS_PER_SECOND_MAX,
            Some(_) => DTLS_DATAGRAMS_PER_SECOND_MAX,
        };
        self.dtls_datagrams <= datagrams_max && self.dtls_bytes <= DTLS_BYTES_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let credentials = Credentials { ufrag: Box::from(&b"u"[..]), pwd: Box::from(&b"p"[..]) };
        Session::new(SessionId(1), credentials, Time(0))
    }

    fn path(port: u16) -> PathId {
        PathId { address: ([127, 0, 0, 1], port).into(), via: 0 }
    }

    #[test]
    fn the_nominated_path_wins_and_paths_are_bounded() {
        let mut session = session();
        assert_eq!(session.note_check(Time(0), path(1), false), (true, None));
        assert_eq!(session.path(), Some(path(1)));
        session.note_check(Time(0), path(2), false);
        assert_eq!(session.path(), Some(path(1)));
        session.note_check(Time(0), path(2), true);
        assert_eq!(session.path(), Some(path(2)));
        for port in 3..9 {
            session.note_check(Time(0), path(port), false);
        }
        assert_eq!(session.note_check(Time(0), path(9), false), (true, Some(path(1))));
        assert!(session.paths().contains(&path(2)), "the selected path is never the one to go");
    }

    #[test]
    fn a_path_that_is_gone_is_followed_by_the_one_checked_last() {
        let mut session = session();
        for port in [1, 2, 3, 1] {
            session.note_check(Time(0), path(port), false);
        }
        session.note_check(Time(0), path(2), true);
        session.note_check(Time(0), path(1), false);
        session.forget_path(path(3));
        assert_eq!(session.path(), Some(path(2)));
        session.forget_path(path(2));
        assert_eq!(session.path(), Some(path(1)));
        session.forget_path(path(1));
        assert_eq!((session.path(), session.paths()), (None, &[][..]));
        session.note_check(Time(0), path(4), false);
        assert_eq!(session.path(), Some(path(4)));
    }

    #[test]
    fn a_flood_of_media_is_cut_to_its_rate_and_a_burst_is_let_through() {
        let mut session = session();
        let admitted = |session: &mut Session, now, count: u64| {
            (0..count).filter(|_| session.admits_media(now)).count() as u64
        };
        assert_eq!(admitted(&mut session, Time(0), 20_000), MEDIA_PACKETS_BURST_MAX);
        let mut later = 0;
        for ms in 1..=2000 {
            later += admitted(&mut session, Time(ms * 1_000_000), 100);
        }
        assert_eq!(later, 2 * MEDIA_PACKETS_PER_SECOND_MAX);
        // What was not used for a while does not add up.
        assert_eq!(admitted(&mut session, Time(60_000_000_000), 20_000), MEDIA_PACKETS_BURST_MAX);
    }

    #[test]
    fn a_client_that_reports_is_missed_sooner() {
        let mut session = session();
        assert_eq!(session.silent_at(), Time(8_000_000_000));
        for _ in 0..3 {
            session.heard_report(Time(500_000_000));
        }
        assert_eq!(session.silent_at(), Time(7_500_000_000));
    }
}
