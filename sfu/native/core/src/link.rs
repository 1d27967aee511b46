//! A link between two nodes: what its two ends agree on, and the checks that prove its path.
//!
//! The parent feeds a link as it feeds a viewer, the child takes it as a teacher's stream; both ends are
//! sessions. Links of one pair of nodes share their addresses, so that packets are told apart by SSRC, and
//! a link is sent to, and believed, only where a check under its own credentials came through.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::{CodecSpec, ExtensionIds, LinkStream, SinkSpec, TrackSpec};
use crate::ids::{PathId, SessionId, Time};
use crate::stun;

/// RFC 8445 section 14.2: Ta.
const CHECK_INTERVAL_FIRST: Duration = Duration::from_millis(50);
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Without an answer for so long every address is tried again.
const ANSWER_WAIT: Duration = Duration::from_millis(1200);
/// Addresses that a node may have.
pub const CALLED_MAX: usize = 8;
/// Of one slot; as many as a slot has.
pub const CODECS_MAX: usize = 8;
/// A parent sends something each 250 ms (`IDLE_INTERVAL`).
pub const SILENCE_MAX: Duration = Duration::from_millis(1000);

pub const EXTENSIONS: ExtensionIds = ExtensionIds {
    mid: None,
    transport_cc: Some(1),
    abs_send_time: None,
    dependency_descriptor: Some(2),
};

/// What the parent sends of a slot; codecs come with `Command::AddCodec`.
pub fn sink(stream: &LinkStream, cname: &str, first_sequence: u16) -> SinkSpec {
    SinkSpec {
        slot: stream.slot,
        mid: String::new(),
        codecs: Vec::new(),
        ssrc: stream.ssrc,
        rtx_ssrc: Some(stream.rtx_ssrc),
        cname: cname.to_owned(),
        first_sequence,
        extensions: EXTENSIONS,
        nack: true,
    }
}

/// The same as the child takes it. Sound is repaired as well: a link's round trip is short.
pub fn track(stream: &LinkStream) -> TrackSpec {
    TrackSpec {
        slot: stream.slot,
        mid: String::new(),
        codecs: Vec::new(),
        ssrc: Some(stream.ssrc),
        rtx_ssrc: Some(stream.rtx_ssrc),
        extensions: EXTENSIONS,
        nack: true,
        pli: true,
    }
}

/// Whether what flows in a slot is the codec that was told of: copied as it is, not matched.
pub fn is_same(told: &CodecSpec, flows: &CodecSpec) -> bool {
    told.kind == flows.kind && told.clock_rate == flows.clock_rate && told.fmtp == flows.fmtp
}

/// The end that sends the checks.
pub struct Caller {
    username: Vec<u8>,
    pwd: Vec<u8>,
    to: Vec<PathId>,
    transaction: [u8; 12],
    /// The last one was answered: what is repeated keeps its transaction (RFC 8489 section 6.2.1), for
    /// answers take longer than checks are apart.
    renew: bool,
    pub check_at: Time,
    answered: Option<Time>,
}

impl Caller {
    pub fn new(ufrag: &str, pwd: &str, to: &[SocketAddr], now: Time) -> Caller {
        Caller {
            username: format!("{ufrag}:link").into_bytes(),
            pwd: pwd.as_bytes().to_vec(),
            to: to.iter().take(CALLED_MAX).map(|&address| PathId { address, via: 0 }).collect(),
            transaction: [0; 12],
            renew: true,
            check_at: now,
            answered: None,
        }
    }

    /// The next check's bytes and where to send it; `random` makes a new one one of a kind.
    pub fn check(
        &mut self,
        now: Time,
        session: SessionId,
        random: u64,
        selected: Option<PathId>,
    ) -> (Vec<u8>, Vec<PathId>) {
        if std::mem::take(&mut self.renew) {
            self.transaction[..4].copy_from_slice(&session.0.to_be_bytes());
            self.transaction[4..].copy_from_slice(&random.to_be_bytes());
        }
        let mut check = Vec::with_capacity(128);
        stun::write_request(
            &mut check,
            &self.transaction,
            &self.username,
            &self.pwd,
            1,
            random,
            true,
        );
        let answers = self.answered.is_some_and(|at| now.since(at) < ANSWER_WAIT);
        self.check_at = now + if answers { CHECK_INTERVAL } else { CHECK_INTERVAL_FIRST };
        match selected.filter(|_| answers) {
            Some(path) => (check, vec![path]),
            None => (check, self.to.clone()),
        }
    }

    /// Whether this answers the last check, from where one was sent.
    pub fn take(&mut self, now: Time, path: PathId, datagram: &[u8]) -> bool {
        let Some((transaction, _)) = stun::parse_response(datagram, &self.pwd) else {
            return false;
        };
        if transaction != self.transaction || !self.to.contains(&path) {
            return false;
        }
        self.answered = Some(now);
        self.renew = true;
        true
    }
}

/// The session whose check a response may answer: its number is in the transaction.
pub fn session_of(response: &[u8]) -> Option<SessionId> {
    let number: &[u8; 4] = response.get(8..)?.first_chunk()?;
    Some(SessionId(u32::from_be_bytes(*number)))
}

pub fn is_response(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0x01, 0x01])
}
