//! The parts of the core one by one, for differential tests. `sfu/_core.pyi` documents them.

use lectern_core::ids::Ssrc;
use lectern_core::rtcp::{self, Packet, ReportBlock};
use lectern_core::rtp;
use lectern_core::srtp::{Opener, TestSealer};
use lectern_core::twcc;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::specs::profile_of;

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SrtpSealer>()?;
    m.add_class::<SrtpOpener>()?;
    m.add_function(wrap_pyfunction!(parse_rtp, m)?)?;
    m.add_function(wrap_pyfunction!(parse_rtcp, m)?)
}

#[pyclass(module = "sfu._core")]
struct SrtpSealer(TestSealer);

#[pymethods]
impl SrtpSealer {
    #[new]
    fn new(profile: &str, key_and_salt: &[u8]) -> PyResult<SrtpSealer> {
        let sealer = TestSealer::new(profile_of(profile)?, key_and_salt);
        Ok(SrtpSealer(sealer.ok_or_else(wrong_keys)?))
    }

    fn seal_rtp<'py>(&mut self, py: Python<'py>, packet: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = packet.to_vec();
        self.0.seal_rtp(&mut bytes).ok_or_else(malformed)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn seal_rtcp<'py>(&mut self, py: Python<'py>, packet: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = packet.to_vec();
        if !self.0.seal_rtcp(&mut bytes) {
            return Err(malformed());
        }
        Ok(PyBytes::new(py, &bytes))
    }
}

#[pyclass(module = "sfu._core")]
struct SrtpOpener(Opener);

#[pymethods]
impl SrtpOpener {
    #[new]
    fn new(profile: &str, key_and_salt: &[u8]) -> PyResult<SrtpOpener> {
        let opener = Opener::new(profile_of(profile)?, key_and_salt);
        Ok(SrtpOpener(opener.ok_or_else(wrong_keys)?))
    }

    fn open_rtp<'py>(&mut self, py: Python<'py>, packet: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let mut bytes = packet.to_vec();
        let header = rtp::Header::parse(&bytes)?;
        let (length, _) = self.0.open_rtp(&mut bytes, &header)?;
        Some(PyBytes::new(py, &bytes[..length]))
    }

    fn open_rtcp<'py>(&mut self, py: Python<'py>, packet: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let mut bytes = packet.to_vec();
        let length = self.0.open_rtcp(&mut bytes)?;
        Some(PyBytes::new(py, &bytes[..length]))
    }
}

fn wrong_keys() -> PyErr {
    PyValueError::new_err("key_and_salt is not of the profile's size")
}

fn malformed() -> PyErr {
    PyValueError::new_err("not a packet, or its index cannot be sealed")
}

#[pyfunction]
fn parse_rtp<'py>(py: Python<'py>, packet: &[u8]) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(header) = rtp::Header::parse(packet) else {
        return Ok(None);
    };
    let Some(payload) = rtp::payload(&header, packet) else {
        return Ok(None);
    };
    let fields = PyDict::new(py);
    fields.set_item("payload_type", header.payload_type)?;
    fields.set_item("marker", header.marker)?;
    fields.set_item("sequence", header.sequence)?;
    fields.set_item("timestamp", header.timestamp)?;
    fields.set_item("ssrc", header.ssrc.0)?;
    fields.set_item("csrc", numbers(py, header.csrcs(packet))?)?;
    let extensions = header.extensions(packet).map(|(id, value)| (id, PyBytes::new(py, value)));
    fields.set_item("extensions", PyList::new(py, extensions.collect::<Vec<_>>())?)?;
    fields.set_item("payload_offset", header.payload_offset)?;
    fields.set_item("payload_length", payload.len())?;
    fields.set_item("padding_length", packet.len() - header.payload_offset - payload.len())?;
    Ok(Some(fields))
}

#[pyfunction]
fn parse_rtcp<'py>(py: Python<'py>, packet: &[u8]) -> PyResult<Option<Bound<'py, PyList>>> {
    if !rtcp::valid(packet) {
        return Ok(None);
    }
    let reports = PyList::empty(py);
    for packet in rtcp::packets(packet) {
        let Some(fields) = report(py, packet)? else {
            return Ok(None);
        };
        reports.append(fields)?;
    }
    Ok(Some(reports))
}

/// None: transport-wide feedback whose inside is malformed.
fn report<'py>(py: Python<'py>, packet: Packet<'_>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let fields = PyDict::new(py);
    let name = match packet {
        Packet::SenderReport { ssrc, ntp, rtp_timestamp, packet_count, octet_count, blocks } => {
            fields.set_item("ssrc", ssrc.0)?;
            fields.set_item("ntp", ntp)?;
            fields.set_item("rtp_timestamp", rtp_timestamp)?;
            fields.set_item("packet_count", packet_count)?;
            fields.set_item("octet_count", octet_count)?;
            fields.set_item("reports", list(py, blocks, block)?)?;
            "sr"
        }
        Packet::ReceiverReport { ssrc, blocks } => {
            fields.set_item("ssrc", ssrc.0)?;
            fields.set_item("reports", list(py, blocks, block)?)?;
            "rr"
        }
        Packet::Sdes(chunks) => {
            fields.set_item("chunks", list(py, chunks, chunk)?)?;
            "sdes"
        }
        Packet::Bye { ssrcs } => {
            fields.set_item("ssrcs", numbers(py, ssrcs)?)?;
            "bye"
        }
        Packet::Nack { sender, media, pairs } => {
            fields.set_item("ssrc", sender.0)?;
            fields.set_item("media_ssrc", media.0)?;
            fields.set_item("lost", PyList::new(py, pairs.sequences().collect::<Vec<_>>())?)?;
            "nack"
        }
        Packet::Pli { sender, media } => {
            fields.set_item("ssrc", sender.0)?;
            fields.set_item("media_ssrc", media.0)?;
            "pli"
        }
        Packet::Fir { sender, entries } => {
            let entries: Vec<_> = entries.map(|entry| (entry.ssrc.0, entry.number)).collect();
            fields.set_item("ssrc", sender.0)?;
            fields.set_item("entries", PyList::new(py, entries)?)?;
            "fir"
        }
        Packet::Remb { sender, bitrate_bps, ssrcs } => {
            fields.set_item("ssrc", sender.0)?;
            fields.set_item("bitrate_bps", bitrate_bps)?;
            fields.set_item("ssrcs", numbers(py, ssrcs)?)?;
            "remb"
        }
        Packet::TransportFeedback(whole) => {
            let Some(feedback) = twcc::parse(whole) else {
                return Ok(None);
            };
            fields.set_item("ssrc", feedback.sender.0)?;
            fields.set_item("media_ssrc", feedback.media.0)?;
            fields.set_item("base_sequence", feedback.base_sequence)?;
            fields.set_item("status_count", feedback.status_count)?;
            fields.set_item("reference_time", feedback.reference_time)?;
            fields.set_item("feedback_count", feedback.feedback_count)?;
            let received: Vec<(u16, i64)> = feedback.received().collect();
            fields.set_item("received", PyList::new(py, received)?)?;
            "transport_cc"
        }
        Packet::Other { packet_type, count } => {
            fields.set_item("packet_type", packet_type)?;
            fields.set_item("count", count)?;
            "other"
        }
    };
    fields.set_item("type", name)?;
    Ok(Some(fields))
}

fn block<'py>(py: Python<'py>, block: ReportBlock) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("ssrc", block.ssrc.0)?;
    fields.set_item("fraction_lost", block.fraction_lost)?;
    fields.set_item("packets_lost", block.cumulative_lost)?;
    fields.set_item("highest_sequence", block.highest_sequence)?;
    fields.set_item("jitter", block.jitter)?;
    fields.set_item("lsr", block.last_sr)?;
    fields.set_item("dlsr", block.delay_since_last_sr)?;
    Ok(fields)
}

fn chunk<'py>(py: Python<'py>, chunk: rtcp::SdesChunk<'_>) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    let items: Vec<_> = chunk.items.map(|(kind, text)| (kind, PyBytes::new(py, text))).collect();
    fields.set_item("ssrc", chunk.ssrc.0)?;
    fields.set_item("items", PyList::new(py, items)?)?;
    Ok(fields)
}

fn list<'py, T>(
    py: Python<'py>,
    items: impl Iterator<Item = T>,
    convert: impl Fn(Python<'py>, T) -> PyResult<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyList>> {
    let converted = items.map(|item| convert(py, item)).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, converted)
}

fn numbers<'py>(
    py: Python<'py>,
    ssrcs: impl Iterator<Item = Ssrc>,
) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, ssrcs.map(|ssrc| ssrc.0).collect::<Vec<_>>())
}
