//! One viewer: reads the slots' rings at its own pace, numbers and seals what it sends.
//!
//! Per viewer: allocate -> bounded queue -> pacer -> number and seal. The queue is the stretch of ring
//! between the viewer's position and the end, so it costs nothing and is bounded by time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::{CodecSpec, Counters, Outbox, Run, SinkSpec};
use crate::codec;
use crate::ids::{PathId, Slot, Ssrc, Time};
use crate::numbering::Numbering;
use crate::pacer::Pacer;
use crate::rtcp;
use crate::rtp;
use crate::slot::{plays, SlotState, Start};
use crate::srtp::{SealedStream, Sealer};
use crate::twcc;

/// A packet that waited longer than this in a live stream is not worth sending: go on at a keyframe.
const VIDEO_BACKLOG_MAX: Duration = Duration::from_millis(1500);
const AUDIO_BACKLOG_PACKETS_MAX: u64 = 25;
/// Packets that wait for their retransmission.
const REPAIRS_MAX: usize = 128;
/// Repaired lately, so that a repeated NACK within a round trip does not double them.
const REPAIRED_MEMORY_MAX: usize = 128;
const RTT_FIRST: Duration = Duration::from_millis(50);
const RTT_MAX: Duration = Duration::from_millis(1000);
/// A picture loss this soon after the first packet means that the first packets were dropped (Firefox
/// drops 10-40 right after DTLS): the same picture is sent once more, under new numbers.
const START_AGAIN_WITHIN: Duration = Duration::from_secs(3);
const STARTS_AGAIN_MAX: u8 = 2;
/// More in one feedback than half the numbers there are is a lie.
const FEEDBACK_PACKETS_MAX: u64 = 32_768;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const REPORTS_REMEMBERED_MAX: usize = 4;
/// RTP padding makes packets of nearly one size into one GSO send.
const PADDING_BYTES_MAX: usize = 32;
const EXTENSIONS_MAX: usize = 3;
const RTX_HEADER_BYTES: usize = 2;

/// What was sent to one viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewerCounters {
    pub packets: u64,
    pub payload_bytes: u64,
    pub header_bytes: u64,
    pub padding_bytes: u64,
    pub repaired_packets: u64,
    pub nacks: u64,
    pub nacks_unanswered: u64,
    pub picture_losses: u64,
    pub skips: u64,
    pub feedback_packets: u64,
    pub feedback_lost: u64,
}

struct Sink {
    spec: SinkSpec,
    stream: SealedStream,
    repair: Option<SealedStream>,
    position: Option<u64>,
    /// Replaying up to here; pacing is gentler until then.
    live_from: u64,
    numbering: Numbering,
    /// By the slot's codec index: our payload type and that of its retransmissions.
    payload_types: Vec<Option<(u8, Option<u8>)>>,
    first_sent: Option<Time>,
    starts_again: u8,
    packets: u32,
    octets: u32,
    report_at: Option<Time>,
    header_bytes: usize,
}

#[derive(Clone, Copy)]
struct Planned {
    sink: usize,
    position: u64,
    /// The number it went out under the first time.
    repair_of: Option<u16>,
    /// Unpadded and without the tag.
    bytes: usize,
    may_pad: bool,
}

#[derive(Clone, Copy)]
struct Repair {
    sink: usize,
    sequence: u16,
    position: u64,
}

/// Memory of one plan, shared by all viewers of a node.
#[derive(Default)]
pub struct Plan {
    items: Vec<Planned>,
}

pub struct Viewer {
    sinks: Vec<Sink>,
    pacer: Pacer,
    pub counters: ViewerCounters,
    repairs: VecDeque<Repair>,
    repaired: VecDeque<(usize, u16, Time)>,
    transport_sequence: u16,
    rtt: Duration,
    reports: VecDeque<(u32, Time)>,
    pub wants_keyframe: bool,
    starts_again: bool,
}

impl Viewer {
    /// None: two sinks share an SSRC.
    pub fn new(sealer: &mut Sealer, specs: Vec<SinkSpec>) -> Option<Viewer> {
        let sinks = specs.into_iter().map(|spec| Sink::new(sealer, spec)).collect::<Option<_>>()?;
        Some(Viewer {
            sinks,
            pacer: Pacer::default(),
            counters: ViewerCounters::default(),
            repairs: VecDeque::new(),
            repaired: VecDeque::new(),
            transport_sequence: 0,
            rtt: RTT_FIRST,
            reports: VecDeque::new(),
            wants_keyframe: false,
            starts_again: false,
        })
    }

    /// Send what the pacer lets go and say when there is more; `keyframe_is_near`: a keyframe could be asked
    /// for now.
    pub fn send(
        &mut self,
        now: Time,
        to: (PathId, &Sealer),
        slots: &[SlotState; 3],
        keyframe_is_near: bool,
        plan: &mut Plan,
        out: &mut Outbox,
    ) -> Option<Time> {
        self.starts_again = false;
        let more = self.plan(now, slots, keyframe_is_near, plan);
        let (mut from, items) = (0, &plan.items);
        while from < items.len() {
            let (to_item, segment) = run_of(&items[from..]);
            self.write_run(now, to, slots, &items[from..from + to_item], segment, out);
            from += to_item;
        }
        let bytes = plan.items.iter().map(|i| i.bytes).sum();
        self.pacer.spend(plan.items.len(), bytes);
        more.then(|| self.pacer.next(now))
    }

    /// Choose packets: sound, then repairs, then pictures. True: some have to wait.
    fn plan(
        &mut self,
        now: Time,
        slots: &[SlotState; 3],
        keyframe_is_near: bool,
        plan: &mut Plan,
    ) -> bool {
        plan.items.clear();
        let packets_max = self.pacer.open(now);
        let mut more = false;
        for audio in [true, false] {
            for index in 0..self.sinks.len() {
                let slot = &slots[self.sinks[index].spec.slot as usize];
                if (slot.slot != Slot::Video) == audio {
                    self.settle(now, index, slot, keyframe_is_near);
                    more |= self.plan_new(index, slot, packets_max, plan);
                }
            }
            if audio {
                more |= self.plan_repairs(now, slots, packets_max, plan);
            }
        }
        more
    }

    /// Put the sink where it has to read next: at a start, or past what is no longer worth sending.
    fn settle(&mut self, now: Time, index: usize, slot: &SlotState, keyframe_is_near: bool) {
        let sink = &mut self.sinks[index];
        let video = slot.slot == Slot::Video;
        if let Some(position) = sink.position {
            let lost = position < slot.ring.first();
            let behind = if video {
                position >= sink.live_from
                    && slot
                        .ring
                        .meta(position)
                        .is_some_and(|m| now.since(m.arrived) > VIDEO_BACKLOG_MAX)
            } else {
                slot.ring.end() - position.min(slot.ring.end()) > AUDIO_BACKLOG_PACKETS_MAX
            };
            if !lost && !behind {
                return;
            }
            self.counters.skips += 1;
            sink.position = match slot.picture_after(position) {
                Some(picture) if video => Some(picture),
                _ => None,
            };
            if sink.position.is_some() {
                sink.live_from = slot.ring.end();
                return;
            }
        }
        match slot.start(keyframe_is_near) {
            Start::At(position) => {
                sink.position = Some(position);
                sink.live_from = slot.ring.end();
            }
            Start::NeedsKeyframe => self.wants_keyframe = true,
        }
    }

    fn plan_new(
        &mut self,
        index: usize,
        slot: &SlotState,
        packets_max: usize,
        plan: &mut Plan,
    ) -> bool {
        let sink = &mut self.sinks[index];
        let Some(mut position) = sink.position else { return false };
        let mut planned: usize = plan.items.iter().map(|i| i.bytes).sum();
        while let (Some(meta), Some(length)) =
            (slot.ring.meta(position), slot.ring.payload_length(position))
        {
            let codec = &slot.codecs[usize::from(meta.codec)];
            if sink.payload_type(meta.codec, codec).is_none() {
                position += 1;
                continue;
            }
            let bytes = sink.header_bytes + length;
            let replay = position < sink.live_from;
            if plan.items.len() >= packets_max || !self.pacer.fits(planned, bytes, replay) {
                sink.position = Some(position);
                return true;
            }
            let may_pad = codec::may_pad(codec.kind);
            plan.items.push(Planned { sink: index, position, repair_of: None, bytes, may_pad });
            planned += bytes;
            position += 1;
        }
        sink.position = Some(position);
        false
    }

    fn plan_repairs(
        &mut self,
        now: Time,
        slots: &[SlotState; 3],
        packets_max: usize,
        plan: &mut Plan,
    ) -> bool {
        while let Some(&repair) = self.repairs.front() {
            let sink = &self.sinks[repair.sink];
            let ring = &slots[sink.spec.slot as usize].ring;
            let Some(length) = ring.payload_length(repair.position) else {
                self.counters.nacks_unanswered += 1;
                self.repairs.pop_front();
                continue;
            };
            if plan.items.len() >= packets_max {
                return true;
            }
            if self.repaired.len() == REPAIRED_MEMORY_MAX {
                self.repaired.pop_front();
            }
            self.repaired.push_back((repair.sink, repair.sequence, now));
            plan.items.push(Planned {
                sink: repair.sink,
                position: repair.position,
                repair_of: Some(repair.sequence),
                bytes: sink.header_bytes + RTX_HEADER_BYTES + length,
                may_pad: false,
            });
            self.repairs.pop_front();
        }
        false
    }

    fn write_run(
        &mut self,
        now: Time,
        (path, sealer): (PathId, &Sealer),
        slots: &[SlotState; 3],
        items: &[Planned],
        bytes_each: usize,
        out: &mut Outbox,
    ) {
        let start = out.bytes.len();
        for (n, item) in items.iter().enumerate() {
            let last = n + 1 == items.len();
            let padding = if last { 0 } else { bytes_each - item.bytes };
            if !self.write_packet(now, sealer, slots, item, padding, out) {
                // What could not be sealed must not leave; the peers of its run are repaired on demand.
                out.bytes.truncate(start);
                return;
            }
        }
        let segment =
            if items.len() == 1 { items[0].bytes } else { bytes_each } + sealer.tag_bytes();
        out.runs.push(Run { path, start, length: out.bytes.len() - start, segment });
    }

    fn write_packet(
        &mut self,
        now: Time,
        sealer: &Sealer,
        slots: &[SlotState; 3],
        item: &Planned,
        padding: usize,
        out: &mut Outbox,
    ) -> bool {
        let sink = &mut self.sinks[item.sink];
        let slot = &slots[sink.spec.slot as usize];
        let (meta, payload) =
            slot.ring.get(item.position).expect("planned packets are in the ring");
        let (payload_type, repair_type) =
            sink.payload_types[usize::from(meta.codec)].expect("planned packets have a codec");
        let payload_type = match item.repair_of {
            Some(_) => repair_type.unwrap_or(payload_type),
            None => payload_type,
        };
        let transport_sequence = self.transport_sequence.to_be_bytes();
        let send_time = abs_send_time(now);
        let ids = sink.spec.extensions;
        let mut extensions: [(u8, &[u8]); EXTENSIONS_MAX] = [(0, &[]); EXTENSIONS_MAX];
        let mut count = 0;
        let mut add = |id: Option<u8>, value| {
            if let Some(id) = id {
                extensions[count] = (id, value);
                count += 1;
            }
        };
        add(ids.mid, sink.spec.mid.as_bytes());
        add(ids.transport_cc, &transport_sequence);
        add(ids.abs_send_time, &send_time);
        if ids.transport_cc.is_some() {
            self.transport_sequence = self.transport_sequence.wrapping_add(1);
        }
        let start = out.bytes.len();
        let (marker, time) = (meta.marker, meta.timestamp);
        let ssrc = sink.spec.ssrc; // The sealer writes the stream's own, and the number.
        rtp::write_header(
            &mut out.bytes,
            payload_type,
            marker,
            padding > 0,
            0,
            time,
            ssrc,
            &extensions[..count],
        );
        let payload_offset = out.bytes.len() - start;
        debug_assert_eq!(payload_offset, sink.header_bytes);
        if let Some(sequence) = item.repair_of {
            out.bytes.extend_from_slice(&sequence.to_be_bytes());
        }
        out.bytes.extend_from_slice(payload);
        if padding > 0 {
            out.bytes.resize(out.bytes.len() + padding, 0);
            *out.bytes.last_mut().expect("just padded") = padding as u8;
        }
        out.bytes.resize(out.bytes.len() + sealer.tag_bytes(), 0);
        let stream = match (&item.repair_of, &mut sink.repair) {
            (Some(_), Some(repair)) => repair,
            _ => {
                sink.numbering.sent(sink.stream.next_index(), item.position);
                &mut sink.stream
            }
        };
        if !sealer.seal_rtp(stream, &mut out.bytes[start..], payload_offset) {
            return false;
        }
        if item.repair_of.is_none() {
            sink.packets = sink.packets.wrapping_add(1);
            sink.octets = sink.octets.wrapping_add(payload.len() as u32);
            sink.first_sent.get_or_insert(now);
        } else {
            self.counters.repaired_packets += 1;
        }
        self.counters.packets += 1;
        self.counters.payload_bytes += payload.len() as u64;
        self.counters.padding_bytes += padding as u64;
        self.counters.header_bytes += (item.bytes - payload.len()) as u64;
        true
    }

    /// Take one opened compound of RTCP from the viewer.
    pub fn feedback(&mut self, now: Time, compound: &[u8], slots: &[SlotState; 3]) {
        for packet in rtcp::packets(compound) {
            match packet {
                rtcp::Packet::ReceiverReport { blocks, .. } => {
                    for block in blocks {
                        self.note_round_trip(now, block.last_sr, block.delay_since_last_sr);
                    }
                }
                rtcp::Packet::Nack { media, pairs, .. } => {
                    self.note_nack(now, media, pairs.sequences());
                }
                rtcp::Packet::Pli { media, .. } => self.note_picture_loss(now, media, slots),
                rtcp::Packet::Fir { entries, .. } => {
                    for entry in entries {
                        self.note_picture_loss(now, entry.ssrc, slots);
                    }
                }
                rtcp::Packet::TransportFeedback(raw) => self.note_transport(now, raw),
                _ => {}
            }
        }
    }

    fn note_round_trip(&mut self, now: Time, last_sr: u32, delay: u32) {
        let Some(&(_, sent)) = self.reports.iter().find(|(ntp, _)| *ntp == last_sr) else {
            return;
        };
        let held = Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65_536);
        let sample = now.since(sent).saturating_sub(held).min(RTT_MAX);
        self.rtt = (self.rtt * 7 + sample) / 8;
    }

    fn note_nack(&mut self, now: Time, media: Ssrc, sequences: impl Iterator<Item = u16>) {
        let Some(index) = self.sinks.iter().position(|s| s.spec.ssrc == media) else { return };
        let rtt = self.rtt;
        while self.repaired.front().is_some_and(|(_, _, at)| now.since(*at) >= rtt) {
            self.repaired.pop_front();
        }
        for sequence in sequences {
            self.counters.nacks += 1;
            let sink = &self.sinks[index];
            let known = sink.numbering.index_of(sequence).and_then(|i| sink.numbering.position(i));
            // Without RTX a resend would have to be identical bytes; those are not kept.
            let (Some(position), true) = (known, sink.repair.is_some()) else {
                self.counters.nacks_unanswered += 1;
                continue;
            };
            let repeated = self.repaired.iter().any(|r| (r.0, r.1) == (index, sequence))
                || self.repairs.iter().any(|r| (r.sink, r.sequence) == (index, sequence));
            if !repeated && self.repairs.len() < REPAIRS_MAX {
                self.repairs.push_back(Repair { sink: index, sequence, position });
            }
        }
    }

    fn note_picture_loss(&mut self, now: Time, media: Ssrc, slots: &[SlotState; 3]) {
        let Some(sink) =
            self.sinks.iter_mut().find(|s| s.spec.slot == Slot::Video && s.spec.ssrc == media)
        else {
            return;
        };
        self.counters.picture_losses += 1;
        let fresh = sink.first_sent.is_none_or(|at| now.since(at) < START_AGAIN_WITHIN);
        let slot = &slots[Slot::Video as usize];
        if let (true, Start::At(position)) = (fresh, slot.start(true)) {
            if sink.first_sent.is_some() && sink.starts_again < STARTS_AGAIN_MAX {
                sink.starts_again += 1;
                sink.position = Some(position);
                sink.live_from = slot.ring.end();
                self.starts_again = true;
                return;
            }
        }
        self.wants_keyframe = true;
    }

    fn note_transport(&mut self, now: Time, raw: &[u8]) {
        let Some(feedback) = twcc::parse(raw) else { return };
        let seen = u64::from(feedback.status_count).min(FEEDBACK_PACKETS_MAX);
        let lost = seen.saturating_sub(feedback.received().count() as u64);
        self.counters.feedback_packets += seen;
        self.counters.feedback_lost += lost;
        self.pacer.note_feedback(now, seen, lost);
    }

    /// Append sender reports that are due to `rtcp` and say when the next one is.
    pub fn report(
        &mut self,
        now: Time,
        slots: &[SlotState; 3],
        rtcp: &mut Vec<u8>,
    ) -> Option<Time> {
        let mut next: Option<Time> = None;
        for sink in &mut self.sinks {
            let slot = &slots[sink.spec.slot as usize];
            let (Some(clock), true) = (slot.clock, sink.packets > 0) else { continue };
            let due = sink.report_at.is_none_or(|at| at <= now);
            if due {
                let rate = slot
                    .ring
                    .meta(slot.ring.end().wrapping_sub(1))
                    .map_or(90_000, |m| slot.codecs[usize::from(m.codec)].clock_rate);
                let (ntp, timestamp) = at_time(&clock, now, rate);
                rtcp::sender_report(
                    rtcp,
                    sink.spec.ssrc,
                    ntp,
                    timestamp,
                    sink.packets,
                    sink.octets,
                    &[],
                );
                rtcp::sdes_cname(rtcp, sink.spec.ssrc, &sink.spec.cname);
                if self.reports.len() == REPORTS_REMEMBERED_MAX {
                    self.reports.pop_front();
                }
                self.reports.push_back(((ntp >> 16) as u32, now));
                sink.report_at = Some(now + REPORT_INTERVAL);
            }
            next = [next, sink.report_at].into_iter().flatten().min();
        }
        next
    }

    /// Under which SSRC an empty report goes out.
    pub fn report_ssrc(&self) -> Ssrc {
        self.sinks.first().map_or(Ssrc(1), |s| s.spec.ssrc)
    }

    /// Feedback has made something to send.
    pub fn has_work(&self) -> bool {
        !self.repairs.is_empty() || self.starts_again
    }

    pub fn add_counters(&self, counters: &mut Counters) {
        let c = &self.counters;
        counters.extend([
            ("packets_out", c.packets),
            ("payload_bytes_out", c.payload_bytes),
            ("header_bytes_out", c.header_bytes),
            ("padding_bytes_out", c.padding_bytes),
            ("packets_repaired", c.repaired_packets),
            ("nacks", c.nacks),
            ("nacks_unanswered", c.nacks_unanswered),
            ("picture_losses", c.picture_losses),
            ("skips", c.skips),
            ("feedback_packets", c.feedback_packets),
            ("feedback_packets_lost", c.feedback_lost),
            ("round_trip_us", self.rtt.as_micros() as u64),
            ("rate_bps", self.pacer.rate_bps()),
        ]);
    }
}

impl Sink {
    fn new(sealer: &mut Sealer, spec: SinkSpec) -> Option<Sink> {
        let stream = sealer.stream(spec.ssrc, spec.first_sequence)?;
        let repair = match spec.rtx_ssrc {
            Some(ssrc) if spec.nack => Some(sealer.stream(ssrc, spec.first_sequence ^ 0x55)?),
            _ => None,
        };
        let ids = spec.extensions;
        let lengths = [(ids.mid, spec.mid.len()), (ids.transport_cc, 2), (ids.abs_send_time, 3)];
        let extension: usize =
            lengths.iter().filter(|(id, _)| id.is_some()).map(|(_, n)| 1 + n).sum();
        let header_bytes = 12 + if extension > 0 { 4 + extension.next_multiple_of(4) } else { 0 };
        Some(Sink {
            spec,
            stream,
            repair,
            position: None,
            live_from: 0,
            numbering: Numbering::new(),
            payload_types: Vec::new(),
            first_sent: None,
            starts_again: 0,
            packets: 0,
            octets: 0,
            report_at: None,
            header_bytes,
        })
    }

    /// The viewer's payload type for the slot's codec `index`; None where it cannot decode it.
    fn payload_type(&mut self, index: u8, codec: &CodecSpec) -> Option<u8> {
        let index = usize::from(index);
        if self.payload_types.len() <= index {
            self.payload_types.resize(index + 1, None);
        }
        if self.payload_types[index].is_none() {
            self.payload_types[index] = self
                .spec
                .codecs
                .iter()
                .find(|theirs| plays(theirs, codec))
                .map(|theirs| (theirs.payload_type, theirs.rtx_payload_type));
        }
        self.payload_types[index].map(|(payload_type, _)| payload_type)
    }
}

/// How many of the first items make one run, and the bytes of each of them but the last.
fn run_of(items: &[Planned]) -> (usize, usize) {
    let (mut smallest, mut largest) = (items[0].bytes, items[0].bytes);
    let mut pads = items[0].may_pad;
    for (n, item) in items.iter().enumerate().skip(1) {
        let room = if pads && item.may_pad { PADDING_BYTES_MAX } else { 0 };
        let bytes = item.bytes;
        if bytes.max(largest) - bytes.min(smallest) <= room {
            (smallest, largest) = (smallest.min(bytes), largest.max(bytes));
            pads &= item.may_pad;
        } else if bytes < largest {
            return (n + 1, largest); // shorter: the last of this run
        } else {
            return (n, largest);
        }
    }
    (items.len(), largest)
}

/// 24 bits of seconds in 6.18 fixed point (the abs-send-time extension).
fn abs_send_time(now: Time) -> [u8; 3] {
    let fixed = (u128::from(now.0) << 18) / 1_000_000_000;
    let [.., a, b, c] = (fixed as u32).to_be_bytes();
    [a, b, c]
}

/// The publisher's clock run on to `now`: the same line, so sound and picture stay together.
fn at_time(clock: &crate::source::ClockReport, now: Time, rate: u32) -> (u64, u32) {
    let passed = u128::from(now.since(clock.arrived).as_nanos() as u64);
    let ntp = clock.ntp.wrapping_add(((passed << 32) / 1_000_000_000) as u64);
    let ticks = (passed * u128::from(rate) / 1_000_000_000) as u32;
    (ntp, clock.timestamp.wrapping_add(ticks))
}
