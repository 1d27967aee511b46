//! Datagrams out over UDP: the outbox's runs in as few calls to the kernel as it allows. Runs for other paths are
//! passed over; `tcp` has sent them.

use std::io;

use lectern_core::api::{Outbox, Run};

use crate::batch::{Wire, MESSAGES_PER_CALL_MAX};
use crate::receive::VIA_UDP;

/// Datagrams in one send with UDP_SEGMENT: what every kernel since 4.18 takes.
pub const SEGMENTS_PER_SEND_MAX: usize = 64;

/// Bytes in one send: 65,535 less the headers of IPv4 and UDP.
pub const SEND_BYTES_MAX: usize = 65_507;

/// Datagrams sent before the loop looks at the socket's other side again: about 4 ms of work.
pub const DATAGRAMS_SENT_PER_TURN_MAX: usize = 2048;

/// Segmented sends refused in a row, with no success between, after which segmenting is given up. One refusal proves
/// nothing: a single peer behind a small MTU or an odd route causes it as well.
pub const GSO_REFUSALS_MAX: u32 = 16;

#[derive(Clone, Copy, Debug, Default)]
pub struct SendCounters {
    pub datagrams_out: u64,
    pub bytes_out: u64,
    /// Calls to the kernel.
    pub sends: u64,
    /// Messages in those calls; one with UDP_SEGMENT is many datagrams.
    pub messages_out: u64,
    pub runs_out: u64,
    pub gso_refused: u64,
    /// The socket was full and the rest of the outbox waited.
    pub send_again: u64,
    /// Runs, or what was left of them, that were dropped because the kernel refused them.
    pub send_errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The outbox is empty.
    Drained,
    /// The socket is full: go on when it is writable.
    Blocked,
    /// Enough for this turn.
    Bounded,
}

/// Sends outboxes, one at a time, and remembers how far it came.
pub struct Sender {
    /// Segmented sends are allowed.
    gso: bool,
    gso_refusals: u32,
    /// The run that is being sent, and how many of its bytes were.
    run: usize,
    offset: usize,
    /// Datagrams of the run in hand that the kernel refused joined: send them one by one up to this offset.
    single_until: usize,
    /// A joined send was refused and no datagram has got through singly since.
    refusal_open: bool,
    pieces: Vec<Run>,
    pub counters: SendCounters,
}

impl Sender {
    pub fn new(gso: bool) -> Sender {
        Sender {
            gso,
            gso_refusals: 0,
            run: 0,
            offset: 0,
            single_until: 0,
            refusal_open: false,
            pieces: Vec::with_capacity(MESSAGES_PER_CALL_MAX),
            counters: SendCounters::default(),
        }
    }

    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Send on where the last call stopped; a drained outbox is cleared.
    pub fn flush(&mut self, wire: &mut impl Wire, outbox: &mut Outbox) -> Progress {
        let stop = self.counters.datagrams_out + DATAGRAMS_SENT_PER_TURN_MAX as u64;
        loop {
            self.collect(outbox);
            if self.pieces.is_empty() {
                outbox.clear();
                self.run = 0;
                return Progress::Drained;
            }
            if self.counters.datagrams_out >= stop {
                return Progress::Bounded;
            }
            self.counters.sends += 1;
            match wire.send(&self.pieces, &outbox.bytes) {
                Ok(0) => return Progress::Blocked,
                Ok(sent) => {
                    for index in 0..sent.min(self.pieces.len()) {
                        self.note_sent(outbox, self.pieces[index]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.counters.send_again += 1;
                    return Progress::Blocked;
                }
                Err(error) => self.note_refused(outbox, &error),
            }
        }
    }

    /// List the next pieces that the kernel takes at once. Runs that are not for UDP, or cannot be sent at all, are
    /// passed over here.
    fn collect(&mut self, outbox: &Outbox) {
        self.pieces.clear();
        let (mut index, mut offset) = (self.run, self.offset);
        while let Some(run) = outbox.runs.get(index) {
            if self.pieces.len() == MESSAGES_PER_CALL_MAX {
                return;
            }
            let ours = run.path.via == VIA_UDP;
            let sendable = run.segment <= SEND_BYTES_MAX && (run.segment > 0 || run.length == 0);
            if !ours || !sendable {
                if !self.pieces.is_empty() {
                    return; // those before it first
                }
                self.counters.send_errors += u64::from(ours);
                self.next_run();
                (index, offset) = (self.run, self.offset);
                continue;
            }
            let length = self.piece_bytes(index, offset, run);
            let piece = Run { start: run.start + offset, length, ..*run };
            self.pieces.push(piece);
            offset += length;
            if offset >= run.length {
                index += 1;
                offset = 0;
            }
        }
    }

    /// How much of the run goes out in one message: whole datagrams, but for the last.
    fn piece_bytes(&self, index: usize, offset: usize, run: &Run) -> usize {
        let rest = run.length - offset;
        let singly = !self.gso || (index == self.run && offset < self.single_until);
        if singly || rest <= run.segment {
            return rest.min(run.segment);
        }
        let segments = SEGMENTS_PER_SEND_MAX.min(SEND_BYTES_MAX / run.segment);
        rest.min(segments * run.segment)
    }

    fn note_sent(&mut self, outbox: &Outbox, piece: Run) {
        let joined = piece.length > piece.segment;
        if joined {
            self.gso_refusals = 0;
        }
        self.counters.messages_out += 1;
        self.counters.bytes_out += piece.length as u64;
        self.counters.datagrams_out += piece.length.div_ceil(piece.segment.max(1)).max(1) as u64;
        if self.refusal_open {
            // The datagrams of a refused send do get through one by one: it was the joining.
            self.note_gso_refused();
        }
        self.offset += piece.length;
        if self.offset >= outbox.runs[self.run].length {
            self.counters.runs_out += 1;
            self.next_run();
        }
    }

    fn note_gso_refused(&mut self) {
        self.refusal_open = false;
        self.counters.gso_refused += 1;
        self.gso_refusals += 1;
        if self.gso_refusals >= GSO_REFUSALS_MAX {
            self.gso = false;
        }
    }

    fn note_refused(&mut self, outbox: &Outbox, error: &io::Error) {
        let piece = self.pieces[0];
        let about_joining = matches!(
            error.raw_os_error(),
            Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::EMSGSIZE)
        );
        if piece.length > piece.segment && about_joining {
            self.single_until = outbox.runs[self.run].length;
            self.refusal_open = true;
            return;
        }
        self.counters.send_errors += 1;
        self.next_run();
    }

    fn next_run(&mut self) {
        self.run += 1;
        self.offset = 0;
        self.single_until = 0;
        self.refusal_open = false;
    }
}
