//! What to do, as the parent process tells it: first who is there and how much is sent, then one order a line.
//!
//! Keys and passwords come this way and never by the command line, which everybody on a machine can read.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use lectern_core::ids::Ssrc;

/// Viewers of one process; each has a socket of its own.
pub const VIEWERS_MAX: usize = 20_000;
/// Header, descriptor, frame header and numbers have to fit, and a datagram has to pass every network.
const PACKET_BYTES: std::ops::RangeInclusive<usize> = 128..=1400;
const PACKETS_PER_FRAME: std::ops::RangeInclusive<usize> = 1..=256;
const FPS: std::ops::RangeInclusive<u32> = 1..=120;
/// An hour at 60 frames a second.
const FRAMES_MAX: u64 = 216_000;

/// One session of the node, as its other end sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub ice_ufrag: String,
    pub ice_pwd: String,
    /// key || salt of AEAD_AES_128_GCM: what we seal with, and what we open with.
    pub local: Vec<u8>,
    pub remote: Vec<u8>,
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
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub node: SocketAddr,
    pub load: Load,
    pub publisher: (Ssrc, Peer),
    pub viewers: Vec<(Ssrc, Peer)>,
}

/// One order of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Check in with the node and keep checking; said once, first.
    Join,
    /// Publish so many frames and count what arrives.
    Play { frames: u64 },
    /// Send so many frames past the node, by the plain sender.
    Floor { frames: u64 },
}

impl Load {
    pub fn frame_interval(&self) -> Duration {
        Duration::from_secs(1) / self.fps
    }
}

/// Read the plan, one line for each session, up to the line `ready`. Err: a sentence with the line's number.
pub fn read(lines: &mut impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut node, mut load, mut publisher, mut viewers) = (None, None, None, Vec::new());
    for (number, line) in lines.enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let read = match words[..] {
            ["ready"] => {
                let missing = "the plan lacks a node, a load or a publisher";
                let (Some(node), Some(load), Some(publisher)) = (node, load, publisher) else {
                    return Err(missing.into());
                };
                return Ok(Plan { node, load, publisher, viewers });
            }
            ["node", address] => address.parse().ok().map(|at| node = Some(at)),
            ["load", ref settings @ ..] => load_of(settings).map(|it| load = Some(it)),
            ["publisher", ref peer @ ..] => peer_of(peer).map(|it| publisher = Some(it)),
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
        ["floor", count] => Some(Order::Floor { frames: frames(count)? }),
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
    };
    let sane = FPS.contains(&load.fps)
        && PACKETS_PER_FRAME.contains(&load.packets_per_frame)
        && PACKET_BYTES.contains(&load.packet_bytes)
        && load.spread <= load.frame_interval();
    sane.then_some(load)
}

fn peer_of(words: &[&str]) -> Option<(Ssrc, Peer)> {
    let [ssrc, ufrag, pwd, local, remote] = *words else { return None };
    let peer = Peer {
        ice_ufrag: ufrag.into(),
        ice_pwd: pwd.into(),
        local: bytes_of(local)?,
        remote: bytes_of(remote)?,
    };
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
        assert_eq!(plan.publisher.1.local, [0x00, 0xff]);
        assert_eq!(plan.load.frame_interval(), Duration::from_nanos(66_666_666));
        assert_eq!(order(&lines.next().unwrap()), Some(Order::Join));
        assert_eq!(order("play 150"), Some(Order::Play { frames: 150 }));
        assert_eq!(order("floor 0"), None);
    }

    #[test]
    fn what_is_wrong_is_named_without_its_keys() {
        let error = read(&mut lines("node 127.0.0.1:7900\nviewer 7 u p 00 secret")).unwrap_err();
        assert_eq!(error, "line 2 of the plan is not understood");
        assert!(read(&mut lines("load fps=0 packets=12")).is_err());
        assert_eq!(read(&mut lines("")).unwrap_err(), "the plan has no end");
    }
}
