//! One viewer: counts every packet by its header, opens some, and reports as a browser does.

use std::time::Duration;

use lectern_core::demux::{self, Kind};
use lectern_core::ids::{Ssrc, Time};
use lectern_core::rtcp::{self, ReportBlock};
use lectern_core::rtp::{self, Header};
use lectern_core::twcc::Recorder;
use lectern_io::batch::{ReceiveBatch, Received, MESSAGES_PER_CALL_MAX};
use lectern_io::sys;

use crate::connection::Connection;
use crate::floor;
use crate::pattern;
use crate::plan::Load;
use crate::tally::{Sequences, Tally};

/// Extension id of the MID in every session here, both ways.
pub const MID: u8 = 4;
/// Of retransmissions in every session here; their SSRC is the node's to choose.
const RTX_PAYLOAD_TYPE: u8 = 97;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Feedback packets at one time; each tells of a few hundred packets.
const FEEDBACKS_MAX: usize = 4;
/// Receives in a row from one socket, 64 datagrams each: more than its buffer holds.
const RECEIVES_MAX: usize = 16;

/// What all viewers of a process share: memory for one receive, and what they saw.
pub struct Shared {
    pub batch: ReceiveBatch,
    pub received: Vec<Received>,
    pub rtcp: Vec<u8>,
    pub tally: Tally,
    pub load: Load,
}

pub struct Viewer {
    pub connection: Connection,
    pub media: Sequences,
    pub floor: Sequences,
    ssrc: Ssrc,
    transport_cc: u8,
    floor_key: floor::Key,
    recorder: Recorder,
    /// The middle of the last sender report's NTP time, and when it came.
    last_report: Option<(u32, Time)>,
    feedback_at: Time,
    report_at: Time,
    kernel_dropped: u32,
    /// Counts packets, to open every so-manieth.
    turn: u64,
}

impl Viewer {
    /// `first` is when it reports for the first time, and `turn` which of its packets it opens.
    pub fn new(
        connection: Connection,
        (ssrc, transport_cc): (Ssrc, u8),
        floor_key: floor::Key,
        first: Time,
        turn: u64,
    ) -> Viewer {
        Viewer {
            connection,
            media: Sequences::default(),
            floor: Sequences::default(),
            ssrc,
            transport_cc,
            floor_key,
            recorder: Recorder::new(),
            last_report: None,
            feedback_at: first,
            report_at: first,
            kernel_dropped: 0,
            turn,
        }
    }

    /// Take all that waits in the socket.
    pub fn receive(&mut self, shared: &mut Shared) {
        for _ in 0..RECEIVES_MAX {
            if shared.batch.fill(&self.connection.socket, &mut shared.received).is_err() {
                return;
            }
            for index in 0..shared.received.len() {
                let received = shared.received[index];
                self.note_dropped(received.dropped, &mut shared.tally);
                let datagram = &mut shared.batch.bytes(index)[..received.length];
                let stamp = Time(received.stamp_ns.unwrap_or_else(sys::wall_ns));
                self.take(stamp, datagram, &mut shared.tally, &shared.load);
            }
            if shared.received.len() < MESSAGES_PER_CALL_MAX {
                return;
            }
        }
    }

    /// Check the path, report and give feedback, as far as they are due.
    pub fn chores(&mut self, now: Time, shared: &mut Shared) {
        self.connection.check(now);
        if now < self.feedback_at || !self.connection.is_checked() {
            return;
        }
        self.feedback_at = (self.feedback_at + shared.load.feedback_interval).max(now);
        let rtcp = &mut shared.rtcp;
        rtcp.clear();
        if now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            self.report(now, rtcp);
        }
        for _ in 0..FEEDBACKS_MAX {
            if !self.recorder.feedback(Ssrc(1), self.ssrc, rtcp) {
                break;
            }
        }
        if !rtcp.is_empty() {
            self.connection.send_rtcp(rtcp);
        }
    }

    fn report(&self, now: Time, rtcp: &mut Vec<u8>) {
        let Some(highest_sequence) = self.media.highest() else {
            return rtcp::receiver_report(rtcp, Ssrc(1), &[]);
        };
        let (last_sr, delay) = self.last_report.map_or((0, 0), |(last_sr, at)| {
            (last_sr, (now.since(at).as_nanos() * 65_536 / 1_000_000_000) as u32)
        });
        let block = ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: 0,
            cumulative_lost: self.media.missing as i32,
            highest_sequence,
            jitter: 0,
            last_sr,
            delay_since_last_sr: delay,
        };
        rtcp::receiver_report(rtcp, Ssrc(1), &[block]);
    }

    fn note_dropped(&mut self, dropped: Option<u32>, tally: &mut Tally) {
        if let Some(dropped) = dropped {
            tally.overflowed += u64::from(dropped.wrapping_sub(self.kernel_dropped));
            self.kernel_dropped = dropped;
        }
    }

    fn take(&mut self, stamp: Time, datagram: &mut [u8], tally: &mut Tally, load: &Load) {
        match demux::kind(datagram) {
            Kind::Rtp => self.take_rtp(stamp, datagram, tally, load),
            Kind::Rtcp => self.take_rtcp(datagram, tally),
            Kind::Stun => self.connection.take_stun(datagram),
            Kind::Dtls | Kind::Other => tally.strange += 1,
        }
    }

    fn take_rtp(&mut self, stamp: Time, datagram: &mut [u8], tally: &mut Tally, load: &Load) {
        let Some(header) = Header::parse(datagram) else {
            tally.strange += 1;
            return;
        };
        self.turn += 1;
        let opens = self.turn % load.open_every == 0;
        if header.ssrc == floor::SSRC {
            self.floor.note(header.sequence, stamp.0);
            if opens {
                let label =
                    floor::open(&self.floor_key, &header, datagram).and_then(pattern::check);
                note_opened(tally, label, None);
            }
            return;
        }
        let again = header.payload_type == RTX_PAYLOAD_TYPE;
        if header.ssrc != self.ssrc && !again {
            tally.strange += 1;
            return;
        }
        let transport_cc = header.extension(datagram, self.transport_cc);
        if let Some(number) = transport_cc.and_then(|value| value.try_into().ok()) {
            self.recorder.record(u16::from_be_bytes(number), stamp);
        }
        if again {
            return; // The node finds out what the line takes.
        }
        self.media.note(header.sequence, stamp.0);
        if opens {
            let opened = self.connection.opener.open_rtp(datagram, &header);
            let payload = opened.and_then(|(length, _)| rtp::payload(&header, &datagram[..length]));
            note_opened(tally, payload.and_then(pattern::check), Some(stamp));
        }
    }

    fn take_rtcp(&mut self, datagram: &mut [u8], tally: &mut Tally) {
        let Some(length) = self.connection.opener.open_rtcp(datagram) else {
            tally.failed += 1;
            return;
        };
        tally.rtcp += 1;
        for packet in rtcp::packets(&datagram[..length]) {
            if let rtcp::Packet::SenderReport { ssrc, ntp, .. } = packet {
                if ssrc == self.ssrc {
                    self.last_report = Some(((ntp >> 16) as u32, sys::now()));
                }
            }
        }
    }
}

fn note_opened(tally: &mut Tally, label: Option<pattern::Label>, stamp: Option<Time>) {
    tally.opened += 1;
    match (label, stamp) {
        (Some(label), Some(stamp)) => tally.note_delay(stamp.0.saturating_sub(label.sent_ns)),
        (Some(_), None) => {}
        (None, _) => tally.failed += 1,
    }
}
