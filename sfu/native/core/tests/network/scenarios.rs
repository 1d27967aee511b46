//! What a line does to a class, by name, and what of it is measured.

use std::time::Duration;

use crate::class::{Class, Screen};
use crate::line::Line;
use crate::receiver::Receiver;

const FREEZE_MS: f64 = 500.0;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub seconds: u64,
    pub screen: Screen,
    pub down: Line,
    pub up: Line,
    /// When the line is whole again, ms.
    pub mends: Option<u64>,
    pub good: usize,
    pub bad: usize,
}

/// Of one student, over the whole run but its first two seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    pub fps: f64,
    pub freezes: u32,
    pub freeze_ms: f64,
    /// Parts of 100.
    pub concealed: f64,
    /// From the mending of the line to a picture, and to every picture.
    pub picture_ms: f64,
    pub full_ms: f64,
    pub queue_p95_ms: f64,
    pub plis: u32,
    /// Asked of the teacher, by all students together.
    pub keyframes: usize,
    pub rate_kbps: f64,
    pub probe_kbps: f64,
}

impl Scenario {
    pub fn run(&self, seed: u64) -> (Class, Vec<Measured>) {
        let mut lines = vec![(self.down.clone(), self.up.clone()); self.bad];
        let good = Line { delay_ms: 25.0, ..Line::default() };
        lines.extend(vec![(good.clone(), good); self.good]);
        let mut class = Class::new(self.screen.clone(), lines, seed);
        class.run(Duration::from_secs(self.seconds));
        let measured = (0..class.students()).map(|n| self.measure(&class, n)).collect();
        (class, measured)
    }

    fn measure(&self, class: &Class, n: usize) -> Measured {
        let receiver = class.student(n);
        let (from, until) = (2000.0, self.seconds as f64 * 1000.0);
        let mut gaps = gaps(class, receiver, from, until);
        gaps.sort_by(f64::total_cmp);
        let shown = times(class, receiver).iter().filter(|ms| **ms >= from).count();
        let sound = &receiver.sound;
        let parts = sound.log.len().max(1) as f64;
        let mut waits = class.waits(n).to_vec();
        waits.sort_by(f32::total_cmp);
        Measured {
            fps: shown as f64 * 1000.0 / (until - from),
            freezes: gaps.iter().filter(|gap| **gap > FREEZE_MS).count() as u32,
            freeze_ms: gaps.last().copied().unwrap_or(until),
            concealed: sound.concealed as f64 * 100.0 / parts,
            picture_ms: self.mends.map_or(0.0, |at| after(class, receiver, at as f64, 1)),
            full_ms: self.mends.map_or(0.0, |at| after(class, receiver, at as f64, 28)),
            queue_p95_ms: waits.get(waits.len() * 95 / 100).map_or(0.0, |w| f64::from(*w)),
            plis: receiver.plis,
            keyframes: class.keyframes.len(),
            rate_kbps: class.counter(n, "rate_bps") as f64 / 1000.0,
            probe_kbps: class.counter(n, "probe_bytes_out") as f64 * 8.0 / until,
        }
    }
}

/// Of a student's pictures, in ms from the beginning.
pub fn times(class: &Class, receiver: &Receiver) -> Vec<f64> {
    receiver.shown.iter().map(|(at, _)| at.since(class.begins).as_secs_f64() * 1000.0).collect()
}

pub fn gaps(class: &Class, receiver: &Receiver, from: f64, until: f64) -> Vec<f64> {
    let mut last = from;
    let mut gaps = Vec::new();
    for at in times(class, receiver).into_iter().filter(|at| (from..until).contains(at)) {
        gaps.push(at - last);
        last = at;
    }
    gaps.push(until - last);
    gaps
}

/// Until the first picture after which `pictures` come in two seconds; the rest of the run if they never do.
fn after(class: &Class, receiver: &Receiver, mended: f64, pictures: usize) -> f64 {
    let times = times(class, receiver);
    let late: Vec<f64> = times.into_iter().filter(|at| *at >= mended).collect();
    let full = late.windows(pictures).find(|w| w[pictures - 1] - w[0] <= 2000.0);
    full.map_or(f64::INFINITY, |w| w[0] - mended)
}

/// A round trip of 50 ms, 3 Mbit/s.
fn line() -> Line {
    Line { delay_ms: 25.0, rates: vec![(0, 3e6)], ..Line::default() }
}

pub fn all() -> Vec<Scenario> {
    let plain = Scenario {
        name: "good",
        seconds: 62,
        screen: Screen::default(),
        down: line(),
        up: line(),
        mends: None,
        good: 0,
        bad: 1,
    };
    let lossy = |name, loss| Scenario {
        name,
        down: Line { loss, ..line() },
        up: Line { loss, ..line() },
        ..plain.clone()
    };
    let narrowed = |name| Scenario {
        name,
        seconds: 60,
        down: Line { rates: vec![(0, 3e6), (10_000, 300e3), (35_000, 3e6)], ..line() },
        mends: Some(35_000),
        ..plain.clone()
    };
    let gaps: Vec<(u64, u64)> = (0..8).map(|n| (5_000 + n * 7_000, 5_200 + n * 7_000)).collect();
    let out = vec![(15_000, 20_000)];
    vec![
        plain.clone(),
        lossy("lossy-2", 0.02),
        lossy("lossy-10", 0.10),
        lossy("lossy-20", 0.20),
        Scenario {
            name: "burst-200",
            down: Line { gaps: gaps.clone(), ..line() },
            up: Line { gaps, ..line() },
            ..plain.clone()
        },
        Scenario {
            name: "outage-5s",
            seconds: 40,
            down: Line { gaps: out.clone(), ..line() },
            up: Line { gaps: out, ..line() },
            mends: Some(20_000),
            ..plain.clone()
        },
        narrowed("narrowed-300"),
        Scenario {
            name: "narrowed-300-music",
            screen: Screen { screen_sound_bps: 128e3, ..Screen::default() },
            ..narrowed("")
        },
        Scenario {
            name: "narrowed-300-deep-queue",
            down: Line {
                queue_ms: 2000.0,
                rates: vec![(0, 3e6), (10_000, 300e3), (35_000, 3e6)],
                ..line()
            },
            ..narrowed("")
        },
        Scenario {
            name: "narrowed-300-heavy",
            screen: Screen { bps: 850e3, ..Screen::default() },
            ..narrowed("")
        },
        Scenario {
            name: "narrowed-300-no-layers",
            screen: Screen { layers: false, ..Screen::default() },
            ..narrowed("")
        },
        Scenario {
            name: "still-then-moving",
            screen: Screen { still: Some((3_000, 30_000)), ..Screen::default() },
            ..plain.clone()
        },
        Scenario {
            name: "reorder-jitter",
            down: Line { reorder: (0.10, 50.0), jitter_ms: 100.0, ..line() },
            ..plain.clone()
        },
        Scenario {
            name: "joined-at-300",
            seconds: 40,
            down: Line { rates: vec![(0, 300e3), (20_000, 3e6)], ..line() },
            mends: Some(20_000),
            ..plain.clone()
        },
        Scenario {
            name: "policed-400",
            seconds: 40,
            down: Line { rates: vec![(0, 3e6), (10_000, 400e3)], queue_ms: 20.0, ..line() },
            ..plain.clone()
        },
    ]
}

pub fn named(name: &str) -> Scenario {
    all().into_iter().find(|s| s.name == name).expect("it is in the list")
}
