"""One size of class: a node and a crowd of viewers, played and measured in rounds."""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.fanout import sessions
from benchmarks.registry import BenchmarkError
from benchmarks.report import Report

START_TIMEOUT_S = 15.0
JOIN_TIMEOUT_S = 35.0
SAMPLE_TIMEOUT_S = 5.0
# Beyond the time that the frames take by themselves.
PLAY_TIMEOUT_S = 30.0
PRIMING_FRAMES = 5
# After the last packet, until the class is still.
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What each class does, and how it is measured. Times in the unit that their names end in."""

    fps: int
    packets_per_frame: int
    packet_bytes: int
    spread_us: int
    feedback_hz: int
    open_every: int
    warm_up_s: float
    window_s: float
    rounds: int
    rest_s: float
    with_floor: bool
    with_gso: bool
    wrong_keys: int
    classes: int
    audio: bool

    def frames(self, seconds: float) -> int:
        """Return the frames in so many seconds, one at least."""
        return max(1, round(seconds * self.fps))

    def line(self) -> str:
        """Return the line of the generator's plan."""
        feedback_ms = 1000 // self.feedback_hz
        return (
            f"load fps={self.fps} packets={self.packets_per_frame} bytes={self.packet_bytes}"
            f" spread_us={self.spread_us} feedback_ms={feedback_ms} open_every={self.open_every}"
            f" audio={int(self.audio)}"
        )


@dataclass(slots=True)
class Round:
    """One play: the node's samples around the window, and what the viewers say of the whole of it."""

    before: dict[str, Any]
    after: dict[str, Any]
    played: dict[str, int]

    def gained(self, counter: str) -> int:
        """Return by how much a counter of the node grew in the window."""
        grown: int = self.after["stats"][counter] - self.before["stats"][counter]
        return grown

    @property
    def process_us(self) -> int:
        """Processor time of the node's whole process in the window."""
        used: int = self.after["process_us"] - self.before["process_us"]
        return used

    @property
    def seconds(self) -> float:
        """Length of the window."""
        length: float = self.after["at_s"] - self.before["at_s"]
        return length

    @property
    def us_per_packet(self) -> float:
        """Processor time of the process for each media packet sent."""
        return self.process_us / max(1, self.gained("media_packets_out"))


@dataclass(slots=True)
class Measured:
    """Everything that was measured with one number of viewers."""

    viewers: int
    rounds: list[Round] = field(default_factory=list)
    floors: list[dict[str, int]] = field(default_factory=list)
    rest: Round | None = None

    def total(self, figure: str) -> int:
        """Sum a figure of the viewers over the rounds, warm-up included."""
        return sum(one.played[figure] for one in self.rounds)

    def floor_us(self) -> list[float]:
        """Return processor time for each packet of the plain sender, round by round."""
        return [one["cpu_ns"] / 1000 / one["packets_sent"] for one in self.floors]


def measure(viewers: int, load: Load, generator: Path, report: Report, into: Measured) -> None:
    """Seat a class, play the rounds into `into`; BenchmarkError where something does not come about."""
    publishers, crowd = sessions.make(viewers, load.classes)
    with ExitStack() as stack:
        gso = "1" if load.with_gso else "0"
        command = [sys.executable, "-m", "benchmarks.fanout.media_node"]
        node = stack.enter_context(Child("node", command, LECTERN_BENCH_GSO=gso))
        listening = node.hear("listening", within_s=START_TIMEOUT_S)
        if listening["build"] != "release":
            raise BenchmarkError("The packet core is a debug build: its figures mean nothing.")
        _seat(node, load, publishers, crowd)
        load_generator = stack.enter_context(Child("load generator", [str(generator)]))
        load_generator.tell(_plan(listening["port"], load, publishers, crowd))
        load_generator.hear("joined", within_s=JOIN_TIMEOUT_S)
        report.say(f"{viewers} viewers are there")
        if load.audio:
            _prime(load_generator)
        for number in range(1, load.rounds + 1):
            into.rounds.append(_play(node, load_generator, load))
            told = f"round {number}: {into.rounds[-1].us_per_packet:.2f} us a packet"
            if load.with_floor:
                into.floors.append(_floor(load_generator, load))
                told += f", the plain sender {into.floor_us()[-1]:.2f}"
            report.say(told)
        if load.rest_s > 0:
            into.rest = _rest(node, load.rest_s)


def median(values: list[float]) -> float | None:
    """Return the median; None of nothing."""
    return statistics.median(values) if values else None


def _seat(
    node: Child, load: Load, publishers: list[sessions.Session], crowd: list[sessions.Session]
) -> None:
    kind = {"audio": load.audio}
    seats = [one.message() | kind | {"publishes": True} for one in publishers]
    seats += [one.message() | kind | {"publishes": False} for one in crowd]
    node.tell(json.dumps({"do": "seat", "sessions": seats}) + "\n")
    node.hear("seated", within_s=START_TIMEOUT_S)


def _plan(
    port: int, load: Load, publishers: list[sessions.Session], crowd: list[sessions.Session]
) -> str:
    peers = [viewer.with_wrong_key() for viewer in crowd[: load.wrong_keys]]
    peers += crowd[load.wrong_keys :]
    lines = [f"node 127.0.0.1:{port}", load.line()]
    lines += [f"publisher {publisher.peer()}" for publisher in publishers]
    lines += [f"viewer {viewer.peer()}" for viewer in peers]
    return "\n".join([*lines, "ready", "join", ""])


def _prime(load_generator: Child) -> None:
    """Let sound begin before anything is counted: the packet that opens a slot is not forwarded."""
    load_generator.tell(f"play {PRIMING_FRAMES}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    load_generator.hear("played", within_s=PLAY_TIMEOUT_S)


def _sample(node: Child, *, fresh: bool) -> dict[str, Any]:
    node.tell(f'{{"do": "sample", "fresh": {"true" if fresh else "false"}}}\n')
    return node.hear("sample", within_s=SAMPLE_TIMEOUT_S)


def _play(node: Child, load_generator: Child, load: Load) -> Round:
    # Sampling waits for counters, up to a second at either end of the window.
    frames = load.frames(load.warm_up_s + load.window_s + 2.2)
    load_generator.tell(f"play {frames}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    time.sleep(load.warm_up_s)
    before = _sample(node, fresh=True)
    time.sleep(load.window_s)
    after = _sample(node, fresh=True)
    played = load_generator.hear("played", within_s=frames / load.fps + PLAY_TIMEOUT_S)
    return Round(before, after, played)


def _floor(load_generator: Child, load: Load) -> dict[str, int]:
    frames = load.frames(load.window_s)
    load_generator.tell(f"floor {frames}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    return load_generator.hear("floor", within_s=frames / load.fps + PLAY_TIMEOUT_S)


def _rest(node: Child, seconds: float) -> Round:
    """Measure the class with nobody sending: consent, reports and signs of life go on."""
    time.sleep(SETTLE_S)
    before = _sample(node, fresh=True)
    time.sleep(seconds)
    return Round(before, _sample(node, fresh=True), {})
