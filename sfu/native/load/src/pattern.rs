//! What a packet carries: VP8 as far as a forwarder looks at it, then bytes that a receiver can foretell.

/// S and X of the descriptor, and a picture id of 15 bits (RFC 7741 section 4.2).
const DESCRIPTOR_BYTES: usize = 4;
/// The frame tag and, in keyframes, the start code and the size of the picture (RFC 6386 section 9.1).
const KEY_FRAME_HEADER: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02];
const INTER_FRAME_HEADER: [u8; 10] = [0x11, 0x02, 0x00, 0, 0, 0, 0, 0, 0, 0];
/// Frame number (8), packet of the frame (2), when it was sent (8, ns on the wall clock).
const NUMBERS_BYTES: usize = 18;
/// Where the pattern begins.
const HEAD_BYTES: usize = DESCRIPTOR_BYTES + KEY_FRAME_HEADER.len() + NUMBERS_BYTES;

/// What one packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    pub key: bool,
    pub frame: u64,
    pub packet: u16,
    pub sent_ns: u64,
}

/// Append a payload of `bytes`, at least as long as its numbers.
pub fn write(out: &mut Vec<u8>, label: Label, bytes: usize) {
    let start = out.len();
    let first = label.packet == 0;
    let picture = (label.frame as u16 & 0x7FFF) | 0x8000;
    out.extend_from_slice(&[if first { 0x90 } else { 0x80 }, 0x80]);
    out.extend_from_slice(&picture.to_be_bytes());
    out.extend_from_slice(if label.key { &KEY_FRAME_HEADER } else { &INTER_FRAME_HEADER });
    out.extend_from_slice(&label.frame.to_be_bytes());
    out.extend_from_slice(&label.packet.to_be_bytes());
    out.extend_from_slice(&label.sent_ns.to_be_bytes());
    let seed = seed(label);
    let pattern = bytes.saturating_sub(out.len() - start);
    out.extend((0..pattern).map(|at| byte(seed, at)));
}

/// Read a payload back. None: a byte of it is not as it was written.
pub fn check(payload: &[u8]) -> Option<Label> {
    let (head, pattern) = payload.split_at_checked(HEAD_BYTES)?;
    let numbers = &head[HEAD_BYTES - NUMBERS_BYTES..];
    let label = Label {
        key: head[DESCRIPTOR_BYTES] & 1 == 0,
        frame: u64::from_be_bytes(numbers[..8].try_into().ok()?),
        packet: u16::from_be_bytes(numbers[8..10].try_into().ok()?),
        sent_ns: u64::from_be_bytes(numbers[10..].try_into().ok()?),
    };
    let mut same = Vec::with_capacity(HEAD_BYTES);
    write(&mut same, label, HEAD_BYTES);
    let seed = seed(label);
    let holds = same == head && pattern.iter().enumerate().all(|(at, &b)| b == byte(seed, at));
    holds.then_some(label)
}

fn seed(label: Label) -> u8 {
    (label.frame as u8).wrapping_mul(31).wrapping_add(label.packet as u8)
}

fn byte(seed: u8, at: usize) -> u8 {
    seed.wrapping_add((at as u8).wrapping_mul(7)) ^ (at >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use lectern_core::codec::vp8;

    #[test]
    fn a_payload_is_vp8_and_no_changed_byte_of_it_goes_unnoticed() {
        for (key, packet) in [(true, 0), (false, 0), (true, 3), (false, 11)] {
            let label = Label { key, frame: 70_000, packet, sent_ns: 1 << 60 };
            let mut payload = Vec::new();
            write(&mut payload, label, 1110);
            assert_eq!(payload.len(), 1110);
            assert_eq!(check(&payload), Some(label));
            let read = vp8::parse(&payload).unwrap();
            assert_eq!(
                (read.starts_frame, read.is_keyframe, read.picture_id),
                (packet == 0, packet == 0 && key, Some((70_000u32 & 0x7FFF) as u16))
            );
            for at in 0..payload.len() {
                payload[at] ^= 0x55;
                assert_ne!(check(&payload), Some(label), "byte {at}");
                payload[at] ^= 0x55;
            }
        }
        assert_eq!(check(&[0x90, 0x80]), None);
    }
}
