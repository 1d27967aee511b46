//! Every parser under mutated and random bytes: no panic, and answers bounded by the question's bytes.
//!
//! Seeded: a failing seed is a test case. The iterations are split over threads by parser.

use lectern_core::api::{CodecKind, Profile};
use lectern_core::codec::{self, av1, dependency, h264, vp8, vp9};
use lectern_core::demux::{self, Kind};
use lectern_core::ids::{Ssrc, Time};
use lectern_core::rtcp::{self, Packet};
use lectern_core::srtp::{Opener, TestSealer};
use lectern_core::{rtp, stun, twcc};

const ITERATIONS: usize = 100_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*: enough for choosing bytes.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// One of the seeds, changed in a few places, or rarely no packet at all.
    fn hostile(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if self.below(8) == 0 {
            let length = self.below(300);
            return self.bytes(length);
        }
        let mut packet = seeds[self.below(seeds.len())].clone();
        for _ in 0..1 + self.below(5) {
            let reach = [4, 24, 64, 2000][self.below(4)].min(packet.len());
            if reach == 0 {
                break;
            }
            let at = self.below(reach);
            match self.below(6) {
                0 => packet[at] ^= 1 << self.below(8),
                1 => packet[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                2 => packet.truncate(at),
                3 => {
                    let inserted = self.next() as u8;
                    packet.insert(at, inserted);
                }
                4 => {
                    packet.remove(at);
                }
                _ => {
                    let tail = packet[at..].to_vec();
                    packet.extend_from_slice(&tail[..tail.len().min(64)]);
                }
            }
        }
        packet
    }
}

fn rtp_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for extensions in [&[][..], &[(1u8, &b"0"[..]), (14, &[7; 16]), (3, &[0, 1])]] {
        let mut packet = Vec::new();
        rtp::write_header(&mut packet, 96, true, true, 0xFFFF, 1, Ssrc(5), extensions);
        packet.extend_from_slice(&[0x90, 0xF0, 0x81, 0x02, 0x33, 0xA5, 0x00, 0, 0, 3]);
        seeds.push(packet);
    }
    let mut two_byte = seeds[1].clone();
    two_byte[12..14].copy_from_slice(&[0x10, 0x00]);
    seeds.push(two_byte);
    seeds
}

fn twcc_seeds() -> Vec<Vec<u8>> {
    let mut random = Random(3);
    (0..20)
        .map(|_| {
            let mut recorder = twcc::Recorder::new();
            let mut now = 0u64;
            for step in 0..random.below(400) as u16 {
                now += random.next() % 20_000_000;
                if random.below(4) > 0 {
                    recorder.record(0xFF80u16.wrapping_add(step), Time(now));
                }
            }
            recorder.record(0xFF80, Time(now));
            let mut feedback = Vec::new();
            assert!(recorder.feedback(Ssrc(1), Ssrc(2), &mut feedback));
            feedback
        })
        .collect()
}

fn rtcp_seeds() -> Vec<Vec<u8>> {
    let block = rtcp::ReportBlock {
        ssrc: Ssrc(1),
        fraction_lost: 1,
        cumulative_lost: -1,
        highest_sequence: 2,
        jitter: 3,
        last_sr: 4,
        delay_since_last_sr: 5,
    };
    let mut whole = Vec::new();
    rtcp::sender_report(&mut whole, Ssrc(1), 2, 3, 4, 5, &[block; 3]);
    rtcp::sdes_cname(&mut whole, Ssrc(1), "somebody");
    rtcp::bye(&mut whole, Ssrc(1));
    let mut feedback = Vec::new();
    rtcp::receiver_report(&mut feedback, Ssrc(1), &[block]);
    rtcp::nack(&mut feedback, Ssrc(1), Ssrc(2), &[0xFFFF, 0, 5, 900, 901]);
    rtcp::pli(&mut feedback, Ssrc(1), Ssrc(2));
    rtcp::fir(&mut feedback, Ssrc(1), Ssrc(2), 3);
    let remb = [
        &[0x8F, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0][..],
        b"REMB\x02\xFF\xFF\xFF\x00\x00\x00\x01\x00\x00\x00\x02",
    ]
    .concat();
    [vec![whole, feedback, remb], twcc_seeds()].concat()
}

#[test]
fn rtp() {
    let seeds = rtp_seeds();
    let mut random = Random(1);
    let mut read = 0;
    for _ in 0..ITERATIONS {
        let packet = random.hostile(&seeds);
        let Some(header) = rtp::Header::parse(&packet) else { continue };
        read += 1;
        assert!(header.payload_offset <= packet.len());
        assert_eq!(header.csrcs(&packet).count(), usize::from(header.csrc_count));
        let bytes: usize = header.extensions(&packet).map(|(_, value)| 1 + value.len()).sum();
        assert!(bytes <= packet.len());
        assert!(header.extensions(&packet).all(|(id, _)| id != 0));
        if let Some(payload) = rtp::payload(&header, &packet) {
            assert!(header.payload_offset + payload.len() <= packet.len());
            if let Some(descriptor) = vp8::parse(payload) {
                assert!(descriptor.length < payload.len() && descriptor.length <= 6);
            }
        }
        // A header may be used on bytes that were cut since.
        let cut = &packet[..random.below(packet.len())];
        let _ = (header.extensions(cut).count(), header.csrcs(cut).count());
        let _ = rtp::payload(&header, cut);
    }
    assert!((ITERATIONS / 4..ITERATIONS).contains(&read), "{read} were read");
}

#[test]
fn vp8_descriptors() {
    let mut random = Random(2);
    for _ in 0..ITERATIONS {
        let length = random.below(9);
        let mut payload = random.bytes(length);
        let Some(descriptor) = vp8::parse(&payload) else { continue };
        assert!(descriptor.length < payload.len());
        let before = payload.clone();
        descriptor.set_picture_id(&mut payload, random.next() as u16);
        descriptor.set_tl0_pic_idx(&mut payload, random.next() as u8);
        let again = vp8::parse(&payload).expect("rewriting keeps the form");
        assert_eq!(again.length, descriptor.length);
        assert_eq!(payload[descriptor.length..], before[descriptor.length..]);
    }
}

/// Payloads of VP9, H264 and AV1 that are read whole.
fn payload_seeds() -> Vec<Vec<u8>> {
    let mut group = vec![0xaa, 0x80, 3, 0x10, 0, 0x18, 5, 0, 2, 0xd0, 4];
    group.extend([0x14, 4, 0x54, 1, 0x34, 2, 0x54, 1, 9]);
    vec![
        group,
        vec![0xf8, 0x85, 1, 0x20, 0x03, 0x04, 9],
        vec![0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 3, 0x65, 1, 2],
        vec![0x7c, 0x85, 1, 2],
        vec![0x28, 2, 0x08, 0, 0x34, 0x40, 1, 2],
        vec![0x00, 2, 0x30, 1, 0x81, 0, 0x30],
    ]
}

#[test]
fn payloads_of_every_codec() {
    let seeds = payload_seeds();
    let mut random = Random(9);
    let mut read = [0usize; 3];
    let mut reader = codec::Reader::default();
    for _ in 0..ITERATIONS {
        let payload = random.hostile(&seeds);
        if let Some(descriptor) = vp9::parse(&payload) {
            read[0] += 1;
            assert!(descriptor.length < payload.len());
            assert!(descriptor.group.is_none_or(|group| group.pictures() > 0));
        }
        if let Some(summary) = h264::parse(&payload) {
            read[1] += 1;
            assert!(!(summary.starts_keyframe && summary.non_reference && summary.continues_unit));
        }
        if let Some(summary) = av1::parse(&payload) {
            read[2] += 1;
            assert!(!(summary.continues && summary.starts_sequence));
        }
        let kind = [CodecKind::Vp8, CodecKind::Vp9, CodecKind::H264, CodecKind::Av1];
        let cut = random.below(payload.len());
        let (payload, descriptor) = payload.split_at(cut);
        if let Some(glance) = reader.glance(kind[random.below(4)], payload, descriptor) {
            assert!(!(glance.starts_keyframe && glance.non_reference));
        }
    }
    assert!(read.iter().all(|n| (ITERATIONS / 20..ITERATIONS).contains(n)), "{read:?} were read");
}

#[test]
fn dependency_descriptors() {
    let key = [
        0xc1, 0x01, 0x72, 0x80, 0x08, 0x14, 0x85, 0x21, 0x4e, 0xaf, 0xff, 0xaa, 0xaa, 0x86, 0x3c,
        0xf0, 0x43, 0x0c, 0x10, 0xc3, 0x02, 0xaf, 0xc0, 0xaa, 0xa0, 0x06, 0x3c, 0x00, 0x43, 0x00,
        0x10, 0xc0, 0x02, 0xa0, 0x00, 0xa8, 0x00, 0x06, 0x00, 0x00, 0x40, 0x00, 0x1d, 0x95, 0x49,
        0x26, 0xe0, 0x82, 0xb0, 0x4a, 0x09, 0x41, 0xb8, 0x20, 0xac, 0x12, 0x82, 0x50, 0x31, 0x57,
        0xf9, 0x74, 0x00, 0x0c, 0xa8, 0x64, 0x33, 0x0e, 0x22, 0x22, 0x22, 0xec, 0xa8, 0x65, 0x53,
        0x04, 0x22, 0x42, 0x30, 0xec, 0xa8, 0x77, 0x53, 0x00, 0x77, 0x00, 0x42, 0x00, 0xef, 0x00,
        0x86, 0x01, 0xdf, 0x01, 0x0d,
    ];
    let seeds = [key.to_vec(), vec![0x86, 0x01, 0x73, 0x40, 0xfc], vec![0xc3, 0x01, 0x75]];
    let mut random = Random(10);
    let (mut read, mut brought) = (0, 0);
    let mut known = None;
    for _ in 0..ITERATIONS {
        let bytes = random.hostile(&seeds);
        let Some((descriptor, structure)) = dependency::parse(&bytes, known.as_ref()) else {
            continue;
        };
        read += 1;
        assert!(!(descriptor.is_discardable() && descriptor.is_switch()));
        assert!(descriptor.spatial_id < 4 && descriptor.temporal_id < 8);
        brought += usize::from(structure.is_some());
        known = structure.or(known);
    }
    assert!(
        brought > ITERATIONS / 50 && read > brought && read < ITERATIONS,
        "{brought} of {read}"
    );
}

#[test]
fn rtcp_compounds() {
    let seeds = rtcp_seeds();
    let mut random = Random(4);
    let mut valid = 0;
    for _ in 0..ITERATIONS {
        let compound = random.hostile(&seeds);
        valid += usize::from(rtcp::valid(&compound));
        let mut items = 0;
        for packet in rtcp::packets(&compound) {
            items += 1 + match packet {
                Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                    blocks.count()
                }
                Packet::Sdes(chunks) => chunks.map(|chunk| chunk.items.count()).sum(),
                Packet::Bye { ssrcs } | Packet::Remb { ssrcs, .. } => ssrcs.count(),
                Packet::Nack { pairs, .. } => pairs.sequences().count() / 17,
                Packet::Fir { entries, .. } => entries.count(),
                Packet::TransportFeedback(whole) => {
                    let feedback = twcc::parse(whole);
                    feedback.map_or(0, |feedback| feedback.received().count())
                }
                Packet::Pli { .. } | Packet::Other { .. } => 0,
            };
        }
        assert!(items <= compound.len(), "{items} items of {} bytes", compound.len());
    }
    assert!((ITERATIONS / 20..ITERATIONS).contains(&valid), "{valid} were valid");
}

#[test]
fn transport_wide_feedback() {
    let seeds = twcc_seeds();
    let mut random = Random(5);
    let mut read = 0;
    for _ in 0..ITERATIONS {
        let packet = random.hostile(&seeds);
        let Some(feedback) = twcc::parse(&packet) else { continue };
        read += 1;
        let received = feedback.received().count();
        assert!(received <= packet.len());
        // Reading all statuses may cost 65535 steps: do it for some.
        if read % 50 == 0 {
            assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
            assert_eq!(feedback.statuses().filter(|(_, ticks)| ticks.is_some()).count(), received);
        }
    }
    assert!((ITERATIONS / 100..ITERATIONS).contains(&read), "{read} were read");
}

#[test]
fn stun_messages() {
    let transaction = *b"transaction!";
    let mut request = Vec::new();
    stun::write_request(&mut request, &transaction, b"ours:theirs", b"password", 1, 2, true);
    let mut response = Vec::new();
    stun::write_success(&mut response, &transaction, "[::1]:9".parse().unwrap(), b"password");
    let seeds = [request.clone(), response];
    let mut random = Random(6);
    let mut read = 0;
    for _ in 0..ITERATIONS {
        let mut datagram = random.hostile(&seeds);
        if random.below(2) == 0 {
            refinger(&mut datagram);
        }
        if let Some(request) = stun::parse_request(&datagram) {
            read += 1;
            assert!(request.unknown().len() <= stun::UNKNOWN_MAX);
            assert!(request.local_ufrag.len() + request.remote_ufrag.len() < datagram.len());
            if request.verify(b"password") {
                // Only what was really made with the password verifies: the seed itself.
                assert_eq!(datagram, seeds[0]);
            }
        }
        if stun::parse_response(&datagram, b"password").is_some() {
            assert_eq!(datagram, seeds[1]);
        }
    }
    assert!(read > ITERATIONS / 100, "{read} were read");
}

/// Make length and fingerprint right again, so that mutations reach what lies behind those checks.
fn refinger(datagram: &mut Vec<u8>) {
    datagram.truncate(datagram.len() / 4 * 4);
    if datagram.len() < 28 {
        return;
    }
    let end = datagram.len() - 8;
    let length = (datagram.len() - 20) as u16;
    datagram[2..4].copy_from_slice(&length.to_be_bytes());
    let mut crc = !0u32;
    for byte in &datagram[..end] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let fingerprint = !crc ^ 0x5354_554E;
    datagram[end..end + 4].copy_from_slice(&[0x80, 0x28, 0, 4]);
    datagram[end + 4..].copy_from_slice(&fingerprint.to_be_bytes());
}

#[test]
fn sealed_packets() {
    let profiles = [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];
    for profile in profiles {
        let secret = vec![9; profile.key_bytes() + profile.salt_bytes()];
        let mut sealer = TestSealer::new(profile, &secret).unwrap();
        let mut opener = Opener::new(profile, &secret).unwrap();
        let seeds: Vec<_> = [rtp_seeds(), rtcp_seeds()]
            .concat()
            .into_iter()
            .map(|mut packet| {
                let sealed = match demux::kind(&packet) {
                    Kind::Rtcp => sealer.seal_rtcp(&mut packet),
                    _ => sealer.seal_rtp(&mut packet).is_some(),
                };
                assert!(sealed);
                packet
            })
            .collect();
        let mut random = Random(7);
        let mut opened = 0;
        for _ in 0..ITERATIONS / 3 {
            let mut packet = random.hostile(&seeds);
            let before = packet.clone();
            let authentic = match demux::kind(&packet) {
                Kind::Rtcp => opener.open_rtcp(&mut packet).is_some(),
                Kind::Rtp => match rtp::Header::parse(&packet) {
                    Some(header) => opener.open_rtp(&mut packet, &header).is_some(),
                    None => false,
                },
                _ => false,
            };
            if authentic {
                opened += 1;
                assert!(seeds.contains(&before), "{before:x?}");
            }
        }
        assert!(opened <= seeds.len(), "each once at most");
    }
}

#[test]
fn datagrams_have_a_kind() {
    let mut random = Random(8);
    for _ in 0..ITERATIONS {
        let length = random.below(40);
        let datagram = random.bytes(length);
        if demux::kind(&datagram) != Kind::Other {
            assert!(datagram.len() >= 8);
        }
    }
}
