//! A session's paths come and go, as TCP connections do; the session stays, and is judged by what it hears.

mod world;

use std::time::Duration;

use lectern_core::api::{Command, Event};
use lectern_core::ids::PathId;
use world::*;

/// Another path of the peer with this id.
const OTHER: u16 = 900;

fn check_from(world: &mut World, peer: &Peer, port: u16) {
    world.receive(port, &check(peer.id, &pwd(peer.id)));
}

/// (teacher, viewer), the viewer having got a keyframe.
fn class(world: &mut World) -> (Peer, Peer) {
    let mut teacher = Peer::join(world, 1);
    teacher.publish(world);
    let viewer = Peer::join(world, 2);
    viewer.subscribe(world);
    world.run_ms(1);
    teacher.send_frame(world, true, 0, 12);
    world.run_ms(60);
    (teacher, viewer)
}

fn media_to(world: &World, port: u16) -> usize {
    world.sent.iter().filter(|(_, to, _, d)| *to == port && d[0] >> 6 == 2).count()
}

#[test]
fn a_path_is_known_from_its_first_valid_check_to_the_end_of_its_session() {
    let mut world = World::new();
    assert!(!world.node.knows(path(1)));
    let peer = Peer::join(&mut world, 1);
    assert!(world.node.knows(path(1)));
    assert!(!world.node.knows(PathId { via: 7, ..path(1) }), "another connection is another path");
    world.receive(OTHER, &check(1, "wrong-password-of-somebody"));
    assert!(!world.node.knows(path(OTHER)));
    world.command(Command::RemoveSession { session: peer.session() });
    assert!(!world.node.knows(path(1)));
}

#[test]
fn media_goes_on_over_the_path_that_is_left() {
    let mut world = World::new();
    let (mut teacher, viewer) = class(&mut world);
    check_from(&mut world, &viewer, OTHER);
    world.run_ms(1);
    world.node.forget(world.now, path(OTHER));
    let before = media_to(&world, viewer.id);
    teacher.send_frame(&mut world, false, 6000, 12);
    world.run_ms(60);
    assert_eq!(media_to(&world, viewer.id), before + 12);
    assert!(!world.node.knows(path(OTHER)) && world.node.knows(path(viewer.id)));
}

#[test]
fn without_a_path_nothing_is_sent_and_with_the_next_one_it_goes_on_where_it_was() {
    let mut world = World::new();
    let (mut teacher, viewer) = class(&mut world);
    world.node.forget(world.now, path(viewer.id));
    let before = media_to(&world, viewer.id);
    for n in 1..6 {
        teacher.send_frame(&mut world, false, n * 6000, 2);
        world.run_ms(66);
    }
    world.events.clear();
    check_from(&mut world, &viewer, OTHER);
    world.run_ms(100);
    assert_eq!(media_to(&world, viewer.id), before);
    assert!(media_to(&world, OTHER) >= 10, "what it has missed comes over the new path");
    teacher.send_frame(&mut world, false, 36_000, 2);
    world.run_ms(60);
    assert!(media_to(&world, OTHER) >= 12);
    assert!(world.events.is_empty(), "it was reachable all along: {:?}", world.events);
}

#[test]
fn a_session_without_a_path_falls_silent_like_any_other() {
    let mut world = World::new();
    let (_teacher, viewer) = class(&mut world);
    world.node.forget(world.now, path(viewer.id));
    world.events.clear();
    world.run(Duration::from_secs(20));
    let silent = |event: &&Event| matches!(event, Event::Silent { session, .. } if *session == viewer.session());
    assert_eq!(world.events.iter().filter(silent).count(), 1);
}

#[test]
fn forgetting_what_is_not_known_is_nothing() {
    let mut world = World::new();
    let (_teacher, viewer) = class(&mut world);
    world.node.forget(world.now, path(OTHER));
    world.node.forget(world.now, PathId { via: 3, ..path(viewer.id) });
    assert!(world.node.knows(path(viewer.id)));
}
