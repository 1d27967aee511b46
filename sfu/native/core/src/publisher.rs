//! One publisher: its streams in, and what it is told about them.

use std::time::Duration;

use crate::api::{CodecSpec, Counters, LinkStream, TrackSpec};
use crate::ids::{RoomId, Slot, Ssrc, Time};
use crate::link;
use crate::rtcp;
use crate::rtp;
use crate::source::{ClockReport, Packet, Source, SourceCounters};
use crate::twcc::Recorder;

/// Chromium's estimator wants feedback every 50-250 ms.
const TRANSPORT_FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// One feedback packet describes a few hundred packets; more in 50 ms is a flood.
const FEEDBACKS_PER_TURN_MAX: usize = 4;

/// Whether a link goes on in the time line of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continues(pub bool);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Media(usize),
    Repair(usize),
}

pub struct Track {
    pub spec: TrackSpec,
    pub ssrc: Option<Ssrc>,
    pub source: Source,
}

/// Where packets of a track go once they are in order: slot, packet, its codec (None: a payload type
/// that was not negotiated), and whether something before it is lost.
pub type Release<'r> = dyn FnMut(Slot, &Packet<'_>, Option<&CodecSpec>, bool) + 'r;

pub struct Publisher {
    pub room: RoomId,
    pub tracks: Vec<Track>,
    /// Under which our reports go out.
    pub ssrc: Ssrc,
    pub unknown_ssrc: u64,
    pub malformed: u64,
    /// Of another node: what it continues once its first packet has come, None where it has.
    pub waits: Option<Continues>,
    is_link: bool,
    full_requests: u8,
    parts: Vec<(Ssrc, Part)>,
    recorder: Recorder,
    recorded: bool,
    feedback_at: Option<Time>,
    report_at: Option<Time>,
    ask: Vec<u16>,
}

impl Publisher {
    pub fn new(room: RoomId, specs: Vec<TrackSpec>, ssrc: Ssrc) -> Publisher {
        let mut parts = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            parts.extend(spec.ssrc.map(|s| (s, Part::Media(index))));
            parts.extend(spec.rtx_ssrc.map(|s| (s, Part::Repair(index))));
        }
        let tracks = specs
            .into_iter()
            .map(|spec| Track {
                ssrc: spec.ssrc,
                source: Source::new(spec.slot == Slot::Video, spec.nack),
                spec,
            })
            .collect();
        Publisher {
            room,
            tracks,
            ssrc,
            unknown_ssrc: 0,
            malformed: 0,
            waits: None,
            is_link: false,
            full_requests: 0,
            parts,
            recorder: Recorder::new(),
            recorded: false,
            feedback_at: None,
            report_at: None,
            ask: Vec::new(),
        }
    }

    /// Another node, which takes its place in the room with its first packet.
    pub fn link(room: RoomId, streams: &[LinkStream], ssrc: Ssrc, continues: bool) -> Publisher {
        let mut publisher = Publisher::new(room, streams.iter().map(link::track).collect(), ssrc);
        publisher.is_link = true;
        publisher.waits = Some(Continues(continues));
        publisher
    }

    /// The other node sends a codec under these numbers.
    pub fn add_codec(&mut self, slot: Slot, codec: CodecSpec) {
        let track = self.tracks.iter_mut().find(|t| t.spec.slot == slot);
        if let Some(track) = track.filter(|t| t.spec.codecs.len() < link::CODECS_MAX) {
            track.spec.codecs.push(codec);
        }
    }

    /// Take one opened RTP packet; `index` is its 64-bit sequence number.
    pub fn packet(
        &mut self,
        arrived: Time,
        index: u64,
        header: &rtp::Header,
        bytes: &[u8],
        release: &mut Release<'_>,
    ) {
        let Some(part) = self.part_of(header, bytes) else {
            self.unknown_ssrc += 1;
            return;
        };
        let (Part::Media(n) | Part::Repair(n)) = part;
        let track = &mut self.tracks[n];
        if let Some(sequence) = transport_sequence(&track.spec, header, bytes) {
            self.recorder.record(sequence, arrived);
            self.recorded = true;
        }
        let Some(payload) = rtp::payload(header, bytes) else {
            self.malformed += 1;
            return;
        };
        let codecs = &track.spec.codecs;
        let mut packet = Packet {
            index,
            payload_type: header.payload_type,
            clock_rate: 0,
            marker: header.marker,
            timestamp: header.timestamp,
            arrived,
            payload,
            descriptor: descriptor(&track.spec, header, bytes),
        };
        let repair = matches!(part, Part::Repair(_));
        if repair {
            // RFC 4588 section 4. Padding to probe the line comes as RTX without a payload.
            let media = codecs.iter().find(|c| c.rtx_payload_type == Some(header.payload_type));
            let (Some(media), [high, low, rest @ ..]) = (media, payload) else { return };
            packet.index = track.source.index_near(u16::from_be_bytes([*high, *low]));
            packet.payload_type = media.payload_type;
            packet.payload = rest;
        }
        packet.clock_rate = codec_of(codecs, packet.payload_type).map_or(0, |c| c.clock_rate);
        let slot = track.spec.slot;
        track.source.accept(packet, repair, &mut |packet, lost_before| {
            release(slot, &packet, codec_of(codecs, packet.payload_type), lost_before);
        });
    }

    /// Ask for what is missing and give up what is too late; true: video was given up.
    pub fn repair(&mut self, now: Time, rtcp: &mut Vec<u8>, release: &mut Release<'_>) -> bool {
        let mut gave_up = false;
        for Track { spec, ssrc, source } in &mut self.tracks {
            if source.repair_at().is_none_or(|at| at > now) {
                continue;
            }
            self.ask.clear();
            let codecs = &spec.codecs;
            let lost = source.repair(now, &mut self.ask, &mut |packet, lost_before| {
                release(spec.slot, &packet, codec_of(codecs, packet.payload_type), lost_before);
            });
            gave_up |= lost && spec.slot == Slot::Video;
            if let (Some(media), false) = (*ssrc, self.ask.is_empty()) {
                rtcp::nack(rtcp, self.ssrc, media, &self.ask);
            }
        }
        gave_up
    }

    /// Append the reports that are due.
    pub fn report(&mut self, now: Time, rtcp: &mut Vec<u8>) {
        if self.report_at.is_none_or(|at| at <= now) {
            self.report_at = Some(now + REPORT_INTERVAL);
            let blocks: Vec<rtcp::ReportBlock> =
                self.tracks.iter_mut().filter_map(|t| t.source.reception(t.ssrc?, now)).collect();
            rtcp::receiver_report(rtcp, self.ssrc, &blocks);
        }
        if self.recorded && self.feedback_at.is_none_or(|at| at <= now) {
            self.feedback_at = Some(now + TRANSPORT_FEEDBACK_INTERVAL);
            self.recorded = false;
            let media = self.tracks.iter().find_map(|t| t.ssrc).unwrap_or(self.ssrc);
            for _ in 0..FEEDBACKS_PER_TURN_MAX {
                if !self.recorder.feedback(self.ssrc, media, rtcp) {
                    break;
                }
            }
        }
    }

    /// Ask for a key picture; false where there is no video to ask for. `lost`: another node may have it.
    pub fn ask_keyframe(&mut self, lost: bool, rtcp: &mut Vec<u8>) -> bool {
        let video = self.tracks.iter().find(|t| t.spec.slot == Slot::Video && t.spec.pli);
        let Some(media) = video.and_then(|t| t.ssrc) else { return false };
        if self.is_link && !lost {
            // A picture of its own, not the one that it keeps, which is kept here as well.
            self.full_requests = self.full_requests.wrapping_add(1);
            rtcp::fir(rtcp, self.ssrc, media, self.full_requests);
        } else {
            rtcp::pli(rtcp, self.ssrc, media);
        }
        true
    }

    /// Take one opened compound of RTCP; `clock` gets the sender reports.
    pub fn feedback(
        &mut self,
        arrived: Time,
        compound: &[u8],
        mut clock: impl FnMut(Slot, ClockReport),
    ) {
        for packet in rtcp::packets(compound) {
            let rtcp::Packet::SenderReport { ssrc, ntp, rtp_timestamp, .. } = packet else {
                continue;
            };
            let Some(track) = self.tracks.iter_mut().find(|t| t.ssrc == Some(ssrc)) else {
                continue;
            };
            let noted = ClockReport { ntp, timestamp: rtp_timestamp, arrived };
            track.source.clock = Some(noted);
            clock(track.spec.slot, noted);
        }
    }

    /// When `repair` or `report` have work.
    pub fn due(&self) -> Option<Time> {
        // The first one is due at once.
        let feedback = self.recorded.then(|| self.feedback_at.unwrap_or(Time(0)));
        let repairs = self.tracks.iter().map(|t| t.source.repair_at());
        repairs.chain([feedback, self.report_at]).flatten().min()
    }

    /// A feedback that became due before any timer was set for it.
    pub fn wants_feedback(&self) -> bool {
        self.recorded
    }

    pub fn add_counters(&self, counters: &mut Counters) {
        let mut sum = SourceCounters::default();
        for track in &self.tracks {
            let c = track.source.counters;
            sum.received += c.received;
            sum.repaired += c.repaired;
            sum.late += c.late;
            sum.given_up += c.given_up;
            sum.nacked += c.nacked;
        }
        counters.extend([
            ("packets_received", sum.received),
            ("packets_repaired", sum.repaired),
            ("packets_late", sum.late),
            ("packets_given_up", sum.given_up),
            ("packets_nacked", sum.nacked),
            ("packets_of_unknown_ssrc", self.unknown_ssrc),
            ("packets_malformed", self.malformed),
        ]);
    }

    /// Whether a packet, not yet opened, can belong to a stream of ours: what was not announced costs
    /// no decryption and no state.
    pub fn expects(&self, header: &rtp::Header, bytes: &[u8]) -> bool {
        self.parts.iter().any(|(ssrc, _)| *ssrc == header.ssrc)
            || self.part_by_mid(header, bytes).is_some()
    }

    /// The stream a packet belongs to: by its SSRC, else bound for good by its MID (RFC 9143 section 9.2).
    fn part_of(&mut self, header: &rtp::Header, bytes: &[u8]) -> Option<Part> {
        if let Some((_, part)) = self.parts.iter().find(|(ssrc, _)| *ssrc == header.ssrc) {
            return Some(*part);
        }
        let part = self.part_by_mid(header, bytes)?;
        self.parts.push((header.ssrc, part));
        if let Part::Media(n) = part {
            self.tracks[n].ssrc = Some(header.ssrc);
        }
        Some(part)
    }

    fn part_by_mid(&self, header: &rtp::Header, bytes: &[u8]) -> Option<Part> {
        let part = self.tracks.iter().enumerate().find_map(|(n, track)| {
            let mid = header.extension(bytes, track.spec.extensions.mid?)?;
            if mid != track.spec.mid.as_bytes() {
                return None;
            }
            let codec = |c: &CodecSpec| match header.payload_type {
                payload_type if c.payload_type == payload_type => Some(Part::Media(n)),
                payload_type if c.rtx_payload_type == Some(payload_type) => Some(Part::Repair(n)),
                _ => None,
            };
            track.spec.codecs.iter().find_map(codec)
        })?;
        // One stream and one repair stream a track: a second SSRC is somebody's mistake.
        let taken = self.parts.iter().any(|(_, known)| *known == part);
        (!taken).then_some(part)
    }
}

fn codec_of(codecs: &[CodecSpec], payload_type: u8) -> Option<&CodecSpec> {
    codecs.iter().find(|c| c.payload_type == payload_type)
}

fn descriptor<'a>(spec: &TrackSpec, header: &rtp::Header, bytes: &'a [u8]) -> &'a [u8] {
    let id = spec.extensions.dependency_descriptor;
    id.and_then(|id| header.extension(bytes, id)).unwrap_or(&[])
}

fn transport_sequence(spec: &TrackSpec, header: &rtp::Header, bytes: &[u8]) -> Option<u16> {
    let value = header.extension(bytes, spec.extensions.transport_cc?)?;
    Some(u16::from_be_bytes(value.try_into().ok()?))
}
