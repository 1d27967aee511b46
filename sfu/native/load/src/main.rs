//! Teachers and many viewers made of packets, to measure a media node with; see `lectern bench fanout --help`.
//!
//! The parent process writes a plan to standard input (see `plan`), then orders, one a line; the answers are lines of
//! JSON on standard output. It ends when its input does, so it never outlives its parent.
//!
//! One thread serves everybody. Only the plain sender has one of its own, whose processor time is its figure.

mod connection;
mod crowd;
mod floor;
mod pattern;
mod plan;
mod publisher;
mod tally;
mod teachers;
mod viewer;

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::mpsc::{sync_channel, Receiver, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lectern_core::ids::Time;
use lectern_io::receive::udp_path;
use lectern_io::sys;

use connection::Connection;
use crowd::Crowd;
use floor::{Floor, Sent};
use plan::{Order, Plan};
use teachers::Teachers;
use viewer::Viewer;

/// All checks are sent at once, and again every 100 ms.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// What is on its way when the last packet was sent has arrived after this, pacing included.
const DRAIN: Duration = Duration::from_millis(500);
const DRAIN_SWEEPS: u64 = 3;
/// As the node's media thread: our own lateness is not what is measured.
const NICENESS: i32 = 10;
const SLEEP_MAX: Duration = Duration::from_millis(10);
const ORDERS_WAITING_MAX: usize = 16;

fn main() -> ExitCode {
    // The lock is given back with the statement's end: the orders are read by a thread.
    let plan = plan::read(&mut io::stdin().lock().lines().map_while(Result::ok));
    let made = plan.and_then(|plan| {
        Bench::new(plan).map_err(|error| format!("a socket or a key cannot be used: {error}"))
    });
    sys::outrank_others(NICENESS);
    let ended = made.and_then(|bench| bench.run(orders()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("lectern-load: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// The lines of standard input; closed when it ends.
fn orders() -> Receiver<String> {
    let (sender, receiver) = sync_channel(ORDERS_WAITING_MAX);
    thread::spawn(move || {
        let mut lines = io::stdin().lock().lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| sender.send(line).is_ok()) {}
    });
    receiver
}

enum Phase {
    Rest,
    Join { until: Time },
    Play { frames: u64, ends: Option<(Time, u64)>, since: Time, cpu: Duration },
    Floor { frames: u64, sending: Option<JoinHandle<(Floor, Sent)>>, done: Option<(Sent, Time)> },
}

struct Bench {
    plan: Plan,
    teachers: Teachers,
    crowd: Crowd,
    /// Away while it sends.
    floor: Option<Floor>,
    phase: Phase,
}

impl Bench {
    fn new(plan: Plan) -> io::Result<Bench> {
        let mut seed = sys::random_seed()?;
        let mut random = || {
            seed = splitmix(seed);
            seed
        };
        let teachers = Teachers::open(plan.node, &plan.sources, &plan.load, &mut random)?;
        let (mut viewers, mut targets) = (Vec::new(), Vec::new());
        let now = sys::now();
        for (n, (ssrc, peer)) in plan.viewers.iter().enumerate() {
            let connection = Connection::open(plan.node, peer, random())?;
            let (ours, theirs) = floor::key(u128::from(random()) << 64 | u128::from(random()));
            let mut address = connection.socket.local;
            address.set_ip(plan.node.ip());
            targets.push((udp_path(address), theirs));
            let streams = (*ssrc, peer.transport_cc);
            // Spread evenly, as the clocks of many machines are.
            let share = plan.load.feedback_interval * n as u32 / plan.viewers.len() as u32;
            viewers.push(Viewer::new(connection, streams, ours, now + share, n as u64));
        }
        let floor = Floor::new(plan.node.ip(), targets, plan.load.clone())?;
        let crowd = Crowd::new(viewers, plan.load.clone());
        Ok(Bench { plan, teachers, crowd, floor: Some(floor), phase: Phase::Rest })
    }

    fn run(mut self, orders: Receiver<String>) -> Result<(), String> {
        loop {
            if matches!(self.phase, Phase::Rest) {
                match orders.try_recv() {
                    Ok(line) => self.begin(&line)?,
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
            let now = sys::now();
            self.teachers.send_due(now);
            let next = self.crowd.serve(now);
            if next > now {
                self.teachers.chores(now);
            }
            self.end_phase(now)?;
            let next = self.teachers.next().map_or(next, |at| at.min(next));
            thread::sleep(next.since(sys::now()).min(SLEEP_MAX));
        }
    }

    fn begin(&mut self, line: &str) -> Result<(), String> {
        let order = plan::order(line).ok_or("an order is not understood")?;
        let now = sys::now();
        self.crowd.begin();
        self.phase = match order {
            Order::Join => Phase::Join { until: now + JOIN_TIMEOUT },
            Order::Play { frames } => {
                self.teachers.begin(now, frames);
                Phase::Play { frames, ends: None, since: now, cpu: sys::thread_cpu() }
            }
            Order::Floor { frames, in_runs } => {
                let mut floor = self.floor.take().expect("it is here while nothing is sent");
                let sending = thread::Builder::new().name("plain-sender".into()).spawn(move || {
                    let sent = floor.send(now, frames, in_runs);
                    (floor, sent)
                });
                let sending = sending.map_err(|error| format!("no thread: {error}"))?;
                Phase::Floor { frames, sending: Some(sending), done: None }
            }
        };
        if !matches!(order, Order::Join) {
            println!("{{\"event\": \"begun\"}}");
        }
        Ok(())
    }

    /// See whether what was ordered is done, and tell.
    fn end_phase(&mut self, now: Time) -> Result<(), String> {
        let phase = std::mem::replace(&mut self.phase, Phase::Rest);
        self.phase = match phase {
            Phase::Rest => Phase::Rest,
            Phase::Join { until } => {
                let (checked, all) = (self.crowd.checked(), self.crowd.len());
                if checked == all && self.teachers.are_checked() {
                    println!("{{\"event\": \"joined\", \"viewers\": {all}}}");
                    Phase::Rest
                } else if now >= until {
                    return Err(format!("the node has answered {checked} of {all} viewers"));
                } else {
                    Phase::Join { until }
                }
            }
            Phase::Play { frames, ends, since, cpu } => {
                let sent = self.teachers.next().is_none();
                // What waits in a socket has arrived, however late we look.
                let ends = ends.or(sent.then(|| (now + DRAIN, self.crowd.sweeps() + DRAIN_SWEEPS)));
                if ends.is_some_and(|(at, sweeps)| at <= now && sweeps <= self.crowd.sweeps()) {
                    self.tell_played(frames, now.since(since), sys::thread_cpu() - cpu);
                    Phase::Rest
                } else {
                    Phase::Play { frames, ends, since, cpu }
                }
            }
            Phase::Floor { frames, mut sending, mut done } => {
                if let Some(thread) = sending.take_if(|thread| thread.is_finished()) {
                    let (floor, sent) = thread.join().map_err(|_| "the plain sender died")?;
                    self.floor = Some(floor);
                    done = Some((sent, now + DRAIN));
                }
                match done {
                    Some((sent, at)) if at <= now => {
                        self.tell_floor(frames, sent);
                        Phase::Rest
                    }
                    _ => Phase::Floor { frames, sending, done },
                }
            }
        };
        Ok(())
    }

    fn tell_played(&mut self, frames: u64, took: Duration, cpu: Duration) {
        let each = frames * self.plan.load.packets_per_frame as u64;
        let expected = each * self.crowd.len() as u64;
        let asked = self.teachers.keyframes_asked();
        let (media, _, tally) = self.crowd.arrived(each);
        tell(
            "played",
            &[
                ("packets_expected", expected),
                ("packets_received", media.received),
                ("packets_missing", media.missing),
                ("packets_late", media.late),
                ("viewers_complete", media.complete as u64),
                ("gap_us_max", media.gap_ns_max / 1000),
                ("packets_opened", tally.opened),
                ("packets_failed", tally.failed),
                ("packets_strange", tally.strange),
                ("packets_overflowed", tally.overflowed),
                ("rtcp_received", tally.rtcp),
                ("delay_us_p50", tally.delay_us(0.5)),
                ("delay_us_p99", tally.delay_us(0.99)),
                ("delay_us_max", tally.delay_us(1.0)),
                ("keyframes_asked", asked),
                ("took_us", took.as_micros() as u64),
                ("generator_cpu_us", cpu.as_micros() as u64),
            ],
        );
    }

    fn tell_floor(&mut self, frames: u64, sent: Sent) {
        let each = frames * self.plan.load.packets_per_frame as u64;
        let (_, floor, tally) = self.crowd.arrived(each);
        tell(
            "floor",
            &[
                ("packets_sent", sent.packets),
                ("packets_received", floor.received),
                ("packets_overflowed", tally.overflowed),
                ("packets_opened", tally.opened),
                ("packets_failed", tally.failed),
                ("cpu_ns", sent.cpu.as_nanos() as u64),
                ("sealing_cpu_ns", sent.cpu_sealing.as_nanos() as u64),
                ("waits", sent.waits),
            ],
        );
    }
}

fn tell(event: &str, figures: &[(&str, u64)]) {
    let pairs: Vec<String> =
        figures.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    println!("{{\"event\": \"{event}\", {}}}", pairs.join(", "));
}

/// SplitMix64 (Steele, Lea, Flood 2014): the checks' numbers and the plain sender's keys, not secrets.
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
