//! H.264 payloads (RFC 6184): NAL units alone, several in one packet (STAP-A), or one in several (FU-A).
//!
//! These are the forms of packetization modes 0 and 1. The interleaved ones (STAP-B, MTAP, FU-B) are mode
//! 2, which no browser offers: they are refused like the reserved types.

const SLICE_MAX: u8 = 5;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const UNIT_MAX: u8 = 23;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// A picture's parameter sets, SEI messages and first slice are a handful.
const UNITS_MAX: usize = 64;

/// What a packet holds of its picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The beginning of an IDR slice, or a sequence parameter set: decoding can begin here.
    pub starts_keyframe: bool,
    /// Part of a slice or a parameter set. Without it (delimiters, SEI) the packet may stand before
    /// any kind of picture.
    pub tells_of_picture: bool,
    /// Slices, and all of them with nal_ref_idc 0; one picture's slices agree in that (ITU-T H.264
    /// section 7.4.1).
    pub non_reference: bool,
    /// Not the first packet of a fragmented NAL unit.
    pub continues_unit: bool,
}

/// Look at a payload. None: truncated, empty units, a set forbidden bit, or a form that is not used.
pub fn parse(payload: &[u8]) -> Option<Summary> {
    let first = *payload.first()?;
    match unit_type(first)? {
        STAP_A => aggregate(&payload[1..]),
        FU_A => fragment(first, *payload.get(1)?),
        1..=UNIT_MAX => {
            let mut gathered = Gathered::default();
            gathered.add(first);
            Some(gathered.summary(false))
        }
        _ => None,
    }
}

#[derive(Default)]
struct Gathered {
    key: bool,
    parameters: bool,
    slices: bool,
    referenced: bool,
}

impl Gathered {
    /// Take the header of a unit that begins here.
    fn add(&mut self, header: u8) {
        let (kind, referenced) = (header & 0x1f, header & 0x60 != 0);
        self.key |= matches!(kind, IDR | SPS);
        self.parameters |= matches!(kind, SPS | PPS);
        if (1..=SLICE_MAX).contains(&kind) {
            self.slices = true;
            self.referenced |= referenced;
        }
    }

    fn summary(&self, continues_unit: bool) -> Summary {
        Summary {
            starts_keyframe: self.key && !continues_unit,
            tells_of_picture: self.slices || self.parameters,
            non_reference: self.slices && !self.referenced && !self.parameters,
            continues_unit,
        }
    }
}

/// The type of a unit or packet; None where the forbidden bit is set (section 1.3).
fn unit_type(header: u8) -> Option<u8> {
    (header & 0x80 == 0).then_some(header & 0x1f)
}

/// Section 5.7.1: a 16-bit size before each unit.
fn aggregate(mut rest: &[u8]) -> Option<Summary> {
    let mut gathered = Gathered::default();
    for _ in 0..UNITS_MAX {
        let (size, units) = rest.split_first_chunk::<2>()?;
        let size = usize::from(u16::from_be_bytes(*size));
        let header = *units.get(..size)?.first()?;
        if !(1..=UNIT_MAX).contains(&unit_type(header)?) {
            return None;
        }
        gathered.add(header);
        rest = &units[size..];
        if rest.is_empty() {
            return Some(gathered.summary(false));
        }
    }
    None
}

/// Section 5.8: S E R and the unit's type; the indicator keeps the unit's nal_ref_idc.
fn fragment(indicator: u8, header: u8) -> Option<Summary> {
    let (starts, ends) = (header & 0x80 != 0, header & 0x40 != 0);
    let kind = header & 0x1f;
    if (starts && ends) || !(1..=UNIT_MAX).contains(&kind) {
        return None;
    }
    let mut gathered = Gathered::default();
    gathered.add(indicator & 0x60 | kind);
    Some(gathered.summary(!starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    // NAL unit headers: nal_ref_idc << 5 | type (ITU-T H.264 table 7-1).
    const IDR_SLICE: u8 = 0x65;
    const SLICE: u8 = 0x41;
    const LOOSE_SLICE: u8 = 0x01;
    const SPS_UNIT: u8 = 0x67;
    const PPS_UNIT: u8 = 0x68;
    const SEI: u8 = 0x06;
    const DELIMITER: u8 = 0x09;

    fn stap(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    }

    #[test]
    fn single_units() {
        // (section 5.6) header, starts a keyframe, tells of the picture, non-reference
        for (header, key, tells, loose) in [
            (IDR_SLICE, true, true, false),
            (SPS_UNIT, true, true, false),
            (PPS_UNIT, false, true, false),
            (SLICE, false, true, false),
            (LOOSE_SLICE, false, true, true),
            (SEI, false, false, false),
            (DELIMITER, false, false, false),
        ] {
            let read = parse(&[header, 0x88]).unwrap();
            let found = (read.starts_keyframe, read.tells_of_picture, read.non_reference);
            assert_eq!(found, (key, tells, loose), "{header:#x}");
        }
    }

    #[test]
    fn aggregates_are_the_sum_of_their_units() {
        let key = stap(&[&[DELIMITER, 0xf0], &[SPS_UNIT, 1], &[PPS_UNIT], &[IDR_SLICE, 0]]);
        assert!(parse(&key).unwrap().starts_keyframe);
        let loose = parse(&stap(&[&[SEI, 5], &[LOOSE_SLICE, 1], &[LOOSE_SLICE, 2]])).unwrap();
        assert!(loose.non_reference && loose.tells_of_picture && !loose.starts_keyframe);
        let mixed = parse(&stap(&[&[LOOSE_SLICE, 1], &[SLICE, 2]])).unwrap();
        assert!(!mixed.non_reference, "one of them is needed");
        assert!(!parse(&stap(&[&[SEI, 5]])).unwrap().tells_of_picture);
    }

    #[test]
    fn lies_about_sizes_and_empty_units_are_refused() {
        let whole = stap(&[&[SPS_UNIT, 1, 2], &[PPS_UNIT, 3]]);
        for cut in 0..whole.len() {
            // Cut between the units it is a whole one, of one unit.
            assert_eq!(parse(&whole[..cut]).is_some(), cut == 6, "{cut}");
        }
        assert_eq!(parse(&[24, 0, 9, SPS_UNIT]), None, "longer than the packet");
        assert_eq!(parse(&stap(&[&[SPS_UNIT], &[]])), None, "an empty unit");
        assert_eq!(parse(&stap(&[&[0x78, 0]])), None, "an aggregate in an aggregate");
        assert_eq!(parse(&stap(&vec![&[SEI][..]; UNITS_MAX + 1])), None, "too many");
        assert!(parse(&stap(&vec![&[SEI][..]; UNITS_MAX])).is_some());
    }

    #[test]
    fn fragments() {
        // (section 5.8) indicator: nal_ref_idc and 28; header: S, E and the unit's type.
        let start = parse(&[0x7c, 0x85]).unwrap();
        assert!(start.starts_keyframe && !start.continues_unit);
        let middle = parse(&[0x7c, 0x05]).unwrap();
        assert!(!middle.starts_keyframe && middle.continues_unit && middle.tells_of_picture);
        assert!(parse(&[0x1c, 0x41]).unwrap().non_reference, "the end of a loose slice");
        assert!(!parse(&[0x5c, 0x81]).unwrap().non_reference);
        assert_eq!(parse(&[0x7c, 0xc5]), None, "begins and ends: not a fragment");
        assert_eq!(parse(&[0x7c, 0x9c]), None, "a fragment of a fragment");
        assert_eq!(parse(&[0x7c]), None);
    }

    #[test]
    fn what_no_browser_can_decode_is_refused() {
        // Section 5.2, table 1: 0, 30 and 31 are reserved, 25 to 27 and 29 belong to mode 2.
        for kind in [0, 25, 26, 27, 29, 30, 31] {
            assert_eq!(parse(&[0x60 | kind, 0, 2, 0x67, 1]), None, "{kind}");
        }
        assert_eq!(parse(&[0x80 | IDR_SLICE, 1]), None, "the forbidden bit");
        assert_eq!(parse(&[]), None);
    }
}
