//! One connection: its stream, the frame that is on its way in, and what its socket had no room for.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use lectern_core::demux::{self, Kind};
use lectern_core::ids::{PathId, Time};

use super::counters::TcpCounters;
use crate::engine::Engine;
use crate::framing::{written_frames, Deframer};
use crate::sys;

/// Why a connection is over, as far as its closing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// What was sent may still arrive.
    Orderly,
    /// Nothing of it is wanted any more.
    Reset,
}

pub(super) struct Connection {
    pub stream: TcpStream,
    pub path: PathId,
    /// A STUN check on it was valid. Before that nothing but STUN is taken from it.
    pub proven: bool,
    /// It stands in the queue of those that are to be read.
    pub queued: bool,
    pub opened: Time,
    /// When its last whole frame came.
    pub heard: Time,
    deframer: Deframer,
    /// Frames that wait for room in the socket; the first of them may have lost its head to the wire.
    backlog: VecDeque<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream, address: SocketAddr, via: u32, now: Time) -> Connection {
        Connection {
            stream,
            path: PathId { address, via },
            proven: false,
            queued: false,
            opened: now,
            heard: now,
            deframer: Deframer::default(),
            backlog: VecDeque::new(),
        }
    }

    pub fn backlogged(&self) -> usize {
        self.backlog.len()
    }

    /// The socket is full, or was when it was last written to.
    pub fn blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Have memory for a backlog.
    pub fn lend(&mut self, memory: VecDeque<u8>) {
        debug_assert!(self.backlog.is_empty() && memory.is_empty());
        self.backlog = memory;
    }

    /// Give the backlog's memory back, with what is in it.
    pub fn take_memory(&mut self) -> VecDeque<u8> {
        std::mem::take(&mut self.backlog)
    }

    /// Read once and hand the frames to the engine. Err: the connection is over.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        engine: &mut impl Engine,
        counters: &mut TcpCounters,
    ) -> Result<(), Ended> {
        counters.reads += 1;
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(Ended::Orderly),
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(()),
            Err(_) => return Err(Ended::Reset),
        };
        counters.bytes_in += count as u64;
        let now = sys::now();
        let mut input = &mut buffer[..count];
        loop {
            let frame = match self.deframer.next(&mut input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(_too_long) => {
                    counters.malformed += 1;
                    return Err(Ended::Reset);
                }
            };
            counters.frames_in += 1;
            if !self.proven && demux::kind(frame) != Kind::Stun {
                counters.malformed += 1;
                return Err(Ended::Reset);
            }
            self.heard = now;
            engine.receive(now, self.path, frame);
            self.proven = self.proven || engine.knows(self.path);
        }
    }

    /// Write frames, or keep them, `room` bytes at the most and a frame that was begun; the others are dropped.
    pub fn send(
        &mut self,
        frames: &[u8],
        room: usize,
        counters: &mut TcpCounters,
    ) -> Result<(), Ended> {
        let mut written = 0;
        if self.backlog.is_empty() {
            counters.writes += 1;
            written = match self.stream.write(frames) {
                Ok(count) => count,
                Err(error) if is_passing(&error) => 0,
                Err(_) => return Err(Ended::Reset),
            };
            counters.bytes_out += written as u64;
        }
        let mut room = room;
        let mut start = 0;
        for frame in written_frames(frames) {
            let cut = written.saturating_sub(start);
            start += frame.len();
            if cut >= frame.len() {
                counters.frames_out += 1;
                continue;
            }
            // A frame that was begun has to be ended, or the peer takes the next one for its rest.
            if cut > 0 || frame.len() <= room {
                self.backlog.extend(&frame[cut..]);
                room = room.saturating_sub(frame.len() - cut);
                counters.frames_out += 1;
            } else {
                counters.dropped += 1;
            }
        }
        Ok(())
    }

    /// Write what waits, as far as the socket takes it.
    pub fn flush(&mut self, counters: &mut TcpCounters) -> Result<(), Ended> {
        while !self.backlog.is_empty() {
            counters.writes += 1;
            match self.stream.write(self.backlog.as_slices().0) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    counters.bytes_out += count as u64;
                    self.backlog.drain(..count);
                }
                Err(error) if is_passing(&error) => return Ok(()),
                Err(_) => return Err(Ended::Reset),
            }
        }
        Ok(())
    }
}

/// The next wake-up goes on where this call did not.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
