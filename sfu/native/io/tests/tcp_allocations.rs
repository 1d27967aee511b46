//! Serving connections allocates nothing per packet after warm-up: counted by an allocator before the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

use lectern_core::api::{Command, Counters, Event, Outbox, Run};
use lectern_core::ids::{PathId, SessionId, Time};
use lectern_io::engine::Engine;
use lectern_io::framing::write_frames;
use lectern_io::sys::Epoll;
use lectern_io::tcp::{Tcp, TcpOptions};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Knows every path, and keeps the last one it heard from.
#[derive(Default)]
struct Listener {
    path: Option<PathId>,
    received: u64,
}

impl Engine for Listener {
    fn command(&mut self, _now: Time, _command: Command) {}

    fn receive(&mut self, _arrived: Time, path: PathId, _datagram: &mut [u8]) {
        self.path = Some(path);
        self.received += 1;
    }

    fn knows(&self, _path: PathId) -> bool {
        true
    }

    fn forget(&mut self, _now: Time, _path: PathId) {}

    fn advance(&mut self, _now: Time, _out: &mut Outbox) {}

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn take_events(&mut self, _into: &mut Vec<Event>) {}

    fn counters(&self) -> Counters {
        Vec::new()
    }

    fn session_counters(&self, _session: SessionId) -> Option<Counters> {
        None
    }
}

struct Rig {
    tcp: Tcp,
    epoll: Epoll,
    engine: Listener,
}

impl Rig {
    fn turn(&mut self) {
        let found = self.epoll.wait(Some(Duration::from_millis(20)));
        for ready in found.iter() {
            self.tcp.wake(&self.epoll, &mut self.engine, ready);
        }
        self.tcp.receive(&self.epoll, &mut self.engine);
    }

    fn receive_until(&mut self, count: u64) {
        while self.engine.received < count {
            self.turn();
        }
    }
}

fn stream_of(datagrams: usize) -> Vec<u8> {
    let mut run = vec![0; 1000 * datagrams];
    run.iter_mut().step_by(1000).skip(1).for_each(|first| *first = 1);
    let mut stream = Vec::new();
    write_frames(&mut stream, &run, 1000);
    stream
}

#[test]
fn frames_in_and_out_and_full_sockets_use_the_memory_that_is_there() {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let tcp = Tcp::listen(host, &TcpOptions::default()).unwrap();
    let mut peer = TcpStream::connect((host, tcp.port())).unwrap();
    let mut rig = Rig { tcp, epoll: Epoll::new().unwrap(), engine: Listener::default() };
    rig.tcp.watch(&rig.epoll, 0).unwrap();
    let stream = stream_of(5);
    let mut outbox = Outbox { bytes: vec![7; 16_000], runs: Vec::with_capacity(1) };
    let mut drain = vec![0; 1 << 20];
    let mut round = |rig: &mut Rig, cut: usize| {
        let wanted = rig.engine.received + 5;
        peer.write_all(&stream[..cut]).unwrap();
        rig.turn();
        peer.write_all(&stream[cut..]).unwrap();
        rig.receive_until(wanted);
        // More than all buffers hold, and then all that is there is read.
        let path = rig.engine.path.unwrap();
        outbox.runs.push(Run { path, start: 0, length: 16_000, segment: 1000 });
        while rig.tcp.backlogged_bytes() < 50_000 {
            rig.tcp.send(&rig.epoll, &mut rig.engine, &outbox);
        }
        outbox.runs.clear();
        while rig.tcp.backlogged_bytes() > 0 {
            assert!(peer.read(&mut drain).unwrap() > 0);
            rig.turn();
        }
    };
    for cut in [100, 1100, 2500, 5000] {
        round(&mut rig, cut);
    }
    let before = ALLOCATIONS.get();
    for cut in 0..stream.len() / 50 {
        round(&mut rig, cut * 50);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![0u8; 100]));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the counter counts");
}
