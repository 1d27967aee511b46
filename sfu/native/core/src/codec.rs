//! What a payload tells about its frame, codec by codec.

use crate::api::CodecKind;
use crate::vp8;

/// Where a packet stands in its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// None: the payload does not say, the timestamp must.
    pub starts_frame: Option<bool>,
    /// The first packet of a picture that needs no other.
    pub starts_keyframe: bool,
}

/// Look at a payload; None where it is malformed and must not be forwarded.
pub fn glance(kind: CodecKind, payload: &[u8]) -> Option<Glance> {
    match kind {
        CodecKind::Vp8 => vp8::parse(payload)
            .map(|d| Glance { starts_frame: Some(d.starts_frame), starts_keyframe: d.is_keyframe }),
        CodecKind::Vp9 => vp9(payload),
        CodecKind::H264 => h264(payload),
        CodecKind::Av1 => av1(payload),
        CodecKind::Opus | CodecKind::Other => {
            Some(Glance { starts_frame: Some(true), starts_keyframe: true })
        }
    }
}

/// RTP may be padded up to a common size only where both Chromium and Firefox were seen to accept it.
pub fn may_pad(kind: CodecKind) -> bool {
    matches!(kind, CodecKind::Vp8 | CodecKind::Av1)
}

/// RFC 9628 section 4.2: I P L F B E V Z, then picture id and layer indices.
fn vp9(payload: &[u8]) -> Option<Glance> {
    let flags = *payload.first()?;
    let (has_picture_id, inter, has_layers, starts) =
        (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x08 != 0);
    let mut at = 1;
    if has_picture_id {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let spatial = if has_layers { (payload.get(at)? >> 1) & 0x07 } else { 0 };
    Some(Glance { starts_frame: None, starts_keyframe: starts && !inter && spatial == 0 })
}

/// RFC 6184: a key picture is announced by its parameter sets or begins with an IDR slice.
fn h264(payload: &[u8]) -> Option<Glance> {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let key = match payload.first()? & 0x1f {
        STAP_A => {
            let mut units = &payload[1..];
            let mut key = false;
            while let [high, low, rest @ ..] = units {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let unit = rest.get(..length)?;
                key |= matches!(unit.first()? & 0x1f, IDR | SPS);
                units = &rest[length..];
            }
            key
        }
        FU_A => {
            let header = *payload.get(1)?;
            header & 0x80 != 0 && matches!(header & 0x1f, IDR | SPS)
        }
        unit => matches!(unit, IDR | SPS),
    };
    Some(Glance { starts_frame: None, starts_keyframe: key })
}

/// AV1 RTP section 4.4: Z Y W W N; N begins a new coded video sequence.
fn av1(payload: &[u8]) -> Option<Glance> {
    let aggregation = *payload.first()?;
    let (continues, new_sequence) = (aggregation & 0x80 != 0, aggregation & 0x08 != 0);
    if continues && new_sequence {
        return None;
    }
    Some(Glance { starts_frame: None, starts_keyframe: new_sequence })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_found_by_their_first_packet() {
        let key = |kind, payload: &[u8]| glance(kind, payload).map(|g| g.starts_keyframe);
        assert_eq!(key(CodecKind::H264, &[0x65, 0]), Some(true), "IDR slice");
        assert_eq!(key(CodecKind::H264, &[0x61, 0]), Some(false));
        assert_eq!(key(CodecKind::H264, &[24, 0, 2, 0x67, 1, 0, 1, 0x68]), Some(true), "SPS, PPS");
        assert_eq!(key(CodecKind::H264, &[24, 0, 9, 0x67]), None, "longer than the packet");
        assert_eq!(key(CodecKind::H264, &[28, 0x85]), Some(true), "first fragment of an IDR");
        assert_eq!(key(CodecKind::H264, &[28, 0x05]), Some(false), "second fragment");
        assert_eq!(key(CodecKind::Vp9, &[0x08]), Some(true));
        assert_eq!(key(CodecKind::Vp9, &[0x48]), Some(false), "inter-predicted");
        assert_eq!(
            key(CodecKind::Vp9, &[0xa8, 0x80, 1, 0x02]),
            Some(false),
            "second spatial layer"
        );
        assert_eq!(key(CodecKind::Av1, &[0x08]), Some(true));
        assert_eq!(key(CodecKind::Av1, &[0x10]), Some(false));
        for kind in [CodecKind::H264, CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1] {
            assert_eq!(key(kind, &[]), None);
        }
    }
}
