//! The life of the thread: start, turn, sleep, close, die.

mod echo;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use echo::{client, counter, eventually, options, start, Echo, LOCALHOST};
use lectern_core::api::{Command, Event};
use lectern_core::ids::SessionId;
use lectern_io::counters::PUBLISH_INTERVAL;
use lectern_io::media::{CommandError, Media};
use lectern_io::sys::Epoll;

fn is_readable(media: &Media) -> bool {
    let mut epoll = Epoll::new().unwrap();
    // The descriptor lives as long as `media`.
    #[allow(unsafe_code)]
    let fd = unsafe { BorrowedFd::borrow_raw(media.event_fd()) };
    epoll.add(fd, 0).unwrap();
    epoll.wait(Some(Duration::ZERO)).readable(0)
}

fn dtls(number: u32) -> Command {
    Command::SendDtls { session: SessionId(number), datagram: vec![22; 10] }
}

#[test]
fn a_datagram_is_answered_and_counted() {
    let media = start(Echo { copies: 1, ..Echo::default() });
    let client = client(&media);
    client.send(b"hello").unwrap();
    let mut buffer = [0; 100];
    assert_eq!(client.recv(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    media.close();
    for (name, value) in [
        ("datagrams_in", 1),
        ("bytes_in", 5),
        ("datagrams_out", 1),
        ("bytes_out", 5),
        ("runs_out", 1),
        ("sends", 1),
        ("received", 1),
    ] {
        assert_eq!(counter(&media, name), value, "{name}");
    }
}

#[test]
fn commands_come_out_as_events_in_order_and_the_descriptor_tells() {
    let media = start(Echo::default());
    assert!(!is_readable(&media));
    let count = 10_000u32; // more than one turn's worth and more than one take's
    for number in 0..count {
        media.command(dtls(number % 5000)).unwrap();
        if number == 5000 {
            eventually("half are there", || is_readable(&media));
            std::thread::sleep(Duration::from_millis(200));
            let taken = media.events().unwrap();
            assert_eq!(taken.len(), 4096);
            assert!(is_readable(&media), "the rest still waits");
            assert!(matches!(&taken[4095], Event::Dtls { session, .. } if session.0 == 4095));
        }
    }
    let mut rest = 0;
    eventually("the others came", || {
        rest += media.events().unwrap().len();
        rest == count as usize - 4096
    });
    assert!(!is_readable(&media));
}

#[test]
fn counters_are_right_a_second_after_traffic_stops() {
    let media = start(Echo::default());
    let client = client(&media);
    for _ in 0..50 {
        client.send(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(PUBLISH_INTERVAL + Duration::from_millis(200));
    assert_eq!(counter(&media, "received"), 50);
}

#[test]
fn each_session_has_its_counters_until_it_is_removed() {
    let media = start(Echo::default());
    for number in 0..1000 {
        let credentials = ("abcd".to_owned(), "x".repeat(22));
        let (ice_ufrag, ice_pwd) = credentials;
        media
            .command(Command::AddSession { session: SessionId(number), ice_ufrag, ice_pwd })
            .unwrap();
    }
    for number in 0..1000 {
        eventually("it is shown", || {
            media.session_counters(SessionId(number)) == Some(vec![("number", u64::from(number))])
        });
    }
    media.command(Command::RemoveSession { session: SessionId(500) }).unwrap();
    assert_eq!(media.session_counters(SessionId(500)), None);
    assert_eq!(media.session_counters(SessionId(5000)), None);
}

#[test]
fn a_deadline_is_kept_to_a_millisecond_or_two() {
    let media = start(Echo { alarm_after: Some(Duration::from_millis(20)), ..Echo::default() });
    let client = client(&media);
    let mut late_ms = Vec::new();
    for _ in 0..10 {
        let sent = Instant::now();
        client.send(b"x").unwrap();
        let mut alarms = Vec::new();
        while alarms.is_empty() {
            assert!(sent.elapsed() < Duration::from_secs(3), "no alarm");
            // An event ages until it is taken.
            std::thread::sleep(Duration::from_micros(100));
            alarms = media.events().unwrap();
        }
        assert!(sent.elapsed() >= Duration::from_millis(20));
        let [Event::Silent { ms_ago, .. }] = alarms[..] else { panic!("{alarms:?}") };
        late_ms.push(ms_ago);
    }
    // A machine with other work to do may be late now and then.
    late_ms.sort();
    assert!(late_ms[3] <= 2, "{late_ms:?}");
}

#[test]
fn work_for_several_turns_is_done_at_once_and_is_no_lag() {
    let media = start(Echo { turns_more: 20, ..Echo::default() });
    client(&media).send(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    media.close();
    let advances = counter(&media, "advances");
    assert!((20..30).contains(&advances), "{advances}");
    assert!(counter(&media, "loop_lag_us_max") < 200_000);
}

#[test]
fn closing_is_quick_frees_the_port_and_may_be_repeated() {
    let media = start(Echo::default());
    let begun = Instant::now();
    media.close();
    media.close();
    assert!(begun.elapsed() < Duration::from_secs(1));
    let mut again = options(LOCALHOST);
    again.port = media.port();
    let second = Media::start(&again, Echo::default()).unwrap();
    assert_eq!(second.port(), media.port());
    assert_eq!(media.command(dtls(1)), Ok(()), "ignored after the close");
}

#[test]
fn commands_given_before_the_close_are_still_done() {
    let media = start(Echo::default());
    for number in 0..1000 {
        media.command(dtls(number)).unwrap();
    }
    media.close();
    assert_eq!(counter(&media, "commands"), 1000);
}

#[test]
fn a_taken_port_is_an_error_of_the_system() {
    let media = start(Echo::default());
    let mut same = options(LOCALHOST);
    same.port = media.port();
    let error = Media::start(&same, Echo::default()).err().unwrap();
    assert_eq!(error.error.raw_os_error(), Some(libc::EADDRINUSE));
}

#[test]
fn a_panic_in_the_engine_is_told_to_everybody_who_asks() {
    let media = start(Echo { panic_on: Some(9), ..Echo::default() });
    client(&media).send(&[9]).unwrap();
    eventually("the descriptor tells", || is_readable(&media));
    let told = CommandError::Dead("told to".to_owned());
    assert_eq!(media.events(), Err(told.clone()));
    assert_eq!(media.command(dtls(1)), Err(told));
    media.close();
}
