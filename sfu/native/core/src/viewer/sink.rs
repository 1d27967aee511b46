//! One section of a viewer: an SSRC for its life, and where in its slot's ring it reads.

use std::time::Duration;

use crate::api::{CodecKind, CodecSpec, SinkSpec};
use crate::codec::fit::fit;
use crate::codec::red;
use crate::codec::vp8::Shift;
use crate::ids::Time;
use crate::link::is_same;
use crate::numbering::Numbering;
use crate::ring::{Meta, Ring};
use crate::rtp;
use crate::slot::SlotState;
use crate::srtp::{SealedStream, Sealer};

/// A viewer that cannot keep up costs the whole class a keyframe no more often than this.
const WISH_INTERVAL_MIN: Duration = Duration::from_secs(15);

/// How what flows in a codec is sent to this viewer.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub payload_type: u8,
    pub rtx_payload_type: Option<u8>,
    redundancy: Redundancy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redundancy {
    /// The codec has none.
    None,
    /// Copies of earlier sound are left out.
    Stripped,
    /// They go along, under the viewer's own payload type.
    Kept(u8),
}

impl Form {
    /// Whether a payload goes out as long as it is stored.
    pub fn is_whole(&self) -> bool {
        self.redundancy != Redundancy::Stripped
    }

    /// The part of a stored payload that goes out.
    pub fn part<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        match self.redundancy {
            Redundancy::Stripped => &payload[red::own_block(payload).unwrap_or(0)..],
            Redundancy::None | Redundancy::Kept(_) => payload,
        }
    }

    /// Change what went out to what the viewer knows.
    pub fn relabel(&self, payload: &mut [u8]) {
        if let Redundancy::Kept(payload_type) = self.redundancy {
            red::relabel(payload, payload_type);
        }
    }

    fn of(theirs: &CodecSpec, ours: &CodecSpec) -> Form {
        let redundancy = match (ours.kind, theirs.kind) {
            (CodecKind::Red, CodecKind::Red) => {
                red::carries(&theirs.fmtp).map_or(Redundancy::None, Redundancy::Kept)
            }
            (CodecKind::Red, _) => Redundancy::Stripped,
            _ => Redundancy::None,
        };
        Form {
            payload_type: theirs.payload_type,
            rtx_payload_type: theirs.rtx_payload_type,
            redundancy,
        }
    }
}

/// A picture that was sent again because the other node had lost something since.
#[derive(Clone, Copy, Debug)]
pub struct Mended {
    pub at: Time,
    /// Its position.
    pub picture: u64,
    pub times: u8,
}

pub struct Sink {
    pub spec: SinkSpec,
    /// To another node: whatever flows waits until it knows the codec, and nothing is left out of a replay.
    pub is_link: bool,
    /// The newest timestamp that the other node has of an earlier link: where to begin.
    pub has: Option<u32>,
    pub stream: SealedStream,
    pub repair: Option<SealedStream>,
    pub position: Option<u64>,
    /// Replaying up to here; pacing is gentler until then.
    pub live_from: u64,
    /// Frames that begin before this and that no other needs are left out of the replay.
    whole_before: u64,
    leaves_out: bool,
    /// Of the VP8 numbers of what is planned now.
    pub shift: Shift,
    pub numbering: Numbering,
    /// Whether the viewer can decode what flows now, and what was said about that.
    pub plays: bool,
    pub plays_said: bool,
    /// By the slot's codec index.
    forms: Vec<Option<Form>>,
    pub first_sent: Option<Time>,
    /// The next packet begins a picture again or for the first time.
    pub begins: bool,
    /// When the last such packet was sent.
    pub began: Option<Time>,
    /// Begun again because the viewer asked.
    pub starts_again: u8,
    /// The same for another node.
    pub mended: Option<Mended>,
    /// Pictures before this position are the past: the viewer has seen later ones.
    pub not_before: u64,
    /// A viewer that falls behind may not wish for a keyframe again before this.
    pub wish_at: Option<Time>,
    pub packets: u32,
    pub octets: u32,
    pub report_at: Option<Time>,
    /// Without a dependency descriptor.
    header_bytes: usize,
}

impl Sink {
    pub fn new(sealer: &mut Sealer, spec: SinkSpec) -> Option<Sink> {
        let stream = sealer.stream(spec.ssrc, spec.first_sequence)?;
        let repair = match spec.rtx_ssrc {
            Some(ssrc) if spec.nack => Some(sealer.stream(ssrc, spec.first_sequence ^ 0x55)?),
            _ => None,
        };
        let header_bytes = rtp::header_bytes(extension_lengths(&spec));
        Some(Sink {
            spec,
            is_link: false,
            has: None,
            stream,
            repair,
            position: None,
            live_from: 0,
            whole_before: 0,
            leaves_out: false,
            shift: Shift::default(),
            numbering: Numbering::new(),
            plays: true,
            plays_said: true,
            forms: Vec::new(),
            first_sent: None,
            begins: false,
            began: None,
            starts_again: 0,
            mended: None,
            not_before: 0,
            wish_at: None,
            packets: 0,
            octets: 0,
            report_at: None,
            header_bytes,
        })
    }

    /// Read from a picture's first packet on; what is stored by now is replayed.
    pub fn begin_at(&mut self, position: u64, slot: &SlotState) {
        self.position = Some(position);
        self.live_from = slot.ring.end();
        // The newest frame is sent in any case: on a still screen it stays in sight.
        self.whole_before = if self.is_link { 0 } else { slot.newest_frame() };
        self.begins = true;
    }

    /// Whether a keyframe may be wished for to go on: not often by one who falls behind again and again.
    pub fn may_wish(&mut self, now: Time) -> bool {
        let fell = self.not_before > 0;
        if fell && self.wish_at.is_some_and(|at| now < at) {
            return false;
        }
        self.wish_at = fell.then(|| now + WISH_INTERVAL_MIN);
        true
    }

    /// Whether the packet belongs to a frame that a replay goes without, or that is `above` what the line takes;
    /// asked in order.
    pub fn leaves_out(
        &mut self,
        position: u64,
        meta: &Meta,
        slot: &SlotState,
        above: bool,
    ) -> bool {
        if meta.keyframe {
            self.shift = Shift::default(); // receivers take any number at a keyframe
        }
        if meta.starts_frame {
            self.leaves_out = above || (meta.droppable && position < self.whole_before);
            let is_vp8 = slot.codecs[usize::from(meta.codec)].kind == CodecKind::Vp8;
            if let (true, true, Some((_, payload))) =
                (self.leaves_out, is_vp8, slot.ring.get(position))
            {
                self.shift.leave_out(payload);
            }
        }
        self.leaves_out
    }

    /// Note whether what flows now can be decoded.
    pub fn judge(&mut self, slot: &SlotState) {
        if let Some(codec) = slot.codec() {
            self.plays = self.form(codec, &slot.codecs).is_some();
        }
    }

    /// Of a packet in the ring as it is sent here.
    pub fn header_bytes(&self, ring: &Ring, position: u64) -> usize {
        if self.spec.extensions.dependency_descriptor.is_none() {
            return self.header_bytes;
        }
        match ring.descriptor_length(position) {
            0 => self.header_bytes,
            length => rtp::header_bytes(extension_lengths(&self.spec).chain([length])),
        }
    }

    /// How the slot's codec `index` is sent to the viewer; None where it cannot decode it.
    pub fn form(&mut self, index: u8, codecs: &[CodecSpec]) -> Option<Form> {
        let fits = |ours: &CodecSpec| {
            if self.is_link {
                let same = self.spec.codecs.iter().find(|told| is_same(told, ours))?;
                return Some(Form::of(same, ours));
            }
            let theirs = self.spec.codecs.iter().rev();
            // The first of the best, which is the viewer's own order.
            let best = theirs.filter_map(|t| Some((fit(t, ours)?, t))).max_by_key(|(n, _)| *n)?;
            Some(Form::of(best.1, ours))
        };
        let known = self.forms.len();
        self.forms.extend(codecs[known..].iter().map(fits));
        self.forms[usize::from(index)]
    }

    /// The receiver knows more codecs than before.
    pub fn forget_forms(&mut self) {
        self.forms.clear();
    }

    /// The same of a codec that was asked for before.
    pub fn known_form(&self, index: u8) -> Option<Form> {
        self.forms[usize::from(index)]
    }
}

/// Of what every packet of a section carries.
fn extension_lengths(spec: &SinkSpec) -> impl Iterator<Item = usize> + Clone {
    let ids = spec.extensions;
    let lengths = [(ids.mid, spec.mid.len()), (ids.transport_cc, 2), (ids.abs_send_time, 3)];
    lengths.into_iter().filter_map(|(id, length)| id.map(|_| length))
}
