//! AV1 payloads (AOM, RTP Payload Format For AV1, section 4): an aggregation header, then OBU elements.
//!
//! What a frame refers to stands deep in the coded bytes: only the dependency descriptor says it.

/// More elements than this in one packet is nobody's encoder (a tile group is one).
const ELEMENTS_MAX: usize = 64;
/// A size of 32 bits takes at most five bytes, more may be padding (AV1 section 4.10.5).
const SIZE_BYTES_MAX: usize = 8;
const TEMPORAL_DELIMITER: u8 = 2;

/// The aggregation header and the layer of the first OBU that names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Z: the first element goes on with the OBU of the packet before.
    pub continues: bool,
    /// Y: the last element goes on in the next packet.
    pub continued: bool,
    /// N: the first packet of a coded video sequence, so of a key frame.
    pub starts_sequence: bool,
    /// Of the first OBU here that begins here; None where none has an extension.
    pub temporal_id: Option<u8>,
    pub spatial_id: Option<u8>,
}

/// Look at a payload. None: truncated, sizes that do not fit, or Z and N together.
pub fn parse(payload: &[u8]) -> Option<Summary> {
    let (&aggregation, mut rest) = payload.split_first()?;
    let mut summary = Summary {
        continues: aggregation & 0x80 != 0,
        continued: aggregation & 0x40 != 0,
        starts_sequence: aggregation & 0x08 != 0,
        temporal_id: None,
        spatial_id: None,
    };
    if (summary.continues && summary.starts_sequence) || rest.is_empty() {
        return None;
    }
    // W: how many elements there are, the last one without a size; 0: every one has a size.
    let count = usize::from(aggregation >> 4 & 0x03);
    for n in 0..ELEMENTS_MAX {
        let size = if n + 1 == count { rest.len() } else { read_size(&mut rest)? };
        let element = rest.get(..size)?;
        if n > 0 || !summary.continues {
            read_layer(element, &mut summary)?;
        }
        rest = &rest[size..];
        if rest.is_empty() {
            return (count == 0 || n + 1 == count).then_some(summary);
        }
    }
    None
}

/// leb128 (AV1 section 4.10.5).
fn read_size(rest: &mut &[u8]) -> Option<usize> {
    let mut size = 0u64;
    for n in 0..SIZE_BYTES_MAX {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        size |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return usize::try_from(size).ok();
        }
    }
    None
}

/// The OBU header (AV1 section 5.3.2): forbidden bit, type, extension flag, has_size, reserved.
fn read_layer(obu: &[u8], summary: &mut Summary) -> Option<()> {
    let header = *obu.first()?;
    if header & 0x80 != 0 {
        return None;
    }
    if header & 0x04 != 0 {
        let extension = *obu.get(1)?;
        if summary.temporal_id.is_none() && header >> 3 & 0x0f != TEMPORAL_DELIMITER {
            summary.temporal_id = Some(extension >> 5);
            summary.spatial_id = Some(extension >> 3 & 0x03);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // OBU headers (AV1 section 5.3.2), type << 3: sequence header 1, frame 6.
    const SEQUENCE: u8 = 0x08;
    const FRAME: u8 = 0x30;
    const LAYERED_FRAME: u8 = 0x34;

    #[test]
    fn the_aggregation_header() {
        // Section 4.4: |Z|Y| W |N|-|-|-|
        let key = parse(&[0x28, 2, SEQUENCE, 0, FRAME, 1, 2]).unwrap();
        assert!(key.starts_sequence && !key.continues && !key.continued);
        let first = parse(&[0x50, FRAME, 1]).unwrap();
        assert!(first.continued && !first.starts_sequence);
        let middle = parse(&[0xd0, 0xff, 0xff]).unwrap();
        assert!(middle.continues && middle.continued, "no OBU header in there");
        assert_eq!(parse(&[0x98, FRAME, 1]), None, "a new sequence cannot go on with an old OBU");
        assert!(parse(&[0x17, FRAME]).is_some(), "reserved bits are ignored");
    }

    #[test]
    fn elements_with_and_without_sizes() {
        assert!(parse(&[0x00, 2, FRAME, 1, 1, FRAME]).is_some(), "W = 0: each has its size");
        assert!(parse(&[0x30, 1, FRAME, 1, FRAME, FRAME, 7]).is_some(), "W = 3");
        assert_eq!(parse(&[0x30, 1, FRAME, 1, FRAME]), None, "the third is missing");
        assert_eq!(parse(&[0x20, 3, FRAME, 1]), None, "longer than the packet");
        assert_eq!(parse(&[0x00, 2, FRAME, 1, 0]), None, "an empty element has no header");
        assert_eq!(parse(&[0x00, 0x80, 0x80, 0x80]), None, "a size without an end");
        assert_eq!(parse(&[&[0x00][..], &[0x80; 9], &[1, FRAME]].concat()), None, "nine bytes");
        // leb128: 0x81 0x00 is a padded 1.
        assert!(parse(&[0x00, 0x81, 0x00, FRAME]).is_some());
        let many = [1, FRAME].repeat(ELEMENTS_MAX);
        assert!(parse(&[&[0x00][..], &many].concat()).is_some());
        assert_eq!(parse(&[&[0x00][..], &many, &[1, FRAME]].concat()), None, "too many");
        assert_eq!((parse(&[]), parse(&[0x10])), (None, None));
    }

    #[test]
    fn the_layer_of_the_first_obu_that_has_one() {
        // obu_extension_header: temporal_id 3 bits, spatial_id 2 bits.
        let read = parse(&[0x20, 1, SEQUENCE, LAYERED_FRAME, 0b0101_0000]).unwrap();
        assert_eq!((read.temporal_id, read.spatial_id), (Some(2), Some(2)));
        assert_eq!(parse(&[0x10, FRAME, 0xff]).unwrap().temporal_id, None);
        assert_eq!(parse(&[0x90, LAYERED_FRAME, 0x40]).unwrap().temporal_id, None, "a middle");
        assert_eq!(parse(&[0x10, LAYERED_FRAME]), None, "an extension that is not there");
        assert_eq!(parse(&[0x10, 0x80 | FRAME, 0]), None, "the forbidden bit");
    }
}
