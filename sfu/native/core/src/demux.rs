//! What a datagram is, by its first bytes (RFC 7983; RFC 5761 section 4 for RTP and RTCP on one port).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// Nothing we speak, or too short for what it claims to be.
    Other,
}

const STUN_BYTES_MIN: usize = 20;
const DTLS_BYTES_MIN: usize = 13;
const RTP_BYTES_MIN: usize = 12;
const RTCP_BYTES_MIN: usize = 8;

pub fn kind(datagram: &[u8]) -> Kind {
    let (kind, bytes_min) = match datagram {
        [0..=3, ..] => (Kind::Stun, STUN_BYTES_MIN),
        [20..=63, ..] => (Kind::Dtls, DTLS_BYTES_MIN),
        [128..=191, 192..=223, ..] => (Kind::Rtcp, RTCP_BYTES_MIN),
        [128..=191, ..] => (Kind::Rtp, RTP_BYTES_MIN),
        _ => return Kind::Other,
    };
    if datagram.len() < bytes_min {
        return Kind::Other;
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_one_kind() {
        let mut datagram = [0u8; 40];
        for first in 0..=255u8 {
            datagram[0] = first;
            let expected = match first {
                0..=3 => Kind::Stun,
                20..=63 => Kind::Dtls,
                128..=191 => Kind::Rtp,
                _ => Kind::Other,
            };
            assert_eq!(kind(&datagram), expected, "{first}");
        }
    }

    #[test]
    fn the_second_byte_tells_rtcp() {
        let mut datagram = [0x80u8; 40];
        for second in 0..=255u8 {
            datagram[1] = second;
            let rtcp = (192..=223).contains(&second);
            assert_eq!(kind(&datagram), if rtcp { Kind::Rtcp } else { Kind::Rtp }, "{second}");
        }
    }

    #[test]
    fn too_short_is_other() {
        assert_eq!(kind(&[]), Kind::Other);
        for (head, bytes_min) in
            [([0, 1], 20), ([22, 0xFE], 13), ([0x80, 96], 12), ([0x80, 200], 8)]
        {
            let mut datagram = vec![0u8; bytes_min];
            datagram[..2].copy_from_slice(&head);
            assert_ne!(kind(&datagram), Kind::Other);
            for length in 0..bytes_min {
                assert_eq!(kind(&datagram[..length]), Kind::Other);
            }
        }
    }
}
