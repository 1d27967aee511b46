//! SRTP and SRTCP (RFC 3711, RFC 7714) in the three profiles that browsers speak.
//!
//! Two promises live here. A (key, SSRC, index) is sealed once, ever: a [`SealedStream`] owns its next index,
//! cannot be copied, and its [`Sealer`] gives out each SSRC once. And a packet is opened once, ever: an
//! [`Opener`] keeps a replay window per SSRC, made only when a packet of that SSRC was authentic.

mod keys;
mod window;

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::Profile;
use crate::ids::Ssrc;
use crate::rtp;
use crate::seq;

use keys::Keys;
use window::Window;

pub use window::REPLAY_WINDOW_PACKETS;

/// SSRCs that one peer may use, for RTP and again for RTCP; a teacher's page uses about six.
pub const SSRCS_MAX: usize = 64;

/// SSRCs that a sealer gives out; links between nodes use a few for each class.
pub const STREAMS_MAX: usize = 65_536;

/// RFC 3711 section 9.2: one key protects no more than 2^48 SRTP packets, 2^31 SRTCP packets.
const RTP_INDEX_END: u64 = 1 << 48;
const RTCP_INDEX_END: u32 = 1 << 31;

/// The clear part of an RTCP packet: one header and the sender's SSRC.
const RTCP_CLEAR_BYTES: usize = 8;

/// The keys of one direction.
struct Session {
    rtp: Keys,
    rtcp: Keys,
}

impl Session {
    fn new(profile: Profile, key_and_salt: &[u8]) -> Option<Session> {
        Some(Session {
            rtp: Keys::derive(profile, key_and_salt, keys::RTP_LABELS)?,
            rtcp: Keys::derive(profile, key_and_salt, keys::RTCP_LABELS)?,
        })
    }
}

/// Seals what we send to one peer.
pub struct Sealer {
    session: Arc<Session>,
    given_out: HashSet<Ssrc>,
    rtcp_index: u32,
}

/// The right to seal the packets of one SSRC under one sealer, each index once.
pub struct SealedStream {
    session: Arc<Session>,
    ssrc: Ssrc,
    next_index: u64,
}

impl SealedStream {
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The sequence number that the next sealed packet will carry.
    pub fn next_sequence(&self) -> u16 {
        self.next_index as u16
    }

    /// Rollover counter and sequence number of the next sealed packet.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }
}

impl Sealer {
    /// `key_and_salt` are of the profile's sizes, else None. Two sealers must never be made of the same keys.
    pub fn new(profile: Profile, key_and_salt: &[u8]) -> Option<Sealer> {
        let session = Arc::new(Session::new(profile, key_and_salt)?);
        Some(Sealer { session, given_out: HashSet::new(), rtcp_index: 0 })
    }

    /// Give out an SSRC. None: it was given out before, or `STREAMS_MAX` were.
    ///
    /// `first_sequence` below 2^15 keeps a receiver that misses the first packets from guessing the rollover
    /// counter wrong (RFC 3711 section 3.3.1).
    pub fn stream(&mut self, ssrc: Ssrc, first_sequence: u16) -> Option<SealedStream> {
        if self.given_out.len() >= STREAMS_MAX || !self.given_out.insert(ssrc) {
            return None;
        }
        Some(SealedStream {
            session: self.session.clone(),
            ssrc,
            next_index: u64::from(first_sequence),
        })
    }

    /// Bytes that sealing an RTP packet adds at its end.
    pub fn tag_bytes(&self) -> usize {
        self.session.rtp.rtp_tag_bytes()
    }

    /// Bytes that sealing an RTCP packet adds at its end.
    pub fn rtcp_overhead_bytes(&self) -> usize {
        self.session.rtcp.rtcp_overhead_bytes()
    }

    /// Seal header, payload and `tag_bytes` spare bytes in place, as the stream's next packet.
    ///
    /// The stream's sequence number and SSRC are written into the header. False: the stream is another
    /// sealer's or at its end, or the sizes do not fit; then the bytes are wiped, so that nothing can leave
    /// in the clear.
    pub fn seal_rtp(
        &self,
        stream: &mut SealedStream,
        packet: &mut [u8],
        payload_offset: usize,
    ) -> bool {
        let fits = payload_offset >= rtp::HEADER_BYTES_MIN
            && packet.len().checked_sub(self.tag_bytes()).is_some_and(|end| payload_offset <= end);
        let sealed = fits
            && Arc::ptr_eq(&self.session, &stream.session)
            && stream.next_index < RTP_INDEX_END
            && {
                let index = stream.next_index;
                // Spent before it is used: no way out of here may leave it to be used again.
                stream.next_index += 1;
                packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
                packet[8..12].copy_from_slice(&stream.ssrc.0.to_be_bytes());
                self.session.rtp.seal_rtp(stream.ssrc, index, packet, payload_offset)
            };
        if !sealed {
            packet.fill(0);
        }
        sealed
    }

    /// Seal a compound RTCP packet and append tag and index. False: 2^31 were sealed, or it is too short;
    /// then the packet is emptied.
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        let sealed = packet.len() >= RTCP_CLEAR_BYTES && self.rtcp_index < RTCP_INDEX_END && {
            let index = self.rtcp_index;
            self.rtcp_index += 1;
            self.session.rtcp.seal_rtcp(index, packet)
        };
        if !sealed {
            packet.clear();
        }
        sealed
    }
}

/// Opens what one peer sends us.
pub struct Opener {
    session: Session,
    rtp: Vec<(Ssrc, Window)>,
    rtcp: Vec<(Ssrc, Window)>,
}

impl Opener {
    /// `key_and_salt` are of the profile's sizes, else None.
    pub fn new(profile: Profile, key_and_salt: &[u8]) -> Option<Opener> {
        Some(Opener {
            session: Session::new(profile, key_and_salt)?,
            rtp: Vec::new(),
            rtcp: Vec::new(),
        })
    }

    /// Open a packet in place: its length without the tag, and its index (rollover counter and sequence).
    ///
    /// None: forged, replayed, older than the window, malformed, or one SSRC too many; the bytes are then
    /// worth nothing.
    pub fn open_rtp(&mut self, packet: &mut [u8], header: &rtp::Header) -> Option<(usize, u64)> {
        let at = self.rtp.iter().position(|(ssrc, _)| *ssrc == header.ssrc);
        let index = match at {
            Some(at) => guess(self.rtp[at].1.highest(), header.sequence),
            None => u64::from(header.sequence),
        };
        if index >= RTP_INDEX_END || !may_open(&self.rtp, at, index) {
            return None;
        }
        let length =
            self.session.rtp.open_rtp(header.ssrc, index, packet, header.payload_offset)?;
        note_opened(&mut self.rtp, at, header.ssrc, index);
        Some((length, index))
    }

    /// Open a compound RTCP packet in place and return its length without tag and index. None as for RTP.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        let ssrc: &[u8; 4] = packet.get(4..)?.first_chunk()?;
        let ssrc = Ssrc(u32::from_be_bytes(*ssrc));
        let index = self.session.rtcp.rtcp_index(packet)?;
        let at = self.rtcp.iter().position(|(known, _)| *known == ssrc);
        if !may_open(&self.rtcp, at, u64::from(index)) {
            return None;
        }
        let length = self.session.rtcp.open_rtcp(ssrc, index, packet)?;
        note_opened(&mut self.rtcp, at, ssrc, u64::from(index));
        Some(length)
    }
}

/// The index of a sequence number after `highest`. Nothing lies before rollover 0, so what the RFC's guess would
/// put there lies ahead, after a loss of half a cycle.
fn guess(highest: u64, sequence: u16) -> u64 {
    seq::nearest(highest, sequence).unwrap_or(u64::from(sequence))
}

fn may_open(windows: &[(Ssrc, Window)], at: Option<usize>, index: u64) -> bool {
    match at {
        Some(at) => windows[at].1.is_new(index),
        None => windows.len() < SSRCS_MAX,
    }
}

fn note_opened(windows: &mut Vec<(Ssrc, Window)>, at: Option<usize>, ssrc: Ssrc, index: u64) {
    match at {
        Some(at) => windows[at].1.note(index),
        None => windows.push((ssrc, Window::new(index))),
    }
}

/// Seals packets under the sequence numbers that they carry: for tests against another implementation, and
/// never for media, because it seals an index as often as it is asked to.
pub struct TestSealer {
    session: Session,
    streams: Vec<(Ssrc, u64)>,
    rtcp_index: u32,
}

impl TestSealer {
    pub fn new(profile: Profile, key_and_salt: &[u8]) -> Option<TestSealer> {
        Some(TestSealer {
            session: Session::new(profile, key_and_salt)?,
            streams: Vec::new(),
            rtcp_index: 0,
        })
    }

    /// Seal under the packet's own numbers, the rollover counter guessed as a receiver does; it starts at 0.
    pub fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> Option<u64> {
        let header = rtp::Header::parse(packet)?;
        let index = match self.streams.iter_mut().find(|(ssrc, _)| *ssrc == header.ssrc) {
            Some((_, highest)) => {
                let index = guess(*highest, header.sequence);
                *highest = index.max(*highest);
                index
            }
            None => {
                self.streams.push((header.ssrc, u64::from(header.sequence)));
                u64::from(header.sequence)
            }
        };
        self.seal_rtp_as(index, packet, header.ssrc, header.payload_offset).then_some(index)
    }

    /// Seal under any index; the header stays as it is.
    pub fn seal_rtp_as(
        &self,
        index: u64,
        packet: &mut Vec<u8>,
        ssrc: Ssrc,
        payload_offset: usize,
    ) -> bool {
        packet.resize(packet.len() + self.session.rtp.rtp_tag_bytes(), 0);
        self.session.rtp.seal_rtp(ssrc, index, packet, payload_offset)
    }

    /// Seal under the next index; the first is 1, as in other implementations.
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        self.rtcp_index += 1;
        let index = self.rtcp_index;
        self.seal_rtcp_as(index, packet)
    }

    pub fn seal_rtcp_as(&self, index: u32, packet: &mut Vec<u8>) -> bool {
        packet.len() >= RTCP_CLEAR_BYTES && self.session.rtcp.seal_rtcp(index, packet)
    }
}

#[cfg(test)]
mod tests;
