//! One section of a viewer: an SSRC for its life, and where in its slot's ring it reads.

use std::time::Duration;

use crate::api::{CodecSpec, SinkSpec};
use crate::ids::Time;
use crate::numbering::Numbering;
use crate::slot::plays;
use crate::srtp::{SealedStream, Sealer};

/// A viewer that cannot keep up costs the whole class a keyframe no more often than this.
const WISH_INTERVAL_MIN: Duration = Duration::from_secs(15);

pub struct Sink {
    pub spec: SinkSpec,
    pub stream: SealedStream,
    pub repair: Option<SealedStream>,
    pub position: Option<u64>,
    /// Replaying up to here; pacing is gentler until then.
    pub live_from: u64,
    pub numbering: Numbering,
    /// By the slot's codec index: our payload type and that of its retransmissions.
    pub payload_types: Vec<Option<(u8, Option<u8>)>>,
    pub first_sent: Option<Time>,
    /// The next packet begins a picture again or for the first time.
    pub begins: bool,
    /// When the last such packet was sent.
    pub began: Option<Time>,
    /// Begun again because the viewer asked.
    pub starts_again: u8,
    /// Pictures before this position are the past: the viewer has seen later ones.
    pub not_before: u64,
    /// A viewer that falls behind may not wish for a keyframe again before this.
    pub wish_at: Option<Time>,
    pub packets: u32,
    pub octets: u32,
    pub report_at: Option<Time>,
    pub header_bytes: usize,
}

impl Sink {
    pub fn new(sealer: &mut Sealer, spec: SinkSpec) -> Option<Sink> {
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
            begins: false,
            began: None,
            starts_again: 0,
            not_before: 0,
            wish_at: None,
            packets: 0,
            octets: 0,
            report_at: None,
            header_bytes,
        })
    }

    /// Read from a picture's first packet on; what is stored by now is replayed.
    pub fn begin_at(&mut self, position: u64, end: u64) {
        self.position = Some(position);
        self.live_from = end;
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

    /// The viewer's payload type for the slot's codec `index`; None where it cannot decode it.
    pub fn payload_type(&mut self, index: u8, codec: &CodecSpec) -> Option<u8> {
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
