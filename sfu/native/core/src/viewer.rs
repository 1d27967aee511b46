//! One viewer: reads the slots' rings at its own pace, numbers and seals what it sends.
//!
//! Per viewer: allocate -> bounded queue -> pacer -> number and seal. The queue is the stretch of ring
//! between the viewer's position and the end, so it costs nothing and is bounded by time.

mod allocation;
mod feedback;
mod probe;
mod repairs;
mod send;
mod sink;
mod start;

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::{CodecSpec, Counters, Event, SinkSpec, Stand};
use crate::estimate::{Estimator, RATE_BPS_MAX};
use crate::ids::{SessionId, Slot, Ssrc, Time};
use crate::link;
use crate::pacer::Pacer;
use crate::rtcp;
use crate::slot::SlotState;
use crate::srtp::Sealer;

use allocation::Allocation;
use repairs::{Repair, Repairs};
pub use send::Plan;
use sink::Sink;
use start::Unconfirmed;

const ROUND_TRIP_FIRST: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const REPORTS_REMEMBERED_MAX: usize = 4;

/// What was sent to one viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewerCounters {
    pub packets: u64,
    pub payload_bytes: u64,
    pub header_bytes: u64,
    pub padding_bytes: u64,
    pub repaired_packets: u64,
    pub tails: u64,
    pub nacks: u64,
    pub nacks_unanswered: u64,
    pub nacks_refused: u64,
    pub starts_again: u64,
    pub picture_losses: u64,
    pub skips: u64,
    pub frames_left_out: u64,
    pub feedback_packets: u64,
    pub feedback_lost: u64,
    pub feedback_refused: u64,
    pub probe_packets: u64,
    pub probe_bytes: u64,
    pub outages: u64,
    pub sound_left_out: u64,
}

/// The last packet of a picture, and when to send it once more if no other follows.
#[derive(Clone, Copy, Debug)]
struct Tail {
    at: Time,
    repair: Repair,
    bytes: usize,
}

pub struct Viewer {
    sinks: Vec<Sink>,
    pacer: Pacer,
    pub counters: ViewerCounters,
    repairs: Repairs,
    /// Transport-wide feedback was negotiated.
    is_estimated: bool,
    estimator: Estimator,
    allocation: Allocation,
    is_out: bool,
    /// Pictures wait for the line.
    waits: bool,
    /// None until the first report of a round trip.
    round_trip: Option<Duration>,
    reports: VecDeque<(u32, Time)>,
    pub wants_keyframe: bool,
    starts_again: bool,
    /// When a loss was last heard of.
    lost_at: Option<Time>,
    tail: Option<Tail>,
    /// The first picture, until the viewer is known to have its beginning.
    unconfirmed: Option<Unconfirmed>,
}

impl Viewer {
    /// None: two sinks share an SSRC.
    pub fn new(sealer: &mut Sealer, specs: Vec<SinkSpec>) -> Option<Viewer> {
        let sinks: Vec<Sink> =
            specs.into_iter().map(|spec| Sink::new(sealer, spec)).collect::<Option<_>>()?;
        Some(Viewer {
            is_estimated: sinks.iter().any(|s| s.spec.extensions.transport_cc.is_some()),
            estimator: Estimator::default(),
            allocation: Allocation::default(),
            is_out: false,
            waits: false,
            sinks,
            pacer: Pacer::default(),
            counters: ViewerCounters::default(),
            repairs: Repairs::default(),
            round_trip: None,
            reports: VecDeque::new(),
            wants_keyframe: false,
            starts_again: false,
            lost_at: None,
            tail: None,
            unconfirmed: None,
        })
    }

    /// Make it another node, which is sent everything as it came, at once.
    pub fn link(mut self, from: Stand) -> Viewer {
        self.estimator = Estimator::of_link();
        self.pacer = Pacer::of_link();
        for sink in &mut self.sinks {
            sink.is_link = true;
            sink.has = from[sink.spec.slot as usize];
        }
        self
    }

    /// The node at the other end knows a codec.
    pub fn add_codec(&mut self, slot: Slot, codec: CodecSpec, slots: &[SlotState; 3]) {
        let known = &slots[slot as usize].codecs;
        for sink in self.sinks.iter_mut().filter(|s| s.spec.slot == slot) {
            let is_told = sink.spec.codecs.iter().any(|told| link::is_same(told, &codec));
            if !is_told && sink.spec.codecs.len() < link::CODECS_MAX {
                sink.spec.codecs.push(codec.clone());
                sink.forget_forms();
            }
            if let Some(newest) = known.len().checked_sub(1) {
                sink.form(newest as u8, known);
            }
        }
    }

    /// Append sender reports that are due to `rtcp` and say when the next one is.
    pub fn report(
        &mut self,
        now: Time,
        slots: &[SlotState; 3],
        rtcp: &mut Vec<u8>,
    ) -> Option<Time> {
        let mut next: Option<Time> = None;
        for sink in &mut self.sinks {
            let slot = &slots[sink.spec.slot as usize];
            let (Some(clock), true) = (slot.clock, sink.packets > 0) else { continue };
            let due = sink.report_at.is_none_or(|at| at <= now);
            if due {
                let rate = slot
                    .ring
                    .meta(slot.ring.end().wrapping_sub(1))
                    .map_or(90_000, |m| slot.codecs[usize::from(m.codec)].clock_rate);
                let (ntp, timestamp) = at_time(&clock, now, rate);
                rtcp::sender_report(
                    rtcp,
                    sink.spec.ssrc,
                    ntp,
                    timestamp,
                    sink.packets,
                    sink.octets,
                    &[],
                );
                rtcp::sdes_cname(rtcp, sink.spec.ssrc, &sink.spec.cname);
                if self.reports.len() == REPORTS_REMEMBERED_MAX {
                    self.reports.pop_front();
                }
                self.reports.push_back(((ntp >> 16) as u32, now));
                sink.report_at = Some(now + REPORT_INTERVAL);
            }
            next = [next, sink.report_at].into_iter().flatten().min();
        }
        next
    }

    /// Under which SSRC an empty report goes out.
    pub fn report_ssrc(&self) -> Ssrc {
        self.sinks.first().map_or(Ssrc(1), |s| s.spec.ssrc)
    }

    fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(ROUND_TRIP_FIRST)
    }

    /// Feedback has made something to send.
    pub fn has_work(&self) -> bool {
        !self.repairs.is_empty() || self.starts_again || self.waits
    }

    /// What the line is believed to take, in bit/s; without transport-wide feedback nothing is known.
    fn rate_bps(&self) -> u64 {
        if self.is_estimated {
            self.estimator.rate_bps()
        } else {
            RATE_BPS_MAX
        }
    }

    /// Say of each slot when the viewer cannot decode what flows there now, and when it can again.
    pub fn say_what_plays(&mut self, session: SessionId, events: &mut Vec<Event>) {
        for sink in self.sinks.iter_mut().filter(|s| s.plays != s.plays_said) {
            sink.plays_said = sink.plays;
            events.push(Event::SlotPlays { session, slot: sink.spec.slot, plays: sink.plays });
        }
    }

    pub fn add_counters(&self, counters: &mut Counters) {
        let c = &self.counters;
        counters.extend([
            ("packets_out", c.packets),
            ("payload_bytes_out", c.payload_bytes),
            ("header_bytes_out", c.header_bytes),
            ("padding_bytes_out", c.padding_bytes),
            ("packets_repaired", c.repaired_packets),
            ("tails_repeated", c.tails),
            ("nacks", c.nacks),
            ("nacks_unanswered", c.nacks_unanswered),
            ("nacks_refused", c.nacks_refused),
            ("starts_again", c.starts_again),
            ("picture_losses", c.picture_losses),
            ("skips", c.skips),
            ("frames_left_out", c.frames_left_out),
            ("feedback_packets", c.feedback_packets),
            ("feedback_packets_lost", c.feedback_lost),
            ("round_trip_us", self.round_trip().as_micros() as u64),
            ("feedback_refused", c.feedback_refused),
            ("probe_packets_out", c.probe_packets),
            ("probe_bytes_out", c.probe_bytes),
            ("outages", c.outages),
            ("screen_sound_left_out", c.sound_left_out),
            ("layer", u64::from(self.allocation.layer())),
            ("layer_steps_down", self.allocation.steps_down),
            ("layer_steps_up", self.allocation.steps_up),
            ("loss_permille", (self.estimator.loss() * 1000.0) as u64),
            ("rate_bps", self.rate_bps()),
        ]);
    }
}

/// The publisher's clock run on to `now`: the same line, so sound and picture stay together.
fn at_time(clock: &crate::source::ClockReport, now: Time, rate: u32) -> (u64, u32) {
    let passed = u128::from(now.since(clock.arrived).as_nanos() as u64);
    let ntp = clock.ntp.wrapping_add(((passed << 32) / 1_000_000_000) as u64);
    let ticks = (passed * u128::from(rate) / 1_000_000_000) as u32;
    (ntp, clock.timestamp.wrapping_add(ticks))
}
