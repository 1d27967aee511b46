"""docs/operations.md tells every setting as the code has it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lectern.settings import Settings, meta, option, shown, variable

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_every_setting_has_its_row() -> None:
    rows = []
    for field in dataclasses.fields(Settings):
        known = meta(field)
        name = "" if known.secret else f"`{option(field.name)}`"
        commands = ", ".join(known.commands)
        rows.append(
            f"| {name} | `{variable(field.name)}` | {shown(field.default)} | {commands} | {known.help} |"
        )
    text = OPERATIONS.read_text()
    missing = [row for row in rows if row.replace("|  |", "| |") not in text]
    assert not missing, "docs/operations.md lacks:\n" + "\n".join(missing)


def test_no_row_is_left_of_a_setting_that_is_gone() -> None:
    known = {variable(field.name) for field in dataclasses.fields(Settings)}
    rows = [line for line in OPERATIONS.read_text().splitlines() if "| `LECTERN_" in line]
    assert len(rows) == len(known)
