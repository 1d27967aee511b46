"""A deployment somewhere else, loaded through its public API until something gives way."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import native, peers
from benchmarks.capacity.people import JoinFailed, People, Session
from benchmarks.capacity.permission import Permission
from benchmarks.children import Child
from benchmarks.clients.handshake import Handshake, bound_socket, shake_hands
from benchmarks.clients.sdp import TRANSPORT_CC_ID, teacher_offer, viewer_offer
from benchmarks.limits import allow_descriptors
from benchmarks.node.offers import new_ssrc
from benchmarks.registry import BenchmarkError
from benchmarks.report import Curve, Report, Row

PACKETS_PER_FRAME, PACKET_BYTES = 12, 1150
# Offers that are answered before their handshakes begin.
JOINS_PER_BATCH = 50
# A server forgets who is silent for 8 s.
HANDSHAKES_TIMEOUT_S = 5.0
CONSENT_INTERVAL_S = 3.0
JOINED_TIMEOUT_S = 35.0
WARM_UP_S = 2.0
PLAY_TIMEOUT_S = 30.0
COLUMNS = (
    "viewers",
    "joins_per_s",
    "answer_ms_p99",
    "generator_cpu_share",
    "packets",
    "packets_lost",
    "packets_overflowed",
    "packets_opened",
    "packets_failed",
    "delay_ms_p50",
    "delay_ms_p99",
)


def climb(
    options: argparse.Namespace,
    report: Report,
    steps: list[int],
    broken: Callable[[Row], str | None],
) -> None:
    """Play step after step until one is broken; the accounts are deleted at the end, whatever happens."""
    permission = Permission(options.url, options.i_may_load)
    allow_descriptors(max(steps) + options.at_once)
    generator = native.load_generator(report)
    report.figures |= {"viewers": 0, "limit": "none", "fps": options.fps, "host": permission.host}
    report.curves.append(Curve("steps", "viewers", ["joins_per_s", "delay_ms_p99"]))
    people = People(permission, options.at_once, report.say)
    with asyncio.Runner() as runner:
        try:
            runner.run(people.open(max(steps)))
            for viewers in steps:
                limit = _step(viewers, options, report, runner, people, generator, broken)
                if limit is not None:
                    report.figures["limit"] = limit
                    report.say(f"{viewers} viewers are too many: {limit}")
                    break
                report.figures["viewers"] = viewers
        finally:
            report.say("ending the class and deleting the accounts")
            try:
                runner.run(people.close())
            finally:
                _tell_left(report, people)


def _tell_left(report: Report, people: People) -> None:
    report.figures["accounts_left"] = people.left
    if people.left:
        report.say(
            f"{people.left} accounts may remain ({people.pattern}); lectern user list shows them there,"
            " and lectern user delete removes each"
        )
    report.expect("accounts_left == 0", people.left == 0)


def _step(
    viewers: int,
    options: argparse.Namespace,
    report: Report,
    runner: asyncio.Runner,
    people: People,
    generator: Path,
    broken: Callable[[Row], str | None],
) -> str | None:
    """Let so many viewers join and watch, and leave again; return the limit that was broken."""
    runner.run(people.enrol(viewers))
    crowd = _Crowd(runner, people)
    try:
        try:
            row = crowd.gather(viewers)
            played = _play(crowd, options, generator)
        finally:
            crowd.let_go()
    except JoinFailed as error:
        report.say(str(error))
        runner.run(people.leave(crowd.sessions))
        return "joins"
    runner.run(people.leave(crowd.sessions))
    row |= _figures(played)
    report.add_row("steps", {column: row[column] for column in COLUMNS})
    report.say(f"{viewers} viewers: {row['packets_lost']} of {row['packets']} packets lost")
    return broken(row)


class _Crowd:
    """A teacher and viewers from their offers to their keys; their sockets are held until `let_go`."""

    def __init__(self, runner: asyncio.Runner, people: People) -> None:
        self._runner = runner
        self._people = people
        self._hands: list[Handshake] = []
        self._consent_s = time.monotonic()
        self.sessions: list[Session] = []
        self.lines: list[str] = []  # of the generator's plan

    def gather(self, viewers: int) -> Row:
        """Let the teacher come, then the viewers; JoinFailed."""
        ssrc = new_ssrc()
        teacher = self._runner.run(self._people.teach(teacher_offer(ssrc)))
        self._shake([teacher])
        remote = teacher.answered.remote()
        self.lines = [f"node {remote.address}:{remote.port}"]
        self._add("publisher", [(ssrc, teacher)])
        offer, began_s = viewer_offer(), time.monotonic()
        for first in range(0, viewers, JOINS_PER_BATCH):
            last = min(viewers, first + JOINS_PER_BATCH)
            batch = self._runner.run(self._join(first, last, offer))
            self._shake(batch)
            self._add("viewer", [(one.answered.ssrc, one) for one in batch])
        took_s = time.monotonic() - began_s
        answers_ms = sorted(one.took_s * 1000 for one in self.sessions[1:])
        return {
            "viewers": viewers,
            "joins_per_s": viewers / took_s,
            "answer_ms_p99": answers_ms[int(len(answers_ms) * 0.99)],
        }

    def let_go(self) -> None:
        """Close all sockets; their ports go on in the generator."""
        for hand in self._hands:
            hand.socket.close()
        self._hands.clear()

    async def _join(self, first: int, last: int, offer: str) -> list[Session]:
        keeping = asyncio.create_task(self._keep())
        try:
            return await self._people.join(first, last, offer)
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        while True:
            self._consent()
            await asyncio.sleep(0.5)

    def _consent(self) -> None:
        """Tell the server that those who wait are still there (RFC 7675)."""
        now_s = time.monotonic()
        if now_s - self._consent_s < CONSENT_INTERVAL_S:
            return
        self._consent_s = now_s
        for hand in self._hands:
            # A socket that is full or refused by an ICMP says nothing for long.
            with contextlib.suppress(OSError):
                hand.check(now_s)

    def _shake(self, sessions: list[Session]) -> None:
        self.sessions += sessions
        hands = [Handshake(one.answered.remote(), bound_socket()) for one in sessions]
        self._hands += hands
        self._consent()
        try:
            shake_hands(hands, within_s=HANDSHAKES_TIMEOUT_S)
        except (BenchmarkError, OSError) as error:
            raise JoinFailed(f"Handshakes did not come about: {error}") from error

    def _add(self, kind: str, sessions: list[tuple[int, Session]]) -> None:
        hands = self._hands[len(self._hands) - len(sessions) :]
        for (ssrc, session), hand in zip(sessions, hands, strict=True):
            seat = peers.Seat(ssrc, session.answered.remote(), TRANSPORT_CC_ID)
            self.lines.append(f"{kind} {peers.line_of(seat, hand)}")


def _play(crowd: _Crowd, options: argparse.Namespace, generator: Path) -> dict[str, Any]:
    """Hand the sessions to the generator, and let it play; JoinFailed where they are not taken up."""
    node, *sessions = crowd.lines
    load = f"load fps={options.fps} packets={PACKETS_PER_FRAME} bytes={PACKET_BYTES}"
    load += " spread_us=2000 feedback_ms=100 open_every=16"
    with Child("load generator", [str(generator)]) as child:
        crowd.let_go()
        child.tell("\n".join([node, load, *sessions, "ready", "join", ""]))
        try:
            child.hear("joined", within_s=JOINED_TIMEOUT_S)
        except BenchmarkError as error:
            raise JoinFailed("Not all sessions went on in the generator.") from error
        for seconds in (WARM_UP_S, options.window):
            frames = max(1, round(seconds * options.fps))
            child.tell(f"play {frames}\n")
            child.hear("begun", within_s=PLAY_TIMEOUT_S)
            played = child.hear("played", within_s=seconds + PLAY_TIMEOUT_S)
    return played


def _figures(played: dict[str, Any]) -> Row:
    return {
        "packets": played["packets_expected"],
        "packets_lost": played["packets_expected"] - played["packets_received"],
        "packets_overflowed": played["packets_overflowed"],
        "packets_opened": played["packets_opened"],
        "packets_failed": played["packets_failed"],
        "generator_cpu_share": played["generator_cpu_us"] / played["took_us"],
        "delay_ms_p50": played["delay_us_p50"] / 1000,
        "delay_ms_p99": played["delay_us_p99"] / 1000,
    }
