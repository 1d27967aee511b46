//! Identifiers and time. A raw integer does not cross a module.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on the caller's monotonic clock; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(span.as_nanos() as u64))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(span.as_nanos() as u64))
    }
}

/// Where a datagram came from and can be answered to: a remote address by way of one of our sockets.
///
/// `via` is the rim's business: 0 is the node's UDP socket, others are TCP connections or links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathId {
    pub address: SocketAddr,
    pub via: u32,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
    };
}

number!(
    /// One person's connection: ICE credentials, DTLS, SRTP keys.
    SessionId
);
number!(
    /// One class on this node.
    RoomId
);
number!(
    /// An RTP synchronization source (RFC 3550 section 3).
    Ssrc
);

/// What a class's teacher can send, in the order of a viewer's sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    Video = 0,
    Mic = 1,
    ScreenAudio = 2,
}

pub const SLOTS: [Slot; 3] = [Slot::Video, Slot::Mic, Slot::ScreenAudio];
