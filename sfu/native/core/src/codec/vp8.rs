//! The VP8 payload descriptor (RFC 7741 section 4.2): keyframes, layers and the numbers to rewrite.

/// What stands before the coded bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// S = 1 and PID = 0: the first packet of a frame.
    pub starts_frame: bool,
    /// Known only where the frame starts.
    pub is_keyframe: bool,
    pub picture_id: Option<u16>,
    /// 7 or 15, 0 without a picture id.
    pub picture_id_bits: u8,
    /// Of its first byte in the payload.
    pub picture_id_offset: usize,
    pub tl0_pic_idx: Option<u8>,
    pub tl0_pic_idx_offset: usize,
    pub temporal_id: Option<u8>,
    /// The frame depends on the base layer alone.
    pub layer_sync: bool,
    pub key_index: Option<u8>,
    /// No other frame needs this one.
    pub non_reference: bool,
    /// Bytes of the descriptor.
    pub length: usize,
}

/// Read the descriptor. None: truncated, or nothing follows it.
pub fn parse(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let mut descriptor = Descriptor {
        starts_frame: first & 0x10 != 0 && first & 0x07 == 0,
        is_keyframe: false,
        picture_id: None,
        picture_id_bits: 0,
        picture_id_offset: 0,
        tl0_pic_idx: None,
        tl0_pic_idx_offset: 0,
        temporal_id: None,
        layer_sync: false,
        key_index: None,
        non_reference: first & 0x20 != 0,
        length: 1,
    };
    if first & 0x80 != 0 {
        read_extension(payload, &mut descriptor)?;
    }
    let coded = *payload.get(descriptor.length)?;
    // The lowest bit of a frame's first byte is 0 in keyframes (RFC 6386 section 9.1).
    descriptor.is_keyframe = descriptor.starts_frame && coded & 1 == 0;
    Some(descriptor)
}

fn read_extension(payload: &[u8], descriptor: &mut Descriptor) -> Option<()> {
    let flags = *payload.get(1)?;
    let mut at = 2;
    if flags & 0x80 != 0 {
        let first = *payload.get(at)?;
        descriptor.picture_id_offset = at;
        at += 1;
        if first & 0x80 != 0 {
            let second = *payload.get(at)?;
            at += 1;
            descriptor.picture_id = Some(u16::from_be_bytes([first & 0x7F, second]));
            descriptor.picture_id_bits = 15;
        } else {
            descriptor.picture_id = Some(u16::from(first));
            descriptor.picture_id_bits = 7;
        }
    }
    if flags & 0x40 != 0 {
        descriptor.tl0_pic_idx = Some(*payload.get(at)?);
        descriptor.tl0_pic_idx_offset = at;
        at += 1;
    }
    if flags & 0x30 != 0 {
        let byte = *payload.get(at)?;
        at += 1;
        if flags & 0x20 != 0 {
            descriptor.temporal_id = Some(byte >> 6);
            descriptor.layer_sync = byte & 0x20 != 0;
        }
        if flags & 0x10 != 0 {
            descriptor.key_index = Some(byte & 0x1F);
        }
    }
    descriptor.length = at;
    Some(())
}

impl Descriptor {
    /// Write another picture id of the same width into the payload that this was parsed from.
    pub fn set_picture_id(&self, payload: &mut [u8], picture_id: u16) {
        let at = self.picture_id_offset;
        match (self.picture_id_bits, payload.get_mut(at..)) {
            (15, Some([high, low, ..])) => {
                *high = 0x80 | (picture_id >> 8) as u8;
                *low = picture_id as u8;
            }
            (7, Some([byte, ..])) => *byte = picture_id as u8 & 0x7F,
            _ => {}
        }
    }

    /// Write another TL0PICIDX, where there is one.
    pub fn set_tl0_pic_idx(&self, payload: &mut [u8], tl0_pic_idx: u8) {
        if self.tl0_pic_idx.is_some() {
            if let Some(byte) = payload.get_mut(self.tl0_pic_idx_offset) {
                *byte = tl0_pic_idx;
            }
        }
    }
}

/// How far a stream's numbers lie behind its source's, because frames were left out of it: receivers take a
/// jump in them for loss (RFC 7741 section 4.2 wants PictureID to go up by one a frame).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    pictures: u16,
    base_pictures: u8,
}

impl Shift {
    /// Leave out the frame that begins with this payload.
    pub fn leave_out(&mut self, payload: &[u8]) {
        let Some(descriptor) = parse(payload) else { return };
        self.pictures = self.pictures.wrapping_add(1);
        if descriptor.temporal_id.unwrap_or(0) == 0 {
            self.base_pictures = self.base_pictures.wrapping_add(1);
        }
    }

    /// Close the gap in a payload of a later frame.
    pub fn apply(self, payload: &mut [u8]) {
        if self == Shift::default() {
            return;
        }
        let Some(descriptor) = parse(payload) else { return };
        if let Some(picture_id) = descriptor.picture_id {
            descriptor.set_picture_id(payload, picture_id.wrapping_sub(self.pictures));
        }
        if let Some(index) = descriptor.tl0_pic_idx {
            descriptor.set_tl0_pic_idx(payload, index.wrapping_sub(self.base_pictures));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_descriptor() {
        let start = parse(&[0x10, 0x00]).unwrap();
        assert!(start.starts_frame && start.is_keyframe && !start.non_reference);
        assert_eq!((start.length, start.picture_id, start.temporal_id), (1, None, None));
        assert!(!parse(&[0x10, 0x01]).unwrap().is_keyframe, "an inter frame");
        let middle = parse(&[0x00, 0x00]).unwrap();
        assert!(
            !middle.starts_frame && !middle.is_keyframe,
            "the coded byte is somewhere in the frame"
        );
        assert!(!parse(&[0x11, 0x00]).unwrap().starts_frame, "a later partition");
        assert!(parse(&[0x20, 0x01]).unwrap().non_reference);
    }

    #[test]
    fn every_field_of_the_extension() {
        let payload = [0x90, 0xF0, 0x81, 0x02, 0x33, 0b1010_0101, 0x00];
        let descriptor = parse(&payload).unwrap();
        assert_eq!((descriptor.picture_id, descriptor.picture_id_bits), (Some(0x0102), 15));
        assert_eq!((descriptor.tl0_pic_idx, descriptor.tl0_pic_idx_offset), (Some(0x33), 4));
        assert_eq!(
            (descriptor.temporal_id, descriptor.layer_sync, descriptor.key_index),
            (Some(2), true, Some(5))
        );
        assert_eq!((descriptor.picture_id_offset, descriptor.length), (2, 6));
        assert!(descriptor.is_keyframe);
        let short = parse(&[0x90, 0x80, 0x7F, 0x01]).unwrap();
        assert_eq!((short.picture_id, short.picture_id_bits, short.length), (Some(0x7F), 7, 3));
        let key_index_alone = parse(&[0x80, 0x10, 0xE5, 0x01]).unwrap();
        assert_eq!((key_index_alone.temporal_id, key_index_alone.layer_sync), (None, false));
        assert_eq!(key_index_alone.key_index, Some(5));
    }

    #[test]
    fn every_combination_of_flags_has_its_length_and_no_truncation_is_read() {
        for flags in 0..16u8 {
            for long in [false, true] {
                let mut payload = vec![0x90, flags << 4];
                if flags & 8 != 0 {
                    payload.extend_from_slice(if long { &[0x80, 1][..] } else { &[1][..] });
                }
                if flags & 4 != 0 {
                    payload.push(9);
                }
                if flags & 3 != 0 {
                    payload.push(0x40);
                }
                let length = payload.len();
                payload.push(0);
                assert_eq!(parse(&payload).unwrap().length, length);
                for cut in 0..=length {
                    assert_eq!(parse(&payload[..cut]), None);
                }
            }
        }
    }

    #[test]
    fn numbers_are_rewritten_in_place() {
        for picture_id in [0u16, 1, 0x7F, 0x80, 0x7FFF, 0x8000, 0xFFFF] {
            let mut payload = [0x90, 0xC0, 0x81, 0x02, 0x33, 0x00];
            parse(&payload).unwrap().set_picture_id(&mut payload, picture_id);
            parse(&payload).unwrap().set_tl0_pic_idx(&mut payload, 0xFE);
            let read = parse(&payload).unwrap();
            assert_eq!(
                (read.picture_id, read.tl0_pic_idx),
                (Some(picture_id & 0x7FFF), Some(0xFE))
            );
            let mut payload = [0x90, 0x80, 0x02, 0x00];
            parse(&payload).unwrap().set_picture_id(&mut payload, picture_id);
            assert_eq!(parse(&payload).unwrap().picture_id, Some(picture_id & 0x7F));
        }
        let mut bare = [0x10, 0x00];
        let descriptor = parse(&bare).unwrap();
        descriptor.set_picture_id(&mut bare, 5);
        descriptor.set_tl0_pic_idx(&mut bare, 5);
        assert_eq!(bare, [0x10, 0x00]);
    }

    /// X, then I L T: a 7- or 15-bit picture id, TL0PICIDX, TID.
    fn numbered(picture_id: u16, long: bool, tl0: u8, tid: u8) -> Vec<u8> {
        let mut payload = vec![0x90, 0xE0];
        if long {
            payload.extend((picture_id | 0x8000).to_be_bytes());
        } else {
            payload.push(picture_id as u8 & 0x7F);
        }
        payload.extend([tl0, tid << 6, 0x01]);
        payload
    }

    #[test]
    fn frames_that_are_left_out_leave_no_gap_in_the_numbers() {
        for (long, wrap) in [(true, 0x8000u32), (false, 0x80)] {
            for start in [0, wrap - 3, wrap / 2 + 1] {
                let (mut shift, mut sent) = (Shift::default(), Vec::new());
                // T0 T2 T1 T2, four times; every T2 is left out, and one T0.
                for n in 0..16u32 {
                    let tid = [0, 2, 1, 2][n as usize % 4];
                    let tl0 = 254u8.wrapping_add((n / 4) as u8);
                    let mut payload = numbered(((start + n) % wrap) as u16, long, tl0, tid);
                    if tid == 2 || n == 8 {
                        shift.leave_out(&payload);
                        continue;
                    }
                    let length = payload.len();
                    shift.apply(&mut payload);
                    assert_eq!(payload.len(), length);
                    let read = parse(&payload).unwrap();
                    sent.push((u32::from(read.picture_id.unwrap()), read.tl0_pic_idx.unwrap()));
                }
                let ids: Vec<u32> = sent.iter().map(|s| (s.0 + wrap - start) % wrap).collect();
                assert_eq!(ids, (0..7).collect::<Vec<_>>());
                let bases: Vec<u8> = sent.iter().map(|s| s.1.wrapping_sub(254)).collect();
                assert_eq!(bases, [0, 0, 1, 1, 1, 2, 2]);
            }
        }
        let mut bare = [0x10, 0x01];
        let mut shift = Shift::default();
        shift.leave_out(&bare);
        shift.apply(&mut bare);
        assert_eq!(bare, [0x10, 0x01], "nothing to renumber");
        shift.apply(&mut []);
        shift.leave_out(&[]);
    }
}
