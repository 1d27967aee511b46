//! Frames of a byte stream (RFC 4571): in whatever pieces it comes, they are the same, and little is kept of it.
#![no_main]

use lectern_io::framing::{Deframer, FRAME_BYTES_MAX, LENGTH_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The first bytes say how the rest is cut.
    let cuts = input.len().min(8);
    let (cuts, stream) = input.split_at(cuts);
    let whole = frames(stream, &[255]);
    let pieces = frames(stream, cuts);
    assert_eq!(whole, pieces);
    let bytes: usize = whole.0.iter().map(|frame| LENGTH_BYTES + frame.len()).sum();
    assert!(bytes <= stream.len());
});

/// The frames, and whether the stream was one up to its end.
fn frames(mut rest: &[u8], cuts: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut deframer = Deframer::default();
    let mut all = Vec::new();
    let mut sizes = cuts.iter().cycle().map(|&cut| 1 + usize::from(cut) * usize::from(cut));
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        rest = later;
        let mut bytes = piece.to_vec();
        let mut piece = &mut bytes[..];
        loop {
            match deframer.next(&mut piece) {
                Ok(Some(frame)) => {
                    assert!((1..=FRAME_BYTES_MAX).contains(&frame.len()));
                    all.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (all, false),
            }
        }
        assert!(piece.is_empty() && deframer.kept() < LENGTH_BYTES + FRAME_BYTES_MAX);
    }
    (all, true)
}
