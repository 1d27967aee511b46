"""One node under attack for all of these tests, with the honest class that goes on all the while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.siege import NodeUnderAttack, may_forge
from tests.attacks.weapons import Forger


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all of them on one worker: they share the node, and each alone would start one."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("attacks"))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeUnderAttack]:
    with NodeUnderAttack(tmp_path_factory.mktemp("attacked")) as node:
        yield node


@pytest.fixture
def forger(node: NodeUnderAttack) -> Iterator[Forger]:
    if not may_forge():
        pytest.skip("sending under others' ports needs root")
    with Forger(node.port) as forger:
        yield forger
