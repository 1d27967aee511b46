//! One section of a viewer: an SSRC for its life, and where in its slot's ring it reads.

use crate::api::{CodecSpec, SinkSpec};
use crate::ids::Time;
use crate::numbering::Numbering;
use crate::slot::plays;
use crate::srtp::{SealedStream, Sealer};

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
    pub starts_again: u8,
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
            starts_again: 0,
            packets: 0,
            octets: 0,
            report_at: None,
            header_bytes,
        })
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
