//! RED, redundant audio (RFC 2198): a packet that carries copies of earlier ones before its own block.
//!
//! ```text
//! |1| PT(7) | timestamp offset(14) | length(10) |  for each copy, oldest first
//! |0| PT(7) |                                     the packet's own block
//! copies, then the own block up to the packet's end
//! ```

/// Copies in one packet: browsers send one or two, and what is looked at has to be bounded.
const COPIES_MAX: usize = 8;
const MORE: u8 = 0x80;
const COPY_HEADER_BYTES: usize = 4;

/// Where the packet's own block begins. None: malformed, or too many copies.
pub fn own_block(payload: &[u8]) -> Option<usize> {
    let (mut at, mut copied) = (0, 0);
    for _ in 0..=COPIES_MAX {
        if payload.get(at)? & MORE == 0 {
            let begins = at + 1 + copied;
            return (begins <= payload.len()).then_some(begins);
        }
        let header = payload.get(at..at + COPY_HEADER_BYTES)?;
        copied += usize::from(header[2] & 3) << 8 | usize::from(header[3]);
        at += COPY_HEADER_BYTES;
    }
    None
}

/// Say of all blocks of a well-formed payload that they are of this payload type.
pub fn relabel(payload: &mut [u8], payload_type: u8) {
    let mut at = 0;
    while let Some(first) = payload.get_mut(at) {
        let more = *first & MORE;
        *first = more | payload_type;
        if more == 0 {
            return;
        }
        at += COPY_HEADER_BYTES;
    }
}

/// The one payload type that RED of this fmtp line ("111/111") carries. None: several, or none.
pub fn carries(fmtp: &str) -> Option<u8> {
    let mut parts = fmtp.split('/').map(|part| part.trim().parse::<u8>().ok());
    let first = parts.next()?.filter(|&number| number < MORE)?;
    parts.all(|part| part == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One copy of 3 bytes, 960 ticks ago, then the own block of 2.
    const ONE: [u8; 10] = [0x80 | 111, 0x0f, 0x00, 3, 111, 1, 2, 3, 8, 9];

    #[test]
    fn the_own_block_is_the_last() {
        assert_eq!(own_block(&ONE), Some(8));
        assert_eq!(own_block(&[111, 8, 9]), Some(1), "without copies");
        assert_eq!(own_block(&[111]), Some(1), "an empty block");
        let two = [0xef, 0, 0, 1, 0xef, 0, 0, 2, 111, 1, 2, 2, 7];
        assert_eq!(own_block(&two), Some(12));
        let longest = [&[0xef, 0, 3, 0xff, 111][..], &[0; 1023], &[5]].concat();
        assert_eq!(own_block(&longest), Some(5 + 1023));
    }

    #[test]
    fn what_is_malformed_has_none() {
        for length in 0..8 {
            assert_eq!(own_block(&ONE[..length]), None, "cut at {length}");
        }
        assert_eq!(own_block(&[0xff; 1400]), None);
        let many: Vec<u8> = [0xefu8, 0, 0, 0].repeat(COPIES_MAX + 1);
        assert_eq!(own_block(&[&many[..], &[111, 1]].concat()), None);
        assert_eq!(own_block(&[&many[4..], &[111, 1]].concat()), Some(4 * COPIES_MAX + 1));
    }

    #[test]
    fn blocks_are_relabelled_and_nothing_else_is_touched() {
        let mut payload = ONE;
        relabel(&mut payload, 96);
        assert_eq!(payload, [0x80 | 96, 0x0f, 0x00, 3, 96, 1, 2, 3, 8, 9]);
        for bytes in [&[][..], &[0xff; 5], &[0xff; 9]] {
            relabel(&mut bytes.to_vec(), 96); // no end of headers: no panic either
        }
    }

    #[test]
    fn an_fmtp_line_names_one_payload_type() {
        assert_eq!(carries("111/111"), Some(111));
        assert_eq!(carries("111"), Some(111));
        for other in ["111/110", "", "x", "200/200", "111/"] {
            assert_eq!(carries(other), None, "{other}");
        }
    }
}
