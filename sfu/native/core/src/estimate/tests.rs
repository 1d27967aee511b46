use super::*;
use crate::ids::Ssrc;
use crate::twcc::{self, Recorder};

const ROUND_TRIP: Duration = Duration::from_millis(50);

fn ms(value: u64) -> Time {
    Time(value * 1_000_000)
}

/// A sender and a receiver that tells what arrived.
#[derive(Default)]
struct Pair {
    estimator: Estimator,
    recorder: Recorder,
    memory: Vec<Arrival>,
}

impl Pair {
    fn send(&mut self, at: Time, arrives: Option<Time>) {
        let sequence = self.estimator.next_sequence();
        self.estimator.sent(at, 1200);
        if let Some(arrived) = arrives {
            self.recorder.record(sequence, arrived);
        }
    }

    fn tell(&mut self, now: Time) -> Option<Told> {
        let mut told = None;
        let mut bytes = Vec::new();
        while self.recorder.feedback(Ssrc(1), Ssrc(2), &mut bytes) {
            let feedback = twcc::parse(&bytes).expect("our own");
            told = Some(self.estimator.feedback(now, &feedback, ROUND_TRIP, &mut self.memory));
            bytes.clear();
        }
        told
    }

    /// 20 packets a 100 ms, about 2 Mbit/s; `late` in ms by the packet's number.
    fn run(&mut self, from: u64, until: u64, late: impl Fn(u64) -> Option<u64>) {
        for at in (from..until).step_by(5) {
            self.send(ms(at), late(at).map(|late| ms(at + 25 + late)));
            if at % 100 == 95 {
                self.tell(ms(at + 50));
            }
        }
    }
}

#[test]
fn a_lost_feedback_is_no_loss_of_packets() {
    let mut pair = Pair::default();
    pair.run(0, 3000, |_| Some(0));
    for round in 30..60 {
        pair.run(round * 100, round * 100 + 95, |_| Some(0));
        let at = round * 100 + 95;
        pair.send(ms(at), Some(ms(at + 25)));
        if round % 2 == 0 {
            let (mut lost, recorder) = (Vec::new(), &mut pair.recorder);
            while recorder.feedback(Ssrc(1), Ssrc(2), &mut lost) {}
        } else {
            pair.tell(ms(at + 50));
        }
    }
    assert!(pair.estimator.loss() < 0.001, "{}", pair.estimator.loss());
    assert!(pair.estimator.history.in_flight_bytes() < 45 * 1200);
}

#[test]
fn a_packet_that_comes_late_was_not_lost() {
    let mut pair = Pair::default();
    pair.run(0, 10_000, |at| Some(if at % 50 == 0 { 60 } else { 0 }));
    assert!(pair.estimator.loss() < 0.001, "{}", pair.estimator.loss());
    pair.run(10_000, 20_000, |at| (at % 50 != 0).then_some(0));
    assert!((0.08..0.12).contains(&pair.estimator.loss()), "{}", pair.estimator.loss());
}

#[test]
fn a_queue_that_grows_lowers_the_rate_within_a_second() {
    let mut pair = Pair::default();
    pair.run(0, 5000, |_| Some(0));
    let before = pair.estimator.rate_bps();
    // A third of what is sent arrives in time: each ms the queue grows by two.
    pair.run(5000, 6000, |at| Some((at - 5000) * 2));
    let after = pair.estimator.rate_bps();
    assert!(before > 1_500_000 && after < 900_000, "{before} {after}");
}

#[test]
fn what_was_never_sent_and_what_comes_too_often_is_refused() {
    let mut pair = Pair::default();
    pair.run(0, 3000, |_| Some(0));
    let rate = pair.estimator.rate_bps();
    let mut liar = Recorder::new();
    for sequence in 30_000..30_050 {
        liar.record(sequence, ms(3000));
    }
    let mut bytes = Vec::new();
    assert!(liar.feedback(Ssrc(1), Ssrc(2), &mut bytes));
    let forged = twcc::parse(&bytes).expect("well-formed");
    let mut refused = 0;
    for n in 0..10_000u64 {
        let told =
            pair.estimator.feedback(ms(3000 + n / 10), &forged, ROUND_TRIP, &mut pair.memory);
        refused += u32::from(told == Told::Refused);
    }
    assert_eq!(refused, 10_000);
    assert_eq!(pair.estimator.rate_bps(), rate);
    // Of true ones a storm is cut to its budget.
    bytes.clear();
    pair.send(ms(4000), Some(ms(4025)));
    assert!(pair.recorder.feedback(Ssrc(1), Ssrc(2), &mut bytes));
    let storm = twcc::parse(&bytes).expect("well-formed");
    let taken = (0..10_000u64).filter(|n| {
        let told = pair.estimator.feedback(ms(5000 + n / 10), &storm, ROUND_TRIP, &mut pair.memory);
        told != Told::Refused
    });
    assert!(taken.count() <= 141, "a hundred a second, and 40");
}

#[test]
fn absurd_times_leave_a_rate_within_bounds_that_finds_back() {
    let mut pair = Pair::default();
    pair.run(0, 3000, |_| Some(0));
    // Hours ahead and back, feedback by feedback.
    for round in 0..40 {
        let off = if round % 2 == 0 { 7_200_000 } else { 0 };
        pair.run(3000 + round * 100, 3100 + round * 100, |_| Some(off));
        let rate = pair.estimator.rate_bps();
        assert!((RATE_BPS_MIN..=RATE_BPS_MAX).contains(&rate), "{rate}");
    }
    pair.run(7000, 27_000, |_| Some(0));
    assert!(pair.estimator.rate_bps() > 1_500_000, "{}", pair.estimator.rate_bps());
}

#[test]
fn memory_is_bounded_and_nothing_stays_in_flight_for_ever() {
    let mut pair = Pair::default();
    pair.run(0, 1000, |_| Some(0));
    for n in 0..100_000 {
        pair.send(ms(1000 + n / 100), None);
    }
    assert!(pair.estimator.history.in_flight_bytes() <= 1024 * 1200);
    assert!(
        pair.estimator.admits_picture(ms(10_000)),
        "after a while it is not under way any more"
    );
    assert_eq!(pair.estimator.history.in_flight_bytes(), 0);
}

#[test]
fn an_outage_is_noticed_and_one_answer_ends_it() {
    let mut pair = Pair::default();
    pair.run(0, 3000, |_| Some(0));
    let rate = pair.estimator.rate_bps();
    pair.run(3000, 3500, |_| None);
    assert!(!pair.estimator.is_out(ms(3500), ROUND_TRIP));
    pair.run(3500, 4500, |_| None);
    assert!(pair.estimator.is_out(ms(4500), ROUND_TRIP));
    assert!(!pair.estimator.admits_picture(ms(4500)));
    assert!(pair.estimator.take_beat(ms(4500)));
    assert!(!pair.estimator.take_beat(ms(4600)), "one each 200 ms");
    pair.send(ms(8000), Some(ms(8025)));
    assert_eq!(pair.tell(ms(8050)), Some(Told::Again));
    assert!(!pair.estimator.is_out(ms(8050), ROUND_TRIP));
    assert!(pair.estimator.rate_bps() >= rate, "what was known is believed again");
}
