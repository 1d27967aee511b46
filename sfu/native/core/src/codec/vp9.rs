//! The VP9 payload descriptor (RFC 9628 section 4.2): keyframes, layers and the picture group.

/// References of one picture (sections 4.2.1 and 4.2.2: at most three).
const REFERENCES_MAX: usize = 3;

/// What stands before the coded bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// B and E: of one spatial layer's frame.
    pub starts_frame: bool,
    pub ends_frame: bool,
    /// P: depends on earlier pictures.
    pub inter_predicted: bool,
    pub picture_id: Option<u16>,
    /// 7 or 15, 0 without a picture id.
    pub picture_id_bits: u8,
    pub temporal_id: Option<u8>,
    pub spatial_id: Option<u8>,
    /// U: higher temporal layers may be taken from here on.
    pub switching_up: bool,
    /// F: each picture names its references itself, no group describes them.
    pub flexible: bool,
    /// The pattern of references that begins with this picture.
    pub group: Option<Group>,
    /// Bytes of the descriptor.
    pub length: usize,
}

/// A group of pictures (section 4.2.2): a pattern of temporal layers and references that repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pictures: u8,
    /// Bit n: picture n of the pattern is referred to by another.
    referenced: [u64; 4],
}

impl Group {
    pub fn pictures(&self) -> u8 {
        self.pictures
    }

    /// Whether another picture needs number `picture` of the pattern.
    pub fn is_referenced(&self, picture: u8) -> bool {
        self.referenced[usize::from(picture >> 6)] >> (picture & 63) & 1 == 1
    }

    fn refer_to(&mut self, picture: u8) {
        self.referenced[usize::from(picture >> 6)] |= 1 << (picture & 63);
    }
}

/// Read the descriptor. None: truncated, impossible, or nothing follows it.
pub fn parse(payload: &[u8]) -> Option<Descriptor> {
    let mut reader = Reader { rest: payload };
    let flags = reader.byte()?;
    let has = |bit: u8| flags & bit != 0;
    let mut descriptor = Descriptor {
        starts_frame: has(0x08),
        ends_frame: has(0x04),
        inter_predicted: has(0x40),
        picture_id: None,
        picture_id_bits: 0,
        temporal_id: None,
        spatial_id: None,
        switching_up: false,
        flexible: has(0x10),
        group: None,
        length: 0,
    };
    if has(0x80) {
        let first = reader.byte()?;
        let long = first & 0x80 != 0;
        let low = if long { reader.byte()? } else { first };
        let high = if long { first & 0x7f } else { 0 };
        descriptor.picture_id = Some(u16::from_be_bytes([high, low]));
        descriptor.picture_id_bits = if long { 15 } else { 7 };
    } else if descriptor.flexible {
        return None; // "If F is set, I MUST be as well": references count in picture ids.
    }
    if has(0x20) {
        let layer = reader.byte()?;
        descriptor.temporal_id = Some(layer >> 5);
        descriptor.switching_up = layer & 0x10 != 0;
        descriptor.spatial_id = Some(layer >> 1 & 0x07);
        if !descriptor.flexible {
            reader.byte()?; // TL0PICIDX
        }
    }
    if descriptor.flexible && descriptor.inter_predicted {
        reader.references()?;
    }
    if has(0x02) {
        descriptor.group = reader.structure()?;
    }
    descriptor.length = payload.len() - reader.rest.len();
    (!reader.rest.is_empty()).then_some(descriptor)
}

impl Descriptor {
    /// The first packet of a picture that needs no other, spatial layers below it included.
    pub fn starts_keyframe(&self) -> bool {
        self.starts_picture() && !self.inter_predicted
    }

    /// B of the lowest spatial layer.
    pub fn starts_picture(&self) -> bool {
        self.starts_frame && self.spatial_id.unwrap_or(0) == 0
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// P_DIFF and N, which says that another follows.
    fn references(&mut self) -> Option<()> {
        for _ in 0..REFERENCES_MAX {
            let reference = self.byte()?;
            if reference >> 1 == 0 {
                return None; // a picture that refers to itself
            }
            if reference & 1 == 0 {
                return Some(());
            }
        }
        None
    }

    /// Section 4.2.2: N_S Y G, resolutions, and the group's pictures. Some(None): without a group.
    fn structure(&mut self) -> Option<Option<Group>> {
        let flags = self.byte()?;
        let layers = usize::from(flags >> 5) + 1;
        if flags & 0x10 != 0 {
            self.skip(4 * layers)?;
        }
        if flags & 0x08 == 0 {
            return Some(None);
        }
        let pictures = self.byte()?;
        let mut group = Group { pictures, referenced: [0; 4] };
        for n in 0..pictures {
            let picture = self.byte()?;
            for _ in 0..picture >> 2 & 0x03 {
                let back = self.byte()?;
                if back == 0 {
                    return None;
                }
                // The pattern repeats, so a reference may reach over several of its rounds.
                let rounds = i32::from(n) - i32::from(back);
                group.refer_to(rounds.rem_euclid(i32::from(pictures)) as u8);
            }
        }
        Some((pictures > 0).then_some(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9628 section 4.2: |I|P|L|F|B|E|V|Z|
    const I: u8 = 0x80;
    const P: u8 = 0x40;
    const L: u8 = 0x20;
    const F: u8 = 0x10;
    const B: u8 = 0x08;
    const E: u8 = 0x04;
    const V: u8 = 0x02;

    #[test]
    fn keyframes_begin_in_the_lowest_spatial_layer() {
        let key = |payload: &[u8]| parse(payload).unwrap().starts_keyframe();
        assert!(key(&[B, 0]));
        assert!(key(&[B | E, 0]));
        assert!(!key(&[P | B, 0]), "inter-predicted");
        assert!(!key(&[E, 0]), "not the first packet");
        assert!(!key(&[I | L | B, 0x80, 1, 0x02, 0, 9]), "second spatial layer");
        assert!(key(&[I | L | B, 0x80, 1, 0x00, 0, 9]));
    }

    #[test]
    fn picture_ids_of_both_widths_and_layers() {
        let read = parse(&[I | L | B, 0x81, 0x02, 0b0101_0010, 77, 9]).unwrap();
        assert_eq!((read.picture_id, read.picture_id_bits), (Some(0x102), 15));
        assert_eq!((read.temporal_id, read.spatial_id), (Some(2), Some(1)));
        assert!(read.switching_up && read.starts_frame && !read.starts_picture());
        assert_eq!(read.length, 5);
        let short = parse(&[I, 0x7f, 9]).unwrap();
        assert_eq!((short.picture_id, short.picture_id_bits, short.length), (Some(0x7f), 7, 2));
        let bare = parse(&[P | L, 0b0010_0000, 5, 9]).unwrap();
        assert_eq!((bare.temporal_id, bare.switching_up), (Some(1), false));
    }

    #[test]
    fn flexible_mode_names_its_references() {
        // P_DIFF in 7 bits and N: up to three (section 4.2).
        let read = parse(&[I | P | L | F | B, 5, 0x20, 0x03, 0x04, 9]).unwrap();
        assert!(read.flexible);
        assert_eq!(read.length, 5, "no TL0PICIDX in flexible mode");
        assert_eq!(parse(&[I | P | F, 5, 0x03, 0x05, 0x07, 0x02, 9]), None, "a fourth");
        assert_eq!(parse(&[I | P | F, 5, 0x00, 9]), None, "itself");
        assert_eq!(parse(&[P | F, 0x02, 9]), None, "without a picture id");
    }

    /// Three temporal layers, T0 T2 T1 T2: what libvpx sends as L1T3.
    const L1T3: [u8; 11] = [
        0b0001_1000, // N_S = 0, Y, G
        0x05,
        0x00,
        0x02,
        0xd0, // 1280 x 720
        4,    // N_G
        0b0001_0100,
        4, // T0 refers to the T0 four back; TID, U, R = 1
        0b0101_0100,
        1,           // T2 refers to T0
        0b0011_0100, // T1 ...
    ];

    fn with_group() -> Vec<u8> {
        let tail = [2, 0b0101_0100, 1]; // ... refers to T0, and T2 to T1
        [&[I | L | B | V, 3, 0x10, 0][..], &L1T3, &tail, &[9]].concat()
    }

    #[test]
    fn a_group_says_which_pictures_are_needed() {
        let read = parse(&with_group()).unwrap();
        let group = read.group.unwrap();
        assert_eq!(group.pictures(), 4);
        let needed: Vec<bool> = (0..4).map(|n| group.is_referenced(n)).collect();
        assert_eq!(needed, [true, false, true, false]);
        assert_eq!(read.length, with_group().len() - 1);
    }

    #[test]
    fn a_reference_may_reach_over_rounds_of_the_pattern() {
        // N_G = 3, one reference five back from picture 1: picture (1 - 5) mod 3 = 2.
        let payload = [B | V, 0x08, 3, 0, 0b0000_0100, 5, 0, 9];
        let group = parse(&payload).unwrap().group.unwrap();
        let needed: Vec<bool> = (0..3).map(|n| group.is_referenced(n)).collect();
        assert_eq!(needed, [false, false, true]);
        // 255 pictures of three references to the one before: the largest there is.
        let mut largest = vec![B | V, 0x08, 255];
        largest.extend([0b0000_1100, 1, 1, 1].repeat(255));
        assert_eq!(parse(&largest), None, "nothing follows it");
        largest.push(9);
        let group = parse(&largest).unwrap().group.unwrap();
        assert!((0..255).all(|n| group.is_referenced(n)));
    }

    #[test]
    fn no_truncation_is_read() {
        let whole = with_group();
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&[B | V, 0x08, 1, 0b0000_0100, 0, 9]), None, "refers to itself");
        assert_eq!(parse(&[B | V, 0x08, 0, 9]).unwrap().group, None, "an empty group");
    }
}
