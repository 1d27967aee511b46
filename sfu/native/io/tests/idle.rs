//! The thread sleeps when there is nothing to do. Alone in its process, so that it is the only one of its name.

mod echo;

use std::time::Duration;

use echo::{client, start, Echo};
use lectern_io::counters::PUBLISH_INTERVAL;

#[test]
fn an_idle_thread_uses_no_cpu_and_never_wakes() {
    let media = start(Echo { copies: 1, ..Echo::default() });
    let client = client(&media);
    client.send(b"x").unwrap();
    client.recv(&mut [0; 10]).unwrap();
    std::thread::sleep(PUBLISH_INTERVAL + Duration::from_millis(300));
    let (wakeups, cpu) = thread_usage();
    std::thread::sleep(Duration::from_millis(1500));
    let (wakeups_after, cpu_after) = thread_usage();
    assert_eq!((wakeups_after, cpu_after), (wakeups, cpu));
    drop(media);
}

/// (how often it went to sleep, processor time in ns) of the one media thread of this process.
fn thread_usage() -> (u64, u64) {
    for entry in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = entry.unwrap().path();
        let Ok(name) = std::fs::read_to_string(path.join("comm")) else { continue };
        if name.trim() != "lectern-media" {
            continue;
        }
        let status = std::fs::read_to_string(path.join("status")).unwrap();
        let times = std::fs::read_to_string(path.join("schedstat")).unwrap();
        let switches =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let switches: u64 = switches.unwrap().trim().parse().unwrap();
        let cpu_ns: u64 = times.split(' ').next().unwrap().parse().unwrap();
        return (switches, cpu_ns);
    }
    panic!("no media thread");
}
