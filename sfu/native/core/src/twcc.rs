//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): when each packet of a
//! transport arrived, told to its sender, whose estimator leaves its floor only with this.
//!
//! Arrival times are counted in ticks of 250 us, reference times in 64 ms.

mod record;

pub use record::{Recorder, FEEDBACK_BYTES_MAX, WINDOW_PACKETS};

use crate::ids::Ssrc;

const HEADER_BYTES: usize = 20;
const TRANSPORT_FEEDBACK: u8 = 205;
const FORMAT: u8 = 15;

const TICK_NS: u64 = 250_000;
const TICKS_PER_REFERENCE: u64 = 256;

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// Run lengths have 13 bits.
const RUN_MAX: usize = 0x1FFF;

/// A well-formed feedback packet: every status has its chunk, every received packet its delta.
#[derive(Clone, Debug)]
pub struct Feedback<'a> {
    pub sender: Ssrc,
    pub media: Ssrc,
    pub base_sequence: u16,
    pub status_count: u16,
    /// In 64 ms, of 24 bits, wrapping.
    pub reference_time: u32,
    /// Counts the feedback packets, wrapping.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// Read one whole RTCP packet, header included. None: not this feedback, or malformed.
pub fn parse(feedback: &[u8]) -> Option<Feedback<'_>> {
    let header: &[u8; HEADER_BYTES] = feedback.first_chunk()?;
    let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] & 0xDF != 0x80 | FORMAT
        || header[1] != TRANSPORT_FEEDBACK
        || length != feedback.len()
    {
        return None;
    }
    let mut body = &feedback[HEADER_BYTES..];
    if header[0] & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        if padding == 0 {
            return None;
        }
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    let status_count = u16::from_be_bytes([header[14], header[15]]);
    let (chunk_bytes, delta_bytes) = measure(body, usize::from(status_count))?;
    let (chunks, deltas) = body.split_at(chunk_bytes);
    Some(Feedback {
        sender: Ssrc(u32::from_be_bytes([header[4], header[5], header[6], header[7]])),
        media: Ssrc(u32::from_be_bytes([header[8], header[9], header[10], header[11]])),
        base_sequence: u16::from_be_bytes([header[12], header[13]]),
        status_count,
        reference_time: u32::from_be_bytes([0, header[16], header[17], header[18]]),
        feedback_count: header[19],
        chunks,
        deltas: deltas.get(..delta_bytes)?,
    })
}

/// Bytes of the chunks that cover all statuses, and of the deltas that these announce.
fn measure(body: &[u8], status_count: usize) -> Option<(usize, usize)> {
    let mut left = status_count;
    let mut chunk_bytes = 0;
    let mut delta_bytes = 0;
    while left > 0 {
        let chunk = Chunk::parse(body.get(chunk_bytes..)?)?;
        chunk_bytes += 2;
        let covered = chunk.count.min(left);
        left -= covered;
        delta_bytes += chunk.delta_bytes(covered)?;
    }
    (body.len() - chunk_bytes >= delta_bytes).then_some((chunk_bytes, delta_bytes))
}

/// Two bytes that give the statuses of up to `count` packets.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    word: u16,
    count: usize,
}

impl Chunk {
    fn parse(bytes: &[u8]) -> Option<Chunk> {
        let word = u16::from_be_bytes(*bytes.first_chunk()?);
        let count = match word >> 14 {
            0 | 1 => usize::from(word) & RUN_MAX,
            2 => 14,
            _ => 7,
        };
        // A run of none tells nothing and would only be work.
        (count > 0).then_some(Chunk { word, count })
    }

    fn is_run(self) -> bool {
        self.word & 0x8000 == 0
    }

    fn status(self, at: usize) -> u8 {
        match self.word >> 14 {
            0 | 1 => (self.word >> 13 & 3) as u8,
            2 => (self.word >> (13 - at) & 1) as u8,
            _ => (self.word >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// Bytes of the deltas of the first `covered` statuses; None: a reserved status.
    fn delta_bytes(self, covered: usize) -> Option<usize> {
        if self.is_run() {
            return Some(covered * delta_bytes(self.status(0))?);
        }
        (0..covered).try_fold(0, |sum, at| Some(sum + delta_bytes(self.status(at))?))
    }
}

fn delta_bytes(status: u8) -> Option<usize> {
    match status {
        NOT_RECEIVED => Some(0),
        SMALL_DELTA => Some(1),
        LARGE_DELTA => Some(2),
        _ => None,
    }
}

impl<'a> Feedback<'a> {
    /// Every packet from the base on: its sequence and, if received, its arrival in ticks of 250 us after the
    /// reference time. At most 65535 of them, however small the feedback is: see [`Feedback::received`].
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: usize::from(self.status_count),
            ticks: 0,
            chunk: None,
            chunks: self.chunks,
            deltas: self.deltas,
        }
    }

    /// The packets that were received; work and count are bounded by the bytes of the feedback.
    pub fn received(&self) -> impl Iterator<Item = (u16, i64)> + 'a {
        let mut statuses = self.statuses();
        std::iter::from_fn(move || loop {
            statuses.skip_missing_run();
            if let (sequence, Some(ticks)) = statuses.next()? {
                return Some((sequence, ticks));
            }
        })
    }
}

#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    sequence: u16,
    left: usize,
    ticks: i64,
    /// The chunk being read and how many of its statuses were.
    chunk: Option<(Chunk, usize)>,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Statuses<'_> {
    fn chunk(&mut self) -> Option<(Chunk, usize)> {
        if let Some((chunk, at)) = self.chunk.filter(|(chunk, at)| *at < chunk.count) {
            return Some((chunk, at));
        }
        let chunk = Chunk::parse(self.chunks)?;
        self.chunks = &self.chunks[2..];
        self.chunk = Some((chunk, 0));
        Some((chunk, 0))
    }

    /// Pass over what is left of a run of packets that were not received.
    fn skip_missing_run(&mut self) {
        while self.left > 0 {
            let Some((chunk, at)) =
                self.chunk().filter(|(chunk, _)| chunk.is_run() && chunk.status(0) == NOT_RECEIVED)
            else {
                return;
            };
            let skipped = (chunk.count - at).min(self.left);
            self.left -= skipped;
            self.sequence = self.sequence.wrapping_add(skipped as u16);
            self.chunk = Some((chunk, at + skipped));
        }
    }

    fn delta(&mut self, status: u8) -> Option<i64> {
        match status {
            SMALL_DELTA => {
                let (delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i64::from(*delta))
            }
            LARGE_DELTA => {
                let (delta, rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i64::from(i16::from_be_bytes(*delta)))
            }
            _ => None,
        }
    }
}

impl Iterator for Statuses<'_> {
    type Item = (u16, Option<i64>);

    fn next(&mut self) -> Option<(u16, Option<i64>)> {
        self.left = self.left.checked_sub(1)?;
        let (chunk, at) = self.chunk()?;
        self.chunk = Some((chunk, at + 1));
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let delta = self.delta(chunk.status(at));
        self.ticks += delta.unwrap_or(0);
        Some((sequence, delta.map(|_| self.ticks)))
    }
}

#[cfg(test)]
mod tests;
