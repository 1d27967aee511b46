"""Every committed input, and some near it, is taken in time, with the parser's own error at most."""

from __future__ import annotations

import random
import time
from itertools import islice

import pytest

from tests.fuzz.run import CORPORA, mutated, seeds
from tests.fuzz.targets import TARGETS

NEAR = 300
INPUT_S_MAX = 0.5  # of processor time; the slowest takes a tenth of it


def take(target: str, data: bytes) -> None:
    began_s = time.process_time()
    TARGETS[target](data)
    assert time.process_time() - began_s < INPUT_S_MAX, data


def test_every_target_has_a_corpus() -> None:
    assert sorted(TARGETS) == sorted(path.name for path in CORPORA.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_known_is_taken(target: str) -> None:
    known = seeds(target)
    assert len(known) >= 3
    for path in known:
        take(target, path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_near_it_is_taken(target: str) -> None:
    for data in islice(mutated(target, random.Random(target)), NEAR):
        take(target, data)


def test_a_parser_that_breaks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "report", lambda data: data.decode("ascii"))
    with pytest.raises(UnicodeDecodeError):
        test_what_is_near_it_is_taken("report")
