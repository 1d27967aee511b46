//! The dependency descriptor (AOM, RTP Payload Format For AV1, appendix A): a header extension that says
//! of a packet's frame in which layer it is and who needs it, whatever the codec.
//!
//! Keyframes bring a structure of templates, and every frame names one of them, so a descriptor can be
//! read only with the structure of its keyframe.

const TEMPLATES_MAX: usize = 64;
/// dt_cnt_minus_one has five bits.
const DECODE_TARGETS_MAX: u32 = 32;
/// The layers that AV1 has (section A.8.3.2 follows its three and two bits).
const TEMPORAL_ID_MAX: u8 = 7;
const SPATIAL_ID_MAX: u8 = 3;
/// A two-byte header extension carries no more (RFC 8285 section 4.3).
pub const BYTES_MAX: usize = 255;

/// What a frame is to the decode targets, two bits each, the first target lowest (section A.8.3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    const ABSENT: u64 = 0;
    const DISCARDABLE: u64 = 1;
    const SWITCH: u64 = 2;

    fn of(self, targets: u8) -> impl Iterator<Item = u64> {
        (0..u32::from(targets)).map(move |n| self.0 >> (2 * n) & 0x03)
    }

    fn all(self, targets: u8, wanted: u64) -> bool {
        let mut present = self.of(targets).filter(|i| *i != Indications::ABSENT).peekable();
        present.peek().is_some() && present.all(|i| i == wanted)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Template {
    spatial_id: u8,
    temporal_id: u8,
    indications: Indications,
}

/// The templates of one keyframe and of the frames that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    id_offset: u8,
    decode_targets: u8,
    chains: u8,
    count: usize,
    templates: [Template; TEMPLATES_MAX],
}

/// One packet's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub starts_frame: bool,
    pub ends_frame: bool,
    pub frame_number: u16,
    pub spatial_id: u8,
    pub temporal_id: u8,
    indications: Indications,
    decode_targets: u8,
}

impl Descriptor {
    /// No later frame needs this one, whichever decode target is shown.
    pub fn is_discardable(&self) -> bool {
        self.indications.all(self.decode_targets, Indications::DISCARDABLE)
    }

    /// Every decode target that has this frame can be begun at it.
    pub fn is_switch(&self) -> bool {
        self.indications.all(self.decode_targets, Indications::SWITCH)
    }
}

/// Read a descriptor by the structure in force, and the structure that it brings with it, if it does.
///
/// None: truncated, a template that is not there, or more layers than a structure can have.
pub fn parse(bytes: &[u8], known: Option<&Structure>) -> Option<(Descriptor, Option<Structure>)> {
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let mut bits = Bits { bytes, at: 0 };
    let (starts_frame, ends_frame) = (bits.flag()?, bits.flag()?);
    let template_id = bits.read(6)? as u8;
    let frame_number = bits.read(16)? as u16;
    let mut brought = None;
    let mut custom = Custom::default();
    if bytes.len() > 3 {
        let (structure_follows, targets_follow) = (bits.flag()?, bits.flag()?);
        custom =
            Custom { indications: bits.flag()?, references: bits.flag()?, chains: bits.flag()? };
        if structure_follows {
            brought = Some(read_structure(&mut bits)?);
        }
        if targets_follow {
            let structure = brought.as_ref().or(known)?;
            bits.read(u32::from(structure.decode_targets))?;
        }
    }
    let structure = brought.as_ref().or(known)?;
    let index = usize::from(template_id.wrapping_sub(structure.id_offset) & 63);
    let mut template = *structure.templates[..structure.count].get(index)?;
    read_custom(&mut bits, custom, structure, &mut template)?;
    let descriptor = Descriptor {
        starts_frame,
        ends_frame,
        frame_number,
        spatial_id: template.spatial_id,
        temporal_id: template.temporal_id,
        indications: template.indications,
        decode_targets: structure.decode_targets,
    };
    Some((descriptor, brought))
}

#[derive(Default)]
struct Custom {
    indications: bool,
    references: bool,
    chains: bool,
}

/// Section A.8.2, frame_dependency_definition: what a frame has in place of its template's.
fn read_custom(
    bits: &mut Bits<'_>,
    custom: Custom,
    structure: &Structure,
    template: &mut Template,
) -> Option<()> {
    if custom.indications {
        template.indications = read_indications(bits, structure.decode_targets)?;
    }
    if custom.references {
        loop {
            match bits.read(2)? {
                0 => break,
                nibbles => bits.read(4 * nibbles)?,
            };
        }
    }
    if custom.chains {
        for _ in 0..structure.chains {
            bits.read(8)?;
        }
    }
    Some(())
}

/// Section A.8.2, template_dependency_structure.
fn read_structure(bits: &mut Bits<'_>) -> Option<Structure> {
    let id_offset = bits.read(6)? as u8;
    let decode_targets = bits.read(5)? as u8 + 1;
    let mut structure = Structure {
        id_offset,
        decode_targets,
        chains: 0,
        count: 0,
        templates: [Template::default(); TEMPLATES_MAX],
    };
    let spatial_id_max = read_layers(bits, &mut structure)?;
    let Structure { count, templates, chains, .. } = &mut structure;
    for template in &mut templates[..*count] {
        template.indications = read_indications(bits, decode_targets)?;
    }
    for _ in 0..*count {
        while bits.flag()? {
            bits.read(4)?;
        }
    }
    *chains = bits.non_symmetric(u32::from(decode_targets) + 1)? as u8;
    if *chains > 0 {
        for _ in 0..decode_targets {
            bits.non_symmetric(u32::from(*chains))?;
        }
        for _ in 0..*count * usize::from(*chains) {
            bits.read(4)?;
        }
    }
    if bits.flag()? {
        for _ in 0..=spatial_id_max {
            bits.read(32)?; // width and height
        }
    }
    Some(structure)
}

/// The layers of all templates; returns the highest spatial one.
fn read_layers(bits: &mut Bits<'_>, structure: &mut Structure) -> Option<u8> {
    let (mut spatial_id, mut temporal_id) = (0, 0);
    loop {
        let template = structure.templates.get_mut(structure.count)?;
        *template = Template { spatial_id, temporal_id, ..Template::default() };
        structure.count += 1;
        match bits.read(2)? {
            0 => {}
            1 => temporal_id += 1,
            2 => (spatial_id, temporal_id) = (spatial_id + 1, 0),
            _ => return Some(spatial_id),
        }
        if temporal_id > TEMPORAL_ID_MAX || spatial_id > SPATIAL_ID_MAX {
            return None;
        }
    }
}

fn read_indications(bits: &mut Bits<'_>, targets: u8) -> Option<Indications> {
    let mut indications = 0;
    for n in 0..u32::from(targets).min(DECODE_TARGETS_MAX) {
        indications |= u64::from(bits.read(2)?) << (2 * n);
    }
    Some(Indications(indications))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// f(count), at most 32 bits, highest first.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// ns(n): one of `values` in as few bits as they need (AV1 section 4.10.7).
    fn non_symmetric(&mut self, values: u32) -> Option<u32> {
        let width = values.ilog2() + 1;
        let short = (1 << width) - values;
        let value = self.read(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.read(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes what `Bits` reads.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        bits: usize,
    }

    impl Writer {
        fn put(&mut self, value: u32, count: u32) -> &mut Writer {
            for n in (0..count).rev() {
                if self.bits % 8 == 0 {
                    self.bytes.push(0);
                }
                *self.bytes.last_mut().unwrap() |= ((value >> n & 1) as u8) << (7 - self.bits % 8);
                self.bits += 1;
            }
            self
        }

        /// Letters as the specification's tables have them.
        fn indications(&mut self, letters: &str) -> &mut Writer {
            for letter in letters.chars() {
                self.put("-DSR".find(letter).unwrap() as u32, 2);
            }
            self
        }
    }

    /// Appendix A.6.1, "L1T3 Single Spatial Layer with 3 Temporal Layers": templates 1 to 5 with their
    /// layers, references and indications, one chain. It begins with template id 62, to wrap.
    fn l1t3() -> Vec<u8> {
        let mut w = Writer::default();
        w.put(1, 1).put(1, 1).put(62, 6).put(500, 16); // starts, ends, template, frame number
        w.put(0b1_0000, 5); // a structure follows
        w.put(62, 6).put(2, 5); // template_id_offset, three decode targets
        w.put(0, 2).put(1, 2).put(1, 2).put(0, 2).put(3, 2); // T0 T0 T1 T2 T2, no more
        for letters in ["SSS", "SSS", "SD-", "D--", "D--"] {
            w.indications(letters);
        }
        for reference in [None, Some(4), Some(2), Some(1), Some(1)] {
            if let Some(back) = reference {
                w.put(1, 1).put(back - 1, 4);
            }
            w.put(0, 1);
        }
        // One chain: ns(4) of 1 is 01 in two bits, and ns(1) takes none.
        w.put(1, 2);
        for back in [0, 4, 2, 1, 3] {
            w.put(back, 4);
        }
        w.put(1, 1).put(1279, 16).put(719, 16);
        w.bytes.clone()
    }

    fn frame(template: u8, number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        vec![0xc0 | template, high, low]
    }

    #[test]
    fn three_temporal_layers_by_their_templates() {
        let (first, brought) = parse(&l1t3(), None).unwrap();
        let structure = brought.expect("the keyframe brings it");
        assert!(first.starts_frame && first.ends_frame && first.is_switch());
        assert_eq!((first.frame_number, first.spatial_id, first.temporal_id), (500, 0, 0));
        // Template ids wrap at 64: 62 63 0 1 2.
        for (template, temporal_id, discardable, switch) in
            [(63, 0, false, true), (0, 1, false, false), (1, 2, true, false), (2, 2, true, false)]
        {
            let (read, brought) = parse(&frame(template, 501), Some(&structure)).unwrap();
            assert_eq!(read.temporal_id, temporal_id);
            assert_eq!((read.is_discardable(), read.is_switch()), (discardable, switch));
            assert_eq!(brought, None);
        }
        assert_eq!(parse(&frame(3, 501), Some(&structure)), None, "a sixth template");
        assert_eq!(parse(&frame(62, 501), None), None, "without a structure");
    }

    #[test]
    fn a_frame_may_have_its_own_indications_references_and_chains() {
        let structure = parse(&l1t3(), None).unwrap().1.unwrap();
        let mut w = Writer::default();
        w.put(0b11, 2).put(63, 6).put(7, 16);
        w.put(0b0_1111, 5); // active targets and all three custom parts
        w.put(0b111, 3);
        w.indications("D--");
        w.put(1, 2).put(3, 4).put(3, 2).put(0xfff, 12).put(0, 2); // two references, no more
        w.put(9, 8); // one chain
        let (read, _) = parse(&w.bytes, Some(&structure)).unwrap();
        assert!(read.is_discardable() && read.temporal_id == 0);
        for cut in 3..w.bytes.len() {
            let cut = parse(&w.bytes[..cut], Some(&structure));
            assert!(cut.is_none() || cut.unwrap().0.frame_number == 7);
        }
        assert_eq!(parse(&w.bytes[..w.bytes.len() - 1], Some(&structure)), None);
    }

    #[test]
    fn what_chromium_sends_for_three_spatial_layers() {
        // A capture of Chromium's L3T3 (it stands in the tests of several servers), and packets after it.
        let key = bytes(
            "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a8000600004000\
             1d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca87753007\
             7004200ef008601df010d",
        );
        let (first, brought) = parse(&key, None).unwrap();
        let structure = brought.unwrap();
        assert!(first.starts_frame && first.ends_frame);
        assert_eq!((first.frame_number, first.spatial_id, first.temporal_id), (0x172, 0, 0));
        assert_eq!((structure.decode_targets, structure.chains), (9, 3));
        for (packet, starts, spatial_id, temporal_id) in
            [("860173", true, 1, 0), ("460173", false, 1, 0), ("c30175", true, 0, 2)]
        {
            let (read, _) = parse(&bytes(packet), Some(&structure)).unwrap();
            assert_eq!(
                (read.starts_frame, read.spatial_id, read.temporal_id),
                (starts, spatial_id, temporal_id),
                "{packet}"
            );
        }
        for cut in 0..key.len() {
            assert_eq!(parse(&key[..cut], None), None, "{cut}");
        }
    }

    #[test]
    fn impossible_structures_are_refused() {
        let start = |w: &mut Writer| {
            w.put(0b11, 2).put(0, 6).put(0, 16).put(0b1_0000, 5).put(0, 6).put(0, 5);
        };
        let mut endless = Writer::default();
        start(&mut endless);
        for _ in 0..65 {
            endless.put(0, 2);
        }
        endless.put(3, 2).put(0xffff_ffff, 32);
        assert_eq!(parse(&endless.bytes, None), None, "a 65th template");
        for (idc, most) in [(1, TEMPORAL_ID_MAX), (2, SPATIAL_ID_MAX)] {
            let mut deep = Writer::default();
            start(&mut deep);
            for _ in 0..=most {
                deep.put(idc, 2);
            }
            deep.put(3, 2);
            for _ in 0..100 {
                deep.put(0, 8);
            }
            assert_eq!(parse(&deep.bytes, None), None, "layer {most} + 1");
        }
        assert_eq!(parse(&[0xff; BYTES_MAX + 1], None), None);
        assert_eq!((parse(&[], None), parse(&[0xc0, 0], None)), (None, None));
    }

    #[test]
    fn numbers_of_uneven_width() {
        // AV1 section 4.10.7: five values take two bits for the first three, three for the others.
        for (value, code, width) in [(0, 0b00, 2), (2, 0b10, 2), (3, 0b110, 3), (4, 0b111, 3)] {
            let mut w = Writer::default();
            w.put(code, width);
            let mut bits = Bits { bytes: &w.bytes, at: 0 };
            assert_eq!((bits.non_symmetric(5), bits.at), (Some(value), width as usize));
        }
        assert_eq!(Bits { bytes: &[], at: 0 }.non_symmetric(1), Some(0));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
