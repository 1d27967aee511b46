//! A whole node under datagrams from anybody, in any order and at any time.
//!
//! The input is a list of (path, milliseconds, length, bytes). A path's highest bit says that the bytes are the
//! attributes of a STUN check by somebody who knows the password; such a path is proven from then on. Nobody
//! unproven gets an answer that is larger than the question, and the session stays.
#![no_main]

use std::time::Duration;

use lectern_core::api::{Command, Outbox};
use lectern_core::ids::{PathId, SessionId, Time};
use lectern_core::node::Node;
use lectern_core::stun;
use libfuzzer_sys::fuzz_target;

const SESSION: SessionId = SessionId(1);
const UFRAG: &str = "server";
const PWD: &str = "the password of the server";
const PATHS: usize = 16;
const CHECK: u8 = 0x80;
/// Longer is no datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;

fuzz_target!(|data: &[u8]| {
    let mut now = Time(1_000_000_000);
    let mut node = Node::new(1);
    let (ice_ufrag, ice_pwd) = (UFRAG.to_owned(), PWD.to_owned());
    node.command(now, Command::AddSession { session: SESSION, ice_ufrag, ice_pwd });
    let mut proven = [false; PATHS];
    let (mut out, mut events) = (Outbox::default(), Vec::new());

    let mut rest = data;
    while let [choice, ms, high, low, bytes @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        let (bytes, others) = bytes.split_at(length.min(DATAGRAM_BYTES_MAX));
        rest = others;
        now = now + Duration::from_millis(u64::from(*ms));
        node.advance(now, &mut out);
        out.clear();

        let port = usize::from(*choice) % PATHS;
        let from = PathId { address: ([127, 0, 0, 1], port as u16 + 1).into(), via: 0 };
        let mut datagram = bytes.to_vec();
        if *choice & CHECK != 0 {
            datagram.clear();
            let attributes = &bytes[..bytes.len() & !3];
            stun::write_raw(&mut datagram, false, &[*ms; 12], attributes, PWD.as_bytes());
            proven[port] = true;
        }
        let asked = datagram.len();
        node.receive(now, from, &mut datagram);
        node.advance(now, &mut out);
        let answered: usize = out.runs.iter().filter(|r| r.path == from).map(|r| r.length).sum();
        assert!(proven[port] || answered <= asked, "{answered} bytes for {asked}");
        out.clear();
        node.take_events(&mut events);
        events.clear();
    }
    assert!(node.session_ids().any(|id| id == SESSION));
});
