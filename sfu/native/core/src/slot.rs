//! One slot of a class: the ring of its packets, its time line, and the picture that a joiner starts with.

use std::time::Duration;

use crate::api::CodecSpec;
use crate::codec;
use crate::ids::{Slot, Time};
use crate::rates::{Rates, LAYERS_MAX};
use crate::ring::{Meta, Ring};
use crate::source::{ClockReport, Packet};

const VIDEO_CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
const VIDEO_CACHE_PACKETS_MAX: usize = 4096;
/// Nobody asks for what is older, or continues there.
const CACHE_AGE_MAX: Duration = Duration::from_secs(6);
/// The newest key picture and what follows is kept for longer: on a narrow line it takes its time.
const PICTURE_AGE_MAX: Duration = Duration::from_secs(30);
const AUDIO_CACHE_BYTES_MAX: usize = 64 * 1024;
const AUDIO_CACHE_PACKETS_MAX: usize = 256;
/// Codecs one slot has seen; a class that changes codec more often than that stays with these.
const CODECS_MAX: usize = 8;
/// A longer group of pictures is not worth replaying: the joiner would see the past for too long.
const REPLAY_FRAMES_MAX: u32 = 150;
const REPLAY_BYTES_FACTOR_MAX: u64 = 3;
/// A tenth of a second at the replay's pace, whatever the keyframe's size: slides have tiny keyframes.
const REPLAY_BYTES_FREE: u64 = 128 * 1024;
/// Chromium sends a still screen once a second, and silence with DTX every 400 ms.
const FLOW_SILENCE_MAX: Duration = Duration::from_secs(3);

/// After so long timestamps do not tell before from after (2^31 of 90 kHz are 6.6 h).
const COPY_AGE_MAX: Duration = Duration::from_secs(3600);

/// The newest key picture in the ring and what came since.
#[derive(Clone, Copy, Debug)]
struct Picture {
    position: u64,
    timestamp: u32,
    keyframe_bytes: u64,
    bytes: u64,
    frames: u32,
}

/// Where a viewer can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    At(u64),
    /// Not before the next keyframe.
    NeedsKeyframe,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub stored: bool,
    pub keyframe: bool,
    /// The slot drops packets until a keyframe comes.
    pub needs_keyframe: bool,
    /// What was missing came once more; no keyframe is needed.
    pub healed: bool,
    /// Its payload is none of its codec.
    pub unreadable: bool,
}

pub struct SlotState {
    pub slot: Slot,
    pub ring: Ring,
    pub codecs: Vec<CodecSpec>,
    /// The publisher's clock on the slot's time line; None until its first sender report.
    pub clock: Option<ClockReport>,
    pub flows: bool,
    pub rates: Rates,
    /// Timestamp out minus timestamp in, for the current source.
    offset: Option<u32>,
    last: Option<(u32, Time)>,
    source_timestamp: Option<u32>,
    /// The timestamp under which a picture has begun: what comes before it (SEI) begins none.
    begun: Option<u32>,
    /// Reads the current source's packets.
    reader: codec::Reader,
    codec: Option<u8>,
    frame_is_droppable: bool,
    frame_layer: u8,
    newest_frame: u64,
    picture: Option<Picture>,
    awaits_keyframe: bool,
    copy: Copy,
    codecs_said: usize,
}

/// Where a copy of the class stands in the stream, for a source that may begin again in the past: another
/// node, which sends its whole picture once more, or a third one that takes its place. All copies have the
/// same packets under the same timestamps.
#[derive(Debug, Default)]
struct Copy {
    is_one: bool,
    /// The source's timestamp of the newest packet stored, and how many were stored under it.
    newest: Option<(u32, u32)>,
    newest_is_whole: bool,
    /// It began again: packets seen under the newest timestamp since; None: some of these may be missing.
    again: Option<Option<u32>>,
}

/// What a packet of a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Before,
    /// The next one after the newest: nothing is missing between them.
    Next,
    New,
}

impl Copy {
    fn judge(&mut self, timestamp: u32, begins: bool, lost_before: bool) -> Seen {
        let Some((newest, stored)) = self.newest.filter(|_| self.is_one) else { return Seen::New };
        let ahead = timestamp.wrapping_sub(newest) as i32;
        let restarts = ahead < 0 || (ahead == 0 && (begins || self.newest_is_whole));
        if restarts && (self.again.is_none() || begins) {
            self.again = Some(Some(0));
        }
        let Some(seen) = &mut self.again else { return Seen::New };
        if ahead < 0 {
            return Seen::Before;
        }
        if ahead > 0 {
            let whole = *seen == Some(stored) && !lost_before;
            self.again = None;
            return if whole { Seen::Next } else { Seen::New };
        }
        *seen = seen.filter(|_| begins || !lost_before).map(|n| n + 1);
        match *seen {
            Some(n) if n > stored => {
                self.again = None;
                Seen::Next
            }
            _ => Seen::Before,
        }
    }

    fn stored(&mut self, timestamp: u32, marker: bool) {
        let before = self.newest.filter(|(at, _)| *at == timestamp).map_or(0, |(_, n)| n);
        self.newest = Some((timestamp, before + 1));
        self.newest_is_whole = marker;
    }
}

impl SlotState {
    pub fn new(slot: Slot) -> SlotState {
        let (bytes, packets) = match slot {
            Slot::Video => (VIDEO_CACHE_BYTES_MAX, VIDEO_CACHE_PACKETS_MAX),
            Slot::Mic | Slot::ScreenAudio => (AUDIO_CACHE_BYTES_MAX, AUDIO_CACHE_PACKETS_MAX),
        };
        SlotState {
            slot,
            ring: Ring::new(bytes, packets),
            codecs: Vec::new(),
            clock: None,
            flows: false,
            rates: Rates::default(),
            offset: None,
            last: None,
            source_timestamp: None,
            begun: None,
            reader: codec::Reader::default(),
            codec: None,
            frame_is_droppable: false,
            frame_layer: 0,
            newest_frame: 0,
            picture: None,
            awaits_keyframe: slot == Slot::Video,
            copy: Copy::default(),
            codecs_said: 0,
        }
    }

    /// Codecs that came since the last call, with their indices.
    pub fn take_new_codecs(&mut self) -> Vec<(u8, CodecSpec)> {
        let said = std::mem::replace(&mut self.codecs_said, self.codecs.len());
        let new = self.codecs.iter().enumerate().skip(said);
        new.map(|(index, codec)| (index as u8, codec.clone())).collect()
    }

    /// How far this copy has come, if it is one.
    pub fn stand(&self) -> Option<u32> {
        self.copy.newest.map(|(timestamp, _)| timestamp)
    }

    /// Where the frame or sound of this timestamp begins, if it is still there.
    pub fn position_of(&self, timestamp: u32) -> Option<u64> {
        let newest_first = (self.ring.first()..self.ring.end()).rev();
        let mut metas = newest_first.filter_map(|at| Some((at, self.ring.meta(at)?)));
        let (last, _) = metas.find(|(_, meta)| meta.timestamp == timestamp)?;
        let rest = metas.take_while(|(_, meta)| meta.timestamp == timestamp);
        Some(rest.last().map_or(last, |(first, _)| first))
    }

    /// Another node feeds the slot. `continues`: on the time line of the one before, whose packets it may
    /// repeat; they are dropped, and nothing else is.
    pub fn follow(&mut self, continues: bool) {
        if continues && self.copy.is_one && self.copy.newest.is_some() {
            self.copy.again = Some(Some(0));
        } else {
            self.change_source();
            self.copy.is_one = true;
        }
    }

    /// Another source feeds the slot from its next packet on: timestamps go on by the time that passed.
    pub fn change_source(&mut self) {
        self.offset = None;
        self.clock = None;
        self.source_timestamp = None;
        self.begun = None;
        self.rates = Rates::default();
        self.reader = codec::Reader::default();
        self.awaits_keyframe = self.slot == Slot::Video;
        self.copy = Copy::default();
    }

    /// Store a packet of the current source. `lost_before`: what was between it and the last is gone.
    pub fn admit(&mut self, packet: &Packet<'_>, spec: &CodecSpec, lost_before: bool) -> Admitted {
        let glance = self.reader.glance(spec.kind, packet.payload, packet.descriptor);
        let begins = glance.is_some_and(|g| g.starts_frame == Some(true));
        if self.last.is_some_and(|(_, at)| packet.arrived.since(at) > COPY_AGE_MAX) {
            self.copy.newest = None;
        }
        let healed = match self.copy.judge(packet.timestamp, begins, lost_before) {
            Seen::Before => return Admitted::default(),
            Seen::Next => std::mem::take(&mut self.awaits_keyframe),
            Seen::New => {
                self.awaits_keyframe |= lost_before && self.slot == Slot::Video;
                false
            }
        };
        let Some(glance) = glance else {
            return Admitted { unreadable: true, ..self.refused() };
        };
        let Some(codec) = self.codec_index(spec) else { return self.refused() };
        let new_time = self.source_timestamp != Some(packet.timestamp);
        self.source_timestamp = Some(packet.timestamp);
        // H264 sends parameter sets and slices of one picture as several such packets: the first counts.
        let video = self.slot == Slot::Video;
        let keyframe = video && glance.starts_keyframe && self.begun != Some(packet.timestamp);
        if !glance.is_prefix {
            self.begun = Some(packet.timestamp);
        }
        let starts_frame = glance.starts_frame.unwrap_or(new_time) || keyframe;
        if self.awaits_keyframe && !keyframe {
            return self.refused();
        }
        self.awaits_keyframe = false;
        if starts_frame {
            self.frame_is_droppable = video && glance.non_reference;
            self.newest_frame = self.ring.end();
            self.frame_layer = match glance.temporal_id {
                Some(layer) => layer.min(LAYERS_MAX as u8 - 1),
                None => u8::from(self.frame_is_droppable),
            };
        }
        self.rates.add(packet.arrived, self.frame_layer, packet.payload.len());
        let timestamp = self.timestamp_out(packet, spec.clock_rate);
        let meta = Meta {
            timestamp,
            marker: packet.marker,
            codec,
            starts_frame,
            keyframe,
            droppable: self.frame_is_droppable,
            layer: if keyframe { 0 } else { self.frame_layer },
            switch_point: glance.switch_point || (video && glance.temporal_id.is_none()),
            opens_above: glance.opens_above,
            arrived: packet.arrived,
        };
        let descriptor = if glance.described { packet.descriptor } else { &[] };
        let position = self.ring.push(meta, packet.payload, descriptor);
        self.codec = Some(codec);
        self.last = Some((timestamp, packet.arrived));
        self.note_picture(position, timestamp, keyframe, packet.payload.len() as u64);
        let begun_at = |p: &Picture| self.ring.meta(p.position).map(|meta| meta.arrived);
        let is_young =
            |p: &Picture| begun_at(p).is_some_and(|at| packet.arrived - PICTURE_AGE_MAX <= at);
        let kept = self.picture.filter(|p| p.is_worth_replaying() || is_young(p));
        let keep = kept.map_or(position, |p| p.position);
        self.ring.drop_older(packet.arrived - CACHE_AGE_MAX, keep);
        self.copy.stored(packet.timestamp, packet.marker);
        Admitted { stored: true, keyframe, healed, ..Admitted::default() }
    }

    /// Note a sender report of the current source (its RTP timestamp as sent by the publisher).
    pub fn note_clock(&mut self, report: ClockReport) {
        if let Some(offset) = self.offset {
            let timestamp = report.timestamp.wrapping_add(offset);
            self.clock = Some(ClockReport { timestamp, ..report });
        }
    }

    /// Where a viewer that has nothing yet begins; `keyframe_is_near`: waiting for it is
    /// better than a long replay.
    pub fn start(&self, keyframe_is_near: bool) -> Start {
        if self.slot != Slot::Video {
            return Start::At(self.ring.end());
        }
        match self.picture {
            Some(p)
                if p.position >= self.ring.first()
                    && (p.is_worth_replaying() || !keyframe_is_near) =>
            {
                Start::At(p.position)
            }
            _ => Start::NeedsKeyframe,
        }
    }

    /// The newest key picture, if it lies after `position`: where a viewer that fell behind goes on.
    pub fn picture_after(&self, position: u64) -> Option<u64> {
        self.picture.map(|p| p.position).filter(|&p| p > position)
    }

    /// Of the newest key picture.
    pub fn keyframe_bytes(&self) -> u64 {
        self.picture.map_or(0, |p| p.keyframe_bytes)
    }

    /// The index of the codec that flows; None while nothing does.
    pub fn codec(&self) -> Option<u8> {
        self.codec
    }

    /// Where the newest frame begins: those before it are whole.
    pub fn newest_frame(&self) -> u64 {
        self.newest_frame
    }

    /// Forget the picture once nothing has flowed for a while: a pause must not be replayed as if live.
    /// Returns whether the flow ended just now.
    pub fn note_silence(&mut self, now: Time) -> bool {
        let silent = self.last.is_none_or(|(_, at)| now.since(at) >= FLOW_SILENCE_MAX);
        if self.flows && silent {
            self.flows = false;
            self.picture = None;
            self.codec = None;
            return true;
        }
        false
    }

    pub fn silence_at(&self) -> Option<Time> {
        self.last.filter(|_| self.flows).map(|(_, at)| at + FLOW_SILENCE_MAX)
    }

    fn refused(&self) -> Admitted {
        Admitted { needs_keyframe: self.awaits_keyframe, ..Admitted::default() }
    }

    fn codec_index(&mut self, spec: &CodecSpec) -> Option<u8> {
        let known = self.codecs.iter().position(|c| c.kind == spec.kind && c.fmtp == spec.fmtp);
        let index = known.or_else(|| {
            (self.codecs.len() < CODECS_MAX).then(|| {
                self.codecs.push(spec.clone());
                self.codecs.len() - 1
            })
        })?;
        Some(index as u8)
    }

    fn timestamp_out(&mut self, packet: &Packet<'_>, clock_rate: u32) -> u32 {
        let offset = *self.offset.get_or_insert_with(|| {
            let Some((last, at)) = self.last else { return 0 };
            let ticks =
                packet.arrived.since(at).as_nanos() * u128::from(clock_rate) / 1_000_000_000;
            // Never the same instant twice: another picture or sound needs another timestamp.
            let next = last.wrapping_add((ticks as u32).max(1));
            next.wrapping_sub(packet.timestamp)
        });
        packet.timestamp.wrapping_add(offset)
    }

    fn note_picture(&mut self, position: u64, timestamp: u32, keyframe: bool, bytes: u64) {
        if keyframe {
            self.picture =
                Some(Picture { position, timestamp, keyframe_bytes: 0, bytes: 0, frames: 0 });
        }
        let Some(picture) = &mut self.picture else { return };
        if self.frame_is_droppable {
            return; // a replay goes without it
        }
        picture.bytes += bytes;
        if picture.timestamp == timestamp && picture.frames <= 1 {
            picture.keyframe_bytes += bytes;
            picture.frames = 1;
        } else if self.ring.meta(position).is_some_and(|m| m.starts_frame) {
            picture.frames += 1;
        }
    }
}

impl Picture {
    fn is_worth_replaying(&self) -> bool {
        self.frames <= REPLAY_FRAMES_MAX
            && self.bytes <= REPLAY_BYTES_FREE.max(self.keyframe_bytes * REPLAY_BYTES_FACTOR_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CodecKind;

    fn vp8() -> CodecSpec {
        CodecSpec {
            kind: CodecKind::Vp8,
            payload_type: 96,
            clock_rate: 90_000,
            rtx_payload_type: None,
            fmtp: String::new(),
        }
    }

    /// S=1, PID=0, then the first byte of the VP8 frame: P bit clear on a keyframe.
    fn frame(key: bool) -> Vec<u8> {
        let mut payload = vec![0x10, if key { 0x10 } else { 0x11 }];
        payload.resize(100, 0);
        payload
    }

    fn packet(payload: &[u8], timestamp: u32, ms: u64) -> Packet<'_> {
        Packet {
            index: 0,
            payload_type: 96,
            clock_rate: 90_000,
            marker: true,
            timestamp,
            arrived: Time(ms * 1_000_000),
            payload,
            descriptor: &[],
        }
    }

    #[test]
    fn a_slot_begins_at_a_keyframe_and_begins_anew_after_a_loss() {
        let mut slot = SlotState::new(Slot::Video);
        let (key, delta) = (frame(true), frame(false));
        assert!(slot.admit(&packet(&delta, 1, 0), &vp8(), true).needs_keyframe);
        assert_eq!(slot.start(true), Start::NeedsKeyframe);
        assert!(slot.admit(&packet(&key, 2, 1), &vp8(), false).keyframe);
        assert!(slot.admit(&packet(&delta, 3, 2), &vp8(), false).stored);
        assert_eq!(slot.start(true), Start::At(0));
        assert!(slot.admit(&packet(&delta, 4, 3), &vp8(), true).needs_keyframe);
        assert!(!slot.admit(&packet(&delta, 5, 4), &vp8(), false).stored);
        assert!(slot.admit(&packet(&key, 6, 5), &vp8(), false).stored);
        assert_eq!(slot.start(true), Start::At(2));
    }

    #[test]
    fn a_long_group_of_pictures_is_replayed_only_where_no_keyframe_can_be_asked_for() {
        let mut slot = SlotState::new(Slot::Video);
        let big = |key| {
            let mut payload = frame(key);
            payload.resize(60_000, 0);
            payload
        };
        slot.admit(&packet(&big(true)[..30_000], 0, 0), &vp8(), false);
        slot.admit(&packet(&big(false)[..30_000], 0, 0), &vp8(), false);
        for i in 1..3 {
            slot.admit(&packet(&big(false)[..30_000], i, u64::from(i)), &vp8(), false);
            slot.admit(&packet(&big(false)[..30_000], i, u64::from(i)), &vp8(), false);
        }
        assert_eq!(slot.start(true), Start::At(0), "three times the keyframe's bytes");
        slot.admit(&packet(&frame(false), 3, 3), &vp8(), false);
        assert_eq!(slot.start(true), Start::NeedsKeyframe);
        assert_eq!(slot.start(false), Start::At(0));
    }

    #[test]
    fn what_is_old_is_kept_only_for_joiners() {
        let mut slot = SlotState::new(Slot::Video);
        let mut big = frame(false);
        big.resize(1000, 0);
        slot.admit(&packet(&frame(true), 0, 0), &vp8(), false);
        for i in 1..100u32 {
            slot.admit(&packet(&big, i, u64::from(i) * 100), &vp8(), false);
        }
        assert_eq!(slot.start(true), Start::At(0), "9.9 s of it are worth replaying");
        for i in 100..300u32 {
            slot.admit(&packet(&big, i, u64::from(i) * 100), &vp8(), false);
        }
        assert_eq!(slot.start(false), Start::At(0), "somebody's line may be narrow");
        for i in 300..310u32 {
            slot.admit(&packet(&big, i, u64::from(i) * 100), &vp8(), false);
        }
        assert_eq!(slot.ring.first(), 249, "those of the last 6 s");
        assert_eq!(slot.start(false), Start::NeedsKeyframe);
    }

    #[test]
    fn a_new_source_goes_on_in_time_by_what_passed() {
        let mut slot = SlotState::new(Slot::Video);
        slot.admit(&packet(&frame(true), 4_000_000_000, 0), &vp8(), false);
        slot.change_source();
        slot.admit(&packet(&frame(true), 17, 2000), &vp8(), false);
        let times: Vec<u32> =
            (0..2).map(|p| slot.ring.meta(p).expect("stored").timestamp).collect();
        assert_eq!(times[1].wrapping_sub(times[0]), 180_000);
        slot.note_clock(ClockReport { ntp: 7, timestamp: 17, arrived: Time(0) });
        assert_eq!(slot.clock.expect("noted").timestamp, times[1]);
    }

    #[test]
    fn a_replay_is_weighed_without_the_frames_that_it_leaves_out() {
        let mut slot = SlotState::new(Slot::Video);
        slot.admit(&packet(&frame(true), 0, 0), &vp8(), false);
        // N: no other frame needs it (RFC 7741 section 4.2).
        let mut loose = frame(false);
        loose[0] |= 0x20;
        for i in 1..100 {
            slot.admit(&packet(&loose, i, u64::from(i)), &vp8(), false);
            assert!(slot.ring.meta(u64::from(i)).is_some_and(|m| m.droppable && m.starts_frame));
        }
        assert_eq!(slot.start(true), Start::At(0));
        assert_eq!(slot.newest_frame(), 99);
        // A later packet of a frame is what its first one was, whatever it says itself.
        loose[0] = 0x00;
        slot.admit(&packet(&loose, 99, 99), &vp8(), false);
        assert!(slot.ring.meta(100).is_some_and(|m| m.droppable && !m.starts_frame));
        assert_eq!(slot.newest_frame(), 99);
    }

    #[test]
    fn a_keyframe_may_stand_behind_delimiters_of_its_picture() {
        let mut slot = SlotState::new(Slot::Video);
        let spec = CodecSpec { kind: CodecKind::H264, ..vp8() };
        for (unit, stored, keyframe) in [
            ([0x09, 0x10], false, false),
            ([0x67, 1], true, true),
            ([0x68, 1], true, false),
            ([0x65, 1], true, false),
        ] {
            let admitted = slot.admit(&packet(&unit, 7, 0), &spec, false);
            assert_eq!((admitted.stored, admitted.keyframe), (stored, keyframe), "{unit:x?}");
        }
        // The next picture, once more with a delimiter, is one frame.
        for unit in [[0x09, 0x30], [0x67, 1], [0x65, 1]] {
            assert!(slot.admit(&packet(&unit, 8, 33), &spec, false).stored);
        }
        assert_eq!(slot.start(true), Start::At(4), "the newest keyframe's parameter set");
    }

    #[test]
    fn silence_ends_the_flow_and_forgets_the_picture() {
        let mut slot = SlotState::new(Slot::Video);
        slot.admit(&packet(&frame(true), 0, 0), &vp8(), false);
        slot.flows = true;
        assert!(!slot.note_silence(Time(2_999_000_000)));
        assert!(slot.note_silence(Time(3_000_000_000)));
        assert_eq!(slot.start(false), Start::NeedsKeyframe);
    }
}
