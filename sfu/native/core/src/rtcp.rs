//! RTCP, read without copying (RFC 3550 section 6, RFC 4585, RFC 5104, REMB); written by [`write`]'s functions.

mod write;

pub use write::{
    bye, fir, nack, pli, receiver_report, sdes_cname, sender_report, NACK_PAIRS_MAX,
    REPORT_BLOCKS_MAX,
};

use crate::ids::Ssrc;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

const FORMAT_NACK: u8 = 1;
const FORMAT_TRANSPORT_CC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

const HEADER_BYTES: usize = 4;
const BLOCK_BYTES: usize = 24;

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: Ssrc,
        /// Seconds since 1900 in 32.32 fixed point.
        ntp: u64,
        rtp_timestamp: u32,
        packet_count: u32,
        octet_count: u32,
        blocks: Blocks<'a>,
    },
    ReceiverReport {
        ssrc: Ssrc,
        blocks: Blocks<'a>,
    },
    Sdes(SdesChunks<'a>),
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    Nack {
        sender: Ssrc,
        media: Ssrc,
        pairs: NackPairs<'a>,
    },
    Pli {
        sender: Ssrc,
        media: Ssrc,
    },
    Fir {
        sender: Ssrc,
        entries: FirEntries<'a>,
    },
    Remb {
        sender: Ssrc,
        bitrate_bps: u64,
        ssrcs: Ssrcs<'a>,
    },
    /// The whole packet, header included, for [`crate::twcc::parse`].
    TransportFeedback(&'a [u8]),
    Other {
        packet_type: u8,
        /// The five bits after the padding flag: a count or a format.
        count: u8,
    },
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: Ssrc,
    /// Of 256.
    pub fraction_lost: u8,
    /// 24 bits, negative where duplicates outnumber losses.
    pub cumulative_lost: i32,
    pub highest_sequence: u32,
    /// In units of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time.
    pub last_sr: u32,
    /// In 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// The packets of a compound in order; a malformed one ends them.
pub fn packets(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound, malformed: false }
}

/// Whether the whole compound is well formed (RFC 3550 appendix A.2).
///
/// It may begin with any type: reduced-size RTCP (RFC 5506) is what browsers send.
pub fn valid(compound: &[u8]) -> bool {
    let mut packets = packets(compound);
    let count = packets.by_ref().count();
    count > 0 && !packets.malformed()
}

#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl Packets<'_> {
    /// Whether what was read so far ended at something malformed.
    pub fn malformed(&self) -> bool {
        self.malformed
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((packet, rest)) = split_first(self.rest) else {
            self.malformed = true;
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(packet)
    }
}

fn split_first(compound: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let header: &[u8; HEADER_BYTES] = compound.first_chunk()?;
    if header[0] >> 6 != 2 {
        return None;
    }
    let end = HEADER_BYTES + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (whole, rest) = compound.split_at_checked(end)?;
    let mut body = &whole[HEADER_BYTES..];
    if header[0] & 0x20 != 0 {
        // RFC 3550 pads the last packet alone and by whole words; transport-wide feedback is padded by one to
        // three bytes and wherever it stands.
        let padding = usize::from(*body.last()?);
        if padding == 0 {
            return None;
        }
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    Some((packet(header[1], header[0] & 0x1F, whole, body)?, rest))
}

fn packet<'a>(packet_type: u8, count: u8, whole: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
    Some(match packet_type {
        SENDER_REPORT => {
            let (info, blocks) = body.split_first_chunk::<24>()?;
            Packet::SenderReport {
                ssrc: Ssrc(word(info, 0)),
                ntp: u64::from(word(info, 4)) << 32 | u64::from(word(info, 8)),
                rtp_timestamp: word(info, 12),
                packet_count: word(info, 16),
                octet_count: word(info, 20),
                blocks: Blocks::new(blocks, count)?,
            }
        }
        RECEIVER_REPORT => {
            let (ssrc, blocks) = body.split_first_chunk::<4>()?;
            Packet::ReceiverReport {
                ssrc: Ssrc(word(ssrc, 0)),
                blocks: Blocks::new(blocks, count)?,
            }
        }
        SOURCE_DESCRIPTION => {
            let chunks = SdesChunks { rest: body, left: count };
            // Read once here, so that what is handed on is known to be whole.
            if chunks.clone().count() != usize::from(count) {
                return None;
            }
            Packet::Sdes(chunks)
        }
        BYE => Packet::Bye { ssrcs: Ssrcs(body.get(..4 * usize::from(count))?) },
        TRANSPORT_FEEDBACK => feedback_of_transport(count, whole, body)?,
        PAYLOAD_FEEDBACK => feedback_of_payload(count, body)?,
        _ => Packet::Other { packet_type, count },
    })
}

fn feedback_of_transport<'a>(format: u8, whole: &'a [u8], body: &'a [u8]) -> Option<Packet<'a>> {
    let (ssrcs, rest) = body.split_first_chunk::<8>()?;
    Some(match format {
        FORMAT_NACK => Packet::Nack {
            sender: Ssrc(word(ssrcs, 0)),
            media: Ssrc(word(ssrcs, 4)),
            pairs: NackPairs(whole_words(rest)?),
        },
        FORMAT_TRANSPORT_CC => Packet::TransportFeedback(whole),
        _ => Packet::Other { packet_type: TRANSPORT_FEEDBACK, count: format },
    })
}

fn feedback_of_payload(format: u8, body: &[u8]) -> Option<Packet<'_>> {
    let (ssrcs, rest) = body.split_first_chunk::<8>()?;
    let (sender, media) = (Ssrc(word(ssrcs, 0)), Ssrc(word(ssrcs, 4)));
    Some(match format {
        FORMAT_PLI => Packet::Pli { sender, media },
        FORMAT_FIR if rest.len() % 8 == 0 => Packet::Fir { sender, entries: FirEntries(rest) },
        FORMAT_FIR => return None,
        FORMAT_APPLICATION if rest.starts_with(b"REMB") => {
            let (head, ssrcs) = rest.split_first_chunk::<8>()?;
            let mantissa = u64::from(word(head, 4) & 0x3_FFFF);
            let exponent = u32::from(head[5] >> 2);
            Packet::Remb {
                sender,
                bitrate_bps: mantissa.saturating_mul(1 << exponent),
                ssrcs: Ssrcs(ssrcs.get(..4 * usize::from(head[4]))?),
            }
        }
        _ => Packet::Other { packet_type: PAYLOAD_FEEDBACK, count: format },
    })
}

/// The big-endian word at `at`, which lies inside.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn whole_words(bytes: &[u8]) -> Option<&[u8]> {
    (bytes.len() % 4 == 0).then_some(bytes)
}

/// Take `count` bytes from the front of what is left, which has a multiple of them.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[derive(Clone, Debug)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// What follows the blocks is a profile's extension and not ours to read.
    fn new(bytes: &'a [u8], count: u8) -> Option<Blocks<'a>> {
        Some(Blocks(bytes.get(..BLOCK_BYTES * usize::from(count))?))
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let block = take(&mut self.0, BLOCK_BYTES)?;
        Some(ReportBlock {
            ssrc: Ssrc(word(block, 0)),
            fraction_lost: block[4],
            // Up to the sign bit and down again: 24 bits with a sign.
            cumulative_lost: (word(block, 4) << 8) as i32 >> 8,
            highest_sequence: word(block, 8),
            jitter: word(block, 12),
            last_sr: word(block, 16),
            delay_since_last_sr: word(block, 20),
        })
    }
}

#[derive(Clone, Debug)]
pub struct Ssrcs<'a>(&'a [u8]);

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        take(&mut self.0, 4).map(|bytes| Ssrc(word(bytes, 0)))
    }
}

/// One entry of a NACK: a lost sequence number and a mask of the sixteen after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NackPair {
    pub first: u16,
    pub mask: u16,
}

impl NackPair {
    /// The lost sequence numbers, in order.
    pub fn sequences(self) -> impl Iterator<Item = u16> {
        let later = (0..16).filter(move |bit| self.mask >> bit & 1 == 1);
        std::iter::once(self.first).chain(later.map(move |bit| self.first.wrapping_add(bit + 1)))
    }
}

#[derive(Clone, Debug)]
pub struct NackPairs<'a>(&'a [u8]);

impl<'a> NackPairs<'a> {
    /// All lost sequence numbers, at most 17 for each pair.
    pub fn sequences(self) -> impl Iterator<Item = u16> + 'a {
        self.flat_map(NackPair::sequences)
    }
}

impl Iterator for NackPairs<'_> {
    type Item = NackPair;

    fn next(&mut self) -> Option<NackPair> {
        let pair = word(take(&mut self.0, 4)?, 0);
        Some(NackPair { first: (pair >> 16) as u16, mask: pair as u16 })
    }
}

/// A full intra request for one source (RFC 5104 section 4.3.1); the same number again is a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    pub ssrc: Ssrc,
    pub number: u8,
}

#[derive(Clone, Debug)]
pub struct FirEntries<'a>(&'a [u8]);

impl Iterator for FirEntries<'_> {
    type Item = FirEntry;

    fn next(&mut self) -> Option<FirEntry> {
        let entry = take(&mut self.0, 8)?;
        Some(FirEntry { ssrc: Ssrc(word(entry, 0)), number: entry[4] })
    }
}

/// What a source description says of one source.
#[derive(Clone, Debug)]
pub struct SdesChunk<'a> {
    pub ssrc: Ssrc,
    pub items: SdesItems<'a>,
}

#[derive(Clone, Debug)]
pub struct SdesChunks<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Iterator for SdesChunks<'a> {
    type Item = SdesChunk<'a>;

    fn next(&mut self) -> Option<SdesChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (ssrc, list) = self.rest.split_first_chunk::<4>()?;
        let mut items = SdesItems(list);
        while items.next().is_some() {}
        // At the zero byte that ends a list; the next chunk begins at a multiple of four.
        if items.0.first() != Some(&0) {
            return None;
        }
        let list_bytes = list.len() - items.0.len();
        self.rest = list.get((list_bytes + 1).next_multiple_of(4)..)?;
        Some(SdesChunk { ssrc: Ssrc(word(ssrc, 0)), items: SdesItems(&list[..list_bytes]) })
    }
}

/// Items (type, text) of a chunk; type 1 is the CNAME.
#[derive(Clone, Debug)]
pub struct SdesItems<'a>(&'a [u8]);

impl<'a> Iterator for SdesItems<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [kind, length, ..] = *self.0 else {
            return None;
        };
        if kind == 0 {
            return None;
        }
        let end = 2 + usize::from(length);
        let text = self.0.get(2..end)?;
        self.0 = &self.0[end..];
        Some((kind, text))
    }
}

#[cfg(test)]
mod tests;
