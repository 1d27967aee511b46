"""What operators see of the running deployment: nodes, live classes, sums; for their accounts alone."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from control import answers
from control.account_api import AccountApi
from control.answers import answer, timestamp
from control.database import Database
from control.ids import parse_uuid
from control.operations import Operation
from control.placement import NODES_MAX
from control.problem import Problem

CLASSES_SHOWN = 50
SEARCH_LENGTH_MAX = 200  # a title's
# A title is looked for among so many of the newest live classes: 0.3 s at the most here.
SEARCHED_MAX = 100_000
# Many operators cost what one does, and however many classes there are, looking takes a twentieth of a core.
KEPT_S = 2.0
REST_PER_WORK = 20.0


class OperatorApi:
    """Handlers; every one refuses who is no operator."""

    def __init__(self, database: Database, accounts: AccountApi) -> None:
        self._database = database
        self._accounts = accounts
        self._seen: dict[str, Any] | None = None
        self._fresh_until_s = 0.0
        self._looking = asyncio.Lock()
        self._searching = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation("GET", "/api/operator", "deployment", "Show nodes, the fullest live classes and "
                      "sums over all, as of some seconds ago; for operators.", self.deployment,
                      "Deployment", codes=("not_operator",)),
            Operation("GET", "/api/operator/classes", "findLiveClasses", "Find live classes by id or by "
                      f"a part of the title (among the newest {SEARCHED_MAX:,}); for operators.",
                      self.find, "FoundClasses", codes=("not_operator", "invalid_request"),
                      query={"q": {"type": "string", "minLength": 1, "maxLength": SEARCH_LENGTH_MAX}}),
        ]  # fmt: skip

    async def deployment(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        await self._require_operator(request)
        async with self._looking:
            if self._seen is None or time.monotonic() >= self._fresh_until_s:
                began_s = time.monotonic()
                self._seen = await self._look()
                took_s = time.monotonic() - began_s
                self._fresh_until_s = time.monotonic() + max(KEPT_S, took_s * REST_PER_WORK)
        return answer(self._seen)

    async def _look(self) -> dict[str, Any]:
        nodes = await self._database.rows("operator.nodes", NODES_MAX)
        classes = await self._database.rows("operator.fullest", CLASSES_SHOWN)
        serving = [node for node in nodes if node["state"] != "dead"]
        return {
            "at": timestamp(await self._database.value("node.moment")),
            "totals": {
                "nodes": len(serving),
                "sessions": sum(node["sessions"] for node in serving),
                "egress_bps": sum(node["egress_bps"] for node in serving),
                "classes": classes[0]["all_classes"],
                "present": classes[0]["all_present"],
            },
            "nodes": [_node(node) for node in nodes],
            # Without any class the sums stand alone.
            "classes": [_class(row) for row in classes if row["class_id"] is not None],
        }

    async def find(self, request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
        await self._require_operator(request)
        text = request.query.get("q", "").strip()
        if not 1 <= len(text) <= SEARCH_LENGTH_MAX or "\0" in text:
            raise Problem(
                422, "invalid_request",
                f"The parameter 'q' must have 1 to {SEARCH_LENGTH_MAX} characters.",
                extra={"field": "q"},
            )  # fmt: skip
        wanted = parse_uuid(text)
        async with self._searching:
            if wanted is not None:
                found = await self._database.rows("operator.by_id", wanted)
                return answer({"items": [_class(row) for row in found], "complete": True})
            found = await self._database.rows(
                "operator.by_title", text, SEARCHED_MAX, CLASSES_SHOWN + 1
            )
            live = await self._database.value("operator.live", SEARCHED_MAX + 1)
        shown = found[:CLASSES_SHOWN]
        complete = len(found) == len(shown) and live <= SEARCHED_MAX
        return answer({"items": [_class(row) for row in shown], "complete": complete})

    async def _require_operator(self, request: web.Request) -> None:
        if not (await self._accounts.account_of(request)).is_operator:
            raise Problem(403, "not_operator", "Only operators of this deployment see this.")


def _node(row: Any) -> dict[str, Any]:
    return {
        "id": str(row["node_id"]),
        "state": row["state"],
        "addresses": [f"{_bracketed(host)}:{port}" for host, port in json.loads(row["addresses"])],
        "version": row["version"],
        "sessions": row["sessions"],
        "classes": row["classes"],
        "egress_bps": row["egress_bps"],
        "cpu": round(row["cpu"], 3),
        "loop_lag_ms": round(row["loop_lag_ms"], 1),
        "native_lag_ms": round(row["native_lag_ms"], 1),
        "registered_at": timestamp(row["registered_at"]),
        "beat_at": timestamp(row["alive_at"]),
        "silent_s": answers.duration(row["silent_s"]),
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _class(row: Any) -> dict[str, Any]:
    return {
        "id": str(row["class_id"]),
        "title": row["title"],
        "teacher_name": row["teacher_name"],
        "node_id": str(row["origin_node"]) if row["origin_node"] is not None else None,
        "present": row["present"],
        "capacity": row["capacity"],
        "started_at": timestamp(row["started_at"]),
        "duration_s": answers.duration(row["duration_s"]),
    }
