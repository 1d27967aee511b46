//! `Media`: the media thread's handle under Python's types.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use lectern_core::api::{Command, Event, LinkStream, Profile};
use lectern_core::ids::{RoomId, SessionId, Ssrc};
use lectern_core::link::CALLED_MAX;
use lectern_core::node::Node;
use lectern_io::media::{CommandError, Media as Thread, Options, StartError};
use lectern_io::send::SEND_BYTES_MAX;
use lectern_io::sys::random_seed;
use lectern_io::tcp::{TcpLimits, TcpOptions};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyTuple};

use crate::specs::{
    codec_name, codec_spec, profile_of, refuse, slot_name, slot_of, CodecTuple, Sink, Track, Whole,
    FIRST_SEQUENCE_END,
};

/// RFC 8839 section 5.4: ice-ufrag has 4 to 256 characters, ice-pwd 22 to 256.
const UFRAG_BYTES_MIN: usize = 4;
const PWD_BYTES_MIN: usize = 22;
const CREDENTIAL_BYTES_MAX: usize = 256;

/// What `stats` and `session_stats` give: ordered, so that it prints the same every time.
type Stats = BTreeMap<&'static str, u64>;

/// The media thread of a node.
#[pyclass(frozen, module = "sfu._core")]
pub struct Media(Thread);

#[pymethods]
impl Media {
    #[new]
    #[pyo3(signature = (*, host, port, tcp_port=None, receive_buffer_bytes=8_388_608,
        send_buffer_bytes=8_388_608, gso=true, seed=0))]
    #[allow(clippy::too_many_arguments)] // by keyword only
    fn new(
        py: Python<'_>,
        host: &str,
        port: Whole<u16>,
        tcp_port: Option<Whole<u16>>,
        receive_buffer_bytes: usize,
        send_buffer_bytes: usize,
        gso: bool,
        seed: u64,
    ) -> PyResult<Media> {
        let host: IpAddr = host
            .parse()
            .map_err(|_| PyValueError::new_err(format!("host {host:?} is not an IP address")))?;
        let tcp = tcp_port.map(|port| TcpOptions { port: port.0, limits: TcpLimits::default() });
        let options =
            Options { host, port: port.0, tcp, receive_buffer_bytes, send_buffer_bytes, gso };
        let seed = if seed == 0 { random_seed()? } else { seed };
        let started = py.detach(|| Thread::start(&options, Node::new(seed)));
        Ok(Media(started.map_err(|error| os_error(&error))?))
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.port()
    }

    #[getter]
    fn tcp_port(&self) -> Option<u16> {
        self.0.tcp_port()
    }

    fn fileno(&self) -> i32 {
        self.0.event_fd()
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let events = self.0.events().map_err(raised)?;
        events.into_iter().map(|event| converted(py, event)).collect()
    }

    #[pyo3(signature = (session, *, ice_ufrag, ice_pwd))]
    fn add_session(&self, session: Whole<u32>, ice_ufrag: String, ice_pwd: String) -> PyResult<()> {
        check_credentials(&ice_ufrag, &ice_pwd)?;
        self.command(Command::AddSession { session: SessionId(session.0), ice_ufrag, ice_pwd })
    }

    #[pyo3(signature = (session, *, ice_ufrag, ice_pwd))]
    fn restart_ice(&self, session: Whole<u32>, ice_ufrag: String, ice_pwd: String) -> PyResult<()> {
        check_credentials(&ice_ufrag, &ice_pwd)?;
        self.command(Command::RestartIce { session: SessionId(session.0), ice_ufrag, ice_pwd })
    }

    fn remove_session(&self, session: Whole<u32>) -> PyResult<()> {
        self.command(Command::RemoveSession { session: SessionId(session.0) })
    }

    fn send_dtls(&self, session: Whole<u32>, datagram: &[u8]) -> PyResult<()> {
        if datagram.is_empty() || datagram.len() > SEND_BYTES_MAX {
            return refuse(format!("a datagram of {} bytes", datagram.len()));
        }
        let session = SessionId(session.0);
        self.command(Command::SendDtls { session, datagram: datagram.to_vec() })
    }

    fn hand_over(
        &self,
        datagrams: Vec<(Whole<u32>, PyBackedBytes)>,
        touched: Vec<Whole<u32>>,
    ) -> PyResult<()> {
        if let Some((_, bad)) =
            datagrams.iter().find(|(_, d)| d.is_empty() || d.len() > SEND_BYTES_MAX)
        {
            return refuse(format!("a datagram of {} bytes", bad.len()));
        }
        let owned = datagrams.iter().map(|(s, d)| (SessionId(s.0), d.to_vec())).collect();
        let touched: Vec<SessionId> = touched.iter().map(|s| SessionId(s.0)).collect();
        self.0.hand_over(owned, &touched).map_err(raised)
    }

    #[pyo3(signature = (session, profile, *, local, remote))]
    fn set_keys(
        &self,
        session: Whole<u32>,
        profile: &str,
        local: &[u8],
        remote: &[u8],
    ) -> PyResult<()> {
        let known = profile_of(profile)?;
        check_key(profile, known, "local", local)?;
        check_key(profile, known, "remote", remote)?;
        let session = SessionId(session.0);
        let (local, remote) = (local.to_vec(), remote.to_vec());
        self.command(Command::SetKeys { session, profile: known, local, remote })
    }

    #[pyo3(signature = (session, *, room, tracks))]
    fn publish(
        &self,
        session: Whole<u32>,
        room: Whole<u32>,
        tracks: Vec<Py<Track>>,
    ) -> PyResult<()> {
        let tracks: Vec<_> = tracks.iter().map(|track| track.get().0.clone()).collect();
        check_distinct("slot", tracks.iter().map(|track| slot_name(track.slot)))?;
        let ssrcs = tracks.iter().flat_map(|track| [track.ssrc, track.rtx_ssrc]);
        check_distinct("ssrc", ssrcs.flatten().map(|ssrc| ssrc.0))?;
        self.command(Command::Publish {
            session: SessionId(session.0),
            room: RoomId(room.0),
            tracks,
        })
    }

    #[pyo3(signature = (session, *, room, sinks))]
    fn subscribe(
        &self,
        session: Whole<u32>,
        room: Whole<u32>,
        sinks: Vec<Py<Sink>>,
    ) -> PyResult<()> {
        let sinks: Vec<_> = sinks.iter().map(|sink| sink.get().0.clone()).collect();
        check_distinct("slot", sinks.iter().map(|sink| slot_name(sink.slot)))?;
        let ssrcs = sinks.iter().flat_map(|sink| [Some(sink.ssrc), sink.rtx_ssrc]);
        check_distinct("ssrc", ssrcs.flatten().map(|ssrc| ssrc.0))?;
        self.command(Command::Subscribe {
            session: SessionId(session.0),
            room: RoomId(room.0),
            sinks,
        })
    }

    #[pyo3(signature = (session, *, ice_ufrag, ice_pwd, call, hears))]
    fn add_link(
        &self,
        session: Whole<u32>,
        ice_ufrag: String,
        ice_pwd: String,
        call: Vec<(String, Whole<u16>)>,
        hears: Vec<Whole<u32>>,
    ) -> PyResult<()> {
        check_credentials(&ice_ufrag, &ice_pwd)?;
        if call.len() > CALLED_MAX {
            return refuse(format!("{} addresses to call, more than {CALLED_MAX}", call.len()));
        }
        let address = |(host, port): (String, Whole<u16>)| match host.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, port.0)),
            Err(_) => refuse(format!("address {host:?} is not an IP address")),
        };
        self.command(Command::AddLink {
            session: SessionId(session.0),
            ice_ufrag,
            ice_pwd,
            call: call.into_iter().map(address).collect::<PyResult<_>>()?,
            hears: hears.into_iter().map(|ssrc| Ssrc(ssrc.0)).collect(),
        })
    }

    #[pyo3(signature = (session, *, room, streams, cname, first_sequence, stand))]
    #[allow(clippy::too_many_arguments)] // by keyword only
    fn feed_link(
        &self,
        session: Whole<u32>,
        room: Whole<u32>,
        streams: Vec<StreamTuple>,
        cname: String,
        first_sequence: Whole<u16>,
        stand: StandTuple,
    ) -> PyResult<()> {
        let from = [stand.0, stand.1, stand.2].map(|newest| newest.map(|n| n.0));
        if first_sequence.0 >= FIRST_SEQUENCE_END {
            return refuse(format!("first_sequence {} is not below 32768", first_sequence.0));
        }
        self.command(Command::FeedLink {
            session: SessionId(session.0),
            room: RoomId(room.0),
            streams: link_streams(streams)?,
            cname,
            first_sequence: first_sequence.0,
            from,
        })
    }

    #[pyo3(signature = (session, *, room, streams, report_ssrc, continues))]
    fn follow_link(
        &self,
        session: Whole<u32>,
        room: Whole<u32>,
        streams: Vec<StreamTuple>,
        report_ssrc: Whole<u32>,
        continues: bool,
    ) -> PyResult<()> {
        self.command(Command::FollowLink {
            session: SessionId(session.0),
            room: RoomId(room.0),
            streams: link_streams(streams)?,
            report_ssrc: Ssrc(report_ssrc.0),
            continues,
        })
    }

    #[pyo3(signature = (session, *, slot, codec))]
    fn add_codec(&self, session: Whole<u32>, slot: &str, codec: CodecTuple) -> PyResult<()> {
        let (session, slot) = (SessionId(session.0), slot_of(slot)?);
        self.command(Command::AddCodec { session, slot, codec: codec_spec(codec)? })
    }

    fn touch(&self, session: Whole<u32>) -> PyResult<()> {
        self.command(Command::Touch { session: SessionId(session.0) })
    }

    fn stats(&self) -> Stats {
        self.0.counters().into_iter().collect()
    }

    fn session_stats(&self, session: Whole<u32>) -> Option<Stats> {
        let counters = self.0.session_counters(SessionId(session.0))?;
        Some(counters.into_iter().collect())
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

impl Media {
    fn command(&self, command: Command) -> PyResult<()> {
        self.0.command(command).map_err(raised)
    }
}

/// The newest timestamps of video, mic and screen_audio.
type StandTuple = (Option<Whole<u32>>, Option<Whole<u32>>, Option<Whole<u32>>);

/// (slot, SSRC, SSRC of its retransmissions)
type StreamTuple = (String, Whole<u32>, Whole<u32>);

fn link_streams(streams: Vec<StreamTuple>) -> PyResult<Vec<LinkStream>> {
    let slots = streams.iter().map(|(slot, ..)| slot.clone());
    check_distinct("slot", slots)?;
    let ssrcs = streams.iter().flat_map(|(_, ssrc, rtx_ssrc)| [ssrc.0, rtx_ssrc.0]);
    check_distinct("ssrc", ssrcs)?;
    let stream = |(slot, ssrc, rtx_ssrc): StreamTuple| {
        Ok(LinkStream { slot: slot_of(&slot)?, ssrc: Ssrc(ssrc.0), rtx_ssrc: Ssrc(rtx_ssrc.0) })
    };
    streams.into_iter().map(stream).collect()
}

/// OSError with errno, so that Python makes PermissionError and the like of it.
fn os_error(failed: &StartError) -> PyErr {
    PyOSError::new_err((failed.error.raw_os_error(), failed.to_string()))
}

fn raised(error: CommandError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

fn converted(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::Dtls { session, datagram } => {
            ("dtls", session.0, PyBytes::new(py, &datagram)).into_pyobject(py)
        }
        Event::Reachable { session } => ("reachable", session.0).into_pyobject(py),
        Event::Silent { session, ms_ago } => ("silent", session.0, ms_ago).into_pyobject(py),
        Event::SlotPlays { session, slot, plays } => {
            ("plays", session.0, slot_name(slot), plays).into_pyobject(py)
        }
        Event::SlotCodec { room, slot, index, codec } => {
            let (name, slot) = (codec_name(codec.kind), slot_name(slot));
            ("codec", room.0, slot, index, name, codec.clock_rate, codec.fmtp).into_pyobject(py)
        }
        Event::Stands { session, stand: [video, mic, screen] } => {
            ("stands", session.0, (video, mic, screen)).into_pyobject(py)
        }
        Event::Follows { session } => ("follows", session.0).into_pyobject(py),
        Event::SlotFlows { room, slot, flows } => {
            ("slot", room.0, slot_name(slot), flows).into_pyobject(py)
        }
    }
}

fn check_credentials(ice_ufrag: &str, ice_pwd: &str) -> PyResult<()> {
    if !(UFRAG_BYTES_MIN..=CREDENTIAL_BYTES_MAX).contains(&ice_ufrag.len()) {
        return refuse(format!("ice_ufrag has {} characters, not 4 to 256", ice_ufrag.len()));
    }
    if !(PWD_BYTES_MIN..=CREDENTIAL_BYTES_MAX).contains(&ice_pwd.len()) {
        return refuse(format!("ice_pwd has {} characters, not 22 to 256", ice_pwd.len()));
    }
    Ok(())
}

fn check_key(name: &str, profile: Profile, side: &str, key_and_salt: &[u8]) -> PyResult<()> {
    let wanted = profile.key_bytes() + profile.salt_bytes();
    if key_and_salt.len() != wanted {
        return refuse(format!(
            "{side} has {} bytes; {name} takes {wanted} (key, then salt)",
            key_and_salt.len()
        ));
    }
    Ok(())
}

fn check_distinct<T: Ord + Display>(what: &str, names: impl Iterator<Item = T>) -> PyResult<()> {
    let mut seen: Vec<T> = names.collect();
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("{what} {} is given twice", pair[0])),
        None => Ok(()),
    }
}
