//! Classes over lines that lose, narrow, reorder and break, in virtual time and by seed.

mod class;
mod line;
mod receiver;
mod scenarios;
#[path = "../world/mod.rs"]
mod world;

use scenarios::named;

#[test]
fn a_good_line_shows_everything_and_asks_for_nothing() {
    let (_, measured) = named("good").run(1);
    let got = measured[0];
    assert!(got.fps > 14.5 && got.freezes == 0 && got.concealed < 0.1, "{got:?}");
    assert_eq!((got.keyframes, got.plis), (0, 0), "{got:?}");
}
