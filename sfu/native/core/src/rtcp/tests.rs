use super::*;

const SENDER: Ssrc = Ssrc(0x1234_5678);
const MEDIA: Ssrc = Ssrc(0x9ABC_DEF0);

fn block(lost: i32) -> ReportBlock {
    ReportBlock {
        ssrc: MEDIA,
        fraction_lost: 200,
        cumulative_lost: lost,
        highest_sequence: 0x0002_FFFF,
        jitter: 77,
        last_sr: 0xDEAD_BEEF,
        delay_since_last_sr: 65536,
    }
}

#[test]
fn a_written_compound_reads_back() {
    let mut compound = Vec::new();
    sender_report(&mut compound, SENDER, 0x0102_0304_0506_0708, 9, 10, 11, &[block(5)]);
    sdes_cname(&mut compound, SENDER, "name");
    receiver_report(&mut compound, SENDER, &[block(-1), block(-(1 << 23)), block((1 << 23) - 1)]);
    pli(&mut compound, SENDER, MEDIA);
    fir(&mut compound, SENDER, MEDIA, 200);
    bye(&mut compound, SENDER);
    assert!(valid(&compound));
    let mut packets = packets(&compound);
    let Some(Packet::SenderReport { ssrc, ntp, rtp_timestamp, packet_count, octet_count, blocks }) =
        packets.next()
    else {
        panic!()
    };
    assert_eq!((ssrc, ntp), (SENDER, 0x0102_0304_0506_0708));
    assert_eq!((rtp_timestamp, packet_count, octet_count), (9, 10, 11));
    assert_eq!(blocks.collect::<Vec<_>>(), [block(5)]);
    let Some(Packet::Sdes(mut chunks)) = packets.next() else { panic!() };
    let chunk = chunks.next().unwrap();
    assert_eq!((chunk.ssrc, chunk.items.collect::<Vec<_>>()), (SENDER, vec![(1, &b"name"[..])]));
    let Some(Packet::ReceiverReport { ssrc, blocks }) = packets.next() else { panic!() };
    assert_eq!(ssrc, SENDER);
    assert_eq!(
        blocks.map(|block| block.cumulative_lost).collect::<Vec<_>>(),
        [-1, -(1 << 23), (1 << 23) - 1]
    );
    assert!(matches!(packets.next(), Some(Packet::Pli { sender: SENDER, media: MEDIA })));
    let Some(Packet::Fir { sender, entries }) = packets.next() else { panic!() };
    assert_eq!(
        (sender, entries.collect::<Vec<_>>()),
        (SENDER, vec![FirEntry { ssrc: MEDIA, number: 200 }])
    );
    let Some(Packet::Bye { ssrcs }) = packets.next() else { panic!() };
    assert_eq!(ssrcs.collect::<Vec<_>>(), [SENDER]);
    assert!(packets.next().is_none() && !packets.malformed());
}

#[test]
fn names_of_every_length_end_in_a_zero_and_whole_words() {
    for length in 0..300usize {
        let name = "n".repeat(length);
        let mut compound = Vec::new();
        sdes_cname(&mut compound, SENDER, &name);
        pli(&mut compound, SENDER, MEDIA);
        let mut packets = packets(&compound);
        let Some(Packet::Sdes(mut chunks)) = packets.next() else { panic!("{length}") };
        let items: Vec<_> = chunks.next().unwrap().items.collect();
        assert_eq!(items, [(1, &name.as_bytes()[..length.min(255)])]);
        assert!(matches!(packets.next(), Some(Packet::Pli { .. })));
    }
}

fn lost_after_a_round(lost: &[u16]) -> Vec<u16> {
    let mut packet = Vec::new();
    assert_eq!(nack(&mut packet, SENDER, MEDIA, lost), lost.len());
    let Some(Packet::Nack { sender: SENDER, media: MEDIA, pairs }) = packets(&packet).next() else {
        panic!()
    };
    pairs.sequences().collect()
}

#[test]
fn nacks_read_back_from_every_boundary() {
    let mut random = 7u32;
    for start in [0u16, 1, 0x7FFF, 0x8000, 0xFFEF, 0xFFF0, 0xFFFF] {
        for _ in 0..300 {
            let mut lost = vec![start];
            for _ in 0..40 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let step = if random >> 28 == 0 {
                    17 + (random >> 16 & 0x3F)
                } else {
                    1 + (random >> 20 & 7)
                };
                lost.push(lost.last().unwrap().wrapping_add(step as u16));
            }
            assert_eq!(lost_after_a_round(&lost), lost);
        }
        let run: Vec<u16> = (0..17).map(|step| start.wrapping_add(step)).collect();
        let mut packet = Vec::new();
        nack(&mut packet, SENDER, MEDIA, &run);
        assert_eq!(packet.len(), 16, "seventeen in a row are one pair");
    }
}

#[test]
fn a_nack_is_bounded_and_says_what_went_in() {
    let lost: Vec<u16> = (0..1000u16).map(|step| step * 20).collect();
    let mut packet = Vec::new();
    assert_eq!(nack(&mut packet, SENDER, MEDIA, &lost), NACK_PAIRS_MAX);
    assert_eq!(packet.len(), 12 + 4 * NACK_PAIRS_MAX);
    assert_eq!(nack(&mut packet, SENDER, MEDIA, &[]), 0);
    assert_eq!(packet.len(), 12 + 4 * NACK_PAIRS_MAX);
    assert_eq!(lost_after_a_round(&[3, 3, 4]).len(), 2, "a repeated number is said once");
}

#[test]
fn estimates_of_any_size_are_read() {
    let remb = |exponent: u8, mantissa: u32, count: u8| {
        let mut packet = vec![0x8F, 206, 0, 6];
        packet.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
        packet.extend_from_slice(b"REMB");
        packet.extend_from_slice(
            &(u32::from(count) << 24 | u32::from(exponent) << 18 | mantissa).to_be_bytes(),
        );
        packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 8]);
        packet
    };
    let packet = remb(3, 0x3_FFFF, 2);
    let Some(Packet::Remb { sender: Ssrc(1), bitrate_bps, ssrcs }) = packets(&packet).next() else {
        panic!()
    };
    assert_eq!((bitrate_bps, ssrcs.collect::<Vec<_>>()), (0x3_FFFF * 8, vec![Ssrc(7), Ssrc(8)]));
    let packet = remb(63, 2, 0);
    let Some(Packet::Remb { bitrate_bps, .. }) = packets(&packet).next() else { panic!() };
    assert_eq!(bitrate_bps, u64::MAX);
    assert!(!valid(&remb(0, 1, 3)), "more sources announced than there are");
}

#[test]
fn a_malformed_tail_ends_the_packets_and_is_told() {
    let mut good = Vec::new();
    pli(&mut good, SENDER, MEDIA);
    for tail in [
        &[0x80u8][..],
        &[0x80, 201, 0, 1],                         // shorter than it says
        &[0x40, 201, 0, 1, 0, 0, 0, 1],             // version 1
        &[0x81, 201, 0, 1, 0, 0, 0, 1],             // a block announced
        &[0x81, 203, 0, 0],                         // a source announced
        &[0x81, 205, 0, 1, 0, 0, 0, 1],             // feedback without a media source
        &[0xA0, 201, 0, 1, 0, 0, 0, 0],             // padding of 0
        &[0xA0, 201, 0, 1, 0, 0, 0, 8],             // padding beyond the packet
        &[0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 5], // padding that eats the source
        &[0xA1, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 2], // half a pair
        &[0x81, 202, 0, 1, 0, 0, 0, 1],             // a chunk without an end
        &[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 9, b'x', 0], // an item longer than its packet
    ] {
        let compound = [&good[..], tail].concat();
        let mut packets = packets(&compound);
        assert!(packets.next().is_some());
        assert!(packets.next().is_none() && packets.malformed(), "{tail:x?}");
        assert!(!valid(&compound));
    }
    assert!(valid(&good) && !valid(&[]));
}

#[test]
fn padding_is_passed_over_wherever_it_stands() {
    let padded = [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
    assert!(valid(&padded));
    assert!(valid(&[&padded[..], &[0x80, 201, 0, 1, 0, 0, 0, 1]].concat()));
}

#[test]
fn unknown_packets_are_passed_over() {
    let compound = [0x85, 204, 0, 1, 1, 2, 3, 4, 0x80, 201, 0, 1, 0, 0, 0, 1];
    let mut packets = packets(&compound);
    assert!(matches!(packets.next(), Some(Packet::Other { packet_type: 204, count: 5 })));
    assert!(matches!(packets.next(), Some(Packet::ReceiverReport { .. })));
}

#[test]
fn chunks_begin_at_whole_words() {
    for (first_item, padded) in [(&b"a"[..], 4), (b"ab", 8), (b"abc", 8), (b"", 4)] {
        let mut list = vec![1, first_item.len() as u8];
        list.extend_from_slice(first_item);
        list.resize(padded, 0);
        let mut compound = vec![0x82, 202, 0, (4 + padded / 4 - 1) as u8, 0, 0, 0, 1];
        compound.extend_from_slice(&list);
        compound.extend_from_slice(&[0, 0, 0, 2, 2, 1, b'z', 0]);
        let Some(Packet::Sdes(chunks)) = packets(&compound).next() else { panic!() };
        let read: Vec<_> = chunks
            .map(|chunk| (chunk.ssrc.0, chunk.items.map(|item| item.1).collect::<Vec<_>>()))
            .collect();
        assert_eq!(read, [(1, vec![first_item]), (2, vec![&b"z"[..]])]);
    }
}
