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

    @property
    def floor_in_runs(self) -> bool:
        """Whether the plain sender sends a frame as one run: not where each has a viewer of its own."""
        return self.classes == 1

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
    def packets(self) -> int:
        """Packets sent to viewers in the window; what nodes send each other is none of them."""
        return max(1, self.gained("media_packets_out") - self.gained("link_packets_out"))

    @property
    def us_per_packet(self) -> float:
        """Processor time of all nodes for each media packet sent to a viewer."""
        return self.process_us / self.packets


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


def measure(
    viewers: int, load: Load, generator: Path, report: Report, into: Measured, node_count: int = 1
) -> None:
    """Seat a class, play the rounds into `into`; BenchmarkError where something does not come about.

    With several nodes the teachers are on the first, and the viewers dealt to all of them in turn.
    """
    publishers, crowd = sessions.make(viewers, load.classes)
    with ExitStack() as stack:
        gso = "1" if load.with_gso else "0"
        command = [sys.executable, "-m", "benchmarks.fanout.media_node"]
        nodes, ports = [], []
        for number in range(node_count):
            name = "node" if node_count == 1 else f"node {number + 1}"
            node = stack.enter_context(Child(name, command, LECTERN_BENCH_GSO=gso))
            listening = node.hear("listening", within_s=START_TIMEOUT_S)
            if listening["build"] != "release":
                raise BenchmarkError("The packet core is a debug build: its figures mean nothing.")
            nodes.append(node)
            ports.append(listening["port"])
        for number, node in enumerate(nodes):
            _seat(node, load, [] if number else publishers, crowd[number::node_count])
        _link(nodes, ports, load)
        load_generator = stack.enter_context(Child("load generator", [str(generator)]))
        load_generator.tell(_plan(ports, load, publishers, crowd))
        load_generator.hear("joined", within_s=JOIN_TIMEOUT_S)
        on = f" on {node_count} nodes" if node_count > 1 else ""
        report.say(f"{viewers} viewers are there{on}")
        if load.audio:
            _prime(load_generator)
        for number in range(1, load.rounds + 1):
            into.rounds.append(_play(nodes, load_generator, load))
            told = f"round {number}: {into.rounds[-1].us_per_packet:.2f} us a packet"
            if load.with_floor:
                into.floors.append(_floor(load_generator, load))
                told += f", the plain sender {into.floor_us()[-1]:.2f}"
            report.say(told)
        if load.rest_s > 0:
            into.rest = _rest(nodes, load.rest_s)


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


def _link(nodes: list[Child], ports: list[int], load: Load) -> None:
    """Let all nodes but the first follow it, in every class."""
    ends: list[list[dict[str, Any]]] = [[] for _ in nodes]
    for child in range(1, len(nodes)):
        for room in range(1, load.classes + 1):
            link = sessions.link(child * load.classes + room, room)
            kind = {"audio": load.audio}
            ends[child].append(link.other_end().message() | kind | {"parent": ports[0]})
            ends[0].append(link.message() | kind | {"parent": None})
    for node, links in zip(nodes, ends, strict=True):
        if links:
            node.tell(json.dumps({"do": "link", "links": links}) + "\n")
            node.hear("linked", within_s=START_TIMEOUT_S)


def _plan(
    ports: list[int], load: Load, publishers: list[sessions.Session], crowd: list[sessions.Session]
) -> str:
    peers = [viewer.with_wrong_key() for viewer in crowd[: load.wrong_keys]]
    peers += crowd[load.wrong_keys :]
    lines = [f"node 127.0.0.1:{ports[0]}", load.line()]
    lines += [f"publisher {publisher.peer()}" for publisher in publishers]
    lines += [
        f"viewer {viewer.peer()} node=127.0.0.1:{ports[number % len(ports)]}"
        for number, viewer in enumerate(peers)
    ]
    return "\n".join([*lines, "ready", "join", ""])


def _prime(load_generator: Child) -> None:
    """Let sound begin before anything is counted: the packet that opens a slot is not forwarded."""
    load_generator.tell(f"play {PRIMING_FRAMES}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    load_generator.hear("played", within_s=PLAY_TIMEOUT_S)


def _sample(nodes: list[Child], *, fresh: bool) -> dict[str, Any]:
    """Return the sums over the nodes, each as of its own moment."""
    for node in nodes:
        node.tell(f'{{"do": "sample", "fresh": {"true" if fresh else "false"}}}\n')
    samples = [node.hear("sample", within_s=SAMPLE_TIMEOUT_S) for node in nodes]
    sums = {name: sum(s["stats"][name] for s in samples) for name in samples[0]["stats"]}
    sums["loop_lag_us_max"] = max(s["stats"]["loop_lag_us_max"] for s in samples)
    return samples[0] | {
        "process_us": sum(s["process_us"] for s in samples),
        "rss_kb": sum(s["rss_kb"] for s in samples),
        "stats": sums,
    }


def _play(nodes: list[Child], load_generator: Child, load: Load) -> Round:
    # Sampling waits for counters, up to a second at either end of the window.
    frames = load.frames(load.warm_up_s + load.window_s + 2.2)
    load_generator.tell(f"play {frames}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    time.sleep(load.warm_up_s)
    before = _sample(nodes, fresh=True)
    time.sleep(load.window_s)
    after = _sample(nodes, fresh=True)
    played = load_generator.hear("played", within_s=frames / load.fps + PLAY_TIMEOUT_S)
    return Round(before, after, played)


def _floor(load_generator: Child, load: Load) -> dict[str, int]:
    frames = load.frames(load.window_s)
    load_generator.tell(f"floor {'runs' if load.floor_in_runs else 'packets'} {frames}\n")
    load_generator.hear("begun", within_s=START_TIMEOUT_S)
    return load_generator.hear("floor", within_s=frames / load.fps + PLAY_TIMEOUT_S)


def _rest(nodes: list[Child], seconds: float) -> Round:
    """Measure the class with nobody sending: consent, reports and signs of life go on."""
    time.sleep(SETTLE_S)
    before = _sample(nodes, fresh=True)
    time.sleep(seconds)
    return Round(before, _sample(nodes, fresh=True), {})
