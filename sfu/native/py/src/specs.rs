//! Sections as Python describes them, checked: what is refused here need not be asked again further in.

use lectern_core::api::{CodecKind, CodecSpec, ExtensionIds, Profile, SinkSpec, TrackSpec};
use lectern_core::ids::{Slot, Ssrc};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

/// RFC 8285 section 4.2: one-byte headers have ids 1..=14 and carry at most 16 bytes.
const EXTENSION_ID_MAX: u8 = 14;
const EXTENSION_BYTES_MAX: usize = 16;

/// RFC 3550 section 6.5: an SDES item carries at most 255 bytes.
const CNAME_BYTES_MAX: usize = 255;

/// Far enough from the wrap that no receiver mistakes the start for one (RFC 3711 section 3.3.1).
pub const FIRST_SEQUENCE_END: u16 = 1 << 15;

/// A whole number of type `T`; ValueError where it does not fit.
pub struct Whole<T>(pub T);

impl<'a, 'py, T: TryFrom<i64>> FromPyObject<'a, 'py> for Whole<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Whole<T>> {
        let bits = 8 * size_of::<T>();
        let refused = || {
            PyValueError::new_err(format!("{} is not an unsigned number of {bits} bits", *object))
        };
        let wide = match object.extract::<i64>() {
            Ok(wide) => wide,
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                return Err(refused())
            }
            Err(error) => return Err(error),
        };
        T::try_from(wide).map(Whole).map_err(|_| refused())
    }
}

/// (payload type, name, clock rate, RTX payload type, fmtp)
pub type CodecTuple = (Whole<u8>, String, Whole<u32>, Option<Whole<u8>>, String);

/// One RTP stream that a publisher sends.
#[pyclass(frozen, module = "sfu._core")]
pub struct Track(pub TrackSpec);

#[pymethods]
impl Track {
    #[new]
    #[pyo3(signature = (*, slot, mid, codecs, ssrc, rtx_ssrc, mid_extension, transport_cc_extension,
        abs_send_time_extension=None, dependency_descriptor_extension=None, nack=true, pli=true))]
    #[allow(clippy::too_many_arguments)] // as many as the section has properties; by keyword only
    fn new(
        slot: &str,
        mid: String,
        codecs: Vec<CodecTuple>,
        ssrc: Option<Whole<u32>>,
        rtx_ssrc: Option<Whole<u32>>,
        mid_extension: Option<Whole<u8>>,
        transport_cc_extension: Option<Whole<u8>>,
        abs_send_time_extension: Option<Whole<u8>>,
        dependency_descriptor_extension: Option<Whole<u8>>,
        nack: bool,
        pli: bool,
    ) -> PyResult<Track> {
        let extensions = extension_ids(
            mid_extension,
            transport_cc_extension,
            abs_send_time_extension,
            dependency_descriptor_extension,
        )?;
        if ssrc.is_none() && extensions.mid.is_none() {
            return refuse("a track needs an ssrc or a mid_extension to be told by");
        }
        Ok(Track(TrackSpec {
            slot: slot_of(slot)?,
            mid: checked_mid(mid, extensions)?,
            codecs: codec_specs(codecs)?,
            ssrc: ssrc.map(ssrc_of),
            rtx_ssrc: rtx_ssrc.map(ssrc_of),
            extensions,
            nack,
            pli,
        }))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// One section of a viewer.
#[pyclass(frozen, module = "sfu._core")]
pub struct Sink(pub SinkSpec);

#[pymethods]
impl Sink {
    #[new]
    #[pyo3(signature = (*, slot, mid, codecs, ssrc, rtx_ssrc, cname, first_sequence, mid_extension,
        transport_cc_extension, abs_send_time_extension=None, dependency_descriptor_extension=None,
        nack=true))]
    #[allow(clippy::too_many_arguments)] // as for `Track`
    fn new(
        slot: &str,
        mid: String,
        codecs: Vec<CodecTuple>,
        ssrc: Whole<u32>,
        rtx_ssrc: Option<Whole<u32>>,
        cname: String,
        first_sequence: Whole<u16>,
        mid_extension: Option<Whole<u8>>,
        transport_cc_extension: Option<Whole<u8>>,
        abs_send_time_extension: Option<Whole<u8>>,
        dependency_descriptor_extension: Option<Whole<u8>>,
        nack: bool,
    ) -> PyResult<Sink> {
        let extensions = extension_ids(
            mid_extension,
            transport_cc_extension,
            abs_send_time_extension,
            dependency_descriptor_extension,
        )?;
        if cname.is_empty() || cname.len() > CNAME_BYTES_MAX {
            return refuse(format!("cname has {} bytes, not 1 to {CNAME_BYTES_MAX}", cname.len()));
        }
        if first_sequence.0 >= FIRST_SEQUENCE_END {
            return refuse(format!("first_sequence {} is not below 32768", first_sequence.0));
        }
        Ok(Sink(SinkSpec {
            slot: slot_of(slot)?,
            mid: checked_mid(mid, extensions)?,
            codecs: codec_specs(codecs)?,
            ssrc: ssrc_of(ssrc),
            rtx_ssrc: rtx_ssrc.map(ssrc_of),
            cname,
            first_sequence: first_sequence.0,
            extensions,
            nack,
        }))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

pub fn refuse<T>(text: impl Into<String>) -> PyResult<T> {
    Err(PyValueError::new_err(text.into()))
}

pub fn slot_of(name: &str) -> PyResult<Slot> {
    match name {
        "video" => Ok(Slot::Video),
        "mic" => Ok(Slot::Mic),
        "screen_audio" => Ok(Slot::ScreenAudio),
        _ => refuse(format!("slot {name:?} is none of video, mic, screen_audio")),
    }
}

pub fn slot_name(slot: Slot) -> &'static str {
    match slot {
        Slot::Video => "video",
        Slot::Mic => "mic",
        Slot::ScreenAudio => "screen_audio",
    }
}

pub fn profile_of(name: &str) -> PyResult<Profile> {
    match name {
        "AEAD_AES_128_GCM" => Ok(Profile::AeadAes128Gcm),
        "AEAD_AES_256_GCM" => Ok(Profile::AeadAes256Gcm),
        "AES128_CM_SHA1_80" => Ok(Profile::Aes128CmSha1_80),
        _ => refuse(format!(
            "profile {name:?} is none of AEAD_AES_128_GCM, AEAD_AES_256_GCM, AES128_CM_SHA1_80"
        )),
    }
}

const KINDS: [(&str, CodecKind); 6] = [
    ("VP8", CodecKind::Vp8),
    ("VP9", CodecKind::Vp9),
    ("H264", CodecKind::H264),
    ("AV1", CodecKind::Av1),
    ("OPUS", CodecKind::Opus),
    ("RED", CodecKind::Red),
];

/// A codec that is not understood has no name of its own: it is forwarded to nobody.
pub fn codec_name(kind: CodecKind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("OTHER", |(name, _)| name)
}

fn codec_kind(name: &str) -> CodecKind {
    let known = KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map_or(CodecKind::Other, |&(_, kind)| kind)
}

fn ssrc_of(ssrc: Whole<u32>) -> Ssrc {
    Ssrc(ssrc.0)
}

fn checked_mid(mid: String, extensions: ExtensionIds) -> PyResult<String> {
    if extensions.mid.is_some() && (mid.is_empty() || mid.len() > EXTENSION_BYTES_MAX) {
        return refuse(format!(
            "mid {mid:?} has {} bytes; its header extension carries 1 to {EXTENSION_BYTES_MAX}",
            mid.len()
        ));
    }
    Ok(mid)
}

fn codec_specs(codecs: Vec<CodecTuple>) -> PyResult<Vec<CodecSpec>> {
    if codecs.is_empty() {
        return refuse("codecs is empty");
    }
    codecs.into_iter().map(codec_spec).collect()
}

pub fn codec_spec(codec: CodecTuple) -> PyResult<CodecSpec> {
    let (payload_type, name, clock_rate, rtx_payload_type, fmtp) = codec;
    if clock_rate.0 == 0 {
        return refuse(format!("codec {name}: clock rate 0"));
    }
    Ok(CodecSpec {
        kind: codec_kind(&name),
        payload_type: checked_payload_type(payload_type)?,
        clock_rate: clock_rate.0,
        rtx_payload_type: rtx_payload_type.map(checked_payload_type).transpose()?,
        fmtp,
    })
}

fn checked_payload_type(payload_type: Whole<u8>) -> PyResult<u8> {
    if payload_type.0 > 127 {
        return refuse(format!("payload type {} is not in 0..=127", payload_type.0));
    }
    Ok(payload_type.0)
}

fn extension_ids(
    mid: Option<Whole<u8>>,
    transport_cc: Option<Whole<u8>>,
    abs_send_time: Option<Whole<u8>>,
    dependency_descriptor: Option<Whole<u8>>,
) -> PyResult<ExtensionIds> {
    Ok(ExtensionIds {
        mid: extension_id("mid", mid)?,
        transport_cc: extension_id("transport_cc", transport_cc)?,
        abs_send_time: extension_id("abs_send_time", abs_send_time)?,
        dependency_descriptor: extension_id("dependency_descriptor", dependency_descriptor)?,
    })
}

fn extension_id(name: &str, id: Option<Whole<u8>>) -> PyResult<Option<u8>> {
    match id {
        Some(Whole(id)) if !(1..=EXTENSION_ID_MAX).contains(&id) => {
            refuse(format!("{name}_extension {id} is not in 1..={EXTENSION_ID_MAX}"))
        }
        id => Ok(id.map(|id| id.0)),
    }
}
