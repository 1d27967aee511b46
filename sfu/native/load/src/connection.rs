//! One end of a session: a socket, its checks, and the keys of both directions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lectern_core::api::Run;
use lectern_core::ids::{PathId, Time};
use lectern_core::srtp::{Opener, Sealer};
use lectern_core::stun;
use lectern_io::batch::Wire;
use lectern_io::receive::udp_path;
use lectern_io::sys::{set_option, UdpSocket};

use crate::plan::Peer;

/// Holds 40 frames of the usual load (a datagram of 1150 bytes counts as 2.3 kB).
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// RFC 7675 section 5.1: every 5 s, less or more by a fifth.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// Until the first answer, as browsers do at first.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// What our checks are called, and what the offers and answers made for us say: no secret, nobody else reaches us.
const OUR_UFRAG: &str = "load";
const OUR_PWD: &[u8] = b"the+load+generator+is+no+secret";
const PRIORITY: u32 = 0x6e7f_1eff;

#[derive(Clone, Copy, Debug, Default)]
pub struct CheckCounters {
    pub sent: u64,
    pub answered: u64,
}

pub struct Connection {
    pub socket: UdpSocket,
    pub sealer: Sealer,
    pub opener: Opener,
    pub checks: CheckCounters,
    node: PathId,
    address: SocketAddr,
    username: String,
    pwd: String,
    /// Random once, then counted up: no two checks share a transaction.
    transaction: u64,
    check_at: Time,
    is_checked: bool,
    scratch: Vec<u8>,
}

impl Connection {
    /// Bind a socket that gives every datagram by itself. Errors: those of binding, and keys of the wrong size.
    pub fn open(node: SocketAddr, peer: &Peer, random: u64) -> io::Result<Connection> {
        let node = peer.node.unwrap_or(node);
        let host = if node.ip().is_loopback() { node.ip() } else { unspecified(node) };
        let socket = UdpSocket::bind(host, peer.port, RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES)?;
        // A node's peers are many machines: joining their datagrams here would flatter the sender.
        set_option(socket.fd(), libc::SOL_UDP, libc::UDP_GRO, 0)?;
        let keys =
            Sealer::new(peer.profile, &peer.local).zip(Opener::new(peer.profile, &peer.remote));
        let (sealer, opener) = keys.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Connection {
            socket,
            sealer,
            opener,
            checks: CheckCounters::default(),
            node: udp_path(node),
            address: node,
            username: format!("{}:{OUR_UFRAG}", peer.ice_ufrag),
            pwd: peer.ice_pwd.clone(),
            transaction: random,
            check_at: Time(0),
            is_checked: false,
            scratch: Vec::new(),
        })
    }

    /// The node has answered a check of ours.
    pub fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Send a connectivity check if one is due.
    pub fn check(&mut self, now: Time) {
        if now < self.check_at {
            return;
        }
        self.transaction = self.transaction.wrapping_add(1);
        let fifth = CONSENT_INTERVAL / 5;
        let jitter = fifth * 2 * (self.transaction as u32 & 0xFF) / 0xFF;
        let interval =
            if self.is_checked { CONSENT_INTERVAL - fifth + jitter } else { CHECK_INTERVAL };
        self.check_at = now + interval;
        let mut transaction = [0; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        let mut request = std::mem::take(&mut self.scratch);
        request.clear();
        let (username, pwd) = (self.username.as_bytes(), self.pwd.as_bytes());
        stun::write_request(&mut request, &transaction, username, pwd, PRIORITY, 1, true);
        self.checks.sent += 1;
        self.send(&request);
        self.scratch = request;
    }

    /// Take an answer to a check, or answer the other side's: some servers check although they are ICE-lite.
    pub fn take_stun(&mut self, datagram: &[u8]) {
        if let Some(request) = stun::parse_request(datagram) {
            if request.verify(OUR_PWD) {
                let mut answer = Vec::new();
                stun::write_success(&mut answer, &request.transaction, self.address, OUR_PWD);
                self.send(&answer);
            }
            return;
        }
        let Some((transaction, _)) = stun::parse_response(datagram, self.pwd.as_bytes()) else {
            return;
        };
        if transaction[4..] == self.transaction.to_be_bytes() {
            self.checks.answered += 1;
            self.is_checked = true;
        }
    }

    /// Seal a compound and send it.
    pub fn send_rtcp(&mut self, compound: &mut Vec<u8>) {
        if self.sealer.seal_rtcp(compound) {
            self.send(compound);
        }
    }

    /// Send one datagram to the node; one that the socket does not take is lost, as on any network.
    pub fn send(&self, datagram: &[u8]) {
        let length = datagram.len();
        let run = Run { path: self.node, start: 0, length, segment: length };
        let _ = (&self.socket).send(&[run], datagram);
    }
}

fn unspecified(like: SocketAddr) -> std::net::IpAddr {
    match like {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
