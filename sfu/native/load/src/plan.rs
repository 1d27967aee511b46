//! What to do, as the parent process tells it: first who is there and how much is sent, then one order a line.
//!
//! Keys and passwords come this way and never by the command line, which everybody on a machine can read.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use lectern_core::api::Profile;
use lectern_core::ids::Ssrc;

/// Extension id of transport-wide numbers in every session that does not say otherwise, both ways.
pub const TRANSPORT_CC: u8 = 3;
/// Viewers of one process; each has a socket of its own.
pub const VIEWERS_MAX: usize = 20_000;
/// Header, descriptor, frame header and numbers have to fit, and a datagram has to pass every network.
const PACKET_BYTES: std::ops::RangeInclusive<usize> = 80..=1400;
const PACKETS_PER_FRAME: std::ops::RangeInclusive<usize> = 1..=256;
const FPS: std::ops::RangeInclusive<u32> = 1..=120;
/// An hour at 60 frames a second.
const FRAMES_MAX: u64 = 216_000;

/// One session of the node, as its other end sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub ice_ufrag: String,
    pub ice_pwd: String,
    pub profile: Profile,
    /// key || salt of the profile: what we seal with, and what we open with.
    pub local: Vec<u8>,
    pub remote: Vec<u8>,
    /// Where the node listens for this session; None: where it does for all.
    pub node: Option<SocketAddr>,
    /// Our own port, where another process has shaken hands from it before; 0 takes any.
    pub port: u16,
    /// The extension of transport-wide numbers, 0 where there is none.
    pub transport_cc: u8,
}

/// Who feeds a class.
#[derive(Clone, Debug)]
pub enum Source {
    /// A session, as any browser has it.
    Session(Ssrc, Peer),
    /// RTP without keys, for servers that take it.
    Plain(Ssrc, SocketAddr),
}

#[derive(Clone, Debug)]
pub struct Load {
    pub fps: u32,
    pub packets_per_frame: usize,
    /// Of a sealed packet, as it is sent and as it is received.
    pub packet_bytes: usize,
    /// The packets of a frame leave the publisher over this time, as a browser's pacer would have it.
    pub spread: Duration,
    pub feedback_interval: Duration,
    /// Of so many packets one is opened and its payload checked.
    pub open_every: u64,
    /// Opus' numbers instead of VP8's: every packet is a frame.
    pub is_audio: bool,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub node: SocketAddr,
    pub load: Load,
    /// One for each class, at least one.
    pub sources: Vec<Source>,
    pub viewers: Vec<(Ssrc, Peer)>,
}

/// One order of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Check in with the node and keep checking; said once, first.
    Join,
    /// Publish so many frames and count what arrives.
    Play { frames: u64 },
    /// Send so many frames past the node, by the plain sender; a datagram a message where not `in_runs`.
    Floor { frames: u64, in_runs: bool },
}

impl Load {
    pub fn frame_interval(&self) -> Duration {
        Duration::from_secs(1) / self.fps
    }
}

/// Read the plan, one line for each session, up to the line `ready`. Sessions have settings (`node=`, `port=`,
/// `profile=`, `cc=`) behind their keys. Err: a sentence with the line's number.
pub fn read(lines: &mut impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut node, mut load, mut sources, mut viewers) = (None, None, Vec::new(), Vec::new());
    for (number, line) in lines.enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let read = match words[..] {
            ["ready"] => {
                let missing = "the plan lacks a node, a load or a publisher";
                let (Some(node), Some(load), false) = (node, load, sources.is_empty()) else {
                    return Err(missing.into());
                };
                return Ok(Plan { node, load, sources, viewers });
            }
            ["node", address] => address.parse().ok().map(|at| node = Some(at)),
            ["load", ref settings @ ..] => load_of(settings).map(|it| load = Some(it)),
            ["publisher", ref peer @ ..] if sources.len() < VIEWERS_MAX => {
                peer_of(peer).map(|(ssrc, peer)| sources.push(Source::Session(ssrc, peer)))
            }
            ["source", ssrc, address] if sources.len() < VIEWERS_MAX => number_of(ssrc)
                .zip(address.parse().ok())
                .map(|(ssrc, to)| sources.push(Source::Plain(Ssrc(ssrc), to))),
            ["viewer", ref peer @ ..] if viewers.len() < VIEWERS_MAX => {
                peer_of(peer).map(|it| viewers.push(it))
            }
            _ => None,
        };
        if read.is_none() {
            // Not the line itself: it may hold keys.
            return Err(format!("line {} of the plan is not understood", number + 1));
        }
    }
    Err("the plan has no end".into())
}

/// Read one order. None: not understood, or out of bounds.
pub fn order(line: &str) -> Option<Order> {
    let frames = |text| number_of(text).filter(|count| (1..=FRAMES_MAX).contains(count));
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["join"] => Some(Order::Join),
        ["play", count] => Some(Order::Play { frames: frames(count)? }),
        ["floor", "runs", count] => Some(Order::Floor { frames: frames(count)?, in_runs: true }),
        ["floor", "packets", count] => {
            Some(Order::Floor { frames: frames(count)?, in_runs: false })
        }
        _ => None,
    }
}

fn load_of(settings: &[&str]) -> Option<Load> {
    let value = |name: &str| -> Option<u64> {
        settings.iter().find_map(|s| number_of(s.strip_prefix(name)?.strip_prefix('=')?))
    };
    let load = Load {
        fps: u32::try_from(value("fps")?).ok()?,
        packets_per_frame: value("packets")? as usize,
        packet_bytes: value("bytes")? as usize,
        spread: Duration::from_micros(value("spread_us")?),
        feedback_interval: Duration::from_millis(value("feedback_ms")?.max(10)),
        open_every: value("open_every")?.max(1),
        is_audio: value("audio").unwrap_or(0) != 0,
    };
    let sane = FPS.contains(&load.fps)
        && PACKETS_PER_FRAME.contains(&load.packets_per_frame)
        && PACKET_BYTES.contains(&load.packet_bytes)
        && load.spread <= load.frame_interval();
    sane.then_some(load)
}

fn peer_of(words: &[&str]) -> Option<(Ssrc, Peer)> {
    let [ssrc, ufrag, pwd, local, remote, ref settings @ ..] = *words else { return None };
    let mut peer = Peer {
        ice_ufrag: ufrag.into(),
        ice_pwd: pwd.into(),
        profile: Profile::AeadAes128Gcm,
        local: bytes_of(local)?,
        remote: bytes_of(remote)?,
        node: None,
        port: 0,
        transport_cc: TRANSPORT_CC,
    };
    for setting in settings {
        match setting.split_once('=')? {
            ("node", address) => peer.node = Some(address.parse().ok()?),
            ("port", port) => peer.port = number_of(port)?,
            ("cc", id) => peer.transport_cc = number_of(id)?,
            ("profile", "AEAD_AES_128_GCM") => peer.profile = Profile::AeadAes128Gcm,
            ("profile", "AES128_CM_SHA1_80") => peer.profile = Profile::Aes128CmSha1_80,
            _ => return None,
        }
    }
    Some((Ssrc(number_of(ssrc)?), peer))
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn number_of<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: &str =
        "load fps=15 packets=12 bytes=1150 spread_us=2000 feedback_ms=100 open_every=16";

    fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
        text.lines().map(str::to_owned)
    }

    #[test]
    fn a_plan_is_read_up_to_its_end_and_orders_follow() {
        let text = format!("node 127.0.0.1:7900\n{LOAD}\npublisher 5 u p 00ff 0102\nviewer 7 v q aa bb\nready\njoin");
        let mut lines = lines(&text);
        let plan = read(&mut lines).unwrap();
        assert_eq!((plan.viewers.len(), plan.viewers[0].0), (1, Ssrc(7)));
        let Source::Session(_, teacher) = &plan.sources[0] else { panic!("a session") };
        assert_eq!(
            (&teacher.local[..], teacher.port, teacher.transport_cc),
            (&[0x00, 0xff][..], 0, 3)
        );
        assert_eq!(plan.load.frame_interval(), Duration::from_nanos(66_666_666));
        assert_eq!(order(&lines.next().unwrap()), Some(Order::Join));
        assert_eq!(order("play 150"), Some(Order::Play { frames: 150 }));
        assert_eq!(order("floor packets 3"), Some(Order::Floor { frames: 3, in_runs: false }));
        assert_eq!(order("floor runs 0"), None);
    }

    #[test]
    fn sessions_that_others_have_opened_go_on_from_their_own_ports() {
        let settings = "node=10.0.0.1:9 port=4711 profile=AES128_CM_SHA1_80 cc=0";
        let text =
            format!("node 127.0.0.1:7900\n{LOAD}\nsource 5 127.0.0.1:5004\nviewer 7 v q aa bb {settings}\nready");
        let plan = read(&mut lines(&text)).unwrap();
        assert!(matches!(plan.sources[0], Source::Plain(Ssrc(5), to) if to.port() == 5004));
        let viewer = &plan.viewers[0].1;
        assert_eq!(viewer.profile, Profile::Aes128CmSha1_80);
        assert_eq!(
            (viewer.node, viewer.port, viewer.transport_cc),
            ("10.0.0.1:9".parse().ok(), 4711, 0)
        );
        assert!(read(&mut lines("viewer 7 v q aa bb nonsense=1")).is_err());
    }

    #[test]
    fn what_is_wrong_is_named_without_its_keys() {
        let error = read(&mut lines("node 127.0.0.1:7900\nviewer 7 u p 00 secret")).unwrap_err();
        assert_eq!(error, "line 2 of the plan is not understood");
        assert!(read(&mut lines("load fps=0 packets=12")).is_err());
        assert_eq!(read(&mut lines("")).unwrap_err(), "the plan has no end");
    }
}
