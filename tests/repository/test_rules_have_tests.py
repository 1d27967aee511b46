"""Every rule of the product in tests/README.md names tests that exist and run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| *(?P<rule>[^|]*?) *\| `(?P<file>[\w/]+\.py)::(?P<test>test_\w+)` \|$")
RULES_MIN = 13


def _rows() -> list[tuple[str, str, str]]:
    text = (TESTS / "README.md").read_text()
    table = text[text.index("| rule | test |") :].splitlines()[2:]
    lines = [line for line in table if line.startswith("|")]
    matches = [ROW.match(line) for line in lines]
    wrong = [line for line, match in zip(lines, matches, strict=True) if match is None]
    assert not wrong, f"rows that name no test: {wrong}"
    return [(m["rule"], m["file"], m["test"]) for m in matches if m is not None]


def test_every_rule_has_a_test_that_exists() -> None:
    rows = _rows()
    assert len([rule for rule, _, _ in rows if rule]) >= RULES_MIN
    assert rows[0][0], "the first row has no rule"
    for rule, file, name in rows:
        tree = ast.parse((TESTS / file).read_text())
        found = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        assert found, f"{rule or 'a rule'}: {file} has no {name}"
        marks = " ".join(ast.unparse(mark) for mark in found[0].decorator_list)
        assert "skip" not in marks and "xfail" not in marks, name
