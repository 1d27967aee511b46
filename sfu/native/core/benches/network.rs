//! What every scenario of `tests/network` measures, over many seeds: `docs/scoreboard.md`.
//!
//!     cargo bench --locked --manifest-path sfu/native/Cargo.toml -p lectern-core --bench network -- 20

#[path = "../tests/network/class.rs"]
mod class;
#[path = "../tests/network/line.rs"]
mod line;
#[path = "../tests/network/receiver.rs"]
mod receiver;
#[path = "../tests/network/scenarios.rs"]
mod scenarios;
#[path = "../tests/world/mod.rs"]
mod world;

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use scenarios::{all, named, Measured, Scenario};

const SEEDS: u64 = 20;
const HEAD: &str = "\
# Scoreboard of bad lines

What the simulated lines of `sfu/native/core/tests/network` do to a class at a screen that moves at 15 fps, 450 kbit/s \
in three temporal layers (what Chromium's AV1 takes at 720p; `heavy` is VP8's 850), with speech of 40 kbit/s: the median and, behind it, the worst of all seeds. The round trip is \
50 ms. A freeze is more than 500 ms without a picture; sound counts as concealed where neither a packet nor the copy in \
the next one came in time (in-band FEC). Times are in ms; `picture` and `full` are from the mending of the line to the \
first picture, and to all 15 a second. `queue` is the 95th percentile of the wait in the bottleneck.

Read it before and after a change; it is written by

    cargo bench --locked --manifest-path sfu/native/Cargo.toml -p lectern-core --bench network -- 20

| scenario | fps | freezes | longest | concealed % | picture | full | queue | asked | plis | rate kbit/s | probes kbit/s |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let seeds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(SEEDS);
    let only = arguments.iter().find(|a| a.parse::<u64>().is_err());
    let (began, mut runs, mut board) = (Instant::now(), 0, HEAD.to_owned());
    for scenario in only.map_or_else(all, |name| vec![named(name)]) {
        let row = row(&scenario, seeds);
        print!("{row}");
        board.push_str(&row);
        runs += seeds;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{runs} runs in {seconds:.1} s: {:.0} a minute", runs as f64 * 60.0 / seconds);
    if only.is_none() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/scoreboard.md");
        std::fs::write(path, board).expect("docs/ can be written");
    }
}

fn row(scenario: &Scenario, seeds: u64) -> String {
    let next = AtomicU64::new(1);
    let run = || {
        let seeds = std::iter::from_fn(|| {
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed <= seeds)
        });
        seeds.map(|seed| scenario.run(seed).1[0]).collect::<Vec<Measured>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Measured> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("runs through")).collect()
    });
    let mut row = format!("| {}", scenario.name);
    let mut add = |digits: usize, worst_is_low: bool, get: &dyn Fn(&Measured) -> f64| {
        let mut values: Vec<f64> = all.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        let worst = if worst_is_low { values[0] } else { values[values.len() - 1] };
        write!(row, " | {median:.digits$} {worst:.digits$}").expect("a string");
    };
    add(1, true, &|m| m.fps);
    add(0, false, &|m| f64::from(m.freezes));
    add(0, false, &|m| m.freeze_ms);
    add(2, false, &|m| m.concealed);
    add(0, false, &|m| m.picture_ms);
    add(0, false, &|m| m.full_ms);
    add(0, false, &|m| m.queue_p95_ms);
    add(0, false, &|m| m.keyframes as f64);
    add(0, false, &|m| f64::from(m.plis));
    add(0, true, &|m| m.rate_kbps);
    add(1, false, &|m| m.probe_kbps);
    row.push_str(" |\n");
    row
}
