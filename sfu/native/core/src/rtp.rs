//! RTP headers (RFC 3550 section 5.1) and their extensions (RFC 8285).

use std::ops::Range;

use crate::ids::Ssrc;

pub const HEADER_BYTES_MIN: usize = 12;

/// The profile field of one-byte header extensions (RFC 8285 section 4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// The profile field of two-byte header extensions; its low four bits are free (RFC 8285 section 4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// A header, by value; its ranges are offsets into the packet it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: Ssrc,
    pub has_padding: bool,
    pub csrc_count: u8,
    /// The profile and where the extension's words are.
    pub extension: Option<(u16, Range<usize>)>,
    /// Bytes of fixed header, CSRCs and extension together.
    pub payload_offset: usize,
}

impl Header {
    /// Read the clear part of a packet, sealed or opened. None: not RTP, or lengths that do not fit.
    ///
    /// The padding count is not looked at: in a sealed packet it is encrypted. See [`payload`].
    pub fn parse(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; HEADER_BYTES_MIN] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let csrc_count = fixed[0] & 0x0F;
        let mut payload_offset = HEADER_BYTES_MIN + 4 * usize::from(csrc_count);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let head: &[u8; 4] = packet.get(payload_offset..)?.first_chunk()?;
            let start = payload_offset + 4;
            let end = start + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            extension = Some((u16::from_be_bytes([head[0], head[1]]), start..end));
            payload_offset = end;
        }
        if payload_offset > packet.len() {
            return None;
        }
        Some(Header {
            payload_type: fixed[1] & 0x7F,
            marker: fixed[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            has_padding: fixed[0] & 0x20 != 0,
            csrc_count,
            extension,
            payload_offset,
        })
    }

    /// The contributing sources, in order.
    pub fn csrcs<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = Ssrc> + 'a {
        let end = HEADER_BYTES_MIN + 4 * usize::from(self.csrc_count);
        let words = packet.get(HEADER_BYTES_MIN..end).unwrap_or(&[]);
        words
            .chunks_exact(4)
            .map(|word| Ssrc(u32::from_be_bytes([word[0], word[1], word[2], word[3]])))
    }

    /// The extension elements (id, value), in order; a malformed one ends them.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let Some((profile, range)) = &self.extension else {
            return Extensions { rest: &[], form: Form::OneByte };
        };
        let rest = packet.get(range.clone()).unwrap_or(&[]);
        match *profile {
            ONE_BYTE_PROFILE => Extensions { rest, form: Form::OneByte },
            profile if profile & 0xFFF0 == TWO_BYTE_PROFILE => {
                Extensions { rest, form: Form::TwoByte }
            }
            _ => Extensions { rest: &[], form: Form::OneByte },
        }
    }

    /// The first element with this id.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet).find(|(found, _)| *found == id).map(|(_, value)| value)
    }
}

/// The payload of an opened packet without its padding. None: the padding count is 0 or too large.
pub fn payload<'a>(header: &Header, packet: &'a [u8]) -> Option<&'a [u8]> {
    let body = packet.get(header.payload_offset..)?;
    if !header.has_padding {
        return Some(body);
    }
    let padding = usize::from(*body.last()?);
    if padding == 0 {
        return None;
    }
    body.get(..body.len().checked_sub(padding)?)
}

#[derive(Clone, Copy, Debug)]
enum Form {
    OneByte,
    TwoByte,
}

/// Elements of a header extension.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let first = *self.rest.first()?;
            if first == 0 {
                // Padding between elements is one zero byte in either form.
                self.rest = &self.rest[1..];
                continue;
            }
            let element = match self.form {
                Form::OneByte => one_byte_element(self.rest),
                Form::TwoByte => two_byte_element(self.rest),
            };
            let Some((id, value, rest)) = element else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some((id, value));
        }
    }
}

fn one_byte_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let id = bytes[0] >> 4;
    // 15 ends the elements, and so does 0 with a length (RFC 8285 section 4.2).
    if id == 15 || id == 0 {
        return None;
    }
    let end = 2 + usize::from(bytes[0] & 0x0F);
    Some((id, bytes.get(1..end)?, bytes.get(end..)?))
}

fn two_byte_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let end = 2 + usize::from(*bytes.get(1)?);
    Some((bytes[0], bytes.get(2..end)?, bytes.get(end..)?))
}

/// The longest value of the one-byte form.
pub const ONE_BYTE_VALUE_MAX: usize = 16;

/// Bytes that `write_header` takes for values of these lengths.
pub fn header_bytes(lengths: impl Iterator<Item = usize> + Clone) -> usize {
    let longest = lengths.clone().max();
    let Some(longest) = longest else { return HEADER_BYTES_MIN };
    let each = if longest > ONE_BYTE_VALUE_MAX { 2 } else { 1 };
    let elements: usize = lengths.map(|length| each + length).sum();
    HEADER_BYTES_MIN + 4 + elements.next_multiple_of(4)
}

/// Append a header without CSRCs; `extensions` are (id 1..=14, value of 1..=255 bytes).
///
/// The two-byte form is taken where a value is longer than 16 bytes: only for a peer that agreed to
/// extmap-allow-mixed (RFC 8285 section 6). An element outside these bounds is our bug and is left
/// out of the packet.
#[allow(clippy::too_many_arguments)]
pub fn write_header(
    out: &mut Vec<u8>,
    payload_type: u8,
    marker: bool,
    padding: bool,
    sequence: u16,
    timestamp: u32,
    ssrc: Ssrc,
    extensions: &[(u8, &[u8])],
) {
    let has_extension = !extensions.is_empty();
    out.push(0x80 | u8::from(padding) << 5 | u8::from(has_extension) << 4);
    out.push(u8::from(marker) << 7 | payload_type & 0x7F);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&ssrc.0.to_be_bytes());
    if !has_extension {
        return;
    }
    let two_byte = extensions.iter().any(|(_, value)| value.len() > ONE_BYTE_VALUE_MAX);
    let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
    out.extend_from_slice(&profile.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    for (id, value) in extensions {
        let fits = (1..=14).contains(id) && (1..=255).contains(&value.len());
        debug_assert!(fits, "extension {id} of {} bytes", value.len());
        if !fits {
            continue;
        }
        if two_byte {
            out.extend_from_slice(&[*id, value.len() as u8]);
        } else {
            out.push(id << 4 | (value.len() - 1) as u8);
        }
        out.extend_from_slice(value);
    }
    let start = length_at + 2;
    while (out.len() - start) % 4 != 0 {
        out.push(0);
    }
    let words = ((out.len() - start) / 4) as u16;
    out[length_at..start].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(extensions: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = Vec::new();
        write_header(
            &mut packet,
            96,
            true,
            false,
            0xFFFE,
            0x8000_0001,
            Ssrc(0xDEAD_BEEF),
            extensions,
        );
        packet
    }

    #[test]
    fn a_written_header_reads_back() {
        let packet = written(&[(1, b"0"), (14, &[7; 16]), (3, &[1, 2])]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.payload_type, header.marker, header.sequence), (96, true, 0xFFFE));
        assert_eq!((header.timestamp, header.ssrc), (0x8000_0001, Ssrc(0xDEAD_BEEF)));
        assert_eq!(header.payload_offset, packet.len());
        assert_eq!(packet.len() % 4, 0);
        let elements: Vec<_> = header.extensions(&packet).collect();
        assert_eq!(elements, [(1, &b"0"[..]), (14, &[7; 16][..]), (3, &[1, 2][..])]);
        assert_eq!(header.extension(&packet, 3), Some(&[1, 2][..]));
        assert_eq!(header.extension(&packet, 4), None);
        assert_eq!(written(&[]).len(), HEADER_BYTES_MIN);
    }

    #[test]
    fn every_truncation_is_refused() {
        let packet = written(&[(1, b"mid"), (2, &[0, 9])]);
        assert!(Header::parse(&packet).is_some());
        for length in 0..packet.len() {
            assert_eq!(Header::parse(&packet[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn only_version_2_is_rtp() {
        let mut packet = written(&[]);
        for version in [0u8, 1, 3] {
            packet[0] = version << 6;
            assert_eq!(Header::parse(&packet), None);
        }
    }

    #[test]
    fn csrcs_come_before_the_payload() {
        let mut packet = written(&[]);
        packet[0] |= 2;
        assert_eq!(Header::parse(&packet), None);
        packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0xAA]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.csrcs(&packet).collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
        assert_eq!(payload(&header, &packet), Some(&[0xAA][..]));
    }

    #[test]
    fn padding_is_stripped_and_impossible_padding_refused() {
        let mut packet = written(&[]);
        packet[0] |= 0x20;
        let header = Header::parse(&packet).unwrap();
        assert_eq!(payload(&header, &packet), None, "padding announced, no byte there");
        packet.extend_from_slice(&[1, 2, 3, 0]);
        assert_eq!(payload(&header, &packet), None, "a count of 0");
        *packet.last_mut().unwrap() = 3;
        assert_eq!(payload(&header, &packet), Some(&[1][..]));
        *packet.last_mut().unwrap() = 4;
        assert_eq!(payload(&header, &packet), Some(&[][..]));
        *packet.last_mut().unwrap() = 5;
        assert_eq!(payload(&header, &packet), None, "more than the payload");
    }

    fn elements(profile: u16, words: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut packet = written(&[]);
        packet[0] |= 0x10;
        packet.extend_from_slice(&profile.to_be_bytes());
        packet.extend_from_slice(&((words.len() / 4) as u16).to_be_bytes());
        packet.extend_from_slice(words);
        let header = Header::parse(&packet).unwrap();
        header.extensions(&packet).map(|(id, value)| (id, value.to_vec())).collect()
    }

    #[test]
    fn elements_of_both_forms() {
        let one = elements(0xBEDE, &[0x10, 0xAA, 0, 0, 0x21, 1, 2, 0]);
        assert_eq!(one, [(1, vec![0xAA]), (2, vec![1, 2])]);
        let two = elements(0x1005, &[1, 0, 2, 2, 8, 9, 0, 0]);
        assert_eq!(two, [(1, vec![]), (2, vec![8, 9])]);
        assert_eq!(elements(0x2000, &[0x10, 0xAA, 0, 0]), []);
    }

    #[test]
    fn a_long_value_makes_the_header_a_two_byte_one() {
        for length in [1usize, 15, 16, 17, 95, 255] {
            let long = vec![7u8; length];
            let values: [(u8, &[u8]); 3] = [(4, b"v"), (3, &[1, 2]), (9, &long)];
            let packet = written(&values);
            let header = Header::parse(&packet).unwrap();
            let (profile, _) = header.extension.clone().unwrap();
            assert_eq!(profile, if length > 16 { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE });
            assert!(header.extensions(&packet).eq(values));
            assert_eq!(header_bytes(values.iter().map(|(_, v)| v.len())), packet.len());
        }
        assert_eq!(header_bytes([].into_iter()), written(&[]).len());
    }

    #[test]
    fn a_malformed_element_ends_them() {
        assert_eq!(elements(0xBEDE, &[0x10, 0xAA, 0xF0, 0, 0x20, 1, 0, 0]), [(1, vec![0xAA])]);
        assert_eq!(elements(0xBEDE, &[0x10, 0xAA, 0x03, 0, 0x20, 1, 0, 0]), [(1, vec![0xAA])]);
        assert_eq!(elements(0xBEDE, &[0x10, 0xAA, 0x22, 1]), [(1, vec![0xAA])]);
        assert_eq!(elements(0x1000, &[1, 1, 0xAA, 2]), [(1, vec![0xAA])]);
        assert_eq!(elements(0x1000, &[1, 1, 0xAA, 2, 200, 0, 0, 0]), [(1, vec![0xAA])]);
    }

    #[test]
    fn a_header_used_on_another_packet_reads_nothing_outside_it() {
        let packet = written(&[(1, b"mid")]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet[..14]).count(), 0);
        assert_eq!(payload(&header, &packet[..14]), None);
    }
}
