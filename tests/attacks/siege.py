"""A node under attack: a real process, an honest class on it, and what has to hold whatever is sent.

`under_attack` is the whole fixture: it lets the honest class play while its block attacks, and asserts
afterwards that the class lost nothing, that the process's memory stayed within a named bound, that the
counters named tell of the attack, and that the log stayed short.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.children import Child
from benchmarks.clients.handshake import Handshake, bound_socket, shake_hands
from benchmarks.node.api import NodeApi, remote_of
from benchmarks.node.control import ListeningControl
from tests.attacks.offers import opening_without_estimate
from tests.lectern.running import environment, free_media_port
from wire.session import Answer, CloseSession, Role, Slot

LOSS_MAX = 0.001  # of the honest class's packets, at each of its viewers
DELAY_MS_P99_MAX = 500.0  # attacker, node and class share two cores with other tests
GROWTH_MB_MAX = 24.0  # at the highest, of the process under attack
LOG_LINES_MAX = 30  # beside what each session that is opened is worth
LOG_LINES_PER_SESSION_MAX = 3
COUNTED_WITHIN_S = 4.0  # the media thread shows its counters once a second
START_S = 60.0
STOP_S = 10.0
SECRET = "of-the-attacks-on-this-machine-alone"

Counters = Mapping[str, float]


@dataclass
class Honest:
    """The honest class; what an attacker may know of it."""

    child: Child
    ssrc: int
    locations: list[str]  # their sessions, the teacher's first
    ports: list[int]  # the teacher's first
    ufrags: list[str]
    viewers_ssrcs: list[int]
    class_id: str

    def begin(self) -> None:
        self.child.tell('{"do": "begin"}\n')
        self.child.hear("begin", within_s=10)

    def end(self) -> dict[str, Any]:
        self.child.tell('{"do": "end"}\n')
        return self.child.hear("end", within_s=10)

    def captured(self) -> list[bytes]:
        """Return the teacher's newest packets as they went over the wire."""
        self.child.tell('{"do": "capture"}\n')
        packets = self.child.hear("capture", within_s=10)["packets"]
        return [bytes.fromhex(packet) for packet in packets]


@dataclass
class Attack:
    """One attack: how long it is to take, the sessions that were opened for it, and what was found."""

    seconds: float
    sessions: list[str]
    found: dict[str, Any] = field(default_factory=dict)


class Siege(ABC):
    """A process under attack, `pid`, and an honest class that goes on meanwhile."""

    pid: int
    honest: Honest

    def __init__(self) -> None:
        self._opened: list[str] = []

    @abstractmethod
    def counters(self) -> dict[str, float]:
        """Return the process's figures by `name{label="value"}`."""

    @abstractmethod
    def line_count(self) -> int:
        """Return how many lines it has logged."""

    @abstractmethod
    def send_away(self, attack: Attack) -> None:
        """End what an attack has opened, so that the next one finds nothing of it."""

    @contextmanager
    def under_attack(
        self,
        counted: Mapping[str, float],
        *,
        seconds: float = 1.0,
        growth_mb_max: float = GROWTH_MB_MAX,
        log_lines_max: int = LOG_LINES_MAX,
    ) -> Iterator[Attack]:
        """Let the block attack while the honest class plays, and see that nothing came of it.

        `counted`: by how much counters must have grown at least, `name{label="value"}`.
        """
        before, lines_before = self.counters(), self.line_count()
        mb_before = memory_mb(self.pid)
        forget_peak(self.pid)
        attack = Attack(seconds, self._opened)
        self.honest.begin()
        try:
            yield attack
            attack.found = found = self.honest.end()
            found["growth_mb"] = round(memory_mb(self.pid, "VmHWM") - mb_before, 1)
            found["grown"] = wait_grown(self.counters, before, counted)
        finally:
            self._opened = []
            self.send_away(attack)
        found["log_lines"] = self.line_count() - lines_before
        print(f"\n{json.dumps(found)}")
        assert_held(found, counted, growth_mb_max)
        lines_max = log_lines_max + len(attack.sessions) * LOG_LINES_PER_SESSION_MAX
        assert found["log_lines"] <= lines_max, "the log grew with the attack"


class NodeUnderAttack(Siege):
    """A `lectern sfu` for as long as the `with` block, and an honest class on it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._stack = ExitStack()
        self.port = free_media_port()
        self.log = directory / "node.log"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            class_id = str(uuid.uuid4())
            control = stack.enter_context(ListeningControl(self._directory / "control.sock"))
            self.pid = stack.enter_context(self._process(control.url)).pid
            self.secret = control.wait_registered(START_S).secret
            self.socket_path = str(self._directory / "node.sock")
            self._api = NodeApi(self.socket_path, self.secret)
            stack.callback(self._api.close)
            order = {"path": self.socket_path, "secret": self.secret, "class_id": class_id}
            self.honest = stack.enter_context(honest_class(order))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @contextmanager
    def _process(self, control_url: str) -> Iterator[subprocess.Popen[bytes]]:
        options = {
            "data": self._directory,
            "host": "127.0.0.1",
            "udp-port": self.port,
            "internal-listen": f"unix:{self._directory / 'node.sock'}",
            "control-url": control_url,
        }
        command = [sys.executable, "-m", "lectern", "sfu"]
        command += [f"--{name}={value}" for name, value in options.items()]
        variables = {**environment(), "LECTERN_CLUSTER_SECRET": SECRET}
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(STOP_S)

    # What attackers do.

    def open(
        self,
        role: Role,
        class_id: str | None = None,
        *,
        sources: dict[Slot, int] | None = None,
        channel: bool = False,
    ) -> Answer:
        """Open a session in a class, by default one of its own, as signaling would."""
        message = opening_without_estimate(
            class_id or str(uuid.uuid4()), role, sources=sources, channel=channel
        )
        self._opened.append(message.session_id)
        return self._api.open(message)

    def join(self, role: Role, class_id: str | None = None, **options: Any) -> Handshake:
        """Open a session and shake hands; its socket is the caller's to close."""
        return self.shake(self.open(role, class_id, **options))

    def shake(self, answer: Answer) -> Handshake:
        """Go where an answer says, and shake hands."""
        hand = Handshake(remote_of(answer), bound_socket())
        shake_hands([hand], within_s=10)
        return hand

    def until(self, counter: str, at_least: float, *, within_s: float) -> None:
        """Wait until a counter has reached a value."""
        deadline_s = time.monotonic() + within_s
        while self.counters()[counter] < at_least:
            assert time.monotonic() < deadline_s, f"{counter} did not reach {at_least}"
            time.sleep(0.5)

    def counters(self) -> dict[str, float]:
        """Return the node's figures as Prometheus gets them: `name{label=value}`, labels sorted."""
        self._api._connection.request("GET", "/metrics", headers=self._api._headers)
        response = self._api._connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return figures(text)

    def line_count(self) -> int:
        return self.log.read_bytes().count(b"\n")

    def send_away(self, attack: Attack) -> None:
        for session_id in attack.sessions:
            self._api._call("DELETE", f"/sessions/{session_id}", CloseSession(1, "left"))


@contextmanager
def honest_class(order: dict[str, Any]) -> Iterator[Honest]:
    """Let an honest class play; `order` says where, as `tests.attacks.honest` takes it."""
    with Child("honest class", [sys.executable, "-m", "tests.attacks.honest"]) as child:
        child.tell(json.dumps(order | {"ports": 0.5}) + "\n")
        facts = child.hear("playing", within_s=START_S)
        del facts["event"]
        yield Honest(child, class_id=order["class_id"], **facts)


def assert_held(found: dict[str, Any], counted: Mapping[str, float], growth_mb_max: float) -> None:
    """See that the honest class lost nothing, that memory stayed bounded and that the counters tell."""
    sent, fewest = found["sent"], min(found["received"])
    assert sent > 0, "the honest class did not play"
    assert sent - fewest <= LOSS_MAX * sent, found
    assert found["failed"] == 0, "the honest class was sent what its teacher has not sent"
    assert found["delay_ms_p99"] <= DELAY_MS_P99_MAX, found
    assert found["growth_mb"] <= growth_mb_max, found
    missing = {name: least for name, least in counted.items() if found["grown"][name] < least}
    assert not missing, f"no counter tells of it: {missing} wanted, {found['grown']}"


def figures(text: str) -> dict[str, float]:
    """Return the samples of Prometheus's text format by `name{label="value"}`, labels sorted."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def wait_grown(
    ask: Callable[[], Counters], before: Counters, counted: Mapping[str, float]
) -> dict[str, float]:
    """Return by how much the counters have grown, once all did as wanted or the time is over."""
    deadline_s = time.monotonic() + COUNTED_WITHIN_S
    while True:
        now = ask()
        absent = [name for name in counted if name not in now]
        assert not absent, f"{absent} are not told"
        grown = {name: now[name] - before.get(name, 0.0) for name in counted}
        done = all(grown[name] >= least for name, least in counted.items())
        if done or time.monotonic() > deadline_s:
            return grown
        time.sleep(0.1)


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Return a figure of proc(5)'s status: VmRSS, or VmHWM for the highest since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no {what}")


def forget_peak(pid: int) -> None:
    """Begin the process's highest resident size anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def may_forge() -> bool:
    """Whether this process may send packets under others' ports (raw sockets)."""
    return os.geteuid() == 0
