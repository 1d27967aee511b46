//! RTCP packets, each appended to what is there: a compound is built by calling several.

use super::{
    ReportBlock, BYE, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, HEADER_BYTES, PAYLOAD_FEEDBACK,
    RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_FEEDBACK,
};
use crate::ids::Ssrc;

/// The count has five bits.
pub const REPORT_BLOCKS_MAX: usize = 31;

/// A NACK of 1024 bytes, so that it fits a datagram with other packets and the tag.
pub const NACK_PAIRS_MAX: usize = 253;

/// SDES item lengths are one byte.
const CNAME_BYTES_MAX: usize = 255;

/// `ntp` is in 32.32 fixed point since 1900; blocks past `REPORT_BLOCKS_MAX` are left out.
pub fn sender_report(
    out: &mut Vec<u8>,
    ssrc: Ssrc,
    ntp: u64,
    rtp_timestamp: u32,
    packet_count: u32,
    octet_count: u32,
    blocks: &[ReportBlock],
) {
    let blocks = &blocks[..blocks.len().min(REPORT_BLOCKS_MAX)];
    let start = begin(out, SENDER_REPORT, blocks.len() as u8);
    put(out, ssrc.0);
    out.extend_from_slice(&ntp.to_be_bytes());
    put(out, rtp_timestamp);
    put(out, packet_count);
    put(out, octet_count);
    put_blocks(out, blocks);
    end(out, start);
}

/// Without blocks it is the smallest sign of life there is.
pub fn receiver_report(out: &mut Vec<u8>, ssrc: Ssrc, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(REPORT_BLOCKS_MAX)];
    let start = begin(out, RECEIVER_REPORT, blocks.len() as u8);
    put(out, ssrc.0);
    put_blocks(out, blocks);
    end(out, start);
}

/// A source description with the CNAME alone, cut at 255 bytes.
pub fn sdes_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let cname = &cname.as_bytes()[..cname.len().min(CNAME_BYTES_MAX)];
    let start = begin(out, SOURCE_DESCRIPTION, 1);
    put(out, ssrc.0);
    out.push(1);
    out.push(cname.len() as u8);
    out.extend_from_slice(cname);
    // At least one zero byte ends the list.
    out.push(0);
    end(out, start);
}

/// `lost` in the order of the sequence, wraps included. Returns how many of them went in: all, unless they
/// need more than `NACK_PAIRS_MAX` pairs. Nothing is written for none.
pub fn nack(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, lost: &[u16]) -> usize {
    if lost.is_empty() {
        return 0;
    }
    let start = begin(out, TRANSPORT_FEEDBACK, FORMAT_NACK);
    put(out, sender.0);
    put(out, media.0);
    let mut taken = 0;
    for _ in 0..NACK_PAIRS_MAX {
        let Some(first) = lost.get(taken) else {
            break;
        };
        taken += 1;
        let mut mask = 0u16;
        while let Some(next) = lost.get(taken) {
            let distance = next.wrapping_sub(*first);
            if distance > 16 {
                break;
            }
            if distance > 0 {
                mask |= 1 << (distance - 1);
            }
            taken += 1;
        }
        put(out, u32::from(*first) << 16 | u32::from(mask));
    }
    end(out, start);
    taken
}

pub fn pli(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) {
    let start = begin(out, PAYLOAD_FEEDBACK, FORMAT_PLI);
    put(out, sender.0);
    put(out, media.0);
    end(out, start);
}

/// `number` counts up with every new request, and stays for a repetition.
pub fn fir(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, number: u8) {
    let start = begin(out, PAYLOAD_FEEDBACK, FORMAT_FIR);
    put(out, sender.0);
    put(out, 0);
    put(out, media.0);
    put(out, u32::from(number) << 24);
    end(out, start);
}

pub fn bye(out: &mut Vec<u8>, ssrc: Ssrc) {
    let start = begin(out, BYE, 1);
    put(out, ssrc.0);
    end(out, start);
}

fn begin(out: &mut Vec<u8>, packet_type: u8, count: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
    start
}

/// Fill up to whole words and write the length.
fn end(out: &mut Vec<u8>, start: usize) {
    let length = (out.len() - start).next_multiple_of(4);
    out.resize(start + length, 0);
    let words = ((length - HEADER_BYTES) / 4) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn put_blocks(out: &mut Vec<u8>, blocks: &[ReportBlock]) {
    for block in blocks {
        put(out, block.ssrc.0);
        let lost = block.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1);
        put(out, u32::from(block.fraction_lost) << 24 | lost as u32 & 0xFF_FFFF);
        put(out, block.highest_sequence);
        put(out, block.jitter);
        put(out, block.last_sr);
        put(out, block.delay_since_last_sr);
    }
}
