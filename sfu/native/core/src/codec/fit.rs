//! Whether what one side sends is what the other side can decode, by their fmtp lines.

use super::red;
use crate::api::{CodecKind, CodecSpec};

/// How well what was announced as `ours` suits a decoder that was offered as `theirs`: the highest is
/// the payload type to use. None: it cannot be decoded there.
pub fn fit(theirs: &CodecSpec, ours: &CodecSpec) -> Option<u8> {
    if theirs.clock_rate != ours.clock_rate {
        return None;
    }
    if (theirs.kind, ours.kind) == (CodecKind::Opus, CodecKind::Red) {
        return Some(0); // stripped of its copies
    }
    if theirs.kind != ours.kind {
        return None;
    }
    let same = |name: &str| number(theirs, name) == number(ours, name);
    match ours.kind {
        CodecKind::H264 => h264(&theirs.fmtp, &ours.fmtp),
        // RFC 9628 section 6.1: profile-id is 0 where it is not named.
        CodecKind::Vp9 => same("profile-id").then_some(0),
        // AOM, RTP Payload Format For AV1, section 7.2.3: profile is 0 where it is not named.
        CodecKind::Av1 => same("profile").then_some(0),
        CodecKind::Vp8 | CodecKind::Opus => Some(0),
        CodecKind::Red => red::carries(&theirs.fmtp).map(|_| 1),
        CodecKind::Other => None,
    }
}

/// RFC 6184 section 8.1: a receiver of packetization mode 1 takes single units as well, and one of a
/// higher profile decodes the lower ones. Levels are not compared: browsers name 3.1 and decode more.
fn h264(theirs: &str, ours: &str) -> Option<u8> {
    let mode = |fmtp| match parameter(fmtp, "packetization-mode") {
        None | Some("0") => Some(0),
        Some("1") => Some(1),
        Some(_) => None,
    };
    let (mode_theirs, mode_ours) = (mode(theirs)?, mode(ours)?);
    let (profile_theirs, profile_ours) = (profile(theirs)?, profile(ours)?);
    let decodes = mode_theirs >= mode_ours && profile_theirs.rank >= profile_ours.rank;
    let exact = u8::from(profile_theirs == profile_ours) * 2 + u8::from(mode_theirs == mode_ours);
    decodes.then_some(exact)
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Profile {
    idc: u8,
    constrained: bool,
    /// A decoder takes its own rank and those below it.
    rank: u8,
}

/// Of profile-level-id; without it Baseline (RFC 6184 section 8.1). None: a profile that is not known.
fn profile(fmtp: &str) -> Option<Profile> {
    let text = parameter(fmtp, "profile-level-id").unwrap_or("42000a");
    let id = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 6)?;
    let (idc, constraints) = ((id >> 16) as u8, (id >> 8) as u8);
    let rank = match idc {
        // Baseline's own tools (FMO, ASO) are in no encoder that is met here, so it counts as constrained.
        66 => 0,
        // constraint_set0: it obeys Baseline as well, which with set1 is Constrained Baseline.
        77 | 88 if constraints & 0x80 != 0 => 0,
        77 => 1,
        100 => 2,
        244 => 3,
        _ => return None,
    };
    Some(Profile { idc, constrained: constraints & 0x40 != 0, rank })
}

fn number<'a>(spec: &'a CodecSpec, name: &str) -> &'a str {
    parameter(&spec.fmtp, name).unwrap_or("0")
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|p| p.trim().split_once('='))
        .find(|(k, _)| k.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: CodecKind, fmtp: &str) -> CodecSpec {
        CodecSpec {
            kind,
            payload_type: 96,
            clock_rate: 90_000,
            rtx_payload_type: None,
            fmtp: fmtp.to_owned(),
        }
    }

    fn h264_of(mode: u8, profile: &str) -> CodecSpec {
        let text = format!(
            "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}"
        );
        spec(CodecKind::H264, &text)
    }

    #[test]
    fn h264_is_decoded_by_its_own_profile_and_those_above() {
        let decodes = |theirs, ours| fit(&h264_of(1, theirs), &h264_of(1, ours)).is_some();
        for (theirs, ours, wanted) in [
            ("42e01f", "42001f", true), // Safari and Firefox name Constrained Baseline only
            ("42001f", "42e01f", true),
            ("4d001f", "42e01f", true),
            ("42e01f", "4d001f", false),
            ("64001f", "4d001f", true),
            ("4d001f", "640c1f", false),
            ("f4001f", "64001f", true),
            ("64001f", "f4001f", false),
            ("42e01f", "42e034", true),  // levels are not compared
            ("6e001f", "42e01f", false), // High 10 is nobody's
        ] {
            assert_eq!(decodes(theirs, ours), wanted, "{ours} by {theirs}");
        }
    }

    #[test]
    fn the_closest_payload_type_is_the_best() {
        let ours = h264_of(1, "42e01f");
        let offered = [
            h264_of(1, "42001f"),
            h264_of(0, "42e01f"),
            h264_of(1, "42e01f"),
            h264_of(1, "4d001f"),
        ];
        let fits: Vec<Option<u8>> = offered.iter().map(|theirs| fit(theirs, &ours)).collect();
        assert_eq!(fits, [Some(1), None, Some(3), Some(1)]);
    }

    #[test]
    fn single_units_suit_both_modes_and_aggregates_only_one() {
        assert!(fit(&h264_of(1, "42e01f"), &h264_of(0, "42e01f")).is_some());
        assert!(fit(&h264_of(0, "42e01f"), &h264_of(1, "42e01f")).is_none());
        assert!(fit(&h264_of(2, "42e01f"), &h264_of(0, "42e01f")).is_none(), "interleaved");
        assert!(fit(&spec(CodecKind::H264, ""), &spec(CodecKind::H264, "")).is_some());
    }

    #[test]
    fn other_codecs_by_kind_and_profile() {
        let fits = |kind, theirs, ours| fit(&spec(kind, theirs), &spec(kind, ours)).is_some();
        assert!(fits(CodecKind::Vp9, "profile-id=0", ""));
        assert!(!fits(CodecKind::Vp9, "profile-id=2", "profile-id=0"));
        assert!(fits(CodecKind::Av1, "level-idx=5;profile=0;tier=0", ""));
        assert!(!fits(CodecKind::Av1, "level-idx=5;profile=0;tier=0", "profile=1"));
        assert!(fits(CodecKind::Vp8, "max-fs=12288;max-fr=60", ""));
        assert!(!fits(CodecKind::Other, "", ""));
        assert!(fit(&spec(CodecKind::Vp8, ""), &spec(CodecKind::Vp9, "")).is_none());
    }

    #[test]
    fn redundant_sound_suits_who_offers_it_and_is_stripped_for_others() {
        let red = |fmtp| spec(CodecKind::Red, fmtp);
        assert_eq!(fit(&red("96/96"), &red("111/111")), Some(1));
        assert_eq!(fit(&spec(CodecKind::Opus, ""), &red("111/111")), Some(0));
        assert_eq!(fit(&red("111/111"), &spec(CodecKind::Opus, "")), None);
        assert_eq!(fit(&red("96/97"), &red("111/111")), None, "blocks of two kinds");
        assert_eq!(fit(&spec(CodecKind::Vp8, ""), &red("111/111")), None);
    }

    #[test]
    fn malformed_parameters_decode_nothing() {
        for profile in ["", "42e01", "42e01f0", "zzzzzz", "+2e01f", "é2e01"] {
            assert!(fit(&h264_of(1, "42e01f"), &h264_of(1, profile)).is_none(), "{profile}");
        }
    }
}
