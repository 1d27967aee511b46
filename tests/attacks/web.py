"""A whole `lectern up` whose `web` process is under attack, with people and an honest class on it."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.attacks.honest import VIEWERS
from tests.attacks.siege import Attack, Siege, figures, honest_class
from tests.lectern.running import Up

METRICS_TOKEN = "metrics-of-the-attacked-" + secrets.token_hex(8)
REQUEST_S = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass(frozen=True, slots=True)
class Lesson:
    """A live class: its teacher's and students' bearers and cookies."""

    class_id: str
    link: str
    teacher: Person
    students: list[Person]


@dataclass(frozen=True, slots=True)
class Person:
    token: str
    cookie: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class WebUnderAttack(Siege):
    """Runs for as long as the `with` block; `ask` is an honest or a dishonest client's request."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            home = Path(tempfile.mkdtemp(prefix="lectern-attacked-", dir="/tmp"))
            stack.callback(shutil.rmtree, home)
            home.chmod(0o755)
            self.up = Up(home / "data", "--log-format", "json")
            self.up.variables = {"LECTERN_METRICS_TOKEN": METRICS_TOKEN}
            stack.callback(self.up.stop)
            self.up.start()
            (self.pid,) = self.up.children("web")
            self.lesson = self.live_class(VIEWERS)
            order = {
                "url": self.up.url,
                "class_id": self.lesson.class_id,
                "link": self.lesson.link,
                "tokens": [p.token for p in (self.lesson.teacher, *self.lesson.students)],
            }
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

    def ask(
        self,
        method: str,
        path: str,
        who: dict[str, str] | None = None,
        body: Any = None,
        **more: str,
    ) -> Answer:
        """Return the answer to one request on a connection of its own; headers by `who` and `more`."""
        headers = {**(who or {}), **{k.replace("_", "-"): v for k, v in more.items()}}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=REQUEST_S)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def person(self, role: str) -> Person:
        """Sign somebody up."""
        name = f"{role}-{secrets.token_hex(6)}"
        account = {"email": f"{name}@example.org", "name": name, "role": role}
        account["password"] = secrets.token_hex(12)
        made = self.ask("POST", "/api/accounts", body=account)
        assert made.status == 201, made
        cookie = made.headers["Set-Cookie"].partition(";")[0]
        own = {"Cookie": cookie, "Origin": self.up.url}
        token = self.ask("POST", "/api/tokens", own, {"name": "t"})
        assert token.status == 201, token
        return Person(token.json["token"], cookie)

    def live_class(self, students: int) -> Lesson:
        """Open a class with people who may join it."""
        teacher = self.person("teacher")
        made = self.ask("POST", "/api/classes", teacher.bearer, {"title": "Maths", "capacity": 50})
        started = self.ask("POST", f"/api/classes/{made.json['id']}/start", teacher.bearer)
        assert started.status == 200, started
        link = started.json["link"].rpartition("/")[2]
        people = [self.person("student") for _ in range(students)]
        return Lesson(made.json["id"], link, teacher, people)

    def counters(self) -> dict[str, float]:
        told = self.ask("GET", "/metrics", {"Authorization": f"Bearer {METRICS_TOKEN}"})
        assert told.status == 200, told
        return figures(told.body.decode())

    def line_count(self) -> int:
        return len(self.up.lines)

    def send_away(self, attack: Attack) -> None:
        """Nothing that these attacks open lasts."""
