"""The examples of docs/protocol.md, for the tests of both ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "protocol.md"


def examples() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the document's messages by type: from the node, and to it."""
    text = DOCUMENT.read_text()
    start, turn = text.index("### From the node"), text.index("### To the node")
    return _messages(text[start:turn]), _messages(text[turn:])


def _messages(text: str) -> dict[str, dict[str, Any]]:
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    rows = re.findall(r"^\| `(\{.*?\})` \|", text, re.MULTILINE)
    messages = [json.loads(example) for example in blocks + rows]
    return {message["type"]: message for message in messages}
