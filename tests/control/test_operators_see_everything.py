"""Operators see nodes, live classes and sums; nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from control import Control, Operators, operator_api
from tests.control.people import School
from tests.control.test_accounts import ADA, send

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def operators(database_url: str) -> AsyncIterator[Operators]:
    opened = await Operators.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def operator(client: Client, operators: Operators, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The page of an operator; every look is a new one."""
    monkeypatch.setattr(operator_api, "KEPT_S", 0.0)
    monkeypatch.setattr(operator_api, "REST_PER_WORK", 0.0)
    await send(client, "POST", "/api/accounts", ADA)
    await operators.make_operator(ADA["email"])
    return client


async def seen(client: Client) -> Any:
    status, answer = await send(client, "GET", "/api/operator")
    assert status == 200
    return answer


async def found(client: Client, text: str) -> Any:
    async with client.get("/api/operator/classes", params={"q": text}) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_only_operators_see_it(client: Client, operators: Operators) -> None:
    paths = ("/api/operator", "/api/operator/classes?q=a")
    for path in paths:
        assert (await send(client, "GET", path))[1]["code"] == "not_signed_in"
    _, user = await send(client, "POST", "/api/accounts", ADA)
    assert user["is_operator"] is False
    for path in paths:
        status, problem = await send(client, "GET", path)
        assert (status, problem["code"]) == (403, "not_operator")
    await operators.make_operator(ADA["email"])
    assert (await send(client, "GET", "/api/me"))[1]["is_operator"] is True
    for path in paths:
        assert (await send(client, "GET", path))[0] == 200
    await operators.make_no_operator(ADA["email"])
    for path in paths:
        assert (await send(client, "GET", path))[0] == 403


async def test_an_empty_deployment_has_sums_of_nothing(operator: Client) -> None:
    answer = await seen(operator)
    assert answer["nodes"] == answer["classes"] == []
    assert set(answer["totals"].values()) == {0}


async def test_nodes_tell_how_they_are(operator: Client, school: School) -> None:
    node, dead = await school.node(), await school.node_row()
    await node.beat()
    await school.sql.execute(
        "UPDATE node SET sessions = 3, classes = 2, egress_bps = 5000000, cpu = 0.25,"
        " loop_lag_ms = 1.5, native_lag_ms = 0.5,"
        """ addresses = '[["192.0.2.1", 7900], ["2001:db8::1", 7900]]' WHERE node_id = $1""",
        node.node_id,
    )
    answer = await seen(operator)
    first, last = answer["nodes"]
    assert (first["id"], first["state"]) == (str(node.node_id), "serving")
    assert first["addresses"] == ["192.0.2.1:7900", "[2001:db8::1]:7900"]
    told = {name: first[name] for name in ("sessions", "classes", "egress_bps", "cpu")}
    assert told == {"sessions": 3, "classes": 2, "egress_bps": 5_000_000, "cpu": 0.25}
    assert (first["loop_lag_ms"], first["native_lag_ms"]) == (1.5, 0.5)
    assert 0 <= first["silent_s"] < 10
    assert (last["id"], last["state"]) == (str(dead), "dead")
    # The dead one serves nobody, whatever it said last.
    totals = answer["totals"]
    assert (totals["nodes"], totals["sessions"], totals["egress_bps"]) == (1, 3, 5_000_000)
    await school.sql.execute("UPDATE node SET draining = true WHERE node_id = $1", node.node_id)
    assert (await seen(operator))["nodes"][0]["state"] == "draining"


async def live(school: School, title: str, present: int, node_id: UUID) -> UUID:
    """Make a live class of so many who are present, one in grace and one not there yet."""
    teacher, class_id, _ = await school.live_class(capacity=present + 5)
    await school.sql.execute(
        "UPDATE class SET title = $2, used = $3, origin_node = $4 WHERE class_id = $1",
        class_id, title, present + 2, node_id,
    )  # fmt: skip
    people = await school.people(present + 2)
    await school.sql.executemany(
        "INSERT INTO seat (user_id, class_id, session_id, is_host, fence, node_id, confirm_by, grace_until)"
        " VALUES ($1, $2, gen_random_uuid(), false, 1, $3, $4, $5)",
        [
            (
                person.account_id, class_id, node_id,
                await school.now() if number == 0 else None,
                await school.now() if number == 1 else None,
            )
            for number, person in enumerate(people)
        ],
    )  # fmt: skip
    return class_id


async def test_the_fullest_classes_come_first_and_sums_are_over_all(
    operator: Client, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_api, "CLASSES_SHOWN", 3)
    node = await school.node()
    made = [await live(school, f"Class {n}", n, node.node_id) for n in (0, 4, 2, 5, 1)]
    answer = await seen(operator)
    assert [c["present"] for c in answer["classes"]] == [5, 4, 2]
    assert [c["id"] for c in answer["classes"]] == [str(made[n]) for n in (3, 1, 2)]
    first = answer["classes"][0]
    assert (first["title"], first["capacity"], first["node_id"]) == (
        "Class 5", 10, str(node.node_id)
    )  # fmt: skip
    assert first["teacher_name"].startswith("teacher") and first["duration_s"] >= 0
    assert (answer["totals"]["classes"], answer["totals"]["present"]) == (5, 12)


async def test_a_class_is_found_by_id_and_by_part_of_its_title(
    operator: Client, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await school.node()
    titles = ("Algebra 100%", "algebra II", "Ünïcode", "Physics_1")
    made = {title: await live(school, title, 1, node.node_id) for title in titles}

    async def ids(text: str) -> list[str]:
        answer = await found(operator, text)
        assert answer["complete"] is True
        return [item["id"] for item in answer["items"]]

    assert await ids("ALGEBRA") == [str(made["algebra II"]), str(made["Algebra 100%"])]
    # What is a pattern elsewhere is text here.
    assert await ids("0%") == [str(made["Algebra 100%"])]
    assert await ids("_1") == [str(made["Physics_1"])]
    assert await ids("%") == [str(made["Algebra 100%"])]
    assert await ids("nïcode") == [str(made["Ünïcode"])]
    assert await ids(str(made["Physics_1"])) == [str(made["Physics_1"])]
    assert await ids("nothing of the kind") == []
    assert await ids(str(node.node_id)) == []
    # Of more than is looked through or shown, it is said.
    monkeypatch.setattr(operator_api, "SEARCHED_MAX", 2)
    answer = await found(operator, "algebra")
    assert (answer["items"], answer["complete"]) == ([], False)
    monkeypatch.undo()
    monkeypatch.setattr(operator_api, "CLASSES_SHOWN", 1)
    answer = await found(operator, "algebra")
    assert (len(answer["items"]), answer["complete"]) == (1, False)


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20", "?q=%00", "?q=" + "x" * 201])
async def test_a_search_for_nothing_is_refused(operator: Client, query: str) -> None:
    status, problem = await send(operator, "GET", "/api/operator/classes" + query)
    assert (status, problem["code"], problem["field"]) == (422, "invalid_request", "q")


async def test_many_looks_cost_what_one_does(
    client: Client, plane: Control, operators: Operators
) -> None:
    await send(client, "POST", "/api/accounts", ADA)
    await operators.make_operator(ADA["email"])
    asked = 0
    rows = plane._database.rows

    async def counted(name: str, *arguments: Any) -> Any:
        nonlocal asked
        asked += name == "operator.fullest"
        return await rows(name, *arguments)

    plane._database.rows = counted  # type: ignore[method-assign, assignment]
    answers = [await seen(client) for _ in range(5)]
    assert asked == 1 and len({answer["at"] for answer in answers}) == 1
