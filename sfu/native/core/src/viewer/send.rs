//! What goes out to a viewer: chosen, made into runs, numbered and sealed.

use std::time::Duration;

use super::allocation::ALL;
use super::repairs::{Repair, TAIL_WAIT};
use super::sink::Sink;
use super::start::Unconfirmed;
use super::{Tail, Viewer, ROUND_TRIP_FIRST};
use crate::api::{Outbox, Run};
use crate::codec::{self, vp8::Shift};
use crate::ids::{PathId, Slot, Time};
use crate::rtp;
use crate::slot::{SlotState, Start};
use crate::srtp::Sealer;

/// A picture that is late by more, and by twice the time that a key picture takes, is behind: a newer key
/// picture is where to go on. A narrow line shows the picture late rather than not at all.
const VIDEO_BACKLOG_MAX: Duration = Duration::from_millis(1500);
const KEYFRAMES_LATE_MAX: u64 = 2;
const KEYFRAME_TIME_MAX: Duration = Duration::from_secs(4);
/// A line that takes so much more than what comes catches up by itself.
const CATCHES_UP: f64 = 1.5;
const AUDIO_BACKLOG_PACKETS_MAX: u64 = 25;
/// A line that lost something so lately is one that loses.
const LOSS_MEMORY: Duration = Duration::from_secs(30);
/// RTP padding makes packets of nearly one size into one GSO send.
const PADDING_BYTES_MAX: usize = 32;
const EXTENSIONS_MAX: usize = 4;
pub(super) const RTX_HEADER_BYTES: usize = 2;

#[derive(Clone, Copy)]
pub(super) struct Planned {
    pub sink: usize,
    pub position: u64,
    pub shift: Shift,
    /// The number it went out under the first time.
    pub repair_of: Option<u16>,
    /// Unpadded and without the tag.
    pub bytes: usize,
    pub may_pad: bool,
    /// Sent to find out what the line takes.
    pub probe: bool,
}

/// Memory of one plan, shared by all viewers of a node.
#[derive(Default)]
pub struct Plan {
    pub(super) items: Vec<Planned>,
}

impl Plan {
    pub(super) fn bytes(&self) -> usize {
        self.items.iter().map(|i| i.bytes).sum()
    }
}

impl Viewer {
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
        if self.again_at().is_some_and(|at| at <= now) {
            self.start_again(slots);
        }
        if let Some(tail) = self.tail.take_if(|tail| tail.at <= now) {
            let added = self.repairs.add_tail(now, tail.repair, tail.bytes);
            self.counters.tails += u64::from(added);
        }
        let more = self.plan(now, slots, keyframe_is_near, plan);
        let (mut from, items) = (0, &plan.items);
        while from < items.len() {
            let (to_item, segment) = run_of(&items[from..]);
            self.write_run(now, to, slots, &items[from..from + to_item], segment, out);
            from += to_item;
        }
        self.pacer.spend(plan.items.len(), plan.bytes());
        let new = plan.items.iter().filter(|i| i.repair_of.is_none()).map(|i| i.bytes).sum();
        self.repairs.earn(new, self.is_estimated && self.estimator.has_room());
        let more = more.then(|| self.pacer.next(now));
        let tail_at = self.tail.map(|tail| tail.at);
        let probe_at = self.estimator.due().filter(|_| self.is_estimated);
        [more, self.again_at(), tail_at, probe_at].into_iter().flatten().min()
    }

    fn again_at(&self) -> Option<Time> {
        self.unconfirmed.and_then(|start| start.again_at())
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
        let out = self.note_outage(now);
        let packets_max = self.open(now, slots);
        let mut more = false;
        for audio in [true, false] {
            for index in 0..self.sinks.len() {
                let slot = &slots[self.sinks[index].spec.slot as usize];
                if (slot.slot != Slot::Video) == audio && (audio || !out) {
                    self.sinks[index].judge(slot);
                    self.settle(now, index, slot, keyframe_is_near);
                    more |= self.plan_new(now, index, slot, packets_max, plan);
                }
            }
            if audio && !out {
                more |= self.plan_repairs(now, slots, packets_max, plan);
            }
        }
        self.waits = more;
        more | self.plan_probe(now, slots, packets_max, plan)
    }

    /// Put the sink where it has to read next: at a start, or past what is no longer worth sending.
    fn settle(&mut self, now: Time, index: usize, slot: &SlotState, keyframe_is_near: bool) {
        let rate_bps = self.rate_bps();
        let sink = &mut self.sinks[index];
        if let Some(position) = sink.position {
            let gone = position < slot.ring.first();
            if !gone && !falls_behind(now, sink, slot, position, rate_bps) {
                return;
            }
            let picture = slot.picture_after(position).filter(|_| slot.slot == Slot::Video);
            if slot.slot == Slot::Video && picture.is_none() && !gone {
                // What waits is late, and better than nothing until there is a newer picture.
                sink.not_before = position;
                let all = slot.rates.up_to(ALL);
                let stuck = (rate_bps as f64) < all * CATCHES_UP;
                self.wants_keyframe |= stuck && sink.plays && sink.may_wish(now);
                return;
            }
            self.counters.skips += 1;
            // A jump back in time would freeze the viewer for seconds.
            sink.not_before = position;
            sink.position = None;
            if let Some(picture) = picture {
                sink.begin_at(picture, slot);
                return;
            }
        }
        if let Some(position) = sink.has.take().and_then(|at| slot.position_of(at)) {
            sink.begin_at(position, slot);
            return;
        }
        let start = match slot.start(keyframe_is_near) {
            Start::At(position) if position < sink.not_before => Start::NeedsKeyframe,
            start => start,
        };
        match start {
            Start::At(position) => sink.begin_at(position, slot),
            // Another picture in a codec that is not played would not help, and would cost everybody.
            Start::NeedsKeyframe => self.wants_keyframe |= sink.plays && sink.may_wish(now),
        }
    }

    fn plan_new(
        &mut self,
        now: Time,
        index: usize,
        slot: &SlotState,
        packets_max: usize,
        plan: &mut Plan,
    ) -> bool {
        let sink = &mut self.sinks[index];
        let Some(mut position) = sink.position else { return false };
        let mut planned = plan.bytes();
        let is_picture = slot.slot == Slot::Video;
        let silenced = slot.slot == Slot::ScreenAudio && !self.allocation.has_screen_sound();
        let may_go = !is_picture || !self.is_estimated || self.estimator.admits_picture(now);
        while let (Some(meta), Some(length)) =
            (slot.ring.meta(position), slot.ring.payload_length(position))
        {
            let Some(form) = sink.form(meta.codec, &slot.codecs) else {
                if sink.is_link {
                    break; // until `add_codec`
                }
                position += 1;
                continue;
            };
            if silenced {
                self.counters.sound_left_out += 1;
                position += 1;
                continue;
            }
            let above = is_picture && self.allocation.leaves_out(meta);
            if sink.leaves_out(position, meta, slot, above) {
                self.counters.frames_left_out += u64::from(meta.starts_frame);
                position += 1;
                continue;
            }
            let length = if form.is_whole() {
                length
            } else {
                slot.ring.get(position).map_or(length, |(_, payload)| form.part(payload).len())
            };
            let bytes = sink.header_bytes(&slot.ring, position) + length;
            // Sound does not wait for the line; pictures make up for it.
            let goes = !is_picture || (may_go && self.pacer.fits(planned));
            if plan.items.len() >= packets_max || !goes {
                sink.position = Some(position);
                return true;
            }
            plan.items.push(Planned {
                sink: index,
                position,
                shift: sink.shift,
                repair_of: None,
                bytes,
                may_pad: codec::may_pad(slot.codecs[usize::from(meta.codec)].kind),
                probe: false,
            });
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
        let mut planned = plan.bytes();
        while let Some((repair, bytes)) = self.repairs.next() {
            let sink = &self.sinks[repair.sink];
            let ring = &slots[sink.spec.slot as usize].ring;
            if ring.payload_length(repair.position).is_none() {
                self.counters.nacks_unanswered += 1;
                self.repairs.done(None);
                continue;
            }
            if plan.items.len() >= packets_max || !self.pacer.fits(planned) {
                return true;
            }
            self.repairs.done(Some(now));
            planned += bytes;
            plan.items.push(Planned {
                sink: repair.sink,
                position: repair.position,
                shift: repair.shift,
                repair_of: Some(repair.sequence),
                bytes,
                may_pad: false,
                probe: false,
            });
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
        let form = sink.known_form(meta.codec).expect("planned packets have a codec");
        let payload = form.part(payload);
        let payload_type = match item.repair_of {
            Some(_) => form.rtx_payload_type.unwrap_or(form.payload_type),
            None => form.payload_type,
        };
        if item.repair_of.is_none() && std::mem::take(&mut sink.begins) {
            let first_picture = sink.first_sent.is_none() || self.unconfirmed.is_some();
            sink.began = Some(now);
            if slot.slot == Slot::Video
                && first_picture
                && sink.spec.extensions.transport_cc.is_some()
            {
                self.unconfirmed = Some(Unconfirmed::begin(
                    self.unconfirmed,
                    now,
                    self.round_trip.unwrap_or(ROUND_TRIP_FIRST),
                    self.estimator.next_sequence(),
                ));
            }
        }
        let transport_sequence = self.estimator.next_sequence().to_be_bytes();
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
        if ids.dependency_descriptor.is_some() && slot.ring.descriptor_length(item.position) > 0 {
            add(ids.dependency_descriptor, slot.ring.descriptor(item.position));
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
        debug_assert_eq!(payload_offset, sink.header_bytes(&slot.ring, item.position));
        if let Some(sequence) = item.repair_of {
            out.bytes.extend_from_slice(&sequence.to_be_bytes());
        }
        let payload_start = out.bytes.len();
        out.bytes.extend_from_slice(payload);
        item.shift.apply(&mut out.bytes[payload_start..]);
        form.relabel(&mut out.bytes[payload_start..]);
        if padding > 0 {
            out.bytes.resize(out.bytes.len() + padding, 0);
            *out.bytes.last_mut().expect("just padded") = padding as u8;
        }
        out.bytes.resize(out.bytes.len() + sealer.tag_bytes(), 0);
        let sequence = sink.stream.next_sequence();
        let stream = match (&item.repair_of, &mut sink.repair) {
            (Some(_), Some(repair)) => repair,
            _ => {
                sink.numbering.sent(sink.stream.next_index(), item.position, item.shift);
                &mut sink.stream
            }
        };
        if !sealer.seal_rtp(stream, &mut out.bytes[start..], payload_offset) {
            return false;
        }
        if ids.transport_cc.is_some() {
            self.estimator.sent(now, out.bytes.len() - start);
        }
        if item.repair_of.is_none() {
            sink.packets = sink.packets.wrapping_add(1);
            sink.octets = sink.octets.wrapping_add(payload.len() as u32);
            sink.first_sent.get_or_insert(now);
            let loses = self.lost_at.is_some_and(|at| now.since(at) < LOSS_MEMORY);
            // A full line has no room for what may not be needed.
            let full = self.is_estimated && self.estimator.is_full();
            if slot.slot == Slot::Video && marker && loses && !full && sink.repair.is_some() {
                let bytes = item.bytes + RTX_HEADER_BYTES;
                let repair = Repair {
                    sink: item.sink,
                    sequence,
                    position: item.position,
                    shift: item.shift,
                };
                self.tail = Some(Tail { at: now + TAIL_WAIT, repair, bytes });
            }
        } else if item.probe {
            self.counters.probe_packets += 1;
            self.counters.probe_bytes += item.bytes as u64;
        } else {
            self.counters.repaired_packets += 1;
        }
        self.counters.packets += 1;
        self.counters.payload_bytes += payload.len() as u64;
        self.counters.padding_bytes += padding as u64;
        self.counters.header_bytes += (item.bytes - payload.len()) as u64;
        true
    }
}

/// Whether what stands at the sink's position is too late to be worth sending. A frame that was
/// begun is finished: what follows has to begin at a frame's boundary.
fn falls_behind(now: Time, sink: &Sink, slot: &SlotState, position: u64, rate_bps: u64) -> bool {
    if slot.slot != Slot::Video {
        return slot.ring.end().saturating_sub(position) > AUDIO_BACKLOG_PACKETS_MAX;
    }
    let Some(meta) = slot.ring.meta(position).filter(|m| m.starts_frame) else { return false };
    let late = now.since(meta.arrived);
    if position < sink.live_from || late <= VIDEO_BACKLOG_MAX {
        return false;
    }
    let bits = slot.keyframe_bytes() * 8 * KEYFRAMES_LATE_MAX;
    let keyframes = Duration::from_micros(bits * 1_000_000 / rate_bps.max(1));
    late > VIDEO_BACKLOG_MAX + keyframes.min(KEYFRAME_TIME_MAX * KEYFRAMES_LATE_MAX as u32)
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
