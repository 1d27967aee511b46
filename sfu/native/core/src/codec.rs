//! What a packet tells about its frame, codec by codec.
//!
//! The parsers below are pure: bytes in, a description out, None for what is malformed. [`Reader`] keeps
//! the little that later packets refer back to.

pub mod av1;
pub mod dependency;
pub mod fit;
pub mod h264;
pub mod red;
pub mod vp8;
pub mod vp9;

use crate::api::CodecKind;

/// What one packet says about its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// None: the packet does not say, the timestamp must.
    pub starts_frame: Option<bool>,
    /// None: only the marker bit says.
    pub ends_frame: Option<bool>,
    /// The first packet of a picture that needs no other.
    pub starts_keyframe: bool,
    /// The packet stands before a picture and says nothing of it: a keyframe may follow at once.
    pub is_prefix: bool,
    pub temporal_id: Option<u8>,
    /// No other frame needs this one. False as well where the packet does not say.
    pub non_reference: bool,
    /// A receiver without this temporal layer can begin it here.
    pub switch_point: bool,
    /// A receiver without them can begin all higher layers after this frame (VP9's U).
    pub opens_above: bool,
    /// It has a dependency descriptor that can be read.
    pub described: bool,
}

/// Reads one source's packets in order.
#[derive(Debug, Default)]
pub struct Reader {
    group: Option<PictureGroup>,
    structure: Option<Box<dependency::Structure>>,
}

impl Reader {
    /// Look at a packet; None where its payload is malformed and must not be forwarded.
    ///
    /// `descriptor` is its dependency descriptor, empty without one. A malformed one is passed over.
    pub fn glance(&mut self, kind: CodecKind, payload: &[u8], descriptor: &[u8]) -> Option<Glance> {
        let mut glance = match kind {
            CodecKind::Vp8 => of_vp8(&vp8::parse(payload)?),
            CodecKind::Vp9 => self.of_vp9(&vp9::parse(payload)?),
            CodecKind::H264 => of_h264(h264::parse(payload)?),
            CodecKind::Av1 => of_av1(av1::parse(payload)?),
            CodecKind::Opus | CodecKind::Other => of_sound(),
            CodecKind::Red => red::own_block(payload).map(|_| of_sound())?,
        };
        if let Some(read) = self.read_descriptor(descriptor) {
            glance.described = true;
            glance.ends_frame = Some(read.ends_frame);
            glance.temporal_id = Some(read.temporal_id);
            glance.non_reference = read.is_discardable() && !glance.starts_keyframe;
            glance.switch_point = read.is_switch();
            if glance.starts_frame.is_none() {
                glance.starts_frame = Some(read.starts_frame && read.spatial_id == 0);
            }
        }
        Some(glance)
    }

    fn read_descriptor(&mut self, descriptor: &[u8]) -> Option<dependency::Descriptor> {
        if descriptor.is_empty() {
            return None;
        }
        let (read, brought) = dependency::parse(descriptor, self.structure.as_deref())?;
        if let Some(structure) = brought {
            // The memory of the one before is used again.
            match &mut self.structure {
                Some(kept) => **kept = structure,
                none => *none = Some(Box::new(structure)),
            }
        }
        Some(read)
    }

    fn of_vp9(&mut self, read: &vp9::Descriptor) -> Glance {
        Glance {
            starts_frame: Some(read.starts_picture()),
            ends_frame: None, // E ends a spatial layer, the marker the picture
            starts_keyframe: read.starts_keyframe(),
            is_prefix: false,
            temporal_id: read.temporal_id,
            non_reference: self.is_unreferenced(read) && !read.starts_keyframe(),
            switch_point: false,
            opens_above: read.switching_up,
            described: false,
        }
    }

    fn is_unreferenced(&mut self, read: &vp9::Descriptor) -> bool {
        if read.starts_keyframe() {
            self.group = None;
        }
        if let (Some(group), Some(id)) = (read.group, read.picture_id) {
            self.group = Some(PictureGroup { group, begins: id });
        }
        match (&mut self.group, read.picture_id) {
            (Some(group), Some(id)) if !read.flexible && read.temporal_id.unwrap_or(0) > 0 => {
                let place = group.place_of(id, read.picture_id_bits);
                !group.group.is_referenced(place)
            }
            _ => false,
        }
    }
}

/// A VP9 picture group and the picture id at which a round of it began.
#[derive(Clone, Copy, Debug)]
struct PictureGroup {
    group: vp9::Group,
    begins: u16,
}

impl PictureGroup {
    fn place_of(&mut self, picture_id: u16, bits: u8) -> u8 {
        let mask = ((1u32 << bits) - 1) as u16;
        let passed = picture_id.wrapping_sub(self.begins) & mask;
        let place = passed % u16::from(self.group.pictures());
        // A reordered packet of the round before must not move it on by nearly all of them.
        if passed <= mask / 2 {
            self.begins = picture_id.wrapping_sub(place) & mask;
        }
        place as u8
    }
}

/// RTP may be padded up to a common size only where both Chromium and Firefox were seen to accept it.
pub fn may_pad(kind: CodecKind) -> bool {
    matches!(kind, CodecKind::Vp8 | CodecKind::Av1)
}

fn of_sound() -> Glance {
    Glance { starts_frame: Some(true), starts_keyframe: true, ..Glance::default() }
}

fn of_vp8(read: &vp8::Descriptor) -> Glance {
    Glance {
        starts_frame: Some(read.starts_frame),
        ends_frame: None,
        starts_keyframe: read.is_keyframe,
        is_prefix: false,
        temporal_id: read.temporal_id,
        non_reference: read.non_reference && !read.is_keyframe,
        switch_point: read.layer_sync,
        opens_above: false,
        described: false,
    }
}

fn of_h264(read: h264::Summary) -> Glance {
    Glance {
        starts_frame: read.continues_unit.then_some(false),
        ends_frame: None,
        starts_keyframe: read.starts_keyframe,
        is_prefix: !read.tells_of_picture,
        temporal_id: None,
        non_reference: read.non_reference && !read.starts_keyframe,
        switch_point: false,
        opens_above: false,
        described: false,
    }
}

fn of_av1(read: av1::Summary) -> Glance {
    Glance {
        starts_frame: read.continues.then_some(false),
        starts_keyframe: read.starts_sequence,
        temporal_id: read.temporal_id,
        ..Glance::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(kind: CodecKind, payload: &[u8]) -> Option<Glance> {
        Reader::default().glance(kind, payload, &[])
    }

    #[test]
    fn keyframes_are_found_by_their_first_packet() {
        let key = |kind, payload: &[u8]| glance(kind, payload).map(|g| g.starts_keyframe);
        assert_eq!(key(CodecKind::H264, &[0x65, 0]), Some(true), "IDR slice");
        assert_eq!(key(CodecKind::H264, &[0x61, 0]), Some(false));
        assert_eq!(key(CodecKind::Vp9, &[0x08, 0]), Some(true));
        assert_eq!(key(CodecKind::Vp9, &[0x48, 0]), Some(false), "inter-predicted");
        assert_eq!(key(CodecKind::Av1, &[0x18, 0x08]), Some(true));
        assert_eq!(key(CodecKind::Av1, &[0x10, 0x30]), Some(false));
        assert_eq!(key(CodecKind::Vp8, &[0x10, 0x00]), Some(true));
        assert_eq!(key(CodecKind::Vp8, &[0x10, 0x01]), Some(false));
        for kind in [CodecKind::H264, CodecKind::Vp8, CodecKind::Vp9, CodecKind::Av1] {
            assert_eq!(key(kind, &[]), None);
        }
    }

    #[test]
    fn layers_and_frames_that_nobody_needs() {
        // RFC 7741: X N S, then T with TID 2 and Y.
        let vp8 = glance(CodecKind::Vp8, &[0xb0, 0x20, 0xa0, 0x01]).unwrap();
        assert_eq!((vp8.temporal_id, vp8.non_reference, vp8.switch_point), (Some(2), true, true));
        let h264 = glance(CodecKind::H264, &[0x01, 0]).unwrap();
        assert!(h264.non_reference && h264.temporal_id.is_none());
        assert!(glance(CodecKind::H264, &[0x09, 0x10]).unwrap().is_prefix);
        let av1 = glance(CodecKind::Av1, &[0x10, 0x34, 0x40, 0]).unwrap();
        assert_eq!((av1.temporal_id, av1.non_reference), (Some(2), false), "AV1 does not say");
    }

    /// A picture under a 7-bit picture id; the keyframe announces the group.
    fn vp9(picture_id: u8, temporal_id: u8, group: &[u8]) -> Vec<u8> {
        let key = !group.is_empty();
        let flags = 0xa8 | u8::from(!key) << 6 | u8::from(key) << 1;
        [&[flags, picture_id, temporal_id << 5, 0][..], group, &[9]].concat()
    }

    #[test]
    fn a_vp9_group_is_followed_over_the_wrap_of_picture_ids() {
        // T0 T2 T1 T2 in the rhythm of the ids, and T0 T1 T2 against it; TID, U, R, then P_DIFF.
        let four: (&[u8], &[u8]) = (&[0x08, 4, 0x04, 4, 0x44, 1, 0x24, 2, 0x44, 1], &[0, 2, 1, 2]);
        let three: (&[u8], &[u8]) = (&[0x08, 3, 0x04, 3, 0x24, 1, 0x44, 1], &[0, 1, 2]);
        for (group, layers) in [four, three] {
            let mut reader = Reader::default();
            for n in 0..400usize {
                let (id, layer) = (((120 + n) % 128) as u8, layers[n % layers.len()]);
                let payload = vp9(id, layer, if n == 0 { group } else { &[] });
                let read = reader.glance(CodecKind::Vp9, &payload, &[]).unwrap();
                assert_eq!(read.non_reference, layer == 2, "picture {n}");
                assert_eq!(read.temporal_id, Some(layer));
            }
        }
        let unknown = glance(CodecKind::Vp9, &vp9(1, 2, &[])).unwrap();
        assert!(!unknown.non_reference, "without a group nothing is known");
    }

    #[test]
    fn a_descriptor_says_more_than_the_payload() {
        let mut reader = Reader::default();
        // One decode target, templates S (T0) and D (T1): starts and ends, structure follows.
        let key = [0xc0, 0, 1, 0x80, 0x00, 0x79, 0x40, 0x00];
        let loose = [0xc1, 0, 2];
        let payload = [0x10, 0x30, 0];
        let early = reader.glance(CodecKind::Av1, &payload, &loose).unwrap();
        assert!(!early.described, "its structure was not seen");
        let first = reader.glance(CodecKind::Av1, &[0x18, 0x08], &key).unwrap();
        assert!(first.starts_keyframe && first.switch_point && first.ends_frame == Some(true));
        let read = reader.glance(CodecKind::Av1, &payload, &loose).unwrap();
        assert_eq!((read.temporal_id, read.non_reference, read.described), (Some(1), true, true));
        assert_eq!(read.starts_frame, Some(true));
        // A malformed one costs its packet nothing but what it would have said.
        let plain = reader.glance(CodecKind::Av1, &payload, &[0xff]).unwrap();
        assert_eq!((plain.temporal_id, plain.non_reference), (None, false));
    }
}
