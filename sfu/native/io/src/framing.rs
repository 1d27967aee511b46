//! Datagrams on a byte stream: each behind its length in two bytes, big-endian (RFC 4571 section 2).
//!
//! Pure: bytes in, frames out. A frame that lies whole in what was read is handed on where it lies; only one that is
//! cut is kept, so that a stream holds at most one frame's bytes, however its peer dribbles.

use std::fmt;

/// Bytes before each frame.
pub const LENGTH_BYTES: usize = 2;

/// The longest frame that is taken. Every peer that speaks ICE keeps its datagrams below its network's MTU; a longer
/// frame is another protocol's first bytes ("GET " would be 18,245, a TLS hello 5,635).
pub const FRAME_BYTES_MAX: usize = 4096;

/// The stream is not framed as it should be, and nothing after it can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong {
    pub bytes: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes; {FRAME_BYTES_MAX} are allowed", self.bytes)
    }
}

/// Takes one stream apart.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The frame that is not whole yet, its length before it; a whole one stays until the next call.
    partial: Vec<u8>,
    /// `partial` was handed out.
    taken: bool,
}

impl Deframer {
    /// Bytes that are kept for a frame that is not whole yet.
    pub fn kept(&self) -> usize {
        if self.taken {
            0
        } else {
            self.partial.len()
        }
    }

    /// Take the next frame off the front of `input`; None: all of `input` is used up and no frame is whole.
    ///
    /// Frames of no length carry nothing and are passed over. After an error the stream is over: do not go on.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
    ) -> Result<Option<&'a mut [u8]>, FrameTooLong> {
        if std::mem::take(&mut self.taken) {
            self.partial.clear();
        }
        if self.partial.is_empty() {
            if let Some(frame) = whole(input)? {
                return Ok(Some(frame));
            }
        }
        self.complete(input)
    }

    /// Go on with the frame that is kept.
    fn complete<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
    ) -> Result<Option<&'a mut [u8]>, FrameTooLong> {
        loop {
            self.keep(input, LENGTH_BYTES);
            let Some(length) = length_of(&self.partial)? else { return Ok(None) };
            if length == 0 {
                self.partial.clear();
                if input.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            self.keep(input, LENGTH_BYTES + length);
            if self.partial.len() < LENGTH_BYTES + length {
                return Ok(None);
            }
            self.taken = true;
            return Ok(Some(&mut self.partial[LENGTH_BYTES..]));
        }
    }

    /// Move bytes from `input` until `wanted` are kept, or there are no more.
    fn keep(&mut self, input: &mut &mut [u8], wanted: usize) {
        let count = wanted.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..count]);
        *input = &mut std::mem::take(input)[count..];
    }
}

/// The length before a frame; None: fewer than its two bytes.
fn length_of(bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
    let [high, low, ..] = *bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > FRAME_BYTES_MAX {
        return Err(FrameTooLong { bytes: length });
    }
    Ok(Some(length))
}

/// The first frame that is not empty, if all of it is in `input`; empty ones before it are taken off.
fn whole<'a>(input: &mut &'a mut [u8]) -> Result<Option<&'a mut [u8]>, FrameTooLong> {
    while let Some(length) = length_of(input)? {
        if input.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let (frame, rest) = std::mem::take(input).split_at_mut(LENGTH_BYTES + length);
        *input = rest;
        if length > 0 {
            return Ok(Some(&mut frame[LENGTH_BYTES..]));
        }
    }
    Ok(None)
}

/// Append the datagrams of a run to `out`, each as a frame; all have `segment` bytes, the last one maybe fewer.
///
/// `segment` is 1 to 65,535.
pub fn write_frames(out: &mut Vec<u8>, run: &[u8], segment: usize) {
    for datagram in run.chunks(segment) {
        out.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        out.extend_from_slice(datagram);
    }
}

/// The frames of what `write_frames` wrote, their lengths before them.
pub fn written_frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [high, low, ..] = *bytes else { return None };
        let length = LENGTH_BYTES + usize::from(u16::from_be_bytes([high, low]));
        let (frame, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a stream that arrives in these pieces.
    fn frames(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameTooLong> {
        let mut deframer = Deframer::default();
        let mut all = Vec::new();
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut input = &mut bytes[..];
            while let Some(frame) = deframer.next(&mut input)? {
                all.push(frame.to_vec());
            }
            assert!(deframer.kept() < LENGTH_BYTES + FRAME_BYTES_MAX);
        }
        Ok(all)
    }

    fn stream_of(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut stream = Vec::new();
        let mut datagrams = Vec::new();
        for (number, &length) in lengths.iter().enumerate() {
            let datagram: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
            stream.extend((length as u16).to_be_bytes());
            stream.extend(&datagram);
            if length > 0 {
                datagrams.push(datagram);
            }
        }
        (stream, datagrams)
    }

    #[test]
    fn every_split_of_a_stream_in_three_gives_the_same_frames() {
        let (stream, datagrams) = stream_of(&[1, 0, 3, 0, 0, 20, 2, 1, 0]);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(frames(&pieces).unwrap(), datagrams, "{first} {second}");
            }
        }
    }

    #[test]
    fn every_stride_of_a_long_stream_gives_the_same_frames() {
        let (stream, datagrams) = stream_of(&[1200, 0, 28, FRAME_BYTES_MAX, 1, 1151, 0, 4095, 2]);
        for stride in 1..1300 {
            let pieces: Vec<&[u8]> = stream.chunks(stride).collect();
            assert!(frames(&pieces).unwrap() == datagrams, "{stride}");
        }
    }

    #[test]
    fn a_stream_of_nothing_but_empty_frames_is_nothing() {
        let stream = [0; 10_001];
        for stride in [1, 2, 3, 7, 10_001] {
            let pieces: Vec<&[u8]> = stream.chunks(stride).collect();
            assert_eq!(frames(&pieces), Ok(vec![]));
        }
    }

    #[test]
    fn the_longest_frame_is_taken_and_one_byte_more_is_an_error() {
        for length in 0..=usize::from(u16::MAX) {
            let stream = stream_of(&[length]).0;
            let result = frames(&[&stream]);
            if length > FRAME_BYTES_MAX {
                assert_eq!(result, Err(FrameTooLong { bytes: length }));
                // Known from its length alone, before a byte of it came, and byte by byte too.
                assert!(frames(&[&stream[..1], &stream[1..2]]).is_err());
            } else {
                assert_eq!(result.unwrap().len(), usize::from(length > 0));
            }
        }
    }

    #[test]
    fn other_protocols_are_errors_at_once() {
        for first in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-", &[22, 3, 1, 2, 0, 1], b"\xff\xff"] {
            assert!(frames(&[first]).is_err(), "{first:?}");
        }
    }

    /// The same by the book, with everything at hand.
    fn by_the_book(mut stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let mut all = Vec::new();
        while let [high, low, rest @ ..] = stream {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > FRAME_BYTES_MAX {
                return (all, true);
            }
            let Some((frame, rest)) = rest.split_at_checked(length) else { break };
            stream = rest;
            if length > 0 {
                all.push(frame.to_vec());
            }
        }
        (all, false)
    }

    #[test]
    fn any_bytes_in_any_pieces_are_what_the_book_says() {
        for seed in 0..3000u64 {
            let mut state = seed;
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) % below) as usize
            };
            let mut stream = Vec::new();
            for _ in 0..random(30) {
                let limit = [3, 40, 1300, 5000][random(4)];
                let length = random(limit);
                stream.extend((length as u16).to_be_bytes());
                // Now and then fewer bytes than were promised: what follows is garbage.
                let given = if random(8) == 0 { random(length as u64 + 1) } else { length };
                stream.extend((0..given).map(|_| random(256) as u8));
            }
            let (wanted, broken) = by_the_book(&stream);
            let mut deframer = Deframer::default();
            let (mut got, mut failed) = (Vec::new(), false);
            let mut rest = &mut stream[..];
            while !rest.is_empty() && !failed {
                let size = 1 + random(rest.len().min(2000) as u64);
                let (mut piece, later) = rest.split_at_mut(size);
                rest = later;
                loop {
                    match deframer.next(&mut piece) {
                        Ok(Some(frame)) => got.push(frame.to_vec()),
                        Ok(None) => break,
                        Err(_) => {
                            failed = true;
                            break;
                        }
                    }
                }
            }
            assert!(got == wanted && failed == broken, "seed {seed}");
        }
    }

    #[test]
    fn a_frame_may_be_written_to_where_it_lies() {
        let mut deframer = Deframer::default();
        let mut bytes = [0, 2, 1, 2, 0, 1];
        let mut input = &mut bytes[..];
        deframer.next(&mut input).unwrap().unwrap().fill(9);
        assert_eq!(deframer.next(&mut input), Ok(None));
        let mut rest = [5, 0, 1, 6];
        let mut input = &mut rest[..];
        deframer.next(&mut input).unwrap().unwrap().fill(9);
        assert_eq!(deframer.next(&mut input).unwrap(), Some(&mut [6][..]));
    }

    #[test]
    fn runs_are_written_as_they_are_read() {
        let run: Vec<u8> = (0..100).collect();
        for segment in 1..=101 {
            let mut stream = Vec::new();
            write_frames(&mut stream, &run, segment);
            let datagrams: Vec<Vec<u8>> = run.chunks(segment).map(<[u8]>::to_vec).collect();
            assert_eq!(frames(&[&stream]).unwrap(), datagrams);
            let whole: Vec<&[u8]> = written_frames(&stream).map(|f| &f[LENGTH_BYTES..]).collect();
            assert_eq!(whole, datagrams);
        }
    }
}
