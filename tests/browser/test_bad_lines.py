"""What a student has to see and hear on each bad line (`lectern bench lines`)."""

from __future__ import annotations

import json

import pytest

from benchmarks.command import main
from benchmarks.lines.rows import ROWS

pytestmark = [
    pytest.mark.browser("chromium"),
    pytest.mark.netns,
    pytest.mark.long,
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize("row", ROWS)
def test_the_line_does_what_it_must(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["lines", "--rows", row, "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0, (told["not_held"], told["lectern"])
