use super::*;

const PROFILES: [Profile; 3] =
    [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];
const SSRC: Ssrc = Ssrc(0xCAFE_F00D);

fn secret(profile: Profile) -> Vec<u8> {
    (0..(profile.key_bytes() + profile.salt_bytes()) as u8)
        .map(|byte| byte.wrapping_mul(37))
        .collect()
}

fn pair(profile: Profile) -> (Sealer, Opener) {
    let secret = secret(profile);
    (Sealer::new(profile, &secret).unwrap(), Opener::new(profile, &secret).unwrap())
}

/// A packet with an extension, `payload` and room for the tag.
fn packet(payload: &[u8], tag_bytes: usize) -> (Vec<u8>, usize) {
    let mut packet = Vec::new();
    rtp::write_header(&mut packet, 96, true, false, 0, 90_000, Ssrc(0), &[(1, b"0")]);
    let payload_offset = packet.len();
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + tag_bytes, 0xEE);
    (packet, payload_offset)
}

fn seal(sealer: &Sealer, stream: &mut SealedStream, payload: &[u8]) -> Vec<u8> {
    let (mut packet, offset) = packet(payload, sealer.tag_bytes());
    assert!(sealer.seal_rtp(stream, &mut packet, offset));
    packet
}

fn open(opener: &mut Opener, mut packet: Vec<u8>) -> Option<(Vec<u8>, u64)> {
    let header = rtp::Header::parse(&packet)?;
    let (length, index) = opener.open_rtp(&mut packet, &header)?;
    Some((packet[header.payload_offset..length].to_vec(), index))
}

#[test]
fn wrong_key_sizes_are_refused() {
    for profile in PROFILES {
        let secret = secret(profile);
        assert!(Sealer::new(profile, &secret[1..]).is_none());
        assert!(Opener::new(profile, &[&secret[..], &[0]].concat()).is_none());
        assert!(Opener::new(profile, &[]).is_none());
    }
}

#[test]
fn what_is_sealed_opens_over_three_rollovers() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0x7FFF).unwrap();
        for step in 0..200_000u64 {
            let index = 0x7FFF + step;
            assert_eq!((stream.next_index(), stream.next_sequence()), (index, index as u16));
            let sealed = seal(&sealer, &mut stream, &step.to_be_bytes());
            let header = rtp::Header::parse(&sealed).unwrap();
            assert_eq!((header.ssrc, header.sequence), (SSRC, index as u16));
            assert_eq!(open(&mut opener, sealed), Some((step.to_be_bytes().to_vec(), index)));
        }
    }
}

#[test]
fn an_ssrc_is_given_out_once() {
    let (mut sealer, _) = pair(PROFILES[0]);
    let stream = sealer.stream(SSRC, 0).unwrap();
    assert!(sealer.stream(SSRC, 5).is_none());
    drop(stream);
    assert!(sealer.stream(SSRC, 5).is_none(), "also after the stream is gone");
    assert!(sealer.stream(Ssrc(1), 5).is_some());
}

#[test]
fn a_stream_of_another_sealer_seals_nothing() {
    for profile in PROFILES {
        let (mut one, _) = pair(profile);
        let (other, _) = pair(profile);
        let mut stream = one.stream(SSRC, 3).unwrap();
        let (mut bytes, offset) = packet(b"secret", one.tag_bytes());
        assert!(!other.seal_rtp(&mut stream, &mut bytes, offset));
        assert!(bytes.iter().all(|byte| *byte == 0), "nothing may leave in the clear");
        assert_eq!(stream.next_index(), 3);
    }
}

#[test]
fn an_exhausted_index_seals_nothing() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0).unwrap();
        stream.next_index = RTP_INDEX_END - 1;
        seal(&sealer, &mut stream, b"last");
        let (mut bytes, offset) = packet(b"secret", sealer.tag_bytes());
        assert!(!sealer.seal_rtp(&mut stream, &mut bytes, offset));
        assert!(bytes.iter().all(|byte| *byte == 0));

        sealer.rtcp_index = RTCP_INDEX_END - 1;
        let mut last = report(1);
        assert!(sealer.seal_rtcp(&mut last));
        assert_eq!(opener.open_rtcp(&mut last), Some(report(1).len()));
        let mut refused = report(1);
        assert!(!sealer.seal_rtcp(&mut refused));
        assert!(refused.is_empty());
    }
}

#[test]
fn sizes_that_do_not_fit_seal_nothing() {
    for profile in PROFILES {
        let (mut sealer, _) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0).unwrap();
        for (length, offset) in [(0, 0), (11, 11), (12 + 9, 12), (40, 39), (40, 41), (40, 0)] {
            assert!(
                !sealer.seal_rtp(&mut stream, &mut vec![0x80; length], offset),
                "{length} {offset}"
            );
        }
        let mut short = vec![0x80, 200, 0, 0, 0, 0, 0];
        assert!(!sealer.seal_rtcp(&mut short));
    }
}

#[test]
fn an_empty_payload_is_a_packet_too() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0).unwrap();
        let sealed = seal(&sealer, &mut stream, b"");
        assert_eq!(open(&mut opener, sealed), Some((vec![], 0)));
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_forged() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0).unwrap();
        open(&mut opener, seal(&sealer, &mut stream, b"first")).unwrap();
        let sealed = seal(&sealer, &mut stream, b"second");
        for at in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[at / 8] ^= 1 << (at % 8);
            assert_eq!(open(&mut opener, forged), None, "bit {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&mut opener, sealed[..length].to_vec()), None);
        }
        assert!(open(&mut opener, sealed).is_some(), "forgeries have not moved the window");
    }
}

#[test]
fn replayed_and_too_old_packets_are_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0xFFFF).unwrap();
        let sealed: Vec<_> =
            (0..1100u16).map(|step| seal(&sealer, &mut stream, &step.to_be_bytes())).collect();
        // Newest first, but one from before so that the rollover is known.
        assert!(open(&mut opener, sealed[0].clone()).is_some());
        for (step, packet) in sealed.iter().enumerate().rev().take(1099) {
            let expected = 1099 - step < REPLAY_WINDOW_PACKETS as usize;
            assert_eq!(open(&mut opener, packet.clone()).is_some(), expected, "{step}");
            assert_eq!(open(&mut opener, packet.clone()), None);
        }
    }
}

#[test]
fn a_late_packet_from_before_the_rollover_opens() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 0xFFF0).unwrap();
        let sealed: Vec<_> = (0..64u8).map(|step| seal(&sealer, &mut stream, &[step])).collect();
        let mut order: Vec<usize> = (1..64).rev().collect();
        order.insert(0, 0);
        for step in order {
            let opened = open(&mut opener, sealed[step].clone());
            assert_eq!(opened, Some((vec![step as u8], 0xFFF0 + step as u64)));
        }
    }
}

#[test]
fn a_long_loss_in_the_first_cycle_is_survived() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut stream = sealer.stream(SSRC, 5).unwrap();
        open(&mut opener, seal(&sealer, &mut stream, b"first")).unwrap();
        stream.next_index = 0xFFFF;
        let ahead = seal(&sealer, &mut stream, b"ahead");
        assert_eq!(open(&mut opener, ahead), Some((b"ahead".to_vec(), 0xFFFF)));
    }
}

#[test]
fn one_ssrc_too_many_is_refused_and_forgeries_take_no_place() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let (mut junk, _) = packet(b"junk", sealer.tag_bytes());
        for ssrc in 0..1000u32 {
            junk[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert_eq!(open(&mut opener, junk.clone()), None);
        }
        let mut streams: Vec<_> =
            (0..=SSRCS_MAX as u32).map(|ssrc| sealer.stream(Ssrc(ssrc), 0).unwrap()).collect();
        let (last, rest) = streams.split_last_mut().unwrap();
        for stream in rest.iter_mut() {
            assert!(open(&mut opener, seal(&sealer, stream, b"x")).is_some());
        }
        assert_eq!(open(&mut opener, seal(&sealer, last, b"x")), None);
        assert!(open(&mut opener, seal(&sealer, &mut rest[0], b"x")).is_some());
    }
}

fn report(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]]
        .concat()
}

#[test]
fn rtcp_opens_once_in_any_order() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let sealed: Vec<_> = (0..300u32)
            .map(|step| {
                let mut packet = report(step % 3);
                assert!(sealer.seal_rtcp(&mut packet));
                assert_eq!(packet.len(), report(0).len() + sealer.rtcp_overhead_bytes());
                packet
            })
            .collect();
        for step in (0..300).map(|step| step * 7 % 300) {
            let mut packet = sealed[step].clone();
            assert_eq!(opener.open_rtcp(&mut packet), Some(report(0).len()));
            assert_eq!(packet[..report(0).len()], report(step as u32 % 3));
            assert_eq!(opener.open_rtcp(&mut sealed[step].clone()), None, "replayed");
        }
    }
}

#[test]
fn forged_rtcp_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let mut sealed = report(9);
        assert!(sealer.seal_rtcp(&mut sealed));
        for at in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[at / 8] ^= 1 << (at % 8);
            assert_eq!(opener.open_rtcp(&mut forged), None, "bit {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(opener.open_rtcp(&mut sealed[..length].to_vec()), None);
        }
        assert!(opener.rtcp.is_empty(), "forgeries take no place");
        assert!(opener.open_rtcp(&mut sealed).is_some());
    }
}

#[test]
fn the_test_sealer_follows_the_packets_own_numbers() {
    for profile in PROFILES {
        let secret = secret(profile);
        let mut sealer = TestSealer::new(profile, &secret).unwrap();
        let mut opener = Opener::new(profile, &secret).unwrap();
        for index in [0xFFFEu64, 0xFFFF, 0x1_0001, 0x1_0000, 0x1_8001, 0x2_0000] {
            let mut packet = Vec::new();
            rtp::write_header(&mut packet, 96, false, false, index as u16, 1, SSRC, &[]);
            packet.extend_from_slice(b"payload");
            assert_eq!(sealer.seal_rtp(&mut packet), Some(index));
            assert_eq!(open(&mut opener, packet), Some((b"payload".to_vec(), index)));
        }
    }
}
