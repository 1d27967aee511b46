//! All teachers of a process, one for each class.

use std::io;
use std::net::{IpAddr, SocketAddr};

use lectern_core::ids::{Ssrc, Time};
use lectern_io::batch::{ReceiveBatch, Received};
use lectern_io::sys::UdpSocket;

use crate::connection::Connection;
use crate::plan::{Load, Peer, Source};
use crate::publisher::{Line, Publisher};

/// Teachers whose sockets are looked at before packets have their turn again.
const SLICE_TEACHERS: usize = 16;
const BUFFER_BYTES: usize = 1 << 20;

pub struct Teachers {
    all: Vec<Publisher>,
    /// When the next packet of each is due; `NEVER` where all are sent.
    due: Vec<Time>,
    load: Load,
    /// The next to look at.
    at: usize,
    batch: ReceiveBatch,
    received: Vec<Received>,
}

const NEVER: Time = Time(u64::MAX);

impl Teachers {
    /// Errors are those of binding, and keys of the wrong size.
    pub fn open(
        node: SocketAddr,
        sources: &[Source],
        load: &Load,
        mut random: impl FnMut() -> u64,
    ) -> io::Result<Teachers> {
        let lines = sources.iter().map(|source| match source {
            Source::Session(ssrc, peer) => session(node, *ssrc, peer, random()),
            Source::Plain(ssrc, to) => {
                let host = IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED);
                let socket = UdpSocket::bind(host, 0, BUFFER_BYTES, BUFFER_BYTES)?;
                Ok(Line::Plain(socket, *to, *ssrc, 1))
            }
        });
        let all: io::Result<Vec<Publisher>> =
            lines.map(|line| Ok(Publisher::new(line?, load.clone()))).collect();
        let all = all?;
        Ok(Teachers {
            due: vec![NEVER; all.len()],
            all,
            load: load.clone(),
            at: 0,
            batch: ReceiveBatch::new(),
            received: Vec::new(),
        })
    }

    /// Send so many frames each from now on; the classes' frames are spread evenly over a frame's time.
    pub fn begin(&mut self, now: Time, frames: u64) {
        let (interval, count) = (self.load.frame_interval(), self.all.len() as u32);
        for (n, (publisher, due)) in self.all.iter_mut().zip(&mut self.due).enumerate() {
            publisher.begin(now + interval * n as u32 / count, frames);
            *due = publisher.next().unwrap_or(NEVER);
        }
    }

    /// Send the packets that are due.
    pub fn send_due(&mut self, now: Time) {
        for (publisher, due) in self.all.iter_mut().zip(&mut self.due) {
            if *due <= now {
                publisher.send_due(now);
                *due = publisher.next().unwrap_or(NEVER);
            }
        }
    }

    /// When the next packet goes; None: all are sent.
    pub fn next(&self) -> Option<Time> {
        self.due.iter().copied().min().filter(|&due| due != NEVER)
    }

    /// Look at the next few.
    pub fn chores(&mut self, now: Time) {
        for _ in 0..SLICE_TEACHERS.min(self.all.len()) {
            self.all[self.at].chores(now, &mut self.batch, &mut self.received);
            self.at = (self.at + 1) % self.all.len();
        }
    }

    pub fn are_checked(&self) -> bool {
        self.all.iter().all(Publisher::is_checked)
    }

    pub fn keyframes_asked(&self) -> u64 {
        self.all.iter().map(|publisher| publisher.keyframes_asked).sum()
    }
}

fn session(node: SocketAddr, ssrc: Ssrc, peer: &Peer, random: u64) -> io::Result<Line> {
    let mut connection = Connection::open(node, peer, random)?;
    let stream = connection.sealer.stream(ssrc, 1).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Line::Session(Box::new(connection), stream))
}
