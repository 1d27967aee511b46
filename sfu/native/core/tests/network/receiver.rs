//! A student's browser as far as a line shows it: what libwebrtc's receiver asks for, decodes and conceals.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lectern_core::codec::vp8;
use lectern_core::ids::{Ssrc, Time};
use lectern_core::rtcp::{self, ReportBlock};
use lectern_core::seq::newer_timestamp;
use lectern_core::twcc::Recorder;

use crate::world::Got;

/// libwebrtc: `RemoteEstimatorProxy`, `NackRequester`, `VideoReceiveStream2`.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);
const NACK_INTERVAL: Duration = Duration::from_millis(100);
const NACK_TRIES_MAX: u32 = 10;
const NACKS_MAX: usize = 1000;
const WAIT_FOR_KEYFRAME: Duration = Duration::from_millis(200);
const WAIT_FOR_FRAME: Duration = Duration::from_secs(3);
/// A frame whose forerunners are missing waits so long for them before it is shown without.
const REORDER_WAIT: Duration = Duration::from_millis(120);
const SOUND: Duration = Duration::from_millis(20);
pub const VIDEO_TYPE: u8 = 100;
pub const RTX_TYPE: u8 = 101;

struct Piece {
    timestamp: u32,
    marker: bool,
    picture: vp8::Descriptor,
}

#[derive(Clone, Copy)]
struct Frame {
    complete: Time,
    timestamp: u32,
    key: bool,
    picture_id: u16,
    base_index: u8,
    layer: u8,
    sync: bool,
}

#[derive(Default)]
struct Missing {
    tries: u32,
    asked: Option<Time>,
}

#[derive(Default)]
pub struct Receiver {
    pub video: u32,
    recorder: Recorder,
    feedback_at: Option<Time>,
    pieces: BTreeMap<u64, Piece>,
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    frames: VecDeque<Frame>,
    decoded: Option<Frame>,
    base: Option<(u8, u16)>,
    waits_since: Option<Time>,
    last_report: Option<(u32, Time)>,
    /// When each picture was shown, and its layer.
    pub shown: Vec<(Time, u8)>,
    pub plis: u32,
    pub gaps_in_numbers: u32,
    pub sound: Sound,
    pub screen_sound: Sound,
}

impl Receiver {
    pub fn new(video: u32) -> Receiver {
        Receiver { video, ..Receiver::default() }
    }

    pub fn take(&mut self, at: Time, got: &Got, ntp_now: impl Fn(&[u8]) -> Option<Time>) {
        if let Some(sequence) = got.transport_sequence {
            self.recorder.record(sequence, at);
        }
        match (got.header.payload_type, got.mid.as_slice()) {
            (VIDEO_TYPE, _) => self.picture(at, got.header.sequence, got, &got.payload),
            (RTX_TYPE, _) if got.payload.len() > 2 => {
                let sequence = u16::from_be_bytes([got.payload[0], got.payload[1]]);
                self.picture(at, sequence, got, &got.payload[2..]);
            }
            (_, b"m") => self.sound.take(at, got.header.sequence, ntp_now(&got.payload)),
            (_, b"s") => self.screen_sound.take(at, got.header.sequence, ntp_now(&got.payload)),
            _ => {}
        }
    }

    pub fn note_report(&mut self, at: Time, ntp: u64) {
        self.last_report = Some(((ntp >> 16) as u32, at));
    }

    fn picture(&mut self, at: Time, sequence: u16, got: &Got, payload: &[u8]) {
        let near = self.highest.unwrap_or(1 << 16 | u64::from(sequence));
        let index = lectern_core::seq::nearest(near, sequence).expect("far from 0");
        self.missing.remove(&index);
        let highest = *self.highest.get_or_insert(index);
        for lost in highest + 1..index {
            self.missing.insert(lost, Missing::default());
        }
        self.highest = Some(highest.max(index));
        let Some(picture) = vp8::parse(payload) else { return };
        if index + 4000 < highest || self.pieces.contains_key(&index) {
            return;
        }
        let timestamp = got.header.timestamp;
        self.pieces.insert(index, Piece { timestamp, marker: got.header.marker, picture });
        self.assemble(at, index);
    }

    /// Complete the frame of a piece if all of it is here.
    fn assemble(&mut self, at: Time, index: u64) {
        let timestamp = self.pieces[&index].timestamp;
        let same = |i: &u64| self.pieces.get(i).filter(|p| p.timestamp == timestamp);
        let mut first = index;
        while !same(&first).expect("was here").picture.starts_frame {
            if same(&(first - 1)).is_none() {
                return;
            }
            first -= 1;
        }
        let mut last = index;
        while !same(&last).expect("was here").marker {
            if same(&(last + 1)).is_none() {
                return;
            }
            last += 1;
        }
        let picture = self.pieces[&first].picture;
        self.frames.push_back(Frame {
            complete: at,
            timestamp,
            key: picture.is_keyframe,
            picture_id: picture.picture_id.expect("the teacher numbers them"),
            base_index: picture.tl0_pic_idx.expect("and its base pictures"),
            layer: picture.temporal_id.unwrap_or(0),
            sync: picture.layer_sync,
        });
        self.frames.make_contiguous().sort_by_key(|f| {
            let from = self.decoded.map_or(0, |d| d.picture_id);
            f.picture_id.wrapping_sub(from).wrapping_add(0x2000) & 0x7FFF
        });
        if self.pieces.len() > 6000 {
            let (&oldest, _) = self.pieces.iter().next().expect("not empty");
            self.pieces = self.pieces.split_off(&(oldest + 2000));
        }
    }

    /// Show what can be, ask for what is missing; appends RTCP to `out`.
    pub fn work(&mut self, now: Time, out: &mut Vec<u8>) {
        self.decode(now);
        self.sound.play(now);
        self.screen_sound.play(now);
        let media = Ssrc(self.video);
        let due = self.feedback_at.is_none_or(|at| at <= now);
        if due && self.recorder.is_pending() {
            self.feedback_at = Some(now + FEEDBACK_INTERVAL);
            self.report(now, out);
            while self.recorder.feedback(Ssrc(1), media, out) {}
        }
        let mut ask = Vec::new();
        for (index, missing) in &mut self.missing {
            if missing.asked.is_none_or(|at| now.since(at) >= NACK_INTERVAL) {
                missing.tries += 1;
                missing.asked = Some(now);
                ask.push(*index as u16);
            }
        }
        self.missing.retain(|_, m| m.tries <= NACK_TRIES_MAX);
        if self.missing.len() > NACKS_MAX {
            self.missing.clear();
        }
        if !ask.is_empty() {
            self.report(now, out);
            rtcp::nack(out, Ssrc(1), media, &ask);
        }
        let wait = if self.decoded.is_none() { WAIT_FOR_KEYFRAME } else { WAIT_FOR_FRAME };
        if self.highest.is_some() && self.waits_since.is_some_and(|at| now.since(at) >= wait) {
            self.report(now, out);
            rtcp::pli(out, Ssrc(1), media);
            self.plis += 1;
            self.waits_since = Some(now);
        }
        if self.highest.is_some() {
            self.waits_since.get_or_insert(now);
        }
    }

    fn report(&self, now: Time, out: &mut Vec<u8>) {
        if !out.is_empty() {
            return;
        }
        let block = self.last_report.map(|(last_sr, at)| ReportBlock {
            ssrc: Ssrc(self.video),
            fraction_lost: 0,
            cumulative_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            last_sr,
            delay_since_last_sr: (now.since(at).as_secs_f64() * 65_536.0) as u32,
        });
        rtcp::receiver_report(out, Ssrc(1), block.as_slice());
    }

    fn decode(&mut self, now: Time) {
        let mut at = 0;
        while let Some(frame) = self.frames.get(at).copied() {
            let ahead = self.decoded.map_or(1, |d| ahead(frame.picture_id, d.picture_id));
            let old = |d: &Frame| !newer_timestamp(frame.timestamp, d.timestamp);
            if self.decoded.as_ref().is_some_and(old) {
                self.frames.remove(at);
                continue;
            }
            let follows = ahead == 1;
            let waited = now.since(frame.complete) >= REORDER_WAIT;
            if self.can_decode(&frame) && (follows || waited || frame.key) {
                self.gaps_in_numbers += u32::from(!follows && self.decoded.is_some());
                self.frames.drain(..=at);
                at = 0;
                if frame.layer == 0 {
                    self.base = Some((frame.base_index, frame.picture_id));
                }
                self.decoded = Some(frame);
                self.waits_since = Some(now);
                self.shown.push((now, frame.layer));
            } else {
                at += 1;
            }
        }
    }

    /// As `RtpVp8RefFinder` has it: base pictures follow each other, synchronising ones follow a base picture,
    /// others follow everything since.
    fn can_decode(&self, frame: &Frame) -> bool {
        if frame.key {
            return true;
        }
        let (Some((base, _)), Some(decoded)) = (self.base, self.decoded) else { return false };
        match frame.layer {
            0 => frame.base_index == base.wrapping_add(1),
            _ if frame.base_index != base => false,
            _ => frame.sync || ahead(frame.picture_id, decoded.picture_id) == 1,
        }
    }
}

fn ahead(picture_id: u16, of: u16) -> i32 {
    let forward = i32::from(picture_id.wrapping_sub(of) & 0x7FFF);
    if forward < 0x4000 {
        forward
    } else {
        forward - 0x8000
    }
}

/// A buffer that plays packets of 20 ms, waits longer once one came too late, and makes up for lost ones by
/// the copy in the next one (Opus in-band FEC).
#[derive(Default)]
pub struct Sound {
    highest: Option<u64>,
    /// By index: when it arrived and when it was captured.
    came: BTreeMap<u64, (Time, Time)>,
    next: Option<(u64, Time)>,
    delay: Duration,
    stretched: Duration,
    pub played: u64,
    pub concealed: u64,
    /// (when, concealed) of each packet.
    pub log: Vec<(Time, bool)>,
}

impl Sound {
    const DELAY_FIRST: Duration = Duration::from_millis(80);
    const DELAY_MAX: Duration = Duration::from_millis(600);

    fn take(&mut self, at: Time, sequence: u16, captured: Option<Time>) {
        let Some(captured) = captured else { return };
        let near = self.highest.unwrap_or(1 << 16 | u64::from(sequence));
        let index = lectern_core::seq::nearest(near, sequence).expect("far from 0");
        self.highest = Some(near.max(index));
        if self.next.is_none() {
            self.delay = at.since(captured) + Self::DELAY_FIRST;
            self.next = Some((index, captured));
        }
        if let Some((next, _)) = self.next.filter(|(next, _)| index < *next) {
            // Too late: from now on the buffer is longer.
            let late = at.since(captured + self.delay);
            if next - index < 50 {
                self.delay = (self.delay + late.min(SOUND)).min(Self::DELAY_MAX);
            }
            return;
        }
        self.came.insert(index, (at, captured));
    }

    fn play(&mut self, now: Time) {
        while let Some((index, captured)) = self.next {
            let due = captured + self.delay;
            if due > now {
                return;
            }
            let here = self.came.remove(&index);
            // A pause of the source: the next packet in order was captured later.
            let captured = here.map_or(captured, |(_, captured)| captured);
            if captured + self.delay > now {
                self.came.insert(index, here.expect("it moved the time"));
                self.next = Some((index, captured));
                return;
            }
            if here.is_none() && self.highest.is_none_or(|highest| index > highest) {
                let idle = now.since(due);
                if idle > Duration::from_secs(2) {
                    return; // nothing is sent
                }
                if idle < SOUND + self.stretched {
                    return;
                }
                // The sound stands still until something comes: as if delayed.
                self.stretched += SOUND;
                self.concealed += 1;
                self.log.push((now, true));
                return;
            }
            self.delay = (self.delay + self.stretched).min(Self::DELAY_MAX);
            self.stretched = Duration::ZERO;
            self.played += 1;
            let copied = here.is_none() && self.came.contains_key(&(index + 1));
            self.concealed += u64::from(here.is_none() && !copied);
            self.log.push((now, here.is_none() && !copied));
            // The buffer shortens slowly once nothing is late.
            if self.delay > Self::DELAY_FIRST * 2 {
                self.delay = self.delay.saturating_sub(Duration::from_micros(200));
            }
            self.next = Some((index + 1, captured + SOUND));
        }
    }
}
