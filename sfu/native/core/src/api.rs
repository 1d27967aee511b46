//! What the rim and the core say to each other: commands in, events and datagrams out.

use std::net::SocketAddr;

use crate::ids::{PathId, RoomId, SessionId, Slot, Ssrc};

/// SRTP protection profiles (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    AeadAes128Gcm,
    AeadAes256Gcm,
    Aes128CmSha1_80,
}

impl Profile {
    pub fn key_bytes(self) -> usize {
        match self {
            Profile::AeadAes256Gcm => 32,
            Profile::AeadAes128Gcm | Profile::Aes128CmSha1_80 => 16,
        }
    }

    pub fn salt_bytes(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 => 14,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
        }
    }
}

/// Codecs whose payload the core understands well enough to find keyframes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    Vp8,
    Vp9,
    H264,
    Av1,
    Opus,
    /// Opus with copies of earlier packets (RFC 2198).
    Red,
    Other,
}

/// One codec under one side's payload types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecSpec {
    pub kind: CodecKind,
    pub payload_type: u8,
    pub clock_rate: u32,
    pub rtx_payload_type: Option<u8>,
    pub fmtp: String,
}

/// Header extension ids of one section (RFC 8285, 1..=14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    pub mid: Option<u8>,
    pub transport_cc: Option<u8>,
    pub abs_send_time: Option<u8>,
    /// To a viewer it may be longer than a one-byte header can carry, so there it stands for
    /// extmap-allow-mixed as well (RFC 8285 section 6).
    pub dependency_descriptor: Option<u8>,
}

/// One RTP stream that a publisher sends.
#[derive(Clone, Debug)]
pub struct TrackSpec {
    pub slot: Slot,
    pub mid: String,
    pub codecs: Vec<CodecSpec>,
    /// None: bound by the MID extension of the first authenticated packet.
    pub ssrc: Option<Ssrc>,
    pub rtx_ssrc: Option<Ssrc>,
    pub extensions: ExtensionIds,
    pub nack: bool,
    pub pli: bool,
}

/// One section of a viewer.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    pub slot: Slot,
    pub mid: String,
    pub codecs: Vec<CodecSpec>,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Option<Ssrc>,
    pub cname: String,
    pub first_sequence: u16,
    pub extensions: ExtensionIds,
    pub nack: bool,
}

/// One slot's stream on a link between nodes. Its codecs are told with `Command::AddCodec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStream {
    pub slot: Slot,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Ssrc,
}

/// How far a copy of a class has come in each slot: the newest timestamp, as its source gave it.
pub type Stand = [Option<u32>; 3];

/// Every command names its session; one for an unknown session is ignored.
#[derive(Clone, Debug)]
pub enum Command {
    AddSession {
        session: SessionId,
        ice_ufrag: String,
        ice_pwd: String,
    },
    RestartIce {
        session: SessionId,
        ice_ufrag: String,
        ice_pwd: String,
    },
    RemoveSession {
        session: SessionId,
    },
    SendDtls {
        session: SessionId,
        datagram: Vec<u8>,
    },
    /// `local` and `remote` are key || salt of the profile's sizes, checked by the binding.
    SetKeys {
        session: SessionId,
        profile: Profile,
        local: Vec<u8>,
        remote: Vec<u8>,
    },
    Publish {
        session: SessionId,
        room: RoomId,
        tracks: Vec<TrackSpec>,
    },
    Subscribe {
        session: SessionId,
        room: RoomId,
        sinks: Vec<SinkSpec>,
    },
    Touch {
        session: SessionId,
    },
    /// One end of a link to another node. `call`: where its media may be, for the end that sends the checks;
    /// empty: it waits for them. `hears`: the SSRCs that come, by which links of one pair of nodes are told apart.
    AddLink {
        session: SessionId,
        ice_ufrag: String,
        ice_pwd: String,
        call: Vec<SocketAddr>,
        hears: Vec<Ssrc>,
    },
    /// Send the room to the node at the other end of a link that has keys. `from`: what it has already.
    FeedLink {
        session: SessionId,
        room: RoomId,
        streams: Vec<LinkStream>,
        cname: String,
        first_sequence: u16,
        from: Stand,
    },
    /// Let a link feed the room, from the first packet that comes over it. `report_ssrc`: under which it is
    /// answered; `continues`: on the time line of the link before it.
    FollowLink {
        session: SessionId,
        room: RoomId,
        streams: Vec<LinkStream>,
        report_ssrc: Ssrc,
        continues: bool,
    },
    /// The other end of a link knows a codec by these numbers, or is to.
    AddCodec {
        session: SessionId,
        slot: Slot,
        codec: CodecSpec,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A DTLS datagram from a path that passed a STUN check.
    Dtls { session: SessionId, datagram: Vec<u8> },
    /// The first valid STUN check of the session.
    Reachable { session: SessionId },
    /// No authenticated packet for so long; said once, the session stays until it is removed.
    Silent { session: SessionId, ms_ago: u32 },
    /// Media began or ceased to flow in a slot of a room.
    SlotFlows { room: RoomId, slot: Slot, flows: bool },
    /// A codec that the slot has not had before flows in it from now on; `index` counts them.
    SlotCodec { room: RoomId, slot: Slot, index: u8, codec: CodecSpec },
    /// A link will feed its room, which has come so far.
    Stands { session: SessionId, stand: Stand },
    /// A link feeds its room from now on.
    Follows { session: SessionId },
    /// A viewer has no payload type for the codec that flows in a slot now, or has one again.
    SlotPlays { session: SessionId, slot: Slot, plays: bool },
}

/// Datagrams of one size to one path, the last one maybe shorter: one UDP_SEGMENT send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub path: PathId,
    /// Offset and length in `Outbox::bytes`.
    pub start: usize,
    pub length: usize,
    /// Bytes of every datagram but the last.
    pub segment: usize,
}

/// What is to be sent, in order. The rim empties it before it asks for more.
#[derive(Debug, Default)]
pub struct Outbox {
    pub bytes: Vec<u8>,
    pub runs: Vec<Run>,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forget what was sent and keep the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
    }

    /// Append one datagram as a run of its own.
    pub fn push(&mut self, path: PathId, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.runs.push(Run { path, start, length: datagram.len(), segment: datagram.len() });
    }
}

/// Counters by name, the unit last.
pub type Counters = Vec<(&'static str, u64)>;
