//! Feedback that lies, or comes in storms: it changes what its sender gets, and nothing else.

mod world;

use lectern_core::ids::Ssrc;
use lectern_core::rtcp;
use lectern_core::twcc::Recorder;
use world::*;

const TRANSPORT_CC: u8 = 5;
/// Of the picture at the one who lies.
const VIEWER_VIDEO: u32 = 0x9008;

/// Writes one forged feedback of a round.
type Forge = fn(u32, &mut Vec<u8>);

/// What the other viewer gets while the first one lies: times and bytes.
fn others_share(forge: Option<Forge>) -> (Vec<(u64, usize)>, World, Peer, Peer) {
    let mut world = World::new();
    let mut teacher = Peer::join(&mut world, 1);
    teacher.publish(&mut world);
    let mut liar = Peer::join(&mut world, 2);
    liar.subscribe_with(&mut world, Some(TRANSPORT_CC));
    let mut other = Peer::join(&mut world, 3);
    other.subscribe_with(&mut world, Some(TRANSPORT_CC));
    let (mut recorder, mut share) = (Recorder::new(), Vec::new());
    for n in 0..300u32 {
        teacher.send_frame(&mut world, n == 0, n * 4500, 10);
        let sound = teacher.seal(MIC, 111, false, n * 2400, &[1; 100]);
        world.receive(teacher.id, &sound);
        for turn in 0..5 {
            world.run_ms(10);
            if let Some(forge) = forge {
                for k in 0..10 {
                    liar.send_rtcp(&mut world, |out| forge(n * 50 + turn * 10 + k, out));
                }
            }
        }
        for got in other.packets(&world) {
            share.push((got.at.0, got.payload.len()));
            recorder.record(got.transport_sequence.expect("negotiated"), got.at);
        }
        if recorder.is_pending() {
            other.send_rtcp(&mut world, |out| {
                recorder.feedback(Ssrc(1), Ssrc(2), out);
            });
        }
        liar.packets(&world);
        world.sent.clear();
        liar.forget_taken();
        other.forget_taken();
    }
    (share, world, liar, teacher)
}

fn counter(world: &World, peer: &Peer, name: &str) -> u64 {
    let counters = world.node.session_counters(peer.session()).expect("is here");
    counters.iter().find(|(known, _)| *known == name).expect("is counted").1
}

/// 40 packets from `base` on, of which `told` says by how many ticks each arrived after the one before.
fn feedback(out: &mut Vec<u8>, base: u16, reference: u32, count: u8, told: impl Fn(u16) -> i16) {
    let (deltas, start) = (40u16, out.len());
    out.extend_from_slice(&[0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    out.extend_from_slice(&base.to_be_bytes());
    out.extend_from_slice(&deltas.to_be_bytes());
    out.extend_from_slice(&reference.to_be_bytes()[1..]);
    out.push(count);
    out.extend_from_slice(&(2u16 << 13 | deltas).to_be_bytes());
    (0..deltas).for_each(|n| out.extend_from_slice(&told(n).to_be_bytes()));
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

#[test]
fn lies_and_storms_change_nothing_for_the_others_and_cost_bounded_work() {
    let (fair, ..) = others_share(None);
    assert!(fair.len() > 300 * 11);
    let forges: [(&str, Forge); 6] = [
        ("never sent", |n, out| feedback(out, 40_000, n, n as u8, |_| 4)),
        ("future", |n, out| feedback(out, 0, 0x7f_ffff, n as u8, |_| i16::MAX)),
        ("past", |n, out| feedback(out, (n / 2) as u16, 0xff_ffff - n, n as u8, |_| i16::MIN)),
        ("to and fro", |n, out| {
            feedback(out, (n / 5) as u16, n.wrapping_mul(0x10_0000), n as u8, |k| {
                if k % 2 == 0 {
                    -30_000
                } else {
                    30_000
                }
            });
        }),
        ("all at once", |n, out| feedback(out, (n / 5) as u16, 1, n as u8, |_| 0)),
        ("all lost", |n, out| {
            let start = out.len();
            out.extend_from_slice(&[0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
            out.extend_from_slice(&[0xff, 0xff, 0, 0, n as u8, 1]);
            out.extend_from_slice(&[0x1f, 0xff, 0x1f, 0xff]);
            out.truncate(start + 24);
        }),
    ];
    for (name, forge) in forges {
        let (share, world, liar, _) = others_share(Some(forge));
        assert_eq!(share, fair, "{name}");
        let rate = counter(&world, &liar, "rate_bps");
        assert!((100_000..=20_000_000).contains(&rate), "{name}: {rate}");
        // 15,000 came in 15 s; a hundred a second are read.
        let heard = counter(&world, &liar, "feedback_packets");
        assert!(heard <= (15 * 100 + 40) * 40, "{name}: {heard}");
        assert!(counter(&world, &liar, "packets_out") < 2 * 300 * 11 + 2000, "{name}");
    }
}

/// Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03): `mantissa` times 2 to the `exponent`.
fn remb(out: &mut Vec<u8>, exponent: u8, mantissa: u32) {
    out.extend_from_slice(&[0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(b"REMB");
    out.extend_from_slice(&[1, exponent << 2 | (mantissa >> 16) as u8]);
    out.extend_from_slice(&(mantissa as u16).to_be_bytes());
    out.extend_from_slice(&VIEWER_VIDEO.to_be_bytes());
}

/// Full Intra Requests (RFC 5104 section 4.3.1), each with a number of its own.
fn fir(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0]);
    out.extend_from_slice(&VIEWER_VIDEO.to_be_bytes());
    out.extend_from_slice(&[number, 0, 0, 0]);
}

#[test]
fn storms_of_other_feedback_change_nothing_for_the_others_either() {
    let (fair, world, _, teacher) = others_share(None);
    let asked_by_others = counter(&world, &teacher, "keyframes_asked");
    let forges: [(&str, Forge); 6] = [
        ("REMB of nothing", |_, out| remb(out, 0, 0)),
        ("REMB of everything", |_, out| remb(out, 63, 0x3ffff)),
        ("REMB that jumps", |n, out| remb(out, (n % 64) as u8, (n * 7919) & 0x3ffff)),
        ("NACKs of everything", |n, out| {
            let first = (n * 251) as u16;
            let all: Vec<u16> = (0..250).map(|k| first.wrapping_add(k)).collect();
            rtcp::nack(out, Ssrc(1), Ssrc(VIEWER_VIDEO), &all);
        }),
        ("PLIs", |_, out| rtcp::pli(out, Ssrc(1), Ssrc(VIEWER_VIDEO))),
        ("FIRs", |n, out| fir(out, n as u8)),
    ];
    for (name, forge) in forges {
        let (share, world, liar, teacher) = others_share(Some(forge));
        assert_eq!(share, fair, "{name}");
        let asked = counter(&world, &teacher, "keyframes_asked");
        // In 15 s, one in 5 s whatever comes.
        assert!(asked <= asked_by_others + 3, "{name}: {asked}, {asked_by_others} without it");
        // Its own share may grow by what repairs are allowed, a third and a burst.
        let out = counter(&world, &liar, "packets_out");
        assert!(out < 2 * 300 * 11 + 2000, "{name}: {out}");
    }
}
